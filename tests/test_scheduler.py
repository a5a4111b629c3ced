"""The scheduler on its own: states in, decisions out. The tests' own build of native/engine/scheduler.c, by ctypes."""

from __future__ import annotations

import ctypes
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

SOURCE = Path(__file__).resolve().parent.parent / "native" / "engine" / "scheduler.c"
UNKNOWN, READY, PENDING, RUNNING, BLOCKED = range(5)
ABLE = (READY, PENDING)
SLICE = 10


class Turn(ctypes.Structure):
    pass


Turn._fields_ = [
    ("tid", ctypes.c_int),
    ("state", ctypes.c_int),
    ("next", ctypes.POINTER(Turn)),
    ("number", ctypes.c_uint32),
    ("calls", ctypes.c_uint32),
    ("behind", ctypes.c_uint32),
    ("ticks", ctypes.c_uint32),
    ("ticking", ctypes.c_bool),
    ("all_ticks", ctypes.c_uint64),
    ("sleeps", ctypes.c_uint32),
    ("wakes", ctypes.c_bool),
    ("rank", ctypes.c_uint32),
    ("demoted", ctypes.c_uint32),
]
AT_SLEEP, AT_CALL = 0xF0000000, 0xFFFFFFFF


class Decision(ctypes.Structure):
    _fields_ = [("task", ctypes.c_uint32), ("next", ctypes.c_uint32), ("course", ctypes.c_uint64)]


class Decided(ctypes.Structure):
    _fields_ = [
        ("decision", Decision),
        ("from", ctypes.c_int),
        ("to", ctypes.c_int),
        ("next_at", ctypes.c_uint64),
        ("event", ctypes.c_uint64),
        ("preempts", ctypes.c_bool),
    ]


class State(ctypes.Structure):
    _fields_ = [
        ("first", ctypes.POINTER(Turn)),
        ("current", ctypes.POINTER(Turn)),
        ("slice", ctypes.c_uint64),
        ("slice_start", ctypes.c_uint64),
        ("yielded", ctypes.c_bool),
        ("policy", ctypes.c_int),
        ("added", ctypes.c_uint32),
        ("until", ctypes.c_uint64),
        ("until_tick", ctypes.c_uint64),
        ("wish", ctypes.POINTER(Turn)),
        ("patience", ctypes.c_uint64),
        ("heir", ctypes.POINTER(Turn)),
        ("idle", ctypes.c_uint64),
        ("random", ctypes.c_uint64),
        ("scale", ctypes.c_uint),
        ("tick_scale", ctypes.c_uint),
        ("disorder", ctypes.c_uint),
        ("ranked", ctypes.c_bool),
        ("lowest", ctypes.c_uint32),
        ("demotions", ctypes.c_uint32),
        ("changes", ctypes.c_uint),
        ("list", ctypes.c_void_p),
        ("listed", ctypes.c_size_t),
        ("log", ctypes.POINTER(Decided)),
        ("logged", ctypes.c_size_t),
        ("log_room", ctypes.c_size_t),
        ("event", ctypes.c_uint64),
        ("left", ctypes.c_uint32),
        ("left_at", ctypes.c_uint64),
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

    def be_chaotic(self, seed: int) -> None:
        self._library.scheduler_be_chaotic(ctypes.byref(self._state), seed)

    def follow(self, decisions: list[tuple[int, int, int]]) -> None:
        array = (Decision * len(decisions))(*[Decision(task, then, course) for task, course, then in decisions])
        assert self._library.scheduler_follow(ctypes.byref(self._state), array, len(decisions))

    def wish(self, now: int = 0, may_switch: bool = True) -> int | None:
        return self._tid(self._library.scheduler_wish(ctypes.byref(self._state), now, may_switch))

    def free(self) -> None:
        self._library.scheduler_free(ctypes.byref(self._state))

    @property
    def current(self) -> int | None:
        return self._tid(self._state.current)

    @property
    def allowance(self) -> int:
        return int(self._library.scheduler_allowance(ctypes.byref(self._state)))

    @property
    def decisions(self) -> list[tuple[int, int, int]]:
        made = [self._state.log[i].decision for i in range(self._state.logged)]
        return [(decision.task, decision.course, decision.next) for decision in made]

    def call(self, tid: int) -> None:
        """The task comes to its next own call, and switches there if it is to; else makes it."""
        self.turns[tid].behind = AT_CALL

    def passes(self, tid: int, calls: int = 1) -> None:
        self._library.turn_passes(ctypes.byref(self.turns[tid]), calls)

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
    for function in (library.scheduler_find, library.scheduler_choose, library.scheduler_wish):
        function.restype = ctypes.POINTER(Turn)
    library.scheduler_be_chaotic.argtypes = [ctypes.c_void_p, ctypes.c_uint64]
    library.scheduler_follow.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_size_t]
    library.scheduler_follow.restype = ctypes.c_bool
    library.scheduler_allowance.restype = library.scheduler_ticks.restype = ctypes.c_uint64
    library.scheduler_wish.argtypes = [ctypes.c_void_p, ctypes.c_uint64, ctypes.c_bool]
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


