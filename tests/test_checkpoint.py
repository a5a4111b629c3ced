"""Checkpoints on disk: a position come to from one is the same as one come to from the start, and goes on the same."""

from __future__ import annotations

import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import harness
import pytest
from harness import LONG, Surroundings, victim
from test_seek import chance, look

from pyrr_debugger.errors import TraceError
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.stored import Stored
from pyrr_debugger.trace_reader import TraceReader

POSITIONS = 20 if LONG else 1
KINDS = ["process_tree", "shared_memory", "signal_in_computation", "threads_queue"]
MORE_KINDS = [
    "memory_management",
    "deep_recursion",
    "fault_handler",
    "mapped_files",
    "sqlite_database",
    "subprocess_output",
    "death_writes",
]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Records a victim and makes checkpoints of it, as many as there can be."""
    folder = tmp_path_factory.mktemp("checkpoints")
    python = next(one for one in harness.interpreters() if one.runs_pytest)

    def record(name: str) -> Path:
        path, scratch = folder / name, folder / "scratch"
        if not path.exists():
            shutil.rmtree(scratch, ignore_errors=True)
            scratch.mkdir()
            around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
            harness.record(path, python.path, victim(name), around=around)
            made = harness.pyrr("checkpoint", path, "--every", "0.02")
            assert made.status == 0, str(made)
        return path

    return record


@pytest.fixture(autouse=True)
def near(monkeypatch: pytest.MonkeyPatch) -> None:
    """Victims are short: what is on disk is used all the same."""
    monkeypatch.setattr("pyrr_debugger.replayer.session._TO_REBUILD", 0.0)


def places(trace: TraceReader) -> list[int]:
    stored = Stored(trace)
    stored.close()
    return [place.position for place in stored.places]


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("name", [*KINDS, *MORE_KINDS] if LONG else KINDS)
def test_positions_are_the_same(name: str, recorded: Callable[[str], Path]) -> None:
    choice = chance()
    with TraceReader(recorded(name)) as trace:
        made = places(trace)
        assert made
        where = [choice.randrange(made[0], trace.count) for _ in range(POSITIONS)] + [choice.choice(made)]
        with ReplaySession(trace, checkpoints=False) as session:
            expected = {}
            for position in sorted(where):
                session.run(position)
                expected[position] = look(session)
        for position in where:
            with ReplaySession(trace, verify=True) as session:
                session.seek(position)
                assert session.checkpoints.before(position).position >= max(one for one in made if one <= position)
                assert look(session) == expected[position], position
                session.run()
                assert session.verification is not None
                assert session.verification.first is None
                assert session.position == trace.count


def test_a_session_goes_to_and_fro(recorded: Callable[[str], Path]) -> None:
    """Between checkpoints on disk and those in memory."""
    choice = chance()
    with TraceReader(recorded("process_tree")) as trace, ReplaySession(trace) as session:
        seen = {}
        where = [choice.randrange(trace.count) for _ in range(8)]
        for position in [*where, *sorted(where)]:
            session.seek(position)
            assert seen.setdefault(position, look(session)) == look(session), position


def test_commands_use_them(recorded: Callable[[str], Path], tmp_path: Path) -> None:
    path = recorded("threads_queue")
    assert harness.info(path)["checkpoints"] > 0
    with TraceReader(path) as trace:
        to = str(places(trace)[-1] + 1)
    shown = harness.pyrr("replay", path, "--to", to, "--json")
    packed = harness.pyrr("pack", path, "-o", tmp_path / "t.pyrr")
    assert packed.status == 0, str(packed)
    assert harness.info(tmp_path / "t.pyrr")["checkpoints"] == harness.info(path)["checkpoints"]
    assert harness.pyrr("replay", tmp_path / "t.pyrr", "--to", to, "--json").stdout == shown.stdout
    again = harness.pyrr("checkpoint", tmp_path / "t.pyrr")
    assert (again.status, len(again.stderr.splitlines())) == (2, 1)
    bare = tmp_path / "bare"
    shutil.copytree(path, bare)
    (bare / "checkpoints").unlink()
    assert harness.pyrr("replay", bare, "--to", to, "--json").stdout == shown.stdout
    assert harness.info(bare)["checkpoints"] == 0


def test_what_is_redacted_has_none(recorded: Callable[[str], Path], tmp_path: Path) -> None:
    """They hold memory, and so what was to be left out."""
    packed = harness.pyrr("pack", recorded("threads_queue"), "-o", tmp_path / "t.pyrr", "--redact", "PATH")
    assert packed.status == 0, str(packed)
    with zipfile.ZipFile(tmp_path / "t.pyrr") as archive:
        assert "checkpoints" not in archive.namelist()


def test_those_of_another_trace_are_refused(recorded: Callable[[str], Path], tmp_path: Path) -> None:
    copy = tmp_path / "trace"
    shutil.copytree(recorded("process_tree"), copy)
    shutil.copy(recorded("threads_queue") / "checkpoints", copy / "checkpoints")
    result = harness.pyrr("replay", copy, "--to", "100")
    assert (result.status, len(result.stderr.splitlines())) == (2, 1)
    assert b"those of another trace" in result.stderr


def test_damage_is_refused(recorded: Callable[[str], Path], tmp_path: Path) -> None:
    """Whatever byte is changed, a position is right or refused; and without the file the trace is what it was."""
    copy, choice = tmp_path / "trace", chance()
    shutil.copytree(recorded("threads_queue"), copy)
    data = (copy / "checkpoints").read_bytes()
    with TraceReader(copy) as trace:
        position = places(trace)[-1]
        with ReplaySession(trace) as session:
            session.seek(position)
            expected = look(session)
        refused = 0
        for changed in damages(data, choice):
            (copy / "checkpoints").write_bytes(changed)
            try:
                with ReplaySession(trace) as session:
                    session.seek(position)
                    assert look(session) == expected
            except TraceError:
                refused += 1
        assert refused >= 5
        result = harness.pyrr("replay", copy, "--to", str(position))
        assert (result.status, len(result.stderr.splitlines())) == (2, 1)
        (copy / "checkpoints").unlink()
        with ReplaySession(trace) as session:
            session.seek(position)
            assert look(session) == expected


def damages(data: bytes, choice: random.Random) -> list[bytes]:
    cut = [data[:0], data[:31], data[:-1], data[: len(data) // 2], data + b"\0"]
    flipped = []
    for _ in range(200 if LONG else 10):
        at = choice.randrange(len(data))
        flipped.append(data[:at] + bytes([data[at] ^ 1 << choice.randrange(8)]) + data[at + 1 :])
    return [*flipped, *cut]
