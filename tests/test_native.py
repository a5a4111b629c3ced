"""Moves by single instructions and to traps: steps backward retrace those forward, and nothing of it is seen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Surroundings, victim

from pyrr_debugger import _engine
from pyrr_debugger.events import SignalEvent, SyscallEvent
from pyrr_debugger.replayer import native
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.traps import Leg, Place, Steps, Trap
from pyrr_debugger.trace_reader import TraceReader

STEPS = 400 if LONG else 25
RT_SIGRETURN = 15
PROGRAMS = ["signal_places", "threads_in_turn", "trap_flag"]
PROGRAMS += ["signals_behind_sites", "kept_registers"] if LONG else []


@pytest.fixture
def recorded(
    one_interpreter: Interpreter, compiled: Callable[..., Path], tmp_path: Path
) -> Iterator[Callable[[str], TraceReader]]:
    """Records a victim and opens its trace."""
    readers = []

    def record(name: str) -> TraceReader:
        scratch = tmp_path / "scratch"
        scratch.mkdir(exist_ok=True)
        around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
        in_c = (harness.VICTIMS / f"{name}.c").exists()
        command = [compiled(name, "-pthread")] if in_c else [one_interpreter.path, victim(name)]
        harness.record(tmp_path / name, *command, around=around)
        readers.append(TraceReader(tmp_path / name))
        return readers[-1]

    yield record
    for reader in readers:
        reader.__exit__()


def registers(session: ReplaySession, task: int) -> dict[str, int]:
    return {**session.registers(task), "rip": native.address_of(session, task)}


def walk(session: ReplaySession, task: int, steps: int) -> list[tuple[Place, dict[str, int]]]:
    seen = []
    for _ in range(steps):
        if not native.step(session, task):
            break
        seen.append((session.place, registers(session, task)))
    return seen


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("name", PROGRAMS)
def test_steps_backward_retrace_those_forward(name: str, recorded: Callable[[str], TraceReader]) -> None:
    """Over system calls, patched and not, signals, handlers, thread switches, and a program that steps itself."""
    trace = recorded(name)
    with ReplaySession(trace) as session:
        session.seek("50%")
        event = session.next_event()
        assert event is not None
        seen = walk(session, event.task, STEPS)
        assert len(seen) == STEPS
        checksum = session.memory_checksum(event.task)
        for place, expected in reversed(seen[:-1]):
            assert native.step_back(session, event.task)
            assert registers(session, event.task) == expected, place
        session.go(seen[-1][0])
        assert registers(session, event.task) == seen[-1][1]
        assert session.memory_checksum(event.task) == checksum
    with ReplaySession(trace, verify=True) as session:
        session.seek("50%")
        walk(session, event.task, STEPS)
        session.seek("end")
        assert session.verification is not None
        assert session.verification.first is None


def test_no_step_is_in_the_agent(recorded: Callable[[str], TraceReader]) -> None:
    """A call at a patched site is one step, from its own instruction to behind it; code reads as it was."""
    trace = recorded("signals_behind_sites")
    sites = {event.site for event in trace.events() if isinstance(event, SyscallEvent)}
    with ReplaySession(trace) as session:
        session.seek("80%")
        event = session.next_event()
        assert event is not None
        task, before, calls = event.task, 0, 0
        for _ in range(300):
            ((_, present),) = walk(session, task, 1)
            code = native.program_memory(session, task, before, 2) if before else b""
            event = trace.event(session.position - 1)
            if code == b"\x0f\x05" and isinstance(event, SyscallEvent) and event.nr != RT_SIGRETURN:
                assert present["rip"] == before + 2 == present["rcx"]
                assert present["rip"] in sites
                assert present["orig_rax"] == (1 << 64) - 1
                calls += 1
            before = present["rip"]
            assert not _engine.AGENT[0] <= before < _engine.AGENT[1]
            assert not _engine.GATE_PAGE <= before < _engine.GATE_PAGE + _engine.GATE_BYTES
        assert calls > 3
        patched = [site for site in sites if session.read(task, site - 2, 2) != b"\x0f\x05"]
        assert patched
        assert all(native.program_memory(session, task, site - 2, 2) == b"\x0f\x05" for site in patched)


def test_traps_in_patched_sites(recorded: Callable[[str], TraceReader]) -> None:
    """Each site and each instruction behind one is met as often as there are events of it, by debug registers and by
    int3 alike, forward and backward; the program is none the wiser."""
    trace = recorded("signals_behind_sites")
    first = trace.count * 3 // 4
    events = [e for e in trace.events(first, first + 100) if isinstance(e, SyscallEvent)]
    sites = sorted({event.site for event in events if event.nr != RT_SIGRETURN})
    end = events[-1].number
    with ReplaySession(trace) as session:
        behind = {e.number for e in trace.events(first, end + 1) if isinstance(e, SignalEvent)}
        expected = {(e.number + 1, e.site) for e in events[:-1] if e.site in sites and e.number + 1 not in behind}
        found = []
        for padding in (0, 4):  # no debug register is left for the latter
            session.seek(first)
            task = events[0].task
            traps = [Trap(0x1000 + 8 * i, 1, "execute") for i in range(padding)]
            traps += [Trap(site, 1, "execute", task) for site in sites]
            found.append([(hit.place.position, traps[hit.index].address) for hit in session.hits(traps, Place(end))])
        assert found[0] == found[1]
        assert expected <= set(found[0])
        session.seek(first)
        forward = []
        while native.run_on(session, traps, lambda *_: True, end):
            forward.append((session.place, registers(session, task)))
        assert [place.position for place, _ in forward] == [position for position, _ in found[0]]
        backward = []
        while native.run_back(session, traps, lambda *_: True, first):
            backward.append(registers(session, task))
        assert backward == [present for _, present in reversed(forward)]
    with ReplaySession(trace, verify=True) as session:
        session.seek(first)
        session.hits(traps, Place(trace.count - 2))
        session.seek("end")
        assert session.verification is not None
        assert session.verification.first is None


def test_a_watch_sees_what_calls_write(recorded: Callable[[str], TraceReader]) -> None:
    """The memory that a read fills: met once, behind its event, however that is fed; backward to before the call."""
    trace = recorded("steps")
    reads = [e for e in trace.events() if isinstance(e, SyscallEvent) and e.nr == 0 and e.result > 64]
    event = reads[-1]
    address = (event.args[1] + 7) // 8 * 8
    with ReplaySession(trace) as session:
        trap = Trap(address, 8, "write")
        session.seek(event.number)
        old = session.read(event.task, address, 8)
        session.seek(event.number)
        hits = session.hits([trap], Place(event.number + 1))
        new = session.read(event.task, address, 8)
        if new != old:
            assert [hit.place.position for hit in hits][:1] == [event.number + 1]
        session.seek(event.number + 1)
        assert native.run_back(session, [trap], lambda *_: True, max(0, event.number - 200))
        assert session.place.position <= event.number + 1


@pytest.mark.parametrize("size", [1000, 16384])
def test_a_watch_sees_what_the_agent_writes(size: int, recorded: Callable[[str], TraceReader]) -> None:
    """Memory that calls fill which are answered in the tracee: once behind each, the same bytes or others, and whether
    the agent answers or, where the way ends, the replayer. The program runs on with the flags that it had."""
    trace = recorded("repeated_reads")
    middle = trace.count // 4
    event = next(e for e in trace.events(middle) if isinstance(e, SyscallEvent) and e.result == size and e.outputs)
    address = (event.outputs[0][0] + size // 2) // 8 * 8
    end = middle + 80

    def is_filled(event: object) -> bool:
        outputs = event.outputs if isinstance(event, SyscallEvent) else ()
        return any(at <= address < at + len(data) for at, data in outputs)

    expected = [e.number + 1 for e in trace.events(middle, end) if is_filled(e)]
    assert len(expected) > 3
    with ReplaySession(trace) as session:
        trap = Trap(address, 8, "write", event.task)
        session.seek(middle)
        places = [hit.place for hit in session.hits([trap], Place(end))]
        assert [place.position for place in places if place.legs[0] == Leg(trap, 1)] == expected
        for position in range(middle, end):
            session.seek(position)
            alone = [hit.place for hit in session.hits([trap], Place(position + 1))]
            assert alone == [place for place in places if place.position == position + 1]
        for place in reversed(places):
            session.go(place)
            assert session.simplified(session.place) == place
        session.seek(middle)
        met = []
        while native.run_on(session, [trap], lambda *_: True, end):
            met.append(session.place)
        assert met == places


def test_places_far_from_an_event(recorded: Callable[[str], TraceReader]) -> None:
    """Many steps from anything that is known; and a way in several legs is the same as one."""
    trace = recorded("steps")
    with ReplaySession(trace) as session:
        session.seek("output:/^end 2/")
        (task,) = session.tasks
        assert session.hold(session.position + 1) == task
        made, _ = session.steps(2000)
        assert made == 2000
        place, here = session.place, registers(session, task)
        session.seek(0)
        session.go(place)
        assert registers(session, task) == here
        trap = Trap(here["rip"], 1, "execute")
        session.seek(place.position - 1)
        hits = [hit for hit in native.hits_before(session, [trap], place) if hit.place.position == place.position]
        session.go(Place(place.position, (*(hits[-1].place.legs if hits else (Steps(0),)),)))
        assert session.run_to([trap])
        assert registers(session, task) == here
        assert native.step_back(session, task)
        assert native.step(session, task)
        assert registers(session, task) == here
