"""Threads that go live: their registers, and what the kernel keeps for each."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from .. import _engine, registers
from .code import Patch
from .process import LiveProcess, LiveTask

if TYPE_CHECKING:
    from ..replayer.session import ReplaySession
    from ..state.model import Action, Process, Task

_RT_SIGACTION, _SIGALTSTACK, _PRCTL, _SET_TID_ADDRESS, _SET_ROBUST_LIST = 13, 131, 157, 218, 273
_PR_SET_PDEATHSIG, _PR_SET_NAME, _PR_SET_TIMERSLACK = 1, 15, 29
_SYSCALL_BYTES = 2
_NO_CALL = (1 << 64) - 1
_THREAD_ID = 0x2D0  # in glibc's struct pthread, at which fs points; since 2.3, on x86-64
_UNCHANGEABLE = (9, 19)  # SIGKILL, SIGSTOP
_SIGNALS = 64
_SS_ONSTACK = 1


def program_registers(session: ReplaySession, task: int, patches: list[Patch]) -> dict[str, int]:
    """The registers of a task in its own code: one that is at the entry of a system call is about to make it."""
    present = session.registers(task)
    for patch in patches:
        if patch.after - _SYSCALL_BYTES <= present["rip"] <= patch.after + len(patch.original):
            present["rip"] = patch.site + present["rip"] - patch.after
            break
    if session.stop(task) == "call":
        present["rax"] = present["orig_rax"]
        present["rip"] -= _SYSCALL_BYTES
    present["orig_rax"] = _NO_CALL
    return present


def restore(session: ReplaySession, state: Task, live: LiveTask, patches: list[Patch]) -> None:
    """What belongs to one thread. Raises OSError."""
    _restore_kernel_part(state, live)
    present = program_registers(session, state.tid, patches)
    _engine.set_registers(live.tid, registers.pack(present), session.xstate(state.tid))
    _engine.set_mask(live.tid, state.mask or 0)
    _follow_id(live, state.tid, present["fs_base"])


def _restore_kernel_part(state: Task, live: LiveTask) -> None:
    if state.clear_child_tid:
        live.call(_SET_TID_ADDRESS, state.clear_child_tid)
    if state.robust_list:
        live.call(_SET_ROBUST_LIST, *state.robust_list)
    if state.alternate_stack:
        address, flags, size = state.alternate_stack
        live.call(_SIGALTSTACK, live.put(struct.pack("<QiiQ", address, flags & ~_SS_ONSTACK, 0, size)), 0)
    if state.name:
        live.call(_PRCTL, _PR_SET_NAME, live.put(state.name.encode(errors="surrogateescape")[:15] + b"\0"))
    if state.timer_slack_ns is not None:
        live.call(_PRCTL, _PR_SET_TIMERSLACK, state.timer_slack_ns)
    if state.parent_death_signal:
        live.call(_PRCTL, _PR_SET_PDEATHSIG, state.parent_death_signal)


def _follow_id(live: LiveTask, recorded: int, thread: int) -> None:
    """libc keeps a thread's own id, for its locks and signals."""
    if live.id == recorded or not thread:
        return
    if live.read(thread + _THREAD_ID, 4) == recorded.to_bytes(4, "little"):
        live.write(thread + _THREAD_ID, live.id.to_bytes(4, "little"))


def restore_actions(state: Process, process: LiveProcess) -> None:
    """What signals do. All of them: a seed ignores what we ignore."""
    for signal in range(1, _SIGNALS + 1):
        if signal not in _UNCHANGEABLE:
            action = state.dispositions.actions.get(signal)
            process.call(_RT_SIGACTION, signal, process.put(_packed(action)), 0, 8)


def _packed(action: Action | None) -> bytes:
    if action is None:
        return bytes(32)
    return struct.pack("<4Q", action.handler, action.flags, action.restorer, action.mask)
