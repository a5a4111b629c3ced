"""What going live would do with each component of a state."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ..replayer.description import ending
from . import words
from .model import (
    Description,
    Device,
    Epoll,
    EventFd,
    File,
    Inotify,
    Mapping,
    MemFd,
    MessageQueue,
    Namespace,
    OpenDirectory,
    OpenFile,
    OpenPath,
    PidFd,
    PipeEnd,
    Process,
    ProcFile,
    ProgramState,
    PtyMaster,
    SignalFd,
    Socket,
    Task,
    Terminal,
    TimerFd,
    Unknown,
)

_AF_UNIX = 1


class Outcome(Enum):
    """The four verdicts."""

    EXACT = "restored exactly"
    REBUILT = "rebuilt"
    CHOICE = "needs a choice"
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`text` says how, which or why. `subject` is the class in a policy of a component that can be chosen about."""

    outcome: Outcome
    text: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Component:
    """One component: of which process (0: of the whole program), of what kind, in words."""

    process: int
    area: str
    text: str
    verdict: Verdict


_EXACT = Verdict(Outcome.EXACT)


def _rebuilt(text: str, subject: str = "") -> Verdict:
    return Verdict(Outcome.REBUILT, text, subject)


def _choice(subject: str, text: str) -> Verdict:
    return Verdict(Outcome.CHOICE, text, subject)


def _cannot(text: str) -> Verdict:
    return Verdict(Outcome.CANNOT, text)


def components(state: ProgramState) -> list[Component]:
    """All components with their verdicts. Files are looked up as they are now, on this machine."""
    found = [Component(0, "trace", gap, _cannot("it was not recorded")) for gap in state.gaps]
    found.append(
        Component(0, "clocks", "", _rebuilt("CLOCK_MONOTONIC goes on; the time of day is the present one", "clock"))
    )
    found += [Component(0, "ipc", text, _cannot(_IPC)) for text in state.ipc]
    for process in state.processes.values():
        found += _of_process(state, process)
    return found


_IPC = "its content is the kernel's, and in no event of the trace"


def _of_process(state: ProgramState, process: Process) -> Iterator[Component]:
    def component(area: str, text: str, verdict: Verdict) -> Component:
        return Component(process.pid, area, text, verdict)

    ids = f"{process.pid}, parent {process.parent or 'outside'}, group {process.group}, session {process.session}"
    yield component("ids", ids, _rebuilt("kept where they are free", "pid"))
    yield component("program", process.executable, _EXACT)
    for task in process.tasks.values():
        yield component("task", _task(task), _of_task(task))
        yield from (component("namespace", name, _cannot(_NAMESPACE)) for name in task.namespaces)
    if process.pid not in process.tasks:
        yield component(
            "task", f"{process.pid} has ended", _cannot("a process cannot be made without its first thread")
        )
    yield component("directory", process.directories.cwd, _folder(process.directories.cwd))
    if process.directories.root != "/":
        yield component("root", process.directories.root, _cannot(_ROOT))
    umask = process.directories.umask
    yield component(
        "umask", "unknown" if umask is None else f"{umask:03o}", _EXACT if umask is not None else _cannot(_OLD)
    )
    yield component("credentials", *_credentials(process))
    yield component("limits", f"{len(process.limits)} of them", _rebuilt("a hard limit can be raised by root only"))
    handled = words.signals(sum(1 << n - 1 for n, a in process.dispositions.actions.items() if a.handler > 1))
    ignored = words.signals(sum(1 << n - 1 for n, a in process.dispositions.actions.items() if a.handler == 1))
    yield component("signals", f"handled: {handled}; ignored: {ignored}", _EXACT)
    if process.pending:
        yield component("pending", words.signals(process.pending), _rebuilt("sent again"))
    for timer in process.timers:
        yield component("timer", words.timer(timer), _rebuilt("armed with the time left"))
    for pid, status in process.zombies.items():
        yield component("child", f"{pid}, {ending(status)}, not waited for", _rebuilt("a child that ends so at once"))
    for pid in process.foreign_children:
        yield component("child", f"{pid}, not recorded", _cannot("it was not recorded: waiting for it gives ECHILD"))
    if process.terminal:
        yield component("controlling terminal", process.terminal, _rebuilt("the present one", "terminal"))
    for number, slot in sorted(process.descriptors.items()):
        text = f"{number}: {words.describe(slot.description)}" + (", close-on-exec" if slot.close_on_exec else "")
        yield component("descriptor", text, of_description(state, slot.description))
    for file, lock in process.locks:
        yield component("lock", f"{words.name_of(file)}: {words.describe_lock(lock)}", _rebuilt("taken again", "lock"))
    for mapping in process.memory.mappings:
        yield component("memory", words.mapping(mapping), _of_mapping(mapping))


_ROOT = "paths are looked up below another root directory, which is not followed"
_OLD = "the trace is of an older pyrr and does not tell"
_NAMESPACE = "the program made or entered it: going live happens in the present one"


def _task(task: Task) -> str:
    text = f"{task.tid} {task.name!r}, blocked: {words.signals(task.mask or 0)}"
    if task.pending:
        text += f", pending: {words.signals(task.pending)}"
    if task.stopped:
        text += f", stopped by {words.signals(1 << task.stopped - 1)}"
    return text + (f", {len(task.filters)} seccomp filters" if task.filters else "")


