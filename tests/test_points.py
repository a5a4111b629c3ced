"""Tasks left amid native code, where neither a call nor a tick comes: what replay, steps and traps make of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import harness
import pytest
from harness import Surroundings

from pyrr_debugger.events import TickEvent
from pyrr_debugger.recorder.point import Guide
from pyrr_debugger.registers import LAYOUT, NAMES, unpack
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.traps import Place, Trap
from pyrr_debugger.trace_reader import TraceReader

ROUNDS = 3000


@pytest.fixture
def recorded(compiled: Callable[..., Path], tmp_path: Path) -> tuple[TraceReader, int]:
    """The victim native_rounds, and where its counters lie."""
    around = Surroundings(env=harness.victim_environment(tmp_path), cwd=tmp_path)
    result = harness.record(tmp_path / "trace", compiled("native_rounds", "-O2", "-pthread"), around=around)
    assert b"3000 and 3000 rounds" in result.stdout
    return TraceReader(tmp_path / "trace"), int(result.stdout.split()[1], 16)


def points(trace: TraceReader) -> list[TickEvent]:
    return [event for event in trace.events() if isinstance(event, TickEvent) and event.amid]


def test_traps_on_the_way_to_a_point(recorded: tuple[TraceReader, int]) -> None:
    """None is lost and none is new; each is a place that is found again, backward too."""
    trace, rounds = recorded
    left = points(trace)
    assert len({event.task for event in left}) == 2
    with ReplaySession(trace) as session:
        traps = [Trap(rounds, 8, "write"), Trap(rounds + 8, 8, "write")]
        hits = session.hits(traps, Place(trace.count))
        for index in range(2):
            assert [hit.value for hit in hits if hit.index == index] == list(range(1, ROUNDS + 1))
        amid = [hit for hit in hits if hit.place.position in {event.number for event in left}]
        assert len(amid) > 100
        for hit in [amid[50], amid[5], amid[-1], amid[5]]:
            session.go(hit.place)
            task = session.midway
            assert int.from_bytes(session.read(task, rounds + 8 * hit.index, 8), "little") == hit.value


def test_steps_to_a_point(recorded: tuple[TraceReader, int]) -> None:
    """They end where the task was left, with the registers and the memory that it had."""
    trace, rounds = recorded
    point = points(trace)[1]
    with ReplaySession(trace) as session:
        session.seek(point.number)
        expected, memory = session.registers(point.task), session.memory_checksum(point.task)
        assert {**unpack(point.registers), "orig_rax": 0} == {**expected, "orig_rax": 0}
        session.seek(point.number - 1)
        hits = session.hits([Trap(rounds, 8, "write"), Trap(rounds + 8, 8, "write")], Place(point.number))
        last = next(hit for hit in reversed(hits) if hit.place.position == point.number)
        session.go(last.place)
        made, _ = session.steps(1 << 20)
        assert 0 < made < 1 << 20
        assert not session.midway
        assert session.position == point.number
        assert session.registers(point.task) == expected
        assert session.memory_checksum(point.task) == memory
        session.go(last.place)
        session.steps(made - 1)
        assert session.midway == point.task
        assert session.registers(point.task)["rip"] != expected["rip"]


def test_watched_places_where_code_is_not_written_yet(compiled: Callable[..., Path], tmp_path: Path) -> None:
    """No debug register is left for the place of a point whose code the program writes on the way there."""
    around = Surroundings(env=harness.victim_environment(tmp_path), cwd=tmp_path)
    recorded = harness.record(tmp_path / "trace", compiled("code_made_anew", "-O2"), around=around)
    with TraceReader(tmp_path / "trace") as trace, ReplaySession(trace) as session:
        left = points(trace)
        assert len(left) >= 3
        page = next(unpack(event.registers)["rip"] for event in left) & ~4095
        traps = [Trap(page + 2048 + 8 * index, 8, "write") for index in range(4)]
        assert not [hit for hit in session.hits(traps, Place(trace.count)) if hit.place.position >= left[0].number]
        session.seek(trace.count)
        for event in left:
            session.seek(event.number)
            assert {**session.registers(event.task), "orig_rax": 0} == {**unpack(event.registers), "orig_rax": 0}
    harness.assert_same_output(recorded, harness.replay(tmp_path / "trace", around))


def test_no_task_is_left_before_where_a_branch_leads() -> None:
    """There a jump over that place would be met at each turn of the loop: the next instruction is as good."""
    start, loop, branch = 0x1000, 0x1003, 0x1006
    code = bytes.fromhex("48ffc0 48ffc1 75fb".replace(" ", "")).ljust(
        4096, b"\x90"
    )  # inc rax; again: inc rcx; jne again

    def registers(address: int) -> bytes:
        return (
            bytes(8 * NAMES.index("rip"))
            + address.to_bytes(8, "little")
            + bytes(LAYOUT.size - 8 * NAMES.index("rip") - 8)
        )

    places = iter([start, *[loop, branch] * 100])
    guide = Guide(
        registers(start - 1),
        lambda address, size: code[address - start : address - start + size] if address >= start else b"",
    )
    moved = guide.lead(lambda: registers(next(places)))
    assert guide.address == loop
    assert moved is not None
    assert moved.code == code[3:8]
