"""A recorder that is killed, a disk that is full, traces that are damaged: what there is stays usable."""

from __future__ import annotations

import ctypes
import json
import os
import random
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Result, Surroundings, victim

from pyrr_debugger.events import TickEvent
from pyrr_debugger.trace_reader import TraceReader

KILLS = 50 if LONG else 3
MUTATIONS = 1000 if LONG else 25
LINES = 10_000_000  # more than any machine records before it is killed


def chance() -> random.Random:
    """Chance that can be repeated: the seed is printed, and taken from $PYRR_SEED."""
    seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"PYRR_SEED={seed}")
    return random.Random(seed)


def assert_one_message(result: Result) -> None:
    """An error meant for a person: a few lines at most, and nothing of the program's inside."""
    lines = [line for line in result.stderr.splitlines() if line.strip()]
    assert b"Traceback" not in result.stderr, str(result)
    assert 1 <= len(lines) <= 4, str(result)


# ---- a killed recorder ----


@pytest.mark.timeout(3600)
def test_killed_recorder_leaves_a_trace(one_interpreter: Interpreter, around: Surroundings, tmp_path: Path) -> None:
    """SIGKILL at random moments: the program dies too, and the trace replays up to its last whole chunk."""
    choice = chance()
    replayed_bytes = []
    # The system call sites of its libraries are judged once, which takes longer than most of what follows.
    harness.record(tmp_path / "first", one_interpreter.path, victim("long_output"), "1", around=around)
    for number in range(KILLS):
        trace, output = tmp_path / f"trace{number}", tmp_path / f"output{number}"
        words = harness.record_words(trace, one_interpreter.path, victim("long_output"), str(LINES))
        harness.run_and_kill(words, choice.uniform(0.3, 4) if LONG else choice.uniform(0.6, 1.2), output, around)
        written = output.read_bytes()
        assert written.count(b"\n") < LINES, "it was not killed in the middle"
        replayed = harness.replay(trace)
        if replayed.status == 2:  # it was killed before there was anything to replay
            assert_one_message(replayed)
            assert not written or b"holds no event" in replayed.stderr, str(replayed)
            continue
        assert replayed.status == 0, str(replayed)
        assert written.startswith(replayed.stdout), harness.difference(written, replayed.stdout)
        assert_says_cut(replayed)
        replayed_bytes.append(len(replayed.stdout))
        harness.assert_verified(harness.verify(trace))
        assert harness.info(trace)["warnings"]
        shutil.rmtree(trace)
    assert any(replayed_bytes), "nothing was ever replayed: traces are not written as they grow"


def assert_says_cut(replayed: Result) -> None:
    assert b" cut" in replayed.stderr, str(replayed)
    assert_one_message(replayed)


# ---- a full disk ----

MS_NOSUID_NODEV = 2 | 4
MNT_DETACH = 2


