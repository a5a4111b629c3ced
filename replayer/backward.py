"""The way to a place, looked at from its end: in spans that become ever longer.

What is sought backward is found by running a span again and looking at the hits on its way. A span is bounded by ticks
of the bytecode clock where there are any, else by events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from ..trace_format import EventKind
from ..trace_reader import EventFilter
from .traps import FIRST_TICKS, MOST_HITS, Hit, Place, Trap

if TYPE_CHECKING:
    from .session import ReplaySession

_EVENTS_BY_TICKS = 4  # so many events are searched by ticks, before longer ones by events
_NEAR = 64  # events
_TICKS = EventFilter(kinds=(EventKind.TICK,))


def spans(session: ReplaySession, before: Place, least: int = 0, task: int = 0) -> Iterator[tuple[Place, Place]]:
    """Where each span begins and ends, the last one first, back to event `least`. Where one task alone is of interest
    (not 0), what others do does not count."""
    ticks, size = FIRST_TICKS, 1
    start = _back(session, before, ticks, task)
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
            continue
        ticks = FIRST_TICKS
        first = max(least, start.position - size)
        # A task that was stopped at a tick has run long before it: by ticks again.
        stops = session.trace.select(_TICKS, first, start.position + 1, backward=True)
        stop = next((event.number for event in stops if task in (0, event.task)), None)
        if size < _EVENTS_BY_TICKS or stop == start.position:
            start, size = _back(session, start, ticks, task), size + 1
        elif stop is None:
            start, size = Place(first), size * 2
        else:
            start = Place(stop)


def _back(session: ReplaySession, place: Place, ticks: int, task: int) -> Place:
    """So many ticks back, behind the last event of a task if that is near."""
    if task and not place.legs:
        near = session.trace.events(max(0, place.position - _NEAR), place.position)
        place = Place(max((event.number + 1 for event in near if event.task == task), default=place.position))
    return session.back(place, ticks)


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
        if not start.legs:
            # Now it is known which run is long, and by ticks it need not be run as a whole again.
            for one, other in spans(session, end, start.position, traps[0].task):
                yield from hits_of(session, traps, one, other)
            return


def _values(session: ReplaySession, traps: Sequence[Trap]) -> list[int]:
    alive = set(session.tasks)
    found = [session.read(trap.task, trap.address, trap.size) if trap.task in alive else b"" for trap in traps]
    return [int.from_bytes(value, "little") for value in found]
