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
    on. With legs: event `position - 1` has taken effect, and its task has run on for the legs, one after another."""

    position: int
    legs: tuple[Leg | Ticks | Steps, ...] = ()

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
