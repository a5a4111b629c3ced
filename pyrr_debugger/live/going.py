"""The way of `pyrr resume`: from a trace to processes that run on their own."""

from __future__ import annotations

import os
import signal
import tempfile
from collections.abc import Callable
from contextlib import suppress
from typing import IO, TYPE_CHECKING

from .. import _engine
from ..errors import PyrrError
from ..replayer.position import Between, parse
from ..replayer.session import ReplaySession
from ..state import model
from ..state.contents import Contents
from ..state.history import state_at
from ..state.verdicts import Outcome, components
from . import statement as statements
from . import waiting
from .branch import branch_of
from .decision import Decision
from .descriptors import Descriptors, set_terminal
from .mapped import MappedFiles
from .opening import last_wait, recordable, screen, settled
from .policy import Policy
from .restore import Restoration

if TYPE_CHECKING:
    from ..recorder.branch import BranchSession
    from ..trace_reader import TraceReader

_LONGEST_SCREEN = 1 << 24  # bytes of output, in which the last drawing begins


def go_live(
    trace: TraceReader,
    to: str | None,
    policy: Policy,
    statement: str | None,
    agree: Callable[[list[str]], None],
    tell: Callable[[list[str]], None],
    terminal: int | None,
    recorder: BranchSession | None = None,
) -> int:
    """Lets a program live on from a position: the id of its first process, a child of ours. `agree` is shown what will
    differ, and raises an exception if that is not to be; `tell` what has come out differently, before anything runs.
    With a `recorder` it stands still, to be recorded by that. Raises PyrrError."""
    wanted = None if to is None else parse(to)
    processors = os.sched_getaffinity(0)  # replay takes one of them
    with (
        tempfile.TemporaryFile() as output,
        ReplaySession(trace, stdout=output.fileno(), stderr=output.fileno()) as session,
    ):
        between = isinstance(wanted, Between)
        if wanted is not None and between:
            session.seek(wanted)
            position = session.position
        else:
            position = last_wait(trace) if wanted is None else wanted.resolve(trace)
        calm = settled(trace, position) if recorder is None else recordable(trace, position)
        if recorder is not None and between:
            raise PyrrError(f"{to} is between two events: --record begins at one")
        if calm != position and between:
            raise PyrrError(f"{to} is amid a fork: choose another position")
        if calm != position:
            reason = "is amid a fork" if recorder is None else "is where no recording can begin"
            tell([f"event {position} {reason}: the program goes live at event {calm}"])
        state = state_at(trace, calm)
        _refuse_what_cannot_be(state)
        contents = Contents(trace, state)
        if not between:
            contents.gather(session)
            session.run(calm)
        descriptors = Descriptors(state, contents, policy)
        mapped = MappedFiles(session, state, descriptors, policy)
        _show([*descriptors.differing, *(((), one) for one in mapped.decisions)], agree)
        with Restoration(session, state, descriptors, mapped, policy, recorder is not None) as restoration:
            descriptors.make()
            mapped.make()
            os.sched_setaffinity(0, processors)
            restoration.build()
            tell(restoration.notes)
            if statement is not None:
                _run_statement(session, restoration, state, statement)
            if recorder is None:
                waiting.prepare()
            _set_terminal(state, terminal, restoration)
            if terminal is not None and _own_terminal(state) is not None:
                _show_screen(terminal, output)
            if recorder is None:
                restoration.release()
            else:
                name = os.path.basename(os.path.normpath(trace.path))
                branch = branch_of(session, restoration, state, mapped.watched(), statement, name)
                restoration.hand_over()
                recorder.go_on(branch)
            root = restoration.root.tid
    _announce_size(state, terminal, root)
    return root


def _refuse_what_cannot_be(state: model.ProgramState) -> None:
    if not state.processes:
        raise PyrrError(
            f"no process of the program lives at event {state.position}: choose another position with --to; "
            "'pyrr ps' shows between which events they live"
        )
    cannot = [one.text + ": " + one.verdict.text for one in components(state) if one.verdict.outcome is Outcome.CANNOT]
    if cannot:
        raise PyrrError("the program cannot go live here: " + "; ".join(cannot))


def _show(differing: list[tuple[tuple[int, ...], Decision]], agree: Callable[[list[str]], None]) -> None:
    refused: list[str] = []
    lines: list[str] = []
    for numbers, decision in differing:
        line = f"descriptor {', '.join(map(str, numbers))}: {decision.what}" if numbers else decision.what
        line += f": {decision.text}" if decision.text else ""
        (refused if decision.refused else lines).append(line)
    if refused:
        raise PyrrError("the policy refuses: " + "; ".join(refused))
    agree(lines)


def _run_statement(session: ReplaySession, restoration: Restoration, state: model.ProgramState, statement: str) -> None:
    event = session.next_event()
    root = next(iter(state.processes))
    task = event.task if event is not None and event.task in session.tasks else root
    process = restoration.processes[session.process_of(task)]
    before = {tid: _engine.registers(one.tid) for tid, one in process.threads.items()}
    statements.run(session, task, process, statement)
    recorded = state.processes[process.recorded]
    for tid, one in process.threads.items():
        _engine.set_registers(one.tid, before[tid], session.xstate(tid))
        _engine.set_mask(one.tid, recorded.tasks[tid].mask or 0)


def _own_terminal(state: model.ProgramState) -> model.TerminalSettings | None:
    for process in state.processes.values():
        for slot in process.descriptors.values():
            if isinstance(slot.description, model.Terminal) and slot.description.pty is None:
                return slot.description.settings
    return None


def _set_terminal(state: model.ProgramState, terminal: int | None, restoration: Restoration) -> None:
    settings = _own_terminal(state)
    if settings is None or terminal is None:
        return
    with suppress(OSError):
        set_terminal(terminal, settings, with_size=False)
    for recorded, process in restoration.processes.items():
        if state.processes[recorded].group == settings.foreground:
            with suppress(OSError):  # it is nobody's controlling terminal
                os.tcsetpgrp(terminal, os.getpgid(process.tid))
            return


def _show_screen(terminal: int, output: IO[bytes]) -> None:
    output.seek(max(0, output.seek(0, os.SEEK_END) - _LONGEST_SCREEN))
    drawn = memoryview(screen(output.read()))
    while drawn:
        drawn = drawn[os.write(terminal, drawn) :]


def _announce_size(state: model.ProgramState, terminal: int | None, root: int) -> None:
    """Full-screen programs draw again when the size of their terminal may have changed."""
    if _own_terminal(state) is not None and terminal is not None:
        with suppress(ProcessLookupError):
            os.kill(root, signal.SIGWINCH)
