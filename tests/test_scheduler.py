"""The scheduler on its own: states in, decisions out. The tests' own build of native/engine/scheduler.c, by ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

SOURCE = Path(__file__).resolve().parent.parent / "native" / "engine" / "scheduler.c"
UNKNOWN, READY, PENDING, RUNNING, BLOCKED = range(5)
ABLE = (READY, PENDING)
SLICE = 10


class Turn(ctypes.Structure):
    pass


Turn._fields_ = [("tid", ctypes.c_int), ("state", ctypes.c_int), ("next", ctypes.POINTER(Turn))]


class State(ctypes.Structure):
    _fields_ = [
        ("first", ctypes.POINTER(Turn)),
        ("current", ctypes.POINTER(Turn)),
        ("slice", ctypes.c_uint64),
        ("slice_start", ctypes.c_uint64),
        ("yielded", ctypes.c_bool),
    ]


class Scheduler:
    def __init__(self, library: ctypes.CDLL, states: list[int]) -> None:
        self._library = library
        self._state = State(slice=SLICE)
        self.turns: dict[int, Turn] = {}
        for tid, state in enumerate(states, 1):
            self.add(tid, state)

    def add(self, tid: int, state: int) -> None:
        self.turns[tid] = Turn(tid, state)
        self._library.scheduler_add(ctypes.byref(self._state), ctypes.byref(self.turns[tid]))

    def remove(self, tid: int) -> None:
        self._library.scheduler_remove(ctypes.byref(self._state), ctypes.byref(self.turns.pop(tid)))

    def find(self, tid: int) -> int | None:
        return self._tid(self._library.scheduler_find(ctypes.byref(self._state), tid))

    def choose(self, now: int = 0, may_switch: bool = True) -> int | None:
        return self._tid(self._library.scheduler_choose(ctypes.byref(self._state), now, may_switch))

    def yield_(self) -> None:
        self._library.scheduler_yield(ctypes.byref(self._state))

    @staticmethod
    def _tid(turn: ctypes._Pointer[Turn]) -> int | None:
        return turn.contents.tid if turn else None


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    path = tmp_path_factory.mktemp("scheduler") / "scheduler.so"
    subprocess.run(["gcc", "-std=gnu11", "-O1", "-shared", "-fPIC", SOURCE, "-o", path], check=True, timeout=60)
    library = ctypes.CDLL(str(path))
    library.scheduler_find.restype = library.scheduler_choose.restype = ctypes.POINTER(Turn)
    library.scheduler_choose.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_bool]
    return library


def test_a_turn_lasts_for_a_slice_and_ends_only_where_a_switch_can_be_recorded(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [READY, READY])
    assert scheduler.choose(0) == 1
    assert scheduler.choose(SLICE - 1) == 1
    assert scheduler.choose(SLICE, may_switch=False) == 1
    assert scheduler.choose(SLICE) == 2
    assert scheduler.choose(2 * SLICE - 1) == 2
    assert scheduler.choose(2 * SLICE) == 1


def test_a_task_that_yields_lets_each_of_the_others_go_first(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [READY, READY])
    assert scheduler.choose() == 1
    scheduler.yield_()
    assert scheduler.choose(may_switch=False) == 1
    assert [scheduler.choose(), scheduler.choose()] == [2, 2]
    scheduler.yield_()
    assert [scheduler.choose(), scheduler.choose()] == [1, 1]


def test_a_task_that_blocks_gives_its_turn_to_the_next_in_order(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [READY, READY, READY])
    assert scheduler.choose() == 1
    scheduler.turns[1].state = BLOCKED
    assert scheduler.choose() == 2
    scheduler.turns[1].state = PENDING
    assert scheduler.choose() == 2, "waking does not preempt"
    scheduler.turns[2].state = BLOCKED
    assert scheduler.choose() == 3
    scheduler.turns[3].state = BLOCKED
    assert scheduler.choose() == 1


def test_nobody_goes_on_while_all_wait(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [BLOCKED, UNKNOWN])
    assert scheduler.choose() is None
    assert Scheduler(library, []).choose() is None


def test_removal_of_the_current_task_leaves_the_others(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [READY, READY])
    assert scheduler.choose() == 1
    scheduler.remove(1)
    assert (scheduler.find(1), scheduler.find(2), scheduler.choose()) == (None, 2, 2)


@given(data=st.data())
def test_only_able_tasks_get_turns_and_all_of_them_within_a_round(library: ctypes.CDLL, data: st.DataObject) -> None:
    states = data.draw(st.lists(st.sampled_from([UNKNOWN, READY, PENDING, RUNNING, BLOCKED]), min_size=1, max_size=8))
    scheduler = Scheduler(library, states)
    for tid in data.draw(st.permutations(range(1, len(states) + 1)))[: data.draw(st.integers(0, 2))]:
        scheduler.remove(tid)
    able = {tid for tid, turn in scheduler.turns.items() if turn.state in ABLE}
    turns = [scheduler.choose(SLICE * number) for number in range(1, len(able) + 1)]
    assert set(turns) == (able or set())
    if able:
        before = turns[-1]
        assert scheduler.choose(SLICE * (len(able) + 1) - 1) == before, "within its slice it goes on"
