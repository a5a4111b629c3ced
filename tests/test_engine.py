"""A hostile trace cannot break the replayer: it is refused, or found to diverge, and never crashes or hangs it.

Every example runs in a process of its own, so that a crash or a hang of the engine is a failure like any other.
"""

from __future__ import annotations

import io
import os
import signal
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

import harness
import msgpack
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrr_debugger import _engine
from pyrr_debugger.agent import agent_image
from pyrr_debugger.errors import PyrrError
from pyrr_debugger.events import EventKind
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader

SPIN_SECONDS = 2.0
"""A replayed program that never comes to its next event is not the engine's fault: the replay is given up."""
HANG_SECONDS = 15.0
FEW = 20 if not harness.LONG else 400
MANY = 100 if not harness.LONG else 3000
ISOLATED = (HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large)


class SpinningError(Exception):
    """The replayed program runs on without end."""


def in_child(action: Callable[[], None]) -> str:
    """Runs `action` in a fork of this process. What went wrong there, in words; empty when nothing did."""
    complaint, report = os.pipe()
    pid = os.fork()
    if pid == 0:
        status = 70
        try:
            os.close(complaint)
            action()
            status = 0
        except BaseException:
            os.write(report, traceback.format_exc()[-4000:].encode(errors="replace"))
        finally:
            os._exit(status)
    os.close(report)
    deadline = time.monotonic() + HANG_SECONDS
    with open(complaint, "rb") as text:
        while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
                return f"hung for {HANG_SECONDS} s"
            time.sleep(0.002)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        return "" if code == 0 else f"status {code}\n{text.read().decode(errors='replace')}"


# ---- events ----

numbers = st.one_of(
    st.sampled_from([0, 1, 2, 15, 100, 4096, 1 << 31, (1 << 32) - 1, 1 << 47, 1 << 63, (1 << 64) - 1]),
    st.sampled_from([-1, -4096, -512, -516, -(1 << 31), -(1 << 63)]),
    st.integers(0, (1 << 64) - 1),
)
datas = st.binary(max_size=300)
things = st.recursive(
    st.one_of(numbers, datas, st.none(), st.text(max_size=5)), lambda inner: st.lists(inner, max_size=6), max_leaves=12
)
pairs = st.lists(st.tuples(numbers, st.one_of(datas, things)), max_size=3).map(lambda p: [x for two in p for x in two])
arguments = st.lists(numbers, max_size=8)
shapes = {
    EventKind.SYSCALL: st.tuples(st.one_of(st.integers(0, 470), numbers), numbers, numbers, arguments, pairs, pairs),
    EventKind.SIGNAL: st.tuples(st.integers(0, 70), st.integers(0, 3), datas, datas, datas, numbers, datas),
    EventKind.SPAWN: st.tuples(numbers, numbers, numbers),
    EventKind.EXIT: st.tuples(numbers, st.integers(0, 1), pairs, numbers),
    EventKind.INSTRUCTION: st.tuples(numbers, st.just("rdtsc"), st.integers(0, 20), st.lists(numbers, max_size=10)),
    EventKind.CHECKSUM: st.tuples(numbers, st.integers(0, 1), datas, st.lists(things, max_size=2)),
    EventKind.START: st.tuples(pairs, datas),
    EventKind.STOPPED: st.tuples(st.integers(0, 70)),
    EventKind.CONTINUED: st.tuples(),
    EventKind.TICK: st.one_of(st.tuples(numbers, datas), st.tuples(numbers, datas, st.just(1), pairs, pairs)),
    EventKind.FAULT: st.tuples(numbers),
    EventKind.BRANCH: st.tuples(
        st.text(max_size=5),
        st.lists(numbers, max_size=8),
        st.lists(st.tuples(st.integers(0, 5), numbers, datas), max_size=2).map(lambda w: [x for one in w for x in one]),
        st.lists(numbers, max_size=4),
    ),
}


@st.composite
def events(draw: st.DrawFn) -> bytes:
    """An encoded event: of the right shape, or of any."""
    kind = draw(st.sampled_from(sorted(shapes)))
    items = draw(st.one_of(shapes[kind], st.lists(things, max_size=9)))
    head = [draw(st.one_of(st.just(int(kind)), numbers)), draw(st.integers(0, 3)), draw(numbers)]
    packed: bytes = msgpack.packb([*head, *items])
    return packed


def feed(data: bytes, count: int) -> None:
    """Takes all of a chunk through an engine that has no process, whatever it says to each event."""
    engine = _engine.Replayer(-1, -1, -1, agent_image())
    engine.load(0, count, data)
    for _ in range(2 * count + 2):
        try:
            outcome, _ = engine.run(count)
        except OSError:
            return
        if outcome in ("position", "chunk"):
            return
        engine.advance(0)


@settings(max_examples=MANY, deadline=None)
@given(data=st.binary(max_size=2000), count=st.integers(0, 20))
def test_random_bytes_are_refused(data: bytes, count: int) -> None:
    assert not in_child(lambda: feed(data, count))


@settings(max_examples=MANY, deadline=None)
@given(chunk=st.lists(events(), min_size=1, max_size=8))
def test_random_events_are_refused(chunk: list[bytes]) -> None:
    assert not in_child(lambda: feed(b"".join(chunk), len(chunk)))