def _of_task(task: Task) -> Verdict:
    if task.seccomp == 1:
        return _cannot("it is in seccomp's strict mode, in which it could not be restored")
    if not all(task.filters):
        return _cannot("the trace does not have its seccomp filters, without which it would be let do more")
    return _EXACT


def _credentials(process: Process) -> tuple[str, Verdict]:
    task = next(iter(process.tasks.values()), None)
    if task is None or task.credentials.uids is None or task.credentials.gids is None:
        return "unknown", _cannot(_OLD)
    uids, gids = task.credentials.uids, task.credentials.gids
    text = f"user {uids[0]}, group {gids[0]}"
    if len({*uids}) > 1 or len({*gids}) > 1:
        text = f"users {uids}, groups {gids}"
    if os.geteuid() == 0 or (set(uids) == {os.geteuid()} and set(gids) == {os.getegid()}):
        return text, _rebuilt("set again")
    return text, _cannot(f"user {os.geteuid()} may not become another one")


def _folder(path: str) -> Verdict:
    return _rebuilt("entered again") if os.path.isdir(path) else _choice("directory", "it is gone")


def change(file: File) -> str | None:
    """What has become of a file since, in words: "" nothing that is known, None it is gone."""
    try:
        present = os.stat(file.path)
    except OSError:
        return None
    if file.mode is not None and stat.S_IFMT(present.st_mode) != stat.S_IFMT(file.mode):
        return "it is of another kind now"
    if file.size is not None and present.st_size != file.size:
        return f"it had {file.size} bytes and has {present.st_size} now"
    if file.mtime_ns is not None and present.st_mtime_ns != file.mtime_ns:
        return "it has been written since"
    return ""


def of_description(state: ProgramState, description: Description) -> Verdict:
    """What becomes of an open file description."""
    given = next((number for number in description.given_as if number <= 2), None)
    if given is not None:
        return _rebuilt("the present " + ("stdin", "stdout", "stderr")[given], "stream")
    match description:
        case OpenFile(file=file):
            return _of_file(file)
        case MemFd() | EventFd() | TimerFd() | SignalFd() | Inotify() | Epoll() | PtyMaster():
            return _rebuilt("made anew, as it was")
        case OpenDirectory(file=file) | OpenPath(file=file):
            return _rebuilt("opened again") if os.path.exists(file.path) else _choice("directory", "it is gone")
        case Device(path=path) | ProcFile(path=path):
            return _rebuilt("opened again") if os.path.exists(path) else _choice("device", "it is gone")
        case Terminal():
            return _rebuilt("made anew" if description.pty else "the present terminal", "terminal")
        case PipeEnd(pipe=pipe):
            if pipe.ahead:
                return _cannot(f"a write to it is half done: {pipe.ahead} bytes of it have been read")
            if pipe.foreign:
                return _choice(
                    "pipe.foreign" if pipe.name is None else "fifo", "its other side is outside of the program"
                )
            return _rebuilt("made anew, with what is in it")
        case Socket():
            return _of_socket(description)
        case PidFd():
            inside = description.process in state.processes
            return _rebuilt("opened again") if inside else _choice("unknown", "that process is not of the program")
        case MessageQueue():
            return _cannot("what is in a message queue is in no event of the trace")
        case Namespace():
            return _cannot("a namespace cannot be made anew as it was")
        case Unknown():
            return _choice("unknown", "such a descriptor cannot be made anew")
    raise TypeError(type(description))


def _of_file(file: File) -> Verdict:
    if file.deleted:
        known = file.created and file.spans is not None and not file.mapped
        if known:
            return _rebuilt("made anew with its content, without a name", "file.deleted")
        return _choice("file.deleted", "it has no name any more, and the trace may not have all of its content")
    difference = change(file)
    if difference is None:
        return _choice("file.gone", "it is gone")
    return _choice("file.changed", difference) if difference else _rebuilt("opened again", "file")


def _of_socket(one: Socket) -> Verdict:
    if one.ahead:
        return _cannot(f"a write to it is half done: {one.ahead} bytes of it have been read")
    if one.state == "listening":
        return _rebuilt("bound again", "socket.listening")
    if one.peer == -1:
        return _rebuilt("made anew, its peer closed")
    if one.peer is not None or one.listener is not None:
        return _rebuilt("connected again within the program, with what is under way")
    if one.state in ("connected", "connecting", "closed"):
        subject = "socket.unix" if one.family == _AF_UNIX else "socket.connected"
        return _choice(subject, "its peer is outside of the program")
    return _rebuilt("made anew", "socket.other")


def _of_mapping(mapping: Mapping) -> Verdict:
    if mapping.kind == "device":
        return _cannot("memory of a device is in no event of the trace")
    if mapping.kind == "sysv":
        return _cannot("System V shared memory is the kernel's, and others may have it")
    if not mapping.shared:
        return _EXACT
    if mapping.file is None or mapping.file.deleted:
        return _rebuilt("shared anew among the program's processes")
    difference = change(mapping.file)
    if difference:
        return _choice("mapped.changed", difference)
    return _rebuilt("mapped again", "mapped") if difference == "" else _choice("mapped.changed", "it is gone")