@pytest.fixture
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A file system of so many megabytes."""
    libc = ctypes.CDLL(None, use_errno=True)
    path = tmp_path / "disk"
    path.mkdir()
    options = f"size={request.param}m,mode=700".encode()
    if libc.mount(b"tmpfs", os.fsencode(path), b"tmpfs", MS_NOSUID_NODEV, options) != 0:
        pytest.skip(f"cannot mount a tmpfs: {os.strerror(ctypes.get_errno())}")
    yield path
    assert libc.umount2(os.fsencode(path), MNT_DETACH) == 0


@pytest.mark.parametrize("small_disk", [2, 60], indirect=True, ids=["at the start", "in the middle"])
def test_full_disk(small_disk: Path, one_interpreter: Interpreter, around: Surroundings) -> None:
    """The program runs to its end with its output intact; one clear message; what was recorded replays."""
    megabytes = 120

    trace = small_disk / "trace"
    words = harness.record_words(trace, one_interpreter.path, victim("random_bytes"), str(megabytes))
    recorded = harness.run(words, around)
    assert recorded.status == 0, str(recorded)
    assert recorded.stdout.endswith(b"\nend\n"), str(recorded)
    assert recorded.stdout.count(b"\n") == megabytes + 1, str(recorded)
    assert b"No space left" in recorded.stderr or b"full" in recorded.stderr, str(recorded)
    assert_one_message(recorded)
    replayed = harness.replay(trace)
    assert replayed.status in (0, 2), str(replayed)
    assert_one_message(replayed)
    if replayed.status == 0:
        assert recorded.stdout.startswith(replayed.stdout)
        assert len(replayed.stdout) < len(recorded.stdout)
        assert_says_cut(replayed)
    else:
        assert replayed.stdout == b""


# ---- damaged traces ----

COMMANDS = {"replay": ["replay"], "verify": ["verify"], "info": ["info", "--json"], "dump": ["dump"]}

Mutation = Callable[[random.Random, bytearray], str]


def flip_bit(choice: random.Random, data: bytearray) -> str:
    place, bit = choice.randrange(len(data)), choice.randrange(8)
    data[place] ^= 1 << bit
    return f"bit {bit} of byte {place} flipped"


def overwrite(choice: random.Random, data: bytearray) -> str:
    place, size = choice.randrange(len(data)), choice.choice((1, 4, 8, 64, 4096))
    value = choice.choice((b"\0" * size, b"\xff" * size, choice.randbytes(size)))
    data[place : place + size] = value[: len(data) - place]
    return f"{size} bytes at {place} overwritten with {value[:8]!r}"


def truncate(choice: random.Random, data: bytearray) -> str:
    place = choice.choice((0, 1, choice.randrange(len(data)), len(data) - 1))
    del data[place:]
    return f"truncated to {place}"


def insert(choice: random.Random, data: bytearray) -> str:
    place, size = choice.randrange(len(data) + 1), choice.choice((1, 3, 16, 5000))
    data[place:place] = choice.randbytes(size)
    return f"{size} bytes inserted at {place}"


def delete(choice: random.Random, data: bytearray) -> str:
    place, size = choice.randrange(len(data)), choice.choice((1, 3, 16, 5000))
    del data[place : place + size]
    return f"{size} bytes deleted at {place}"


def repeat(choice: random.Random, data: bytearray) -> str:
    place, size = choice.randrange(len(data)), choice.choice((1, 16, 500))
    data[place:place] = data[place : place + size]
    return f"{size} bytes at {place} twice"


MUTATIONS_OF_FILES: list[Mutation] = [flip_bit, flip_bit, overwrite, truncate, insert, delete, repeat]


def mutate(choice: random.Random, trace: Path) -> str:
    """Damage one file of a trace, or take it away."""
    path = choice.choice(sorted(path for path in trace.rglob("*") if path.is_file()))
    name = f"{path.relative_to(trace)} ({path.stat().st_size} bytes)"
    path.chmod(0o600)
    if choice.random() < 0.05 or path.stat().st_size == 0:
        path.unlink()
        return f"{name}: removed"
    data = bytearray(path.read_bytes())
    done = choice.choice(MUTATIONS_OF_FILES)(choice, data)
    path.write_bytes(data)
    return f"{name}: {done}"


@dataclass(frozen=True)
class Whole:
    """A small trace, and what each command says about it."""

    trace: Path
    results: dict[str, Result]


@pytest.fixture
def whole(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> Whole:
    program = "import time; print(time.time_ns(), id(time)); print(object())"
    recorded = harness.record(trace, one_interpreter.path, "-IS", "-c", program, around=around)
    assert recorded.status == 0, str(recorded)
    results = {name: harness.pyrr(*words, trace) for name, words in COMMANDS.items()}
    for result in results.values():
        assert result.status == 0, str(result)
    harness.assert_same_output(recorded, results["replay"])
    return Whole(trace, results)


@pytest.mark.timeout(7200)
def test_damaged_traces(whole: Whole, tmp_path: Path) -> None:
    """No damage makes a command crash, hang, or say something wrong.

    A command that reads the damaged part exits with 2 and one message. One that does not need it may
    succeed, but only with exactly the output that the whole trace gives. The one exception: a trace whose
    end is missing is a cut trace; its beginning replays, and the command says so.
    """
    choice = chance()
    # Of a stored file of which it knows where it lies, replay would not read the damaged copy (`originals`).
    around = Surroundings(env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "nothing known")}, timeout=30)
    refused = dict.fromkeys(COMMANDS, 0)
    unread = 0
    for _ in range(MUTATIONS):
        damaged = tmp_path / "damaged"
        shutil.copytree(whole.trace, damaged, symlinks=True)
        what = mutate(choice, damaged)
        statuses = {}
        for name, words in COMMANDS.items():
            try:
                result = harness.pyrr(*words, damaged, around=around)
            except subprocess.TimeoutExpired:
                pytest.fail(f"{name} hangs: {what}")
            assert_refused_or_equal(name, result, whole.results[name], what)
            statuses[name] = result.status
            refused[name] += result.status == 2
        unread += statuses["verify"] == 0
        shutil.rmtree(damaged)
    print(f"refused: {refused}, not seen by verify: {unread}")
    assert refused["verify"] >= MUTATIONS // 2, refused
    assert refused["replay"] >= MUTATIONS // 2, refused
    assert refused["info"], refused
    assert refused["dump"], refused


def assert_refused_or_equal(name: str, result: Result, whole: Result, what: str) -> None:
    message = f"{what}\n{result}"
    assert b"Traceback" not in result.stdout + result.stderr, message
    assert b"Fatal Python error" not in result.stderr, message
    assert result.status in (0, 2), message
    if result.status == 2:
        lines = [line for line in result.stderr.splitlines() if line.strip()]
        assert 1 <= len(lines) <= 4, message
        assert not result.stdout or whole.stdout.startswith(result.stdout), message
    elif b" cut" not in result.stderr + result.stdout:
        if name == "verify":
            harness.assert_verified(result)  # it may tell time, too
        else:
            same = _shown(name, result.stdout) == _shown(name, whole.stdout)
            assert same, f"undetected damage: {message}"


def _shown(name: str, output: bytes) -> object:
    """The output of a command; of info what does not depend on the trace's own path and size."""
    if name != "info":
        return output
    about = json.loads(output)
    return [about[key] for key in ("format", "command", "interpreter", "events", "tasks", "warnings")]


