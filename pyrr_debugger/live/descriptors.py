"""The descriptors of a program that goes live.

Open file descriptions are made here, in our own process, so that all processes of the program inherit them and share
what was shared; each process then puts its own in place. What refers to numbers or to processes (epoll sets, POSIX
locks, pidfds) is made in the process itself.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import struct
from typing import TYPE_CHECKING

from ..errors import PyrrError
from ..state import model
from . import files, kernel, sockets
from .decision import Decision, dead
from .policy import Policy
from .process import LiveProcess

if TYPE_CHECKING:
    from ..state.contents import Contents

_CLOSE, _DUP3, _FCNTL, _EPOLL_CTL, _PIDFD_OPEN, _OPENAT, _CLOSE_RANGE = 3, 292, 72, 233, 434, 257, 436
_O_CLOEXEC, _O_ACCMODE, _O_NONBLOCK = os.O_CLOEXEC, os.O_ACCMODE, os.O_NONBLOCK
_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_ASYNC | os.O_DIRECT | os.O_NOATIME
_RECVMSG, _EPOLL_CREATE1 = 47, 291
_CONTROL_HEAD = 16  # bytes of a struct cmsghdr
_CONTROL_BYTES = 24
_AT_FDCWD = -100
_EPOLL_CTL_ADD = 1
_STREAMS = 3


class Descriptors:
    """Those of all processes of a program."""

    def __init__(self, state: model.ProgramState, contents: Contents, policy: Policy) -> None:
        self._state = state
        self._policy = policy
        self._contents = contents
        self.files = files.Files(contents, policy)
        self._sockets = sockets.Sockets(state, contents, policy)
        self._users: dict[int, list[int]] = {}
        """The numbers under which each description is known, by its id."""
        self._all: dict[int, model.Description] = {}
        self.decisions: dict[int, Decision] = {}
        self._made: dict[int, int] = {}
        self._executables: dict[str, int] = {}
        self._pipes: dict[int, tuple[int, int]] = {}
        self._ptys: dict[int, int] = {}
        self._epolls: dict[int, int] = {}
        """Epoll sets that have been made, as descriptors of ours, by the id of their descriptions."""
        self._to_processes = socket.socketpair()
        self._base = 0
        for process in state.processes.values():
            for number, slot in process.descriptors.items():
                self._find(slot.description)
                self._users[slot.description.id].append(number)
        for description in list(self._all.values()):
            self.decisions[description.id] = self._decide(description)

    def _find(self, description: model.Description) -> None:
        if description.id in self._all:
            return
        self._all[description.id] = description
        self._users[description.id] = []
        if isinstance(description, model.Socket):
            for message in description.queue:
                for passed in message.passed:
                    self._find(passed)
        if isinstance(description, model.Epoll):
            for watch in description.watches:
                self._find(watch.description)

    # ---- deciding ----

    def _decide(self, description: model.Description) -> Decision:
        numbers = tuple(sorted(set(self._users[description.id])))
        if self._is_stream(description):
            return self._decide_stream(description, numbers)
        match description:
            case model.OpenFile():
                return self._decide_locks(description, self.files.decide(description, numbers))
            case model.MemFd():
                decision = Decision("memfd", make=lambda: self.files.memfd(description))
                return self._decide_locks(description, decision)
            case model.OpenDirectory() | model.OpenPath():
                return self.files.decide_directory(description, numbers)
            case model.Device() | model.ProcFile():
                return self._decide_device(description, numbers)
            case model.Terminal():
                return self._decide_terminal(description, numbers)
            case model.PtyMaster():
                return Decision("pseudo-terminal", make=lambda: self._make_master(description.pty, description.flags))
            case model.PipeEnd():
                return self._decide_pipe(description, numbers)
            case model.Socket():
                return self._sockets.decide(description, numbers)
            case model.EventFd():
                return Decision("eventfd", make=lambda: _eventfd(description))
            case model.TimerFd():
                return Decision("timerfd", make=lambda: _timerfd(description))
            case model.SignalFd():
                return Decision(
                    "signalfd", make=lambda: kernel.signalfd(description.mask, description.flags & _O_NONBLOCK)
                )
            case model.Inotify():
                return Decision("inotify", make=lambda: _inotify(description))
            case model.Epoll() | model.PidFd():
                return Decision(description.kind)
            case model.MessageQueue():
                return self._dead("unknown", f"message queue {description.name}", numbers)
            case model.Namespace():
                return self._dead("unknown", f"namespace {description.name}", numbers)
            case model.Unknown():
                return self._dead("unknown", description.what, numbers)
        return self._dead("unknown", description.kind, numbers)

    def _decide_locks(self, description: model.OpenFile | model.MemFd, decision: Decision) -> Decision:
        file = description.file
        held = [
            *description.locks,
            *(lock for process in self._state.processes.values() for of, lock in process.locks if of is file),
        ]
        if held and self._policy.choice("lock", path=file.path) == "refuse":
            return Decision(file.path, "its lock would have to be taken again", "lock", refused=True)
        return decision

    def _dead(self, subject: str, what: str, numbers: tuple[int, ...], path: str | None = None) -> Decision:
        choice = self._policy.choice(subject, path=path, descriptors=numbers)
        return Decision(what, "the other side is gone", subject, choice == "refuse", dead)

    def _is_stream(self, description: model.Description) -> bool:
        """Whether it is what the program was given as its standard input, output or error."""
        given = any(number < _STREAMS for number in description.given_as)
        return given and not isinstance(description, model.OpenDirectory)

    def _decide_stream(self, description: model.Description, numbers: tuple[int, ...]) -> Decision:
        number = self._stream_number(description, numbers)
        what = f"standard {('input', 'output', 'error')[number]}"
        path = getattr(getattr(description, "file", description), "path", None)
        subject = "terminal" if isinstance(description, model.Terminal) else "stream"
        choice = self._policy.choice(subject, path=path, descriptors=numbers)
        if choice == "reopen" and isinstance(description, model.OpenFile):
            return self.files.decide(description, numbers)
        if choice in ("dead", "refuse"):
            return Decision(what, "it is dead", subject, choice == "refuse", dead)
        return Decision(what, "", subject, make=lambda: _present_stream(number, description.flags))

    @staticmethod
    def _stream_number(description: model.Description, numbers: tuple[int, ...]) -> int:
        for number in (*description.given_as, *numbers):
            if number < _STREAMS:
                return number
        return 0 if description.flags & _O_ACCMODE == os.O_RDONLY else 1

    def _decide_device(self, description: model.Device | model.ProcFile, numbers: tuple[int, ...]) -> Decision:
        path = description.path
        choice = self._policy.choice("device", path=path, descriptors=numbers)
        if choice != "reopen" or not os.path.exists(path):
            return Decision(
                path, "it is gone" if choice == "reopen" else "it is dead", "device", choice == "refuse", dead
            )
        directory = os.O_DIRECTORY if getattr(description, "directory", False) else 0
        flags = description.flags & (_O_ACCMODE | _SETTABLE) | os.O_NOCTTY | directory

        def make() -> int:
            descriptor = os.open(path, flags)
            _seek(descriptor, description.offset)
            return descriptor

        return Decision(path, make=make)

    def _decide_terminal(self, description: model.Terminal, numbers: tuple[int, ...]) -> Decision:
        if description.pty is not None:
            pty = description.pty
            return Decision("pseudo-terminal", make=lambda: self._make_slave(pty, description.flags))
        choice = self._policy.choice("terminal", path=description.path, descriptors=numbers)
        if choice != "present":
            return Decision(description.path, "it is dead", "terminal", choice == "refuse", dead)
        if not any(os.isatty(number) for number in range(_STREAMS)):
            text = "there is no terminal here: it is a stream of ours"
        else:
            text = ""
        number = self._stream_number(description, numbers)
        return Decision(f"terminal {description.path}", text, make=lambda: _present_stream(number, description.flags))

    def _decide_pipe(self, description: model.PipeEnd, numbers: tuple[int, ...]) -> Decision:
        pipe = description.pipe
        if pipe.name is not None:
            choice = self._policy.choice("fifo", path=pipe.name, descriptors=numbers)
            if choice == "reopen" and os.path.exists(pipe.name):
                name = pipe.name
                return Decision(
                    f"FIFO {name}",
                    "what was in it is lost" if pipe.queue else "",
                    "fifo",
                    make=lambda: _fifo(name, description.flags),
                )
            return Decision(f"FIFO {pipe.name}", "the other side is gone", "fifo", choice == "refuse", dead)
        if pipe.foreign:
            return self._dead("pipe.foreign", "pipe to a process outside", numbers)
        return Decision("pipe", make=lambda: self._make_pipe_end(description))

    @property
    def differing(self) -> list[tuple[tuple[int, ...], Decision]]:
        """What will not be as it was: the numbers of the descriptors, and what becomes of them."""
        found = [(tuple(sorted(set(self._users[key]))), one) for key, one in self.decisions.items()]
        return sorted(((numbers, one) for numbers, one in found if one.text or one.refused), key=lambda item: item[0])

    # ---- making ----

    def make(self) -> None:
        """Makes all descriptions. Raises PyrrError."""
        numbers = [number for process in self._state.processes.values() for number in process.descriptors]
        self._base = max([_STREAMS - 1, *numbers]) + 1
        ours, theirs = self._to_processes  # which no descriptor of the program's may replace
        self._to_processes = ours, socket.socket(fileno=self._move_up(theirs.detach()))
        try:
            for key, decision in self.decisions.items():
                if decision.make is not None:
                    self._made[key] = self._move_up(decision.make())
                    self._set_flags(self._all[key], self._made[key])
        except OSError as error:
            raise PyrrError(f"{decision.what} cannot be made again: {error.strerror}") from None
        finally:
            self._sockets.close_unused()
            for ends in self._pipes.values():
                for end in ends:
                    os.close(end)
            self._pipes.clear()
        self._sockets.fill(self._made)
        self._sockets.close()
        for process in self._state.processes.values():
            if process.executable not in self._executables and os.path.exists(process.executable):
                self._executables[process.executable] = self._move_up(os.open(process.executable, os.O_RDONLY))

    def _move_up(self, descriptor: int) -> int:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, self._base)
        os.close(descriptor)
        return moved

    def _set_flags(self, description: model.Description, descriptor: int) -> None:
        present = fcntl.fcntl(descriptor, fcntl.F_GETFL)
        wanted = description.flags & _SETTABLE
        if present & _SETTABLE != wanted and not self._is_stream(description):
            fcntl.fcntl(descriptor, fcntl.F_SETFL, present & ~_SETTABLE | wanted)

    def _make_pipe_end(self, description: model.PipeEnd) -> int:
        pipe = description.pipe
        if pipe.id not in self._pipes:
            ends = os.pipe()
            self._pipes[pipe.id] = ends
            if pipe.capacity:
                fcntl.fcntl(ends[1], 1031, pipe.capacity)  # F_SETPIPE_SZ
            content = self._contents.bytes(pipe.queue)
            os.set_blocking(ends[1], False)
            if content and os.write(ends[1], content) != len(content):
                raise PyrrError("what is in a pipe of the program does not fit into a new one")
            os.set_blocking(ends[1], True)
        return os.dup(self._pipes[pipe.id][0 if description.flags & _O_ACCMODE == os.O_RDONLY else 1])

    def _make_master(self, pty: model.Pty, flags: int) -> int:
        if pty.id not in self._ptys:
            master = os.open("/dev/ptmx", os.O_RDWR | os.O_NOCTTY | flags & _O_NONBLOCK)
            fcntl.ioctl(master, 0x40045431, struct.pack("i", 0))  # TIOCSPTLCK
            self._ptys[pty.id] = master
            content = self._contents.bytes(pty.to_slave)
            if content:
                os.write(master, content)
            return os.dup(master)
        return os.dup(self._ptys[pty.id])

    def _make_slave(self, pty: model.Pty, flags: int) -> int:
        os.close(self._make_master(pty, os.O_RDWR))
        slave = fcntl.ioctl(self._ptys[pty.id], 0x5441, flags & _O_ACCMODE | os.O_NOCTTY)  # TIOCGPTPEER
        set_terminal(slave, pty.settings, with_size=True)
        return slave

    @property
    def inherited(self) -> list[int]:
        """What the program's processes must inherit."""
        return [*self._made.values(), *self._executables.values(), self._to_processes[1].fileno()]

    def executable_of(self, process: model.Process) -> int:
        """The descriptor of a program's file; -1 if it is gone."""
        return self._executables.get(process.executable, -1)

    def descriptor_of(self, description: model.Description) -> int | None:
        """Under which number all processes have inherited a description."""
        return self._made.get(description.id)

    def choice_of(self, file: model.File) -> str | model.MemFd | None:
        """What was chosen for a file that is open, or the memfd that it is; None if nobody has it open."""
        for key, description in self._all.items():
            if isinstance(description, model.OpenFile) and description.file is file:
                return self.decisions[key].choice or "reopen"
            if isinstance(description, model.MemFd) and description.file is file:
                return description
        return None

    def keep(self, descriptor: int) -> int:
        """Moves a descriptor of ours to where none of the program's is, to be inherited: its number there."""
        return self._move_up(descriptor)

    def close(self) -> None:
        """Gives up all that has been made."""
        self.files.close()
        held = (self._made, self._executables, self._ptys, self._epolls)
        for descriptor in (number for one in held for number in one.values()):
            os.close(descriptor)
        for end in self._to_processes:
            end.close()
        self._epolls.clear()
        self._made.clear()
        self._executables.clear()
        self._ptys.clear()

    # ---- placing ----

    def place(self, state: model.Process, process: LiveProcess, live_ids: dict[int, int]) -> None:
        """Gives a process its descriptors under their numbers. Raises OSError."""
        for number, slot in state.descriptors.items():
            flags = _O_CLOEXEC if slot.close_on_exec else 0
            made = self._made.get(slot.description.id)
            if made is not None:
                process.call(_DUP3, made, number, flags)
        self._place_pidfds(state, process, live_ids)
        self._place_epolls(state, process)  # which may watch a pidfd
        for number, slot in state.descriptors.items():
            if isinstance(slot.description, (model.OpenFile, model.MemFd)):
                self._retake_locks(state, process, number, slot.description)

    def tidy(self, state: model.Process, process: LiveProcess) -> None:
        """Closes what the process has inherited and does not use."""
        start = 0
        for number in [*sorted(state.descriptors), 0xFFFFFFFF]:
            if start < number:
                process.call(_CLOSE_RANGE, start, number - 1, 0)
            start = number + 1

    def _place_epolls(self, state: model.Process, process: LiveProcess) -> None:
        """An epoll set knows what it watches by number, too: it is made where these are right, and passed on to others
        that have it."""
        placed: dict[int, int] = {}
        new: list[tuple[int, model.Epoll]] = []
        for number, slot in state.descriptors.items():
            epoll = slot.description
            if not isinstance(epoll, model.Epoll):
                continue
            flags = _O_CLOEXEC if slot.close_on_exec else 0
            if epoll.id in placed:
                process.call(_DUP3, placed[epoll.id], number, flags)
                continue
            placed[epoll.id] = number
            if epoll.id in self._epolls:
                made = self._receive(process, self._epolls[epoll.id])
            else:
                made = process.call(_EPOLL_CREATE1, 0)
                new.append((number, epoll))
            if made == number:
                process.call(_FCNTL, number, fcntl.F_SETFD, fcntl.FD_CLOEXEC if slot.close_on_exec else 0)
            else:
                process.call(_DUP3, made, number, flags)
                process.call(_CLOSE, made)
            if epoll.id not in self._epolls:
                self._epolls[epoll.id] = kernel.descriptor_of(process.tid, number)
        for number, epoll in new:
            self._watch(state, process, number, epoll)

    def _receive(self, process: LiveProcess, descriptor: int) -> int:
        """Passes a descriptor of ours to a process: its number there."""
        ours, theirs = self._to_processes
        socket.send_fds(ours, [b"x"], [descriptor])
        data, control = process.put(bytes(16)), process.put(bytes(_CONTROL_BYTES))
        vector = process.put(struct.pack("<2Q", data, 1))
        message = process.put(struct.pack("<QI4x4QI4x", 0, 0, vector, 1, control, _CONTROL_BYTES, 0))
        process.call(_RECVMSG, theirs.fileno(), message, 0)
        return int.from_bytes(process.read(control + _CONTROL_HEAD, 4), "little")

    def _watch(self, state: model.Process, process: LiveProcess, epoll: int, description: model.Epoll) -> None:
        for watch in description.watches:
            slot = state.descriptors.get(watch.number)
            borrowed = slot is None or slot.description is not watch.description
            made = self._made.get(watch.description.id)
            if borrowed and (slot is not None or made is None):
                continue  # another description has its number: that it is watched nobody could change any more
            if borrowed:
                process.call(_DUP3, made or 0, watch.number, 0)
            event = process.put(struct.pack("<IQ", watch.events, watch.data))
            result = process.try_call(_EPOLL_CTL, epoll, _EPOLL_CTL_ADD, watch.number, event)
            if result < 0 and result != -errno.EPERM:
                raise OSError(-result, f"descriptor {watch.number} cannot be watched: {os.strerror(-result)}")
            if borrowed:
                process.call(_CLOSE, watch.number)

    def _place_pidfds(self, state: model.Process, process: LiveProcess, live_ids: dict[int, int]) -> None:
        for number, slot in state.descriptors.items():
            if not isinstance(slot.description, model.PidFd):
                continue
            made = process.call(
                _PIDFD_OPEN, live_ids.get(slot.description.process, process.id), slot.description.flags & _O_NONBLOCK
            )
            if made != number:
                process.call(_DUP3, made, number, _O_CLOEXEC if slot.close_on_exec else 0)
                process.call(_CLOSE, made)

    def _retake_locks(
        self, state: model.Process, process: LiveProcess, number: int, description: model.OpenFile | model.MemFd
    ) -> None:
        for file, lock in state.locks:
            if file is description.file and self._policy.choice("lock", path=file.path) == "retake":
                result = process.try_call(_FCNTL, number, fcntl.F_SETLK, process.put(files.packed_lock(lock)))
                if result < 0:
                    raise PyrrError(f"the lock of {file.path} is not to be had: {os.strerror(-result)}")


