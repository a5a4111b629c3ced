"""Threads that go live: their registers, and what the kernel keeps for each."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

from .. import _engine, procfs, registers
from ..errors import PyrrError
from . import kernel
from .code import Patch
from .process import LiveProcess, LiveTask

if TYPE_CHECKING:
    from ..replayer.session import ReplaySession
    from ..state.model import Action, Credentials, Process, Task

_RT_SIGACTION, _SIGALTSTACK, _PRCTL, _SET_TID_ADDRESS, _SET_ROBUST_LIST = 13, 131, 157, 218, 273
_SETRESUID, _SETGROUPS, _SETRESGID, _CAPSET, _SECCOMP = 117, 116, 119, 126, 317
_SETPRIORITY, _SCHED_SETSCHEDULER, _SCHED_SETAFFINITY = 141, 144, 203
_PR_SET_PDEATHSIG, _PR_SET_KEEPCAPS, _PR_SET_NAME, _PR_CAPBSET_DROP = 1, 8, 15, 24
_PR_SET_TIMERSLACK, _PR_SET_NO_NEW_PRIVS = 29, 38
_CAPABILITIES_3 = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_SECCOMP_SET_MODE_FILTER = 1
_FILTER_INSTRUCTION = 8  # bytes of a struct sock_filter
_RED_ZONE = 128  # bytes below the stack pointer that a function may use (System V ABI)
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
    if state.nice is not None:
        live.try_call(_SETPRIORITY, 0, 0, state.nice)
    if state.policy is not None:
        live.try_call(_SCHED_SETSCHEDULER, 0, state.policy[0], live.put(struct.pack("<i", state.policy[1])))
    if state.affinity:
        live.try_call(_SCHED_SETAFFINITY, 0, len(state.affinity), live.put(state.affinity))
    _restore_credentials(state.credentials, live)
    if state.parent_death_signal:  # which a change of the user takes away
        live.call(_PRCTL, _PR_SET_PDEATHSIG, state.parent_death_signal)


def _restore_credentials(wanted: Credentials, live: LiveTask) -> None:
    """The user, groups and capabilities, as far as they are ours to give. They are never more than the recorded
    ones."""
    if wanted.no_new_privs:
        live.call(_PRCTL, _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    if wanted.uids is None or wanted.gids is None:
        return
    ours = procfs.status(live.tid)
    for bit in _bits(int(ours["CapBnd"], 16) & ~_or_all(wanted.bounding)):
        live.try_call(_PRCTL, _PR_CAPBSET_DROP, bit, 0, 0, 0)
    groups = ours["Groups"].split()
    if wanted.groups is not None and sorted(map(int, groups)) != sorted(wanted.groups):
        packed = struct.pack(f"<{len(wanted.groups)}I", *wanted.groups)
        live.call(_SETGROUPS, len(wanted.groups), live.put(packed) if packed else 0)
    if tuple(map(int, ours["Gid"].split()[:3])) != wanted.gids[:3]:
        live.call(_SETRESGID, *wanted.gids[:3])
    if tuple(map(int, ours["Uid"].split()[:3])) != wanted.uids[:3]:
        if wanted.permitted:
            live.call(_PRCTL, _PR_SET_KEEPCAPS, 1, 0, 0, 0)
        live.call(_SETRESUID, *wanted.uids[:3])
    ours = procfs.status(live.tid)
    permitted = int(ours["CapPrm"], 16)
    sets = [int(ours[name], 16) for name in ("CapEff", "CapPrm", "CapInh")]
    least = [_or_all(one) & permitted for one in (wanted.effective, wanted.permitted, wanted.inheritable)]
    if sets != least and wanted.permitted is not None:
        halves = [one >> shift & 0xFFFFFFFF for shift in (0, 32) for one in least]
        live.call(_CAPSET, live.put(struct.pack("<Ii", _CAPABILITIES_3, 0)), live.put(struct.pack("<6I", *halves)))


def _or_all(bits: int | None) -> int:
    return _NO_CALL if bits is None else bits


def _bits(number: int) -> list[int]:
    return [bit for bit in range(64) if number >> bit & 1]


def finish(state: Task, process: LiveProcess) -> None:
    """What comes last, when our page is gone: signals that wait, and the thread's own seccomp filters, under which
    no other call of ours may be allowed. Raises OSError, PyrrError."""
    live = process.threads[state.tid]
    for number in _bits(state.pending):
        kernel.tgkill(process.tid, live.tid, number + 1)
    if not state.filters:
        return
    stack = registers.unpack(_engine.registers(live.tid))["rsp"] - _RED_ZONE
    for program in state.filters:
        start = (stack - len(program)) & ~0xF
        live.write(start, program)
        live.write(start - 16, struct.pack("<H6xQ", len(program) // _FILTER_INSTRUCTION, start))
        result = live.try_call(_SECCOMP, _SECCOMP_SET_MODE_FILTER, 0, start - 16, here=True)
        if result < 0:
            raise PyrrError(f"a seccomp filter of thread {state.tid} cannot be installed: {os.strerror(-result)}")


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