@settings(deadline=None)
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


# ---- chaos, and its decisions made again ----


def run(scheduler: Scheduler, calls: dict[int, int], sleeps: dict[tuple[int, int], int] | None = None) -> list[int]:
    """Tasks that only make calls of their own, until each has made its number. `sleeps` says behind which call
    of whom one sleeps, and for how many calls of others. Returns who made each call."""
    order: list[int] = []
    asleep: dict[int, int] = {}
    left = dict(calls)
    now = 0
    while left:
        may_switch = scheduler.current is not None and scheduler.turns[scheduler.current].behind == AT_CALL
        wish = scheduler.wish(now, may_switch)
        if wish in asleep:
            del asleep[wish]
            scheduler.turns[wish].state = READY
        tid = scheduler.choose(now, may_switch)
        if tid is None:
            for sleeper in asleep:
                scheduler.turns[sleeper].state = READY
            asleep.clear()
            continue
        if scheduler.turns[tid].behind != AT_CALL:
            scheduler.call(tid)
            continue
        scheduler.passes(tid)
        order.append(tid)
        for sleeper in list(asleep):
            asleep[sleeper] -= 1
            if not asleep[sleeper]:
                del asleep[sleeper]
                scheduler.turns[sleeper].state = READY
        left[tid] -= 1
        if not left[tid]:
            del left[tid]
            scheduler.remove(tid)
        elif (tid, calls[tid] - left[tid]) in (sleeps or {}):
            asleep[tid] = (sleeps or {})[tid, calls[tid] - left[tid]]
            scheduler.turns[tid].state = BLOCKED
            scheduler.turns[tid].wakes = True
    return order


CALLS = {1: 40, 2: 30, 3: 20}


def chaotic(
    library: ctypes.CDLL, seed: int, sleeps: dict[tuple[int, int], int]
) -> tuple[list[int], list[tuple[int, int, int]]]:
    scheduler = Scheduler(library, [READY, READY, READY])
    scheduler.be_chaotic(seed)
    order = run(scheduler, CALLS, sleeps)
    decisions = scheduler.decisions
    scheduler.free()
    return order, decisions


SLEEPS = st.dictionaries(st.tuples(st.integers(1, 3), st.integers(1, 20)), st.integers(1, 5), max_size=6)


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sleeps=SLEEPS)
def test_a_seed_says_it_all(library: ctypes.CDLL, seed: int, sleeps: dict[tuple[int, int], int]) -> None:
    assert chaotic(library, seed, sleeps) == chaotic(library, seed, sleeps)


def test_seeds_differ(library: ctypes.CDLL) -> None:
    orders = {tuple(chaotic(library, seed, {})[0]) for seed in range(100)}
    assert len(orders) > 50


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), sleeps=SLEEPS)
def test_the_decisions_of_chaos_lead_to_the_same_order_again(
    library: ctypes.CDLL, seed: int, sleeps: dict[tuple[int, int], int]
) -> None:
    order, decisions = chaotic(library, seed, sleeps)
    scheduler = Scheduler(library, [READY, READY, READY])
    scheduler.follow(decisions)
    assert run(scheduler, CALLS, sleeps) == order
    assert scheduler.decisions == decisions
    scheduler.free()


def test_without_decisions_a_task_is_left_only_where_it_sleeps_or_ends(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [READY, READY])
    scheduler.follow([])
    assert scheduler.allowance == 2**64 - 1 or scheduler.allowance > 2**31
    assert run(scheduler, {1: 9, 2: 3}, {(1, 4): 100}) == [1] * 4 + [2] * 3 + [1] * 5
    assert scheduler.decisions == []
    scheduler.free()


def test_a_decision_names_a_task_and_a_place_in_its_course(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [READY, READY])
    scheduler.follow([(0, 2 << 32 | AT_CALL, 1), (1, 1 << 32 | AT_CALL, 0)])
    assert run(scheduler, {1: 4, 2: 3}) == [1, 1, 2, 1, 1, 2, 2]
    scheduler.free()


def test_whoever_waits_in_a_loop_loses_its_turn_by_time(library: ctypes.CDLL) -> None:
    scheduler = Scheduler(library, [READY, READY])
    scheduler.follow([])
    assert scheduler.choose(0) == 1
    assert scheduler.choose(10**8) == 1
    assert scheduler.choose(10**9) == 2
    scheduler.yield_()
    assert scheduler.choose(10**9) == 1
    scheduler.free()
