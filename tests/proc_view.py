"""What /proc would say of a process by the model of its state, against what a recorded program has read there.

A program that reads its own /proc leaves both sides in its trace: `compare` walks the events and looks at each read.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from pyrr_debugger import _engine, procfs
from pyrr_debugger.events import SyscallEvent
from pyrr_debugger.state import memory
from pyrr_debugger.state.beginning import LIMITS, fields_of
from pyrr_debugger.state.history import History
from pyrr_debugger.state.model import (
    Description,
    Device,
    Epoll,
    EventFd,
    Inotify,
    Mapping,
    MemFd,
    OpenDirectory,
    OpenFile,
    OpenPath,
    PidFd,
    PipeEnd,
    Process,
    ProcFile,
    PtyMaster,
    SignalFd,
    Slot,
    Socket,
    Terminal,
    TimerFd,
)
from pyrr_debugger.state.timers import advance
from pyrr_debugger.trace_reader import TraceReader

_READ, _READLINK, _READLINKAT = 0, 89, 267
_O_CLOEXEC = 0o2000000
_ANONYMOUS = {
    Epoll: "[eventpoll]", EventFd: "[eventfd]", TimerFd: "[timerfd]", SignalFd: "[signalfd]", Inotify: "inotify",
    PidFd: "[pidfd]",
}  # fmt: skip


def compare(trace: Path) -> tuple[set[str], list[str]]:
    """What was compared ("maps", "status", "fd", ...), and the differences in words."""
    compared: set[str] = set()
    differences: list[str] = []
    with TraceReader(trace) as reader:
        history = History()
        texts: dict[int, bytes] = {}
        for event in reader.events():
            if isinstance(event, SyscallEvent) and event.result >= 0 and event.task in history.world.tasks:
                process = history.world.tasks[event.task]
                for name, wrong in _look(history, process, event, texts):
                    compared.add(name)
                    differences += [f"event {event.number}, {name}: {text}" for text in wrong]
            history.apply(event)
        differences += history.world.disagreements
    return compared, differences


def _look(
    history: History, process: Process, event: SyscallEvent, texts: dict[int, bytes]
) -> Iterator[tuple[str, list[str]]]:
    if event.nr in (_READLINK, _READLINKAT):
        at = event.nr == _READLINKAT
        path = os.fsdecode(next(d for a, d in event.inputs if a == event.args[at]).rstrip(b"\0"))
        answer = os.fsdecode(event.outputs[0][1]) if event.outputs else ""
        if path.startswith("/proc/self/fd/"):
            yield "fd", _link(process.descriptors.get(int(path[14:])), answer)
        elif path == "/proc/self/cwd":
            yield "cwd", [] if process.directories.cwd == answer else [f"{process.directories.cwd} {answer}"]
        return
    slot = process.descriptors.get(event.args[0] & 0xFFFFFFFF) if event.nr == _READ else None
    if slot is None or not isinstance(slot.description, ProcFile):
        return
    path = slot.description.path
    if event.result:
        texts[slot.description.id] = texts.get(slot.description.id, b"") + event.outputs[0][1]
        return
    text = texts.pop(slot.description.id, b"")
    match = re.fullmatch(r"/proc/(self|\d+)/(maps|status|limits|fdinfo/(\d+))", path)
    if match is None:
        return
    shown = process if match[1] == "self" else history.world.processes[int(match[1])]
    if match[2] == "maps":
        yield "maps", _maps(shown, text)
    elif match[2] == "status":
        yield "status", _status(shown, shown.tasks[shown.pid], fields_of(text))
    elif match[2] == "limits":
        yield "limits", _limits(shown, text)
    else:
        yield "fdinfo", _fdinfo(history, shown, int(match[3]), text)


def target(description: Description) -> str:
    """Where its link in /proc/PID/fd points; a regular expression where the model cannot know a number."""
    match description:
        case OpenFile(file=file) if file.path.endswith("/#"):
            return re.escape(file.path) + r"\d+ \(deleted\)"
        case OpenFile(file=file) | OpenDirectory(file=file) | OpenPath(file=file) | MemFd(file=file):
            return re.escape(file.path + (" (deleted)" if file.deleted else ""))
        case ProcFile(path=path):
            return re.escape(path).replace("/proc/self", r"/proc/\d+")
        case Device(path=path) | Terminal(path=path):
            return re.escape(path)
        case PtyMaster():
            return "/dev/(pts/)?ptmx"
        case PipeEnd(pipe=pipe):
            return re.escape(pipe.name) if pipe.name else r"pipe:\[\d+\]"
        case Socket():
            return r"socket:\[\d+\]"
    name = _ANONYMOUS.get(type(description))
    return re.escape(f"anon_inode:{name}") if name else ".*"


def _link(slot: Slot | None, answer: str) -> list[str]:
    if slot is None:
        return [f"the model has no descriptor that is {answer}"]
    expected = target(slot.description)
    return [] if re.fullmatch(expected, answer) else [f"{expected} is {answer}"]


def _fdinfo(history: History, process: Process, number: int, text: bytes) -> list[str]:
    slot = process.descriptors[number]
    description, fields, wrong = slot.description, fields_of(text), []

    def expect(name: str, value: object, answer: object) -> None:
        if value != answer:
            wrong.append(f"{number} ({description.kind}) {name}: {value} in the model, {answer} in /proc")

    flags = int(fields["flags"], 8)
    expect("flags", oct(description.flags | (_O_CLOEXEC if slot.close_on_exec else 0)), oct(flags))
    lines = [line.decode() for line in text.splitlines()]
    match description:
        case OpenFile() | MemFd() | Device() | OpenDirectory():
            if description.offset is not None:
                expect("pos", description.offset, int(fields["pos"]))
    match description:
        case OpenFile():
            held = sorted(_lock(line) for line in lines if line.startswith("lock:"))
            own = [lock for file, lock in process.locks if file is description.file]
            model = sorted((lock.kind, lock.exclusive, lock.start, lock.end) for lock in description.locks + own)
            expect("locks", model, held)
        case EventFd():
            expect("count", description.count, int(fields["eventfd-count"], 16))
        case SignalFd():
            expect("mask", description.mask, int(fields["sigmask"], 16))
        case TimerFd():
            advance(description, history.world.time)
            answer = re.findall(r"it_(?:value|interval): \((\d+), (\d+)\)", text.decode())
            value, interval = (int(s) * 1_000_000_000 + int(n) for s, n in answer)
            expect("interval", description.interval_ns, interval)
            expect("remaining, to 50 ms", True, abs(description.remaining_ns - value) < 50_000_000)
        case Epoll():
            alive = {d.id for d in history.world.descriptions()}
            model_watches = sorted(
                (w.number, w.events, w.data) for w in description.watches if w.description.id in alive
            )
            found = (re.match(r"tfd:\s+(\d+) events:\s+(\w+) data:\s+(\w+)", line) for line in lines)
            expect("set", model_watches, sorted((int(m[1]), _events(m[2]), int(m[3], 16)) for m in found if m))
        case Inotify():
            found = (re.match(r"inotify wd:(\w+) .* mask:(\w+) ", line) for line in lines)
            expect(
                "watches",
                sorted((n, m & 0xFFF) for n, (_, m) in description.watches.items()),
                sorted((int(m[1], 16), int(m[2], 16) & 0xFFF) for m in found if m),
            )
        case PidFd():
            expect("pid", description.process, int(fields["Pid"]))
    return wrong


def _events(text: str) -> int:
    return int(text, 16) & ~0x18  # EPOLLERR and EPOLLHUP are always asked for


def _lock(line: str) -> tuple[str, bool, int, int | None]:
    _, _, kind, _, mode, _, _, start, end = line.replace("lock:", "lock: ").split()
    names = {"FLOCK": "flock", "POSIX": "posix", "OFDLCK": "ofd"}
    return names[kind], mode == "WRITE", int(start), None if end == "EOF" else int(end) + 1


def _limits(process: Process, text: bytes) -> list[str]:
    from pyrr_debugger.state.beginning import limits_of

    answer = limits_of(text)
    names = {number: name for name, number in LIMITS.items()}
    return [
        f"{names[n]}: {process.limits.get(n)} in the model, {answer[n]} in /proc"
        for n in answer
        if process.limits.get(n) != answer[n]
    ]


def _status(process: Process, task: object, fields: dict[str, str]) -> list[str]:
    from pyrr_debugger.state.model import Task

    assert isinstance(task, Task)
    actions = process.dispositions.actions
    credentials = task.credentials

    def bits(numbers: list[int]) -> str:
        return f"{sum(1 << n - 1 for n in numbers):016x}"

    model = {
        "Name": task.name,
        "Umask": f"{process.directories.umask:04o}",
        "Tgid": str(process.pid),
        "PPid": str(process.parent),
        "Threads": str(len(process.tasks)),
        "SigPnd": f"{task.pending:016x}",
        "ShdPnd": f"{process.pending:016x}",
        "SigBlk": f"{task.mask or 0:016x}",
        "SigIgn": bits([n for n, a in actions.items() if a.handler == 1]),
        "SigCgt": bits([n for n, a in actions.items() if a.handler > 1]),
        "Uid": "\t".join(map(str, credentials.uids or ())),
        "Gid": "\t".join(map(str, credentials.gids or ())),
        "Groups": " ".join(map(str, credentials.groups or ())),
        "CapEff": f"{credentials.effective:016x}",
        "CapPrm": f"{credentials.permitted:016x}",
        "CapInh": f"{credentials.inheritable:016x}",
        "CapBnd": f"{credentials.bounding:016x}",
        "CapAmb": f"{credentials.ambient:016x}",
        "NoNewPrivs": str(int(credentials.no_new_privs)),
        "Seccomp": str(task.seccomp),
    }
    if not process.parent:  # outside of the recording
        del model["PPid"]
    return [
        f"{name}: {model[name]} in the model, {fields[name]} in /proc" for name in model if model[name] != fields[name]
    ]


def _maps(process: Process, text: bytes) -> list[str]:
    model = [_line(m) for m in memory.joined(process.memory.mappings)]
    answer = [_line(m) for m in _seen(text)]
    wrong = [f"{line} only in the model" for line in model if line not in answer]
    return wrong + [f"{line} only in /proc" for line in answer if line not in model]


def _seen(text: bytes) -> list[Mapping]:
    """The mappings of the program itself in the text of a /proc/PID/maps."""
    found: list[Mapping] = []
    for one in procfs.parse_maps(text):
        if one.name.startswith(("[vvar", "[vsyscall")) or _is_pyrrs(one):
            continue
        name = one.name + (" (deleted)" if one.deleted and one.inode else "")
        found.append(
            Mapping(one.start, one.end, one.prot, one.shared, name=name, offset=one.offset if one.inode else 0)
        )
    joined: list[Mapping] = []
    for mapping in found:
        last = joined[-1] if joined else None
        follows = last is not None and last.end == mapping.start and last.prot == mapping.prot
        alike = last is not None and follows and (last.name, last.shared) == (mapping.name, mapping.shared)
        near = not mapping.name.startswith("/") or (last and last.offset + last.end - last.start == mapping.offset)
        if last is not None and alike and near:
            last.end = mapping.end
            continue
        joined.append(mapping)
    return joined


def _is_pyrrs(mapping: procfs.Mapping) -> bool:
    low, high = _engine.AGENT
    return low <= mapping.start < high or mapping.start == _engine.GATE_PAGE


def _line(mapping: Mapping) -> tuple[object, ...]:
    start: int | str = mapping.start
    name = mapping.name
    if mapping.file is not None:
        name = mapping.file.path + (" (deleted)" if mapping.file.deleted else "")
    if name.startswith("/dev/zero"):
        name = ""
    if name == "[stack]":
        start = "grows"
    prot = "".join(letter if mapping.prot & bit else "-" for letter, bit in (("r", 1), ("w", 2), ("x", 4)))
    return (
        start if isinstance(start, str) else hex(start),
        hex(mapping.end),
        prot,
        mapping.shared,
        name,
        mapping.offset,
    )


__all__ = ["compare", "target"]
