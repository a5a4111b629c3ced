"""The search for the fewest decisions and for their places, on made-up programs."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from pyrr_debugger.hunt.minimise import AT_CALL, farthest, fewest, latest_place

NEEDED = st.sets(st.integers(0, 60), min_size=1, max_size=5)


@settings(deadline=None)
@given(needed=NEEDED, count=st.integers(61, 100))
def test_exactly_what_is_needed_is_left(needed: set[int], count: int) -> None:
    asked: list[list[int]] = []

    def fails(items: list[int]) -> bool:
        asked.append(items)
        return needed <= set(items)

    assert fewest(range(count), fails) == sorted(needed)
    assert all(items == sorted(items) for items in asked), "their order stays"


def test_a_failure_that_needs_nothing_is_left_nothing() -> None:
    assert fewest([1, 2, 3], lambda items: True) == []
    assert fewest([], lambda items: True) == []


@settings(deadline=None)
@given(start=st.integers(0, 50), end=st.integers(0, 500), limit=st.integers(0, 600))
def test_the_end_of_a_stretch_is_found(start: int, end: int, limit: int) -> None:
    end += start
    assert farthest(start, lambda place: place <= end, limit) == min(end, start + limit)


TICKS = st.lists(st.integers(0, 9), min_size=1, max_size=12)
"""How many ticks a task has behind each of its own calls, before the next."""


def places(ticks: list[int], exact: bool) -> list[int]:
    """Where a task can be left, in order."""
    found: list[int] = []
    for calls, count in enumerate(ticks):
        found += [calls << 32 | tick for tick in range(1, count + 1)] if exact else []
        found.append(calls << 32 | AT_CALL)
    return found


def reached(all_places: list[int], course: int) -> int | None:
    """The place where a task is left that is to be left at `course`: there, or next; None: it has ended."""
    return next((place for place in all_places if place >= course), None)


@settings(deadline=None)
@given(ticks=TICKS, exact=st.booleans(), data=st.data())
def test_the_latest_place_is_found(ticks: list[int], exact: bool, data: st.DataObject) -> None:
    there = places(ticks, exact)
    first = data.draw(st.integers(0, len(there) - 1))
    last = data.draw(st.integers(first, len(there) - 1))

    def fails_up_to(course: int) -> bool:
        place = reached(there, course)
        return place is not None and there[first] <= place <= there[last]

    assert reached(there, latest_place(there[first], fails_up_to)) == there[last]
