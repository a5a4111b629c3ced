"""Nothing stays behind: no process, zombie, temporary file, shared memory or descriptor, however a session ends."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import harness
import pytest
from harness import Interpreter, Surroundings

TREE = """
import os, subprocess, sys, threading, time

threading.Thread(target=time.sleep, args=({seconds},), daemon=True).start()
child = [sys.executable, "-S", "-c", "import os, time; os.fork() and os.fork(); time.sleep({seconds})"]
children = [subprocess.Popen(child, start_new_session=i % 2 == 0) for i in range(4)]
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:  # a daemon: nobody in the tree waits for it
        time.sleep({seconds})
    os._exit(0)
time.sleep(0.5)
print("all there", flush=True)
{then}
"""
ENDED = "for one in children: one.kill(), one.wait()\nos.kill(os.getpid(), 9)"


def processes(scratch: Path) -> dict[int, str]:
    """The processes with this $TMPDIR, which all of a tree inherit; zombies, which have no environment, by parent."""
    found = {}
    mark = os.fsencode(f"TMPDIR={scratch}")
    for entry in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            stat = Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()
            ours = mark in Path("/proc", entry, "environ").read_bytes().split(b"\0")
            if ours or (stat[0] == "Z" and int(stat[1]) == os.getpid()):
                found[int(entry)] = Path("/proc", entry, "comm").read_text().strip() + " " + stat[0]
    return found


@pytest.fixture
def nothing_left(scratch: Path) -> Iterator[None]:
    """Compares before and after. `scratch` itself must be empty then, which its fixture asserts."""
    shared, descriptors = set(os.listdir("/dev/shm")), len(os.listdir("/proc/self/fd"))
    yield
    deadline = time.monotonic() + 5
    while (left := processes(scratch)) and time.monotonic() < deadline:
        with suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:  # orphans that this process has adopted
                pass
        time.sleep(0.02)
    for pid in left:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    assert not left
    assert set(os.listdir("/dev/shm")) <= shared
    assert len(os.listdir("/proc/self/fd")) == descriptors


def tree(interpreter: Interpreter, then: str, seconds: float = 1.5) -> list[str]:
    return [str(interpreter.path), "-c", TREE.format(then=then.format(seconds=seconds), seconds=seconds)]


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("seconds", [0.05, 0.4, 0.9, 1.3])
def test_recorder_killed_amid_a_tree(
    seconds: float, one_interpreter: Interpreter, around: Surroundings, trace: Path, tmp_path: Path
) -> None:
    """SIGKILL takes the tracees with it (PTRACE_O_EXITKILL), daemons and other sessions too."""
    with (tmp_path / "out").open("wb") as out:
        words = harness.record_words(trace, *tree(one_interpreter, "time.sleep({seconds})", 60))
        recorder = subprocess.Popen(words, stdout=out, stderr=out, **around.popen_options())
        time.sleep(seconds)
        recorder.kill()
        recorder.wait()


@pytest.mark.usefixtures("nothing_left")
def test_replay_killed_amid_a_tree(
    one_interpreter: Interpreter, around: Surroundings, trace: Path, tmp_path: Path
) -> None:
    """Replayed processes die with their replayer, and its shared memory with them."""
    recorded = harness.record(trace, *tree(one_interpreter, ENDED), around=around)
    assert recorded.status == 128 + signal.SIGKILL, str(recorded)
    for seconds in (0.1, 0.2, 0.4, 0.8):
        with (tmp_path / "out").open("wb") as out:
            words = [str(harness.PYRR), "replay", str(trace)]
            replayer = subprocess.Popen(words, stdout=out, stderr=out, **around.popen_options())
            time.sleep(seconds)
            replayer.kill()
            replayer.wait()


@pytest.mark.usefixtures("nothing_left")
def test_recorded_replayed_verified(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """A tree that ends with a daemon still there: recording ends when all of it has ended."""
    command = tree(one_interpreter, ENDED)
    recorded = harness.record(trace, *command, around=around)
    assert recorded.stdout == b"all there\n", str(recorded)
    harness.assert_same_output(recorded, harness.replay(trace, around))
    harness.assert_verified(harness.verify(trace, around))


@pytest.mark.usefixtures("nothing_left")
def test_replay_to_a_position(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """A replay that ends amid the tree, with many processes alive."""
    harness.record(trace, *tree(one_interpreter, ENDED), around=around)
    for part in (4, 2):
        stopped = harness.pyrr(
            "replay", trace, "--to", str(harness.info(trace)["events"] * (part - 1) // part), around=around
        )
        assert stopped.status == 0, str(stopped)