def _present_stream(number: int, flags: int) -> int:
    """The stream that we have ourselves; a terminal is opened anew, since its flags are those of whoever has it
    open."""
    if os.isatty(number):
        try:
            return os.open(f"/proc/self/fd/{number}", flags & (_O_ACCMODE | _SETTABLE) | os.O_NOCTTY)
        except OSError:
            pass
    return os.dup(number)


def set_terminal(descriptor: int, settings: model.TerminalSettings, with_size: bool) -> None:
    """Gives a terminal the settings that it had, as far as they are known."""
    termios = settings.termios
    if termios:
        request = 0x402C542B if len(termios) >= 44 else 0x5402  # TCSETS2, TCSETS
        fcntl.ioctl(descriptor, request, termios)
    if with_size and settings.rows:
        fcntl.ioctl(descriptor, 0x5414, struct.pack("4H", settings.rows, settings.columns, 0, 0))  # TIOCSWINSZ


def _seek(descriptor: int, offset: int) -> None:
    if offset:
        try:
            os.lseek(descriptor, offset, os.SEEK_SET)
        except OSError as error:
            if error.errno not in (errno.ESPIPE, errno.EINVAL):
                raise


def _fifo(name: str, flags: int) -> int:
    """Opens a FIFO without waiting for its other side."""
    holder = os.open(name, os.O_RDWR | os.O_NONBLOCK)
    try:
        descriptor = os.open(name, flags & _O_ACCMODE | os.O_NONBLOCK)
        os.set_blocking(descriptor, not flags & _O_NONBLOCK)
        return descriptor
    finally:
        os.close(holder)


def _eventfd(description: model.EventFd) -> int:
    flags = os.EFD_SEMAPHORE if description.semaphore else 0
    descriptor = os.eventfd(0, flags | os.EFD_NONBLOCK)
    if description.count:
        os.eventfd_write(descriptor, description.count)
    return descriptor


def _timerfd(description: model.TimerFd) -> int:
    remaining = 1 if description.expirations else description.remaining_ns
    return kernel.timerfd(description.clock, description.flags & _O_NONBLOCK, remaining, description.interval_ns)


def _inotify(description: model.Inotify) -> int:
    descriptor, _ = kernel.inotify(description.flags & _O_NONBLOCK, description.watches)
    return descriptor