@pytest.mark.parametrize("head", ["91", "dd", "dc", "df", "de", "c6", "db", "9f", "8f"])
def test_containers_that_promise_too_much(head: str) -> None:
    """Counts and lengths of 4 G, nested, cost neither time nor memory."""
    promise = bytes.fromhex(head) + b"\xff\xff\xff\xff"
    for data in (promise, promise * 1000, b"\x96\x00\x01\x00" + promise * 3, b"\x99\x00\x01\x00\x00\x00\x00" + promise):
        assert not in_child(lambda data=data: feed(data, 3))  # type: ignore[misc]


# ---- mutated recordings ----


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small program with a process, a signal handler and a file mapping in it."""
    path = tmp_path_factory.mktemp("recorded")
    script = "trap 'echo caught' USR1; kill -USR1 $$; (echo child); /bin/true; echo done"
    result = harness.record(path / "trace", "/bin/sh", "-c", script)
    assert result.status == 0, str(result)
    return path / "trace"


def paths(tree: Any, prefix: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where the leaves and the containers of a decoded event are."""
    inner = enumerate(tree) if isinstance(tree, list) else tree.items() if isinstance(tree, dict) else ()
    found = [prefix] if prefix else []
    for key, value in inner:
        found += paths(value, (*prefix, key))
    return found


def put(tree: Any, path: tuple[Any, ...], value: Any) -> None:
    for key in path[:-1]:
        tree = tree[key]
    tree[path[-1]] = value


def mutate(data: bytes, draw: st.DrawFn) -> bytes:
    """A chunk of which some events are changed, dropped, doubled or exchanged."""
    wire = list(msgpack.Unpacker(io.BytesIO(data), strict_map_key=False, max_buffer_size=0))
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(wire) - 1))
        action = draw(st.sampled_from(["leaf", "leaf", "leaf", "leaf", "bytes", "drop", "double", "swap"]))
        if action in ("leaf", "bytes"):
            where = paths(wire[at])
            path = where[draw(st.integers(0, len(where) - 1))]
            value: Any = wire[at]
            for key in path:
                value = value[key]
            if action == "bytes" and isinstance(value, bytes) and value:
                index = draw(st.integers(0, len(value) - 1))
                put(wire[at], path, value[:index] + bytes([draw(st.integers(0, 255))]) + value[index + 1 :])
            else:
                put(wire[at], path, draw(st.one_of(numbers, things)))
        elif action == "drop":
            wire[at] = [8, 0, 0, "dropped"]  # a note: the number of events stays
        elif action == "double":
            wire[-1 if at + 1 >= len(wire) else at + 1] = wire[at]
        else:
            other = draw(st.integers(0, len(wire) - 1))
            wire[at], wire[other] = wire[other], wire[at]
    return b"".join(msgpack.packb(event) for event in wire)


class MutatedTrace(TraceReader):
    """A trace whose first chunk is another one."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(path)
        self._data = data

    def data_of(self, index: int) -> bytes:
        return self._data if index == 0 else super().data_of(index)


def replay(path: Path, data: bytes) -> None:
    """Replays a mutated trace. Every refusal is a PyrrError."""

    def spinning(_: int, __: FrameType | None) -> None:
        raise SpinningError

    signal.signal(signal.SIGALRM, spinning)
    signal.setitimer(signal.ITIMER_REAL, SPIN_SECONDS)
    with (
        suppress(PyrrError, SpinningError),
        MutatedTrace(path, data) as trace,
        ReplaySession(trace, verify=True) as session,
    ):
        session.run()
    signal.setitimer(signal.ITIMER_REAL, 0)


def test_unchanged_recording_is_replayed(recorded: Path) -> None:
    """What is fed by the tests below is a whole recording, as long as nothing is changed."""

    def whole() -> None:
        with TraceReader(recorded) as trace:
            data = trace.data_of(0)
        with MutatedTrace(recorded, data) as trace, ReplaySession(trace, verify=True) as session:
            session.run()
            assert session.position == trace.count

    assert not in_child(whole)


@settings(max_examples=FEW, deadline=None, suppress_health_check=ISOLATED)
@given(data=st.data())
def test_mutated_recording_is_refused(recorded: Path, data: st.DataObject) -> None:
    with TraceReader(recorded) as trace:
        original = trace.data_of(0)
    chunk = mutate(original, data.draw)
    assert not in_child(lambda: replay(recorded, chunk))


@settings(max_examples=FEW, deadline=None, suppress_health_check=ISOLATED)
@given(data=st.data())
def test_mutated_recording_without_processes_is_refused(recorded: Path, data: st.DataObject) -> None:
    with TraceReader(recorded) as trace:
        original, count = trace.data_of(0), trace.chunks[0].events
    at = data.draw(st.integers(0, len(original) - 1))
    chunk = original[:at] + data.draw(st.binary(max_size=20)) + original[at + data.draw(st.integers(0, 20)) :]
    assert not in_child(lambda: feed(chunk, count))


@pytest.mark.parametrize(("start", "end"), [(0, 100), (4096, 4097), (0, (1 << 64) - 1), (1 << 47, 1 << 63)])
def test_checksum_of_impossible_ranges_ends(start: int, end: int) -> None:
    """The ranges of a checksum come from the trace."""

    def sum_up() -> None:
        with suppress(OSError, ValueError):
            _engine.checksum(os.getpid(), start, end, False)

    assert not in_child(sum_up)
