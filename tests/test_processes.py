"""Which processes are recorded, how a trace shows them, and replay of one of them."""

from __future__ import annotations

import json
import mmap
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import harness
import pytest

OUTPUT = {
    "executed": b"executed\n",
    "python executed": b"python executed\n",
    "forked": b"forked\n",
    "sharing": b"sharing\n",
}
OWN = b"fork 3\nshared hello\n"


def ps(trace: Path) -> list[dict[str, Any]]:
    result = harness.pyrr("ps", "--json", trace)
    assert result.status == 0, str(result)
    return [json.loads(line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    trace = tmp_path_factory.mktemp("tree") / "trace"
    harness.record(trace, sys.executable, harness.victim("process_tree"))
    return trace


def test_ps_shows_every_process_with_its_life(tree: Path) -> None:
    root, echo, python, forked, sharing = ps(tree)
    assert [p["parent"] for p in (echo, python, forked, sharing)] == [root["pid"]] * 4
    assert (root["parent"], root["start"], root["status"]) == (None, 0, 0)
    assert echo["arguments"] == ["/bin/echo", "executed"]
    assert python["arguments"][1:] == ["-c", "print('python executed')"]
    assert forked["arguments"] == root["arguments"]
    assert (forked["ending"], len(forked["threads"])) == ("exited with 3", 2)
    assert root["start"] < echo["start"] < echo["end"] < forked["start"] < forked["end"] < root["end"]


def test_ps_prints_a_tree(tree: Path) -> None:
    result = harness.pyrr("ps", tree)
    lines = result.stdout.decode().splitlines()
    assert len(lines) == 6, str(result)
    assert "  /bin/echo executed" in lines[2]
    assert "exited with 3" in lines[4]


def test_a_process_is_replayed_with_what_it_needs_only(tree: Path) -> None:
    root, *children = ps(tree)
    whole = harness.replay(tree)
    assert whole.stdout == b"executed\npython executed\nforked\nfork 3\nsharing\nshared hello\n"
    for process, output in zip(children, OUTPUT.values(), strict=True):
        result = harness.pyrr("replay", tree, "--process", str(process["pid"]))
        assert (result.stdout, result.stderr, result.status) == (output, b"", 0)
    assert harness.pyrr("replay", tree, "--process", str(root["pid"])).stdout == OWN


def test_a_position_of_one_process_is_that_of_the_whole_replay(tree: Path) -> None:
    for process in ps(tree):
        at = str(process["end"])
        whole = harness.position(tree, int(at))
        alone = harness.pyrr("replay", tree, "--process", str(process["pid"]), "--to", at, "--json")
        assert alone.status == 0, str(alone)
        assert json.loads(alone.stdout) == whole
        assert whole["task"] == process["pid"]


def test_an_unknown_process_is_said_to_be_none(tree: Path) -> None:
    result = harness.pyrr("replay", tree, "--process", "1")
    assert (result.status, result.stdout) == (2, b"")
    assert b"no process 1" in result.stderr


@pytest.mark.parametrize(
    ("follow", "executed", "left"),
    [
        (["none"], 0, 2),
        (["exec", "echo"], 1, 1),
        (["exec", "/bin/echo"], 0, 2),
        (["exec", Path(sys.executable).name], 1, 1),
        (["all"], 2, 0),
    ],
)
def test_only_the_children_asked_for_are_recorded(tmp_path: Path, follow: list[str], executed: int, left: int) -> None:
    trace = tmp_path / "trace"
    words = ["record", "-q", "-o", trace, "--follow", *follow, "--", sys.executable, harness.victim("process_tree")]
    recorded = harness.pyrr(*words)
    assert sorted(recorded.stdout.splitlines(True)) == sorted([*OUTPUT.values(), *OWN.splitlines(True)])
    processes = ps(trace)
    assert sum(p["left"] is not None and "is not followed" in p["left"] for p in processes) == left
    assert sum(len(p["executed"]) for p in processes) == 1 + executed
    if follow == ["none"]:
        return
    replayed = harness.replay(trace)
    assert replayed.status == 0, str(replayed)
    assert b"forked\nfork 3\nsharing\nshared hello\n" in replayed.stdout
    harness.assert_verified(harness.verify(trace))


def test_memory_shared_with_a_child_that_is_not_recorded_is_named(tmp_path: Path) -> None:
    """Its parent reads there what no system call brought: replay must not be silent about that."""
    trace = tmp_path / "trace"
    harness.pyrr("record", "-q", "-o", trace, "--follow", "none", sys.executable, harness.victim("process_tree"))
    assert any("is shared with process" in warning for warning in harness.info(trace)["warnings"])
    replayed = harness.replay(trace)
    assert (replayed.stdout, replayed.status) == (b"fork 3\nshared ", 3)
    assert b"memory shared with a process that was not recorded" in replayed.stderr


def test_memory_shared_with_an_outsider_is_named(tmp_path: Path) -> None:
    """The outsider is this test: it maps the file that the recorded program maps."""
    trace, path = tmp_path / "trace", tmp_path / "memory"
    path.write_bytes(bytes(mmap.PAGESIZE))
    program = "import mmap, sys; file = open(sys.argv[1], 'r+b'); print(mmap.mmap(file.fileno(), 0)[:1])"
    with path.open("r+b") as file, mmap.mmap(file.fileno(), 0):
        harness.record(trace, sys.executable, "-c", program, path)
    warnings = harness.info(trace)["warnings"]
    assert [w for w in warnings if f"{path} is shared with process {os.getpid()}" in w], warnings
    alone = tmp_path / "alone"
    harness.record(alone, sys.executable, "-c", program, path)
    assert not [w for w in harness.info(alone)["warnings"] if "shared" in w]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert path.exists(), "the child that went on unrecorded did not come to its end"


def test_what_outlives_the_program_goes_on_unrecorded(tmp_path: Path) -> None:
    trace, witness = tmp_path / "trace", tmp_path / "witness"
    harness.pyrr("record", "-q", "-o", trace, sys.executable, harness.victim("process_outlives_parent"), witness)
    wait_for(witness)
    root, child = ps(trace)
    assert (root["status"], child["left"]) == (0, "the first process had ended")
    assert harness.info(trace)["status"] == 0
    assert harness.replay(trace).stdout == b"parent ends\n"
    harness.assert_verified(harness.verify(trace))


SPAWNING = """
import os, sys

fifo, witness = sys.argv[1:]
read_end, write_end = os.pipe()
if os.fork() == 0:
    os.write(write_end, b"x")
    opening = [(os.POSIX_SPAWN_OPEN, 1, fifo, os.O_WRONLY, 0)]
    child = os.posix_spawn("/bin/echo", ["echo", "spawned"], os.environ, file_actions=opening)
    open(witness, "w").write(str(os.waitpid(child, 0)[1]))
    os._exit(0)
os.read(read_end, 1)
print("parent ends", flush=True)
"""


def test_what_outlives_the_program_may_wait_for_its_vfork_child(tmp_path: Path) -> None:
    """The kernel stops it only when that child has executed, or ended: the child goes first."""
    trace, witness, fifo = tmp_path / "trace", tmp_path / "witness", tmp_path / "fifo"
    os.mkfifo(fifo)
    words = harness.record_words(trace, sys.executable, "-c", SPAWNING, fifo, witness)
    with subprocess.Popen(words, stdout=subprocess.PIPE) as recorder:
        assert recorder.stdout is not None
        assert recorder.stdout.readline() == b"parent ends\n"
        time.sleep(0.2)
        assert fifo.read_text() == "spawned\n"
        assert recorder.wait(20) == 0
    wait_for(witness)
    assert harness.replay(trace).stdout == b"parent ends\n"
    harness.assert_verified(harness.verify(trace))


def test_wait_records_the_last_process_to_its_end(tmp_path: Path) -> None:
    trace, witness = tmp_path / "trace", tmp_path / "witness"
    words = [sys.executable, harness.victim("process_outlives_parent"), witness]
    harness.pyrr("record", "-q", "--wait", "-o", trace, *words)
    assert witness.exists()
    root, child = ps(trace)
    assert (root["left"], child["left"], child["status"]) == (None, None, 0)
    assert child["end"] > root["end"]
    harness.assert_verified(harness.verify(trace))
