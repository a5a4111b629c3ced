"""Places between two events, told by hardware stops (native/engine/trap.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

ANY_EVENT = (1 << 64) - 1
KINDS = {"execute": 0, "write": 1, "access": 3}
MOST = 4
"""As many can watch memory; MOST_TRAPS is how many there can be at all."""
MOST_TRAPS = 64
MOST_HITS = 1 << 16
FIRST_TICKS = 32
"""So many ticks of the bytecode clock a search backward looks at first; then ever more."""


@dataclass(frozen=True)
class Trap:
    """A place in memory whose use is a hit."""

    address: int
    size: int
    """1, 2, 4 or 8 bytes, at an address that is a multiple of it."""
    kind: str = "access"
    """`execute`, `write` or `access` (read or write)."""
    task: int = 0
    """Whose use; 0 is any task's."""
    ranges: tuple[tuple[int, int], ...] = ()
    """A hit counts only if what then lies there is in one of these ranges of unsigned numbers; or, with `invert`, in
    none. They are sorted."""
    invert: bool = False

    def packed(self, event: int, stop_at: int) -> tuple[int, int, int, int, bool, bytes, int, int]:
        """As the engine takes it: it stops at hit `stop_at` behind an event; 0 is never."""
        ranges = b"".join(struct.pack("<QQ", *one) for one in self.ranges)
        return self.address, self.size, KINDS[self.kind], self.task, self.invert, ranges, event, stop_at


@dataclass(frozen=True)
class Leg:
    """A part of a way from one event on: to the `count`-th hit of a trap."""

    trap: Trap
    count: int


@dataclass(frozen=True)
class Ticks:
    """A part of a way from one event on: to where its task has run for so many ticks of the bytecode clock in all."""

    count: int


@dataclass(frozen=True)
class Steps:
    """A part of a way: single instructions of the program. As the first part, none: right behind the event."""

    count: int


@dataclass(frozen=True)
class Place:
    """Where a replay stands. Without legs: before event `position`, everything before it having taken effect and run
    on. With legs: event `position - 1` has taken effect, and its task has run on for the legs, one after another.

    The hit of a trap is told by the last tick before it, if there is one, and its number behind that: the same place
    is then told in the same way, however it was come to, and what has been computed before that tick need not be
    looked at."""

    position: int
    legs: tuple[Leg | Ticks | Steps, ...] = ()

    @property
    def root(self) -> Place:
        """The last tick before this place, as far as it tells; else the event before it."""
        first = self.legs[0] if self.legs else None
        if isinstance(first, Ticks):
            return Place(self.position, (first,))
        return Place(self.position - 1) if self.legs else self

    @property
    def ticks(self) -> int:
        """How many ticks behind the event it is, at least."""
        first = self.legs[0] if self.legs else None
        return first.count if isinstance(first, Ticks) else 0

    def at_tick(self, ticks: int) -> Place:
        """The tick, of those before this place and behind its event; 0: none."""
        return Place(self.position, (Ticks(ticks),) if ticks else ())

    @property
    def is_direct(self) -> bool:
        """Whether it is told by a tick, or a hit, or a hit behind a tick."""
        kinds = [type(leg) for leg in self.legs]
        return kinds in ([], [Ticks], [Leg], [Ticks, Leg])

    def earlier(self, ticks: int) -> Place:
        """So many ticks before this place, or the event before it."""
        rest = self.ticks - ticks
        return Place(self.position, (Ticks(rest),)) if rest > 0 else Place(self.position - bool(self.legs))

    @property
    def trap(self) -> Trap | None:
        """The trap that was hit here, if the way ends with one."""
        last = self.legs[-1] if self.legs else None
        return last.trap if isinstance(last, Leg) else None

    def on(self, leg: Leg | Ticks | Steps) -> Place:
        """This place and one leg more."""
        last = self.legs[-1] if self.legs else None
        if isinstance(leg, Steps) and isinstance(last, Steps):
            return replace(self, legs=(*self.legs[:-1], Steps(last.count + leg.count)))
        if isinstance(leg, Leg) and isinstance(last, Leg) and leg.trap == last.trap:
            return replace(self, legs=(*self.legs[:-1], Leg(leg.trap, last.count + leg.count)))
        return replace(self, legs=(*self.legs, leg))

    def rest_of(self, place: Place) -> tuple[Leg | Ticks | Steps, ...] | None:
        """The way that leads on from here to a place; None where none is known."""
        if self.position != place.position or not self.legs:
            return () if self == place else None
        if len(self.legs) == 1 and 0 < self.ticks < place.ticks:
            return place.legs
        known = len(self.legs) - 1
        if self.legs[:-1] != place.legs[:known] or len(place.legs) <= known:
            return None
        last, first = self.legs[-1], place.legs[known]
        if last == first:
            return place.legs[known + 1 :]
        if last.count < first.count and isinstance(last, Steps) and isinstance(first, Steps):
            return (Steps(first.count - last.count), *place.legs[known + 1 :])
        if last.count < first.count and isinstance(last, Leg) and isinstance(first, Leg) and last.trap == first.trap:
            return (Leg(first.trap, first.count - last.count), *place.legs[known + 1 :])
        return None

    def without_steps(self) -> tuple[Place, int]:
        """The place before its last steps, and their number. Without legs that is right behind the event."""
        last = self.legs[-1] if self.legs else None
        return (replace(self, legs=self.legs[:-1]), last.count) if isinstance(last, Steps) else (self, 0)


@dataclass(frozen=True)
class Hit:
    """One hit of a trap on a way: which of the traps, and where."""

    index: int
    place: Place
    value: int
    """What lay there then; 0 of code."""
