"""The fewest decisions that still make a program fail, and where exactly the last of them may lie.

Pure search: what a list of decisions leads to is asked of a function, which records the program once more.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Item = TypeVar("Item")

AT_CALL = 0xFFFFFFFF
"""In the lower half of a place in a task's course: at the entry of its next own call (native/engine/scheduler.h)."""
AT_SLEEP = 0xF0000000
"""And above: where it sleeps for the n-th time since."""
_FARTHEST = 1 << 14
"""Own calls that a place is moved by at most."""


def fewest(items: Sequence[Item], fails: Callable[[list[Item]], bool]) -> list[Item]:
    """A part of `items`, in their order, that fails and of which nothing can be left out: delta debugging (Zeller and
    Hildebrandt, Simplifying and Isolating Failure-Inducing Input, 2002). `items` as a whole must fail."""
    kept = list(items)
    if not kept or fails([]):
        return []
    pieces = 2
    while len(kept) > 1:
        size = -(-len(kept) // pieces)
        parts = [kept[at : at + size] for at in range(0, len(kept), size)]
        rests = [[item for other in parts if other is not part for item in other] for part in parts]
        smaller = next((part for part in parts if fails(part)), None)
        if smaller is not None:
            kept, pieces = smaller, 2
        elif (smaller := next((rest for rest in rests if len(parts) > 2 and fails(rest)), None)) is not None:
            kept, pieces = smaller, max(pieces - 1, 2)
        elif size == 1:
            break
        else:
            pieces = min(len(kept), 2 * pieces)
    return kept


def farthest(start: int, holds: Callable[[int], bool], limit: int) -> int:
    """The end of the stretch from `start`, where `holds` is true, up to which it stays so: at most `limit` away. Looks
    at distances that double, then halves: where the stretch has holes, an end of one is found."""
    good, step = start, 1
    while good + step <= start + limit and holds(good + step):
        good += step
        step *= 2
    bad = good + step
    while bad - good > 1:
        middle = (good + bad) // 2
        if middle <= start + limit and holds(middle):
            good = middle
        else:
            bad = middle
    return good


def latest_place(course: int, fails: Callable[[int], bool]) -> int:
    """The latest place in a task's course, from `course` on, where being left still makes the program fail."""
    calls = course >> 32
    best = course
    if course & AT_CALL == AT_CALL or fails(calls << 32 | AT_CALL):
        calls = farthest(calls, lambda calls: fails(calls << 32 | AT_CALL), _FARTHEST)
        best = calls << 32 | AT_CALL
        calls += 1
        start = 0
    else:
        start = course & AT_CALL
    if start or fails(calls << 32 | 1):
        best = calls << 32 | farthest(max(start, 1), lambda tick: fails(calls << 32 | tick), AT_CALL >> 4)
    return best
