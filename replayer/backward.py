"""The way to a place, looked at from its end: in spans that become ever longer.

What is sought backward is found by running a span again and looking at the hits on its way. A span is bounded by ticks
of the bytecode clock where there are any, else by events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .traps import FIRST_TICKS, MOST_HITS, Hit, Place, Trap

if TYPE_CHECKING:
    from .session import ReplaySession

_EVENTS_BY_TICKS = 4  # so many events are searched by ticks, before longer ones by events


def spans(session: ReplaySession, before: Place, least: int = 0) -> Iterator[tuple[Place, Place]]:
    """Where each span begins and ends, the last one first, back to event `least`. None of them is gone to."""
    ticks, size = FIRST_TICKS, 1
    start = session.back(before, ticks)
    while True:
        if start.position - bool(start.legs) < least:
            start = Place(least)
        yield start, before
        if start == Place(least):
            return
        before = start
        if start.legs:
            ticks *= 8
            start = start.earlier(ticks)
        elif size < _EVENTS_BY_TICKS:
            start, size = session.back(start, ticks), size + 1
        else:
            start, size = Place(max(least, start.position - size)), size * 2


def hits_of(
    session: ReplaySession, traps: Sequence[Trap], start: Place, end: Place
) -> Iterator[tuple[list[int], list[Hit]]]:
    """The hits in a span: all at once, or, where they are more than are logged, their last part first. With each part,
    what lies where the traps are before the first of its hits; 0 where nothing is, or for a trap of any task's."""
    while True:
        session.go(start)
        values = _values(session, traps)
        found = session.hits(list(traps), end)
        if len(found) < MOST_HITS:
            yield values, found
            return
        session.go(found[0].place)
        yield _values(session, traps), found[1:]
        end = found[1].place


def _values(session: ReplaySession, traps: Sequence[Trap]) -> list[int]:
    alive = set(session.tasks)
    found = [session.read(trap.task, trap.address, trap.size) if trap.task in alive else b"" for trap in traps]
    return [int.from_bytes(value, "little") for value in found]
