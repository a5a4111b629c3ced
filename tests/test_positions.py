"""Any position of a recording can be visited, is the same each time, and has the right Python stack."""

from __future__ import annotations

import json
import os
import random
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import pytest
from harness import LONG, Interpreter, Result, Surroundings, victim

SHAPES = 8
"""event_storm.py makes its markers in so many ways, in turn."""

Stack = list[dict[str, Any]]


@dataclass(frozen=True)
class Storm:
    """A recording of event_storm.py: its events, the stacks that it logged, and where its markers are."""

    trace: Path
    result: Result
    events: list[dict[str, Any]]
    stacks: dict[int, Stack]
    markers: dict[int, int]


@pytest.fixture(scope="session")
def storms() -> dict[str, Storm]:
    return {}


def _record(interpreter: Interpreter, directory: Path) -> Storm:
    log, trace, scratch = directory / "log", directory / "trace", directory / "scratch"
    scratch.mkdir()
    around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
    result = harness.record(trace, interpreter.path, victim("event_storm"), log, around=around)
    assert result.status == 0, str(result)
    stacks = {}
    for line in log.read_text().splitlines():
        logged = json.loads(line)
        keys = ("function", "file", "line")
        stacks[logged["marker"]] = [dict(zip(keys, frame, strict=True)) for frame in logged["stack"]]
    events = harness.dump(trace)
    markers: dict[int, int] = {}
    for event in events:
        match = re.search(r"/marker/(\d+)\b", json.dumps(event["arguments"]))
        # Writes to the log hold no marker's path, and nothing else asks for one.
        if match and "access" in event["name"]:
            assert int(match[1]) not in markers, event
            markers[int(match[1])] = event["event"]
    log.unlink()  # it must not come back
    return Storm(trace, result, events, stacks, markers)


@pytest.fixture
def storm(interpreter: Interpreter, storms: dict[str, Storm], tmp_path_factory: pytest.TempPathFactory) -> Storm:
    """A storm recorded with this interpreter, once in a session."""
    if interpreter.name not in storms:
        storms[interpreter.name] = _record(interpreter, tmp_path_factory.mktemp("storm"))
    return storms[interpreter.name]


@pytest.fixture
def one_storm(
    one_interpreter: Interpreter, storms: dict[str, Storm], tmp_path_factory: pytest.TempPathFactory
) -> Storm:
    if one_interpreter.name not in storms:
        storms[one_interpreter.name] = _record(one_interpreter, tmp_path_factory.mktemp("storm"))
    return storms[one_interpreter.name]


def chance() -> random.Random:
    """Chance that can be repeated: the seed is printed, and taken from $PYRR_SEED."""
    seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"PYRR_SEED={seed}")
    return random.Random(seed)


def test_storm_is_recorded_and_replayed(storm: Storm) -> None:
    """20,000 syscalls and more: all events are there, with every marker; the replay is the recording."""
    assert len(storm.events) > 20_000
    assert set(storm.markers) == set(storm.stacks) == set(range(200))
    assert list(storm.markers.values()) == sorted(storm.markers.values())
    replayed = harness.replay(storm.trace)
    assert replayed.status == 0, str(replayed)
    harness.assert_same_output(storm.result, replayed)
    harness.assert_verified(harness.verify(storm.trace))
    assert not (storm.trace.parent / "log").exists(), "a replay wrote a file"


@pytest.mark.timeout(3600)
def test_python_stack_at_markers(storm: Storm) -> None:
    """At the event of a marker the Python stack is the one that the program logged there."""
    choice = chance()
    turns = 200 // SHAPES
    for shape in range(SHAPES):
        for turn in range(turns) if LONG else [choice.randrange(turns)]:
            number = turn * SHAPES + shape
            found = harness.position(storm.trace, storm.markers[number])
            assert str(found["position"]).split(":")[0] == str(storm.markers[number])
            frames = [{key: frame[key] for key in ("function", "file", "line")} for frame in found["python"]]
            assert frames == storm.stacks[number], f"marker {number}"


def test_python_stack_beside_a_marker(storm: Storm) -> None:
    """At the last write before a marker the stack is deeper by one: log() is writing."""
    writes = [event["event"] for event in storm.events if event["name"] == "write"]
    event = max(number for number in writes if number < storm.markers[0])
    frames = harness.position(storm.trace, event)["python"]
    assert [frame["function"] for frame in frames][:3] == ["log", "plain", "main"], frames


@pytest.mark.timeout(3600)
def test_positions_are_the_same_twice(one_storm: Storm) -> None:
    """At random positions: same registers, memory, task and stack in two replays; and each differs."""
    choice = chance()
    first, last = one_storm.events[0]["event"], one_storm.events[-1]["event"]
    names = {event["event"]: event["name"] for event in one_storm.events}
    checksums = {}
    for number in choice.sample(range(first, last + 1), 200 if LONG else 8):
        one, other = harness.position(one_storm.trace, number), harness.position(one_storm.trace, number)
        keys = {"position", "event", "task", "registers", "memory_checksum", "native", "python"}
        assert keys <= set(one), one
        assert one["registers"] == other["registers"], number
        assert one["memory_checksum"] == other["memory_checksum"], number
        assert one == other, number
        assert one["event"]["name"] == names[number], number
        assert {"rip", "rsp", "rax", "rdi"} <= set(one["registers"]), one["registers"]
        checksums[number] = one["memory_checksum"]
    # A storm changes memory all the time: a checksum that sees too little would repeat itself.
    assert len(set(checksums.values())) > len(checksums) * 3 // 4, checksums


def test_last_position(one_storm: Storm) -> None:
    """The last event can be visited, and what lies beyond is refused in one message."""
    last = one_storm.events[-1]["event"]
    assert harness.position(one_storm.trace, last)["event"]["name"] == one_storm.events[-1]["name"]
    beyond = harness.pyrr("replay", one_storm.trace, "--to", str(last + 1_000_000), "--json")
    assert beyond.status == 2, str(beyond)
    assert beyond.stdout == b""
    assert str(last).encode() in beyond.stderr.replace(b",", b"").replace(b"_", b""), str(beyond)
    assert b"Traceback" not in beyond.stderr


def test_dump_with_stacks(one_storm: Storm) -> None:
    """Each event has the Python line that caused it: what the program itself logged at its markers."""
    first = min(one_storm.markers.values())
    words = ["--stack", "--from", str(first), "--until", str(first + 300)]
    result = harness.pyrr("dump", one_storm.trace, "--json", *words)
    rows = {row["event"]: row["python"] for row in map(json.loads, result.stdout.splitlines())}
    compared = [marker for marker, event in one_storm.markers.items() if event in rows]
    assert compared
    for marker in compared:
        assert rows[one_storm.markers[marker]] == one_storm.stacks[marker]
    text = harness.pyrr("dump", one_storm.trace, *words).stdout.decode()
    top = one_storm.stacks[compared[0]][0]
    assert f"  @ {top['file']}:{top['line']} {top['function']}\n" in text