def test_not_a_trace(tmp_path: Path) -> None:
    """Nothing, an empty directory, a file, a directory of other things: exit status 2, and the path."""
    empty, other = tmp_path / "empty", tmp_path / "other"
    empty.mkdir()
    other.mkdir()
    (other / "events").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    (tmp_path / "file").write_bytes(os.urandom(1000))
    for path in (tmp_path / "missing", empty, other, tmp_path / "file"):
        for words in COMMANDS.values():
            result = harness.pyrr(*words, path)
            assert result.status == 2, str(result)
            assert path.name.encode() in result.stderr, str(result)
            assert result.stdout == b"", str(result)
            assert b"Traceback" not in result.stderr, str(result)


def test_unwritable_place(one_interpreter: Interpreter, around: Surroundings) -> None:
    """Where no trace can be made the program is not started at all."""
    words = harness.record_words(Path("/proc/pyrr"), one_interpreter.path, "-c", "print('ran')")
    result = harness.run(words, replace(around, timeout=30))
    assert result.status == 2, str(result)
    assert result.stdout == b""
    assert_one_message(result)


def test_32_bit_call(one_interpreter: Interpreter, around: Surroundings, tmp_path: Path) -> None:
    """A system call by `int 0x80` does what it does bare, and ends the recording with its name."""
    recorded = harness.record(tmp_path / "trace", one_interpreter.path, victim("call_of_32_bits"), around=around)
    assert (recorded.status, recorded.stdout) == (0, b"before\nsame process True\n"), str(recorded)
    assert b"int 0x80" in recorded.stderr
    replayed = harness.replay(tmp_path / "trace")
    assert (replayed.status, replayed.stdout) == (0, b"before\n"), str(replayed)
    assert b" cut" in replayed.stderr


@pytest.mark.parametrize(("way", "options"), [("call", ()), ("fork", ("--follow", "none"))])
def test_calls_after_leaving(
    way: str, options: tuple[str, ...], compiled: Callable[..., Path], around: Surroundings, tmp_path: Path
) -> None:
    """What is let go runs on as if nobody had ever touched its code."""
    program = compiled("calls_after_leaving", "-pthread")
    recorded = harness.record(tmp_path / "trace", program, way, around=around, options=options)
    lines = {"call": b"wrong 0 0 0 0 0\n", "fork": b"wrong 0 0 0 0 0\nstatus 0\n"}
    assert (recorded.status, recorded.stdout) == (0, lines[way]), str(recorded)


def test_signal_in_computation(one_interpreter: Interpreter, around: Surroundings, tmp_path: Path) -> None:
    """Without a clock, a handler that a computation waits for is run amid native code."""
    command = (one_interpreter.path, victim("signal_in_computation"))
    recorded = harness.record(tmp_path / "trace", *command, around=around, options=["--no-agent"])
    assert (recorded.status, recorded.stdout) == (0, b"computing\nhandled 1\n"), str(recorded)
    assert recorded.stderr == b""
    with TraceReader(tmp_path / "trace") as trace:
        assert any(isinstance(event, TickEvent) and event.amid for event in trace.events())
    harness.assert_same_output(recorded, harness.replay(tmp_path / "trace"))
    harness.assert_verified(harness.pyrr("verify", tmp_path / "trace"))


@pytest.mark.parametrize("place", ["200000000000", "200000000004"])
def test_gates_are_not_the_program_s(
    place: str, compiled: Callable[..., Path], around: Surroundings, tmp_path: Path
) -> None:
    """A replayed program that calls a gate itself gets no task out of it which would outlive the replay."""
    program = compiled("gate_user")
    recorded = harness.record(tmp_path / "trace", program, place, around=around)
    assert (recorded.status, recorded.stdout) == (128 + signal.SIGSEGV, b"now\n"), str(recorded)
    replayed = harness.replay(tmp_path / "trace")  # which looks for what it leaves behind
    assert replayed.status in (0, 3), str(replayed)
