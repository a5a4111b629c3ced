"""Files, pipes and the descriptors that exist to be waited for."""

from __future__ import annotations

import os
import stat

from .call import Call
from .model import (
    INHERITED,
    Description,
    Device,
    Epoll,
    EventFd,
    File,
    Inotify,
    Lock,
    MemFd,
    MessageQueue,
    OpenDirectory,
    OpenFile,
    PidFd,
    Pipe,
    PipeEnd,
    ProcFile,
    Pty,
    PtyMaster,
    SignalFd,
    Socket,
    Span,
    Terminal,
    TerminalSettings,
    TimerFd,
    Unknown,
    Watch,
)
from .timers import advance, arm
from .world import (
    O_APPEND,
    O_CLOEXEC,
    O_CREAT,
    O_NOCTTY,
    O_NONBLOCK,
    O_TRUNC,
    World,
    handles,
    take,
)

_SETTABLE = O_APPEND | O_NONBLOCK | 0o20000 | 0o40000 | 0o1000000  # SETFL_MASK: also O_ASYNC, O_DIRECT, O_NOATIME
_AT_EMPTY_PATH = 0x1000
_TCSETS = ("TCSETS", "TCSETSW", "TCSETSF", "TCSETS2", "TCSETSW2", "TCSETSF2")
_EPOLLONESHOT = 1 << 30
_FLOCK = "<hhxxxxqqi"
_NANO = 1_000_000_000


# ---- opening and closing ----


@handles("open", "openat", "openat2", "creat")
def _open(world: World, call: Call) -> None:
    name = call.event.nr
    if name == 2:
        directory, path, flags = None, call.text(0), call.args[1]
    elif name == 85:
        directory, path, flags = None, call.text(0), os.O_WRONLY | O_CREAT | O_TRUNC
    else:
        directory, path = call.signed(0), call.text(1)
        how = call.numbers("<Q", call.asked_argument(2, 8)) if name == 437 else None
        flags = how[0] if how else call.args[2]
    full = world.resolve(call, directory, path)
    own = {"/dev/fd/": 8, "/proc/self/fd/": 14}
    for head, length in own.items():
        if full.startswith(head) and full[length:].isdecimal():
            slot = call.process.descriptors.get(int(full[length:]))
            if slot and isinstance(slot.description, (OpenFile, OpenDirectory)) and not slot.description.file.deleted:
                full = slot.description.file.path
    description = world.opened(full, flags, call.number, call.process)
    world.install(call.process, call.result, description, bool(flags & O_CLOEXEC))
    leads = call.process.session == call.process.pid and call.process.terminal is None
    if isinstance(description, Terminal) and not flags & O_NOCTTY and leads:
        call.process.terminal = full


@handles("close")
def _close(world: World, call: Call) -> None:
    world.close(call.process, call.signed(0))


@handles("close_range")
def _close_range(world: World, call: Call) -> None:
    first, last, flags = call.args[0] & 0xFFFFFFFF, call.args[1] & 0xFFFFFFFF, call.args[2]
    for number in [n for n in call.process.descriptors if first <= n <= last]:
        if flags & 4:  # CLOSE_RANGE_CLOEXEC
            call.process.descriptors[number].close_on_exec = True
        else:
            world.close(call.process, number)


@handles("dup", "F_DUPFD", "F_DUPFD_CLOEXEC")
def _dup(world: World, call: Call) -> None:
    if description := call.description(0):
        on_exec = call.event.nr == 72 and call.args[1] & 0xFFFFFFFF == 1030
        world.install(call.process, call.result, description, on_exec)


@handles("dup2", "dup3")
def _dup_to(world: World, call: Call) -> None:
    description = call.description(0)
    if description is None or call.signed(0) == call.signed(1):
        return
    on_exec = call.event.nr == 292 and bool(call.args[2] & O_CLOEXEC)
    world.install(call.process, call.result, description, on_exec)


@handles("pipe", "pipe2")
def _pipe(world: World, call: Call) -> None:
    flags = call.args[1] if call.event.nr == 293 else 0
    numbers = call.numbers("<ii", call.answered_argument(0, 8))
    if numbers:
        for number, end in zip(numbers, world.pipe_pair(flags, call.number), strict=True):
            world.install(call.process, number, end, bool(flags & O_CLOEXEC))


@handles("F_SETFD")
def _set_descriptor_flags(world: World, call: Call) -> None:
    if slot := call.slot(0):
        slot.close_on_exec = bool(call.args[2] & 1)


@handles("F_SETFL")
def _set_flags(world: World, call: Call) -> None:
    if description := call.description(0):
        description.flags = description.flags & ~_SETTABLE | call.args[2] & _SETTABLE


@handles("FIONBIO")
def _set_nonblocking(world: World, call: Call) -> None:
    value = call.numbers("<i", call.asked_argument(2, 4))
    if (description := call.description(0)) and value:
        description.flags = description.flags & ~O_NONBLOCK | (O_NONBLOCK if value[0] else 0)


@handles("FIOCLEX", "FIONCLEX")
def _set_close_on_exec(world: World, call: Call) -> None:
    if slot := call.slot(0):
        slot.close_on_exec = call.args[1] & 0xFFFFFFFF == 0x5451


@handles("F_SETOWN")
def _set_owner(world: World, call: Call) -> None:
    if description := call.description(0):
        description.owner = call.signed(2)


@handles("F_SETOWN_EX")
def _set_owner_ex(world: World, call: Call) -> None:
    owner = call.numbers("<ii", call.asked_argument(2, 8))
    if (description := call.description(0)) and owner:
        description.owner = -owner[1] if owner[0] == 2 else owner[1]


@handles("F_SETSIG")
def _set_signal(world: World, call: Call) -> None:
    if description := call.description(0):
        description.signal = call.signed(2)


@handles("F_SETPIPE_SZ")
def _set_pipe_size(world: World, call: Call) -> None:
    if isinstance(end := call.description(0), PipeEnd):
        end.pipe.capacity = call.result


@handles("F_ADD_SEALS")
def _add_seals(world: World, call: Call) -> None:
    if isinstance(memory := call.description(0), MemFd):
        memory.seals |= call.args[2] & 0xFFFFFFFF


@handles("F_SETLEASE")
def _set_lease(world: World, call: Call) -> None:
    if isinstance(opened := call.description(0), OpenFile):
        opened.lease = None if call.signed(2) == 2 else call.signed(2)


# ---- reading, writing and moving about ----


def _moved(world: World, description: Description | None, length: int, event: int = INHERITED) -> None:
    """Bytes were read from where a description stands; `event` is the call if its outputs are these bytes."""
    match description:
        case OpenFile() | MemFd():
            if event != INHERITED:
                world.was_read(description.file, description.offset, length, event)
            if description.offset is not None:
                description.offset += length
        case Device() | ProcFile():
            description.offset += length
        case PipeEnd():
            description.pipe.ahead += take(description.pipe.queue, length) if not description.pipe.foreign else 0
        case PtyMaster():
            take(description.pty.to_master, length)
        case Terminal(pty=Pty() as pty):
            take(pty.to_slave, length)


def wrote(world: World, call: Call, description: Description | None, length: int) -> None:
    """Bytes were written where a description stands."""
    match description:
        case OpenFile() | MemFd():
            file = description.file
            if description.flags & O_APPEND:
                description.offset = file.size
            world.written(file, description.offset, length, call.number)
            if description.offset is not None:
                description.offset += length
        case Device() | ProcFile():
            description.offset += length
        case PipeEnd():
            _into(description.pipe, call.number, length)
        case PtyMaster():
            description.pty.to_slave.append(Span(0, length, call.number))
        case Terminal(pty=Pty() as pty):
            pty.to_master.append(Span(0, length, call.number))


def _into(pipe: Pipe, event: int, length: int) -> None:
    if pipe.foreign or length <= 0:
        return
    early = min(pipe.ahead, length)
    pipe.ahead -= early
    if length > early:
        pipe.queue.append(Span(0, length - early, event, early))


@handles("read", "readv", "preadv2")
def _read(world: World, call: Call) -> None:
    from .sockets import received

    description = call.description(0)
    if call.event.nr == 327 and call.args[3] != (1 << 64) - 1:
        _read_at(world, call)
        return
    match description:
        case Socket():
            received(world, call, description, call.result)
        case EventFd():
            description.count = max(0, description.count - 1) if description.semaphore else 0
        case TimerFd():
            advance(description, world.time)
            description.expirations = 0
        case SignalFd():
            data = call.answered_argument(1, call.result)
            for at in range(0, len(data) - 3, 128):
                number = int.from_bytes(data[at : at + 4], "little")
                bit = ~(1 << number - 1) if number else -1
                call.process.pending &= bit
                call.task.pending &= bit
        case _:
            _moved(world, description, call.result, call.number)


@handles("pread64", "preadv")
def _read_at(world: World, call: Call) -> None:
    if isinstance(opened := call.description(0), (OpenFile, MemFd)):
        world.was_read(opened.file, call.args[3], call.result, call.number)


@handles("write", "writev")
def _write(world: World, call: Call) -> None:
    from .sockets import sent

    description = call.description(0)
    match description:
        case Socket():
            sent(world, call, description, call.result)
        case EventFd():
            value = call.numbers("<Q", call.asked_argument(1, 8))
            if value is None:
                vector = call.numbers("<QQ", call.asked_argument(1, 16))
                value = call.numbers("<Q", call.asked(vector[0], 8)) if vector else None
            description.count += value[0] if value else 0
        case _:
            wrote(world, call, description, call.result)


@handles("pwrite64", "pwritev", "pwritev2")
def _write_at(world: World, call: Call) -> None:
    description = call.description(0)
    if call.event.nr == 328 and call.args[3] == (1 << 64) - 1:
        _write(world, call)
    elif isinstance(description, (OpenFile, MemFd)):
        append = description.flags & O_APPEND  # pwrite(2), BUGS
        world.written(description.file, description.file.size if append else call.args[3], call.result, call.number)


@handles("lseek")
def _seek(world: World, call: Call) -> None:
    match description := call.description(0):
        case OpenFile() | MemFd():
            description.offset = call.result
            if call.args[2] & 0xFFFFFFFF == os.SEEK_END:
                offset = call.args[1] - (1 << 64) if call.args[1] >> 63 else call.args[1]
                description.file.size = call.result - offset
        case OpenDirectory() | Device() | ProcFile():
            description.offset = call.result


@handles("getdents", "getdents64")
def _list(world: World, call: Call) -> None:
    description = call.description(0)
    if isinstance(description, OpenFile):
        directory = OpenDirectory(
            id=description.id, flags=description.flags, event=description.event, file=description.file
        )
        world.replace(description, directory)
        description = directory
    if isinstance(description, (OpenDirectory, ProcFile)):
        data, at, offset = call.answered_argument(1, call.result), 0, description.offset
        while at + 18 <= len(data):  # struct linux_dirent and linux_dirent64: inode, offset, length
            offset = int.from_bytes(data[at + 8 : at + 16], "little")
            length = int.from_bytes(data[at + 16 : at + 18], "little")
            if length < 18:
                break
            at += length
        description.offset = offset


def _transfer_offset(world: World, call: Call, position: int, pointer: int, length: int) -> None:
    """What sendfile, splice and copy_file_range read: from where the file stands, unless an offset is given."""
    if not call.args[pointer]:
        from .sockets import received

        description = call.description(position)
        if isinstance(description, Socket):
            received(world, call, description, length)
        else:
            _moved(world, description, length)


def _transfer_into(world: World, call: Call, position: int, pointer: int | None, length: int) -> None:
    from .sockets import sent

    description = call.description(position)
    if pointer is not None and call.args[pointer]:
        end = call.numbers("<Q", call.answered_argument(pointer, 8))
        if end and isinstance(description, (OpenFile, MemFd)):
            world.written(description.file, end[0] - length, length, call.number)
    elif isinstance(description, Socket):
        sent(world, call, description, length)
    else:
        wrote(world, call, description, length)


@handles("sendfile")
def _sendfile(world: World, call: Call) -> None:
    _transfer_offset(world, call, 1, 2, call.result)
    _transfer_into(world, call, 0, None, call.result)


@handles("splice", "copy_file_range")
def _splice(world: World, call: Call) -> None:
    _transfer_offset(world, call, 0, 1, call.result)
    _transfer_into(world, call, 2, 3, call.result)


@handles("tee")
def _tee(world: World, call: Call) -> None:
    wrote(world, call, call.description(1), call.result)


@handles("vmsplice")
def _vmsplice(world: World, call: Call) -> None:
    end = call.description(0)
    if isinstance(end, PipeEnd) and end.flags & os.O_WRONLY:
        wrote(world, call, end, call.result)
    else:
        _moved(world, end, call.result)


@handles("truncate")
def _truncate(world: World, call: Call) -> None:
    path = world.resolve(call, None, call.text(0))
    if path in world.files:
        world.truncated(world.files[path], call.args[1])


@handles("ftruncate")
def _ftruncate(world: World, call: Call) -> None:
    if isinstance(opened := call.description(0), (OpenFile, MemFd)):
        world.truncated(opened.file, call.args[1])


@handles("fallocate")
def _allocate(world: World, call: Call) -> None:
    if isinstance(opened := call.description(0), (OpenFile, MemFd)):
        mode, offset, length = call.args[1:4]
        if mode == 0 and opened.file.size is not None:
            opened.file.size = max(opened.file.size, offset + length)
        elif mode & ~1:  # holes, zeros, collapses: the content is not what was written
            opened.file.spans = None


@handles("FICLONE", "FICLONERANGE")
def _clone_file(world: World, call: Call) -> None:
    if isinstance(opened := call.description(0), OpenFile):
        opened.file.spans = None


# ---- names ----


@handles("rename", "renameat", "renameat2")
def _rename(world: World, call: Call) -> None:
    if call.event.nr == 82:
        old, new = world.resolve(call, None, call.text(0)), world.resolve(call, None, call.text(1))
    else:
        old = world.resolve(call, call.signed(0), call.text(1))
        new = world.resolve(call, call.signed(2), call.text(3))
    if call.event.nr == 316 and call.args[4] & 2:  # RENAME_EXCHANGE
        between = f"{old}/.exchanged"
        world.rename(old, between)
        world.rename(new, old)
        world.rename(between, new)
    elif old != new:
        world.rename(old, new)


@handles("unlink", "rmdir")
def _unlink(world: World, call: Call) -> None:
    world.forget_name(world.resolve(call, None, call.text(0)))


@handles("unlinkat")
def _unlink_at(world: World, call: Call) -> None:
    world.forget_name(world.resolve(call, call.signed(0), call.text(1)))


@handles("mknod", "mknodat")
def _make_node(world: World, call: Call) -> None:
    at = call.event.nr == 259
    path = world.resolve(call, call.signed(0), call.text(1)) if at else world.resolve(call, None, call.text(0))
    if stat.S_ISFIFO(call.args[2 if at else 1]):
        world.fifos[path] = Pipe(world.new_id(), name=path)


@handles("linkat")
def _link(world: World, call: Call) -> None:
    """A file without a name gets one (O_TMPFILE)."""
    new = world.resolve(call, call.signed(2), call.text(3))
    old = call.text(1)
    slot = call.process.descriptors.get(call.signed(0)) if call.args[4] & _AT_EMPTY_PATH else None
    if old.startswith("/proc/self/fd/") and old[14:].isdecimal():
        slot = call.process.descriptors.get(int(old[14:]))
    if slot and isinstance(slot.description, OpenFile) and slot.description.file.deleted:
        file = slot.description.file
        file.deleted, file.path = False, new
        world.files[new] = file


def _see(world: World, opened: Description | None, path: str | None, status: tuple[int, ...] | None) -> None:
    """A stat has answered (device, inode, mode, size, mtime, rdev)."""
    if status is None:
        return
    device, inode, mode, size, mtime, rdev = status
    known = (device, inode, mode, size, mtime)
    if path is not None:
        if stat.S_ISFIFO(mode) and path not in world.fifos:
            world.fifos[path] = Pipe(world.new_id(), name=path, foreign=True)
        elif path in world.files:
            world.learn(world.files[path], known)
        return
    match opened:
        case OpenFile() if stat.S_ISDIR(mode):
            world.learn(opened.file, known)
            directory = OpenDirectory(id=opened.id, flags=opened.flags, event=opened.event, file=opened.file)
            world.replace(opened, directory)
        case OpenFile() if stat.S_ISFIFO(mode):
            pipe = world.fifos.setdefault(opened.file.path, Pipe(world.new_id(), name=opened.file.path, foreign=True))
            world.files.pop(opened.file.path, None)
            world.replace(opened, PipeEnd(id=opened.id, flags=opened.flags, event=opened.event, pipe=pipe))
        case OpenFile() if stat.S_ISCHR(mode):
            world.files.pop(opened.file.path, None)
            made = Device(id=opened.id, flags=opened.flags, event=opened.event, path=opened.file.path, number=rdev)
            world.replace(opened, made)
        case Device():
            opened.number = rdev
        case ProcFile():
            opened.directory = stat.S_ISDIR(mode)
        case OpenFile() | OpenDirectory() | MemFd():
            world.learn(opened.file, known)


def status_of(name: str, call: Call) -> tuple[int, ...] | None:
    """What a call of the stat family has answered: device, inode, mode, size, time of change, device number."""
    if name == "statx":
        return _extended_status(call.answered_argument(4, 256))
    data = call.answered_argument({"stat": 1, "lstat": 1, "fstat": 1, "newfstatat": 2}[name], 144)
    fields = call.numbers("<QQQIIIIQqqqqqqq", data)
    if fields is None:
        return None
    device, inode, _, mode, _, _, _, rdev, size, _, _, _, _, seconds, nanoseconds = fields
    return device, inode, mode, size, seconds * _NANO + nanoseconds, rdev


def _extended_status(data: bytes) -> tuple[int, ...] | None:
    if len(data) < 144:
        return None
    mode = int.from_bytes(data[28:30], "little")
    inode, size = (int.from_bytes(data[at : at + 8], "little") for at in (32, 40))
    seconds = int.from_bytes(data[112:120], "little", signed=True)
    words = (int.from_bytes(data[at : at + 4], "little") for at in (120, 128, 132, 136, 140))
    nanoseconds, rmajor, rminor, major, minor = words
    return os.makedev(major, minor), inode, mode, size, seconds * _NANO + nanoseconds, os.makedev(rmajor, rminor)


@handles("fstat")
def _fstat(world: World, call: Call) -> None:
    _see(world, call.description(0), None, status_of("fstat", call))


@handles("stat", "lstat")
def _stat(world: World, call: Call) -> None:
    _see(world, None, world.resolve(call, None, call.text(0)), status_of("stat", call))


@handles("newfstatat")
def _stat_at(world: World, call: Call) -> None:
    _see_at(world, call, status_of("newfstatat", call), call.args[3])


@handles("statx")
def _statx(world: World, call: Call) -> None:
    _see_at(world, call, status_of("statx", call), call.args[2])


def _see_at(world: World, call: Call, status: tuple[int, ...] | None, flags: int) -> None:
    if flags & _AT_EMPTY_PATH and not call.text(1):
        _see(world, call.description(0), None, status)
    else:
        _see(world, None, world.resolve(call, call.signed(0), call.text(1)), status)


# ---- locks ----


@handles("flock")
def _flock(world: World, call: Call) -> None:
    if isinstance(opened := call.description(0), (OpenFile, MemFd)):
        opened.locks = [lock for lock in opened.locks if lock.kind != "flock"]
        if not call.args[1] & 8:  # LOCK_UN
            opened.locks.append(Lock("flock", bool(call.args[1] & 2)))


@handles("F_SETLK", "F_SETLKW", "F_OFD_SETLK", "F_OFD_SETLKW")
def _lock(world: World, call: Call) -> None:
    opened = call.description(0)
    wanted = call.numbers(_FLOCK, call.asked_argument(2, 32))
    if wanted is None or not isinstance(opened, (OpenFile, MemFd)):
        return
    kind, whence, start, length, _ = wanted
    start += {os.SEEK_CUR: opened.offset or 0, os.SEEK_END: opened.file.size or 0}.get(whence, 0)
    end = start + length if length > 0 else None
    if length < 0:
        start, end = start + length, start
    own = call.args[1] & 0xFFFFFFFF in (6, 7)
    held = [lock for file, lock in call.process.locks if file is opened.file] if own else opened.locks
    others = [] if own else [lock for lock in held if lock.kind == "flock"]
    held = [part for lock in held if lock.kind != "flock" for part in _without(lock, start, end)]
    if kind != 2:  # F_UNLCK
        held.append(Lock("posix" if own else "ofd", kind == 1, start, end, call.process.pid if own else 0))
    held = others + _joined(held)
    if own:
        call.process.locks[:] = [one for one in call.process.locks if one[0] is not opened.file]
        call.process.locks += [(opened.file, lock) for lock in held]
    else:
        opened.locks = held


def _without(lock: Lock, start: int, end: int | None) -> list[Lock]:
    """What is left of a lock outside of a range."""
    parts = []
    if lock.start < start:
        before = start if lock.end is None else min(lock.end, start)
        parts.append(Lock(lock.kind, lock.exclusive, lock.start, before, lock.owner))
    if end is not None and (lock.end is None or lock.end > end):
        parts.append(Lock(lock.kind, lock.exclusive, max(lock.start, end), lock.end, lock.owner))
    return parts


def _joined(locks: list[Lock]) -> list[Lock]:
    """Neighbours of one kind are one lock."""
    joined: list[Lock] = []
    for lock in sorted(locks, key=lambda one: one.start):
        last = joined[-1] if joined else None
        if last and last.end == lock.start and last.exclusive == lock.exclusive:
            last.end = lock.end
        else:
            joined.append(lock)
    return joined


# ---- descriptors to be waited for, and others made by a call of their own ----


def _install(world: World, call: Call, description: Description, on_exec: int | bool) -> None:
    world.install(call.process, call.result, description, bool(on_exec))


@handles("epoll_create", "epoll_create1")
def _epoll(world: World, call: Call) -> None:
    flags = call.args[0] if call.event.nr == 291 else 0
    _install(world, call, Epoll(id=world.new_id(), flags=os.O_RDWR, event=call.number), flags & O_CLOEXEC)


@handles("epoll_ctl")
def _watch(world: World, call: Call) -> None:
    epoll, member, number = call.description(0), call.description(2), call.signed(2)
    if not isinstance(epoll, Epoll) or member is None:
        return
    found = next((w for w in epoll.watches if w.number == number and w.description is member), None)
    operation = call.args[1] & 0xFFFFFFFF
    if operation == 2:  # EPOLL_CTL_DEL
        epoll.watches = [w for w in epoll.watches if w is not found]
        return
    events, data = call.numbers("<IQ", call.asked_argument(3, 12)) or (0, 0)
    if found is None:
        epoll.watches.append(Watch(number, member, events, data))
    else:
        found.events, found.data, found.disarmed = events, data, False


@handles("epoll_wait", "epoll_pwait", "epoll_pwait2")
def _reported(world: World, call: Call) -> None:
    epoll = call.description(0)
    if not isinstance(epoll, Epoll) or not any(w.events & _EPOLLONESHOT for w in epoll.watches):
        return
    data = call.answered_argument(1, 12 * call.result)
    reported = {int.from_bytes(data[at + 4 : at + 12], "little") for at in range(0, len(data), 12)}
    for watch in epoll.watches:
        if watch.events & _EPOLLONESHOT and watch.data in reported:
            watch.disarmed = True


@handles("eventfd", "eventfd2")
def _eventfd(world: World, call: Call) -> None:
    flags = call.args[1] if call.event.nr == 290 else 0
    kept = os.O_RDWR | flags & O_NONBLOCK
    made = EventFd(
        id=world.new_id(), flags=kept, event=call.number, count=call.args[0] & 0xFFFFFFFF, semaphore=bool(flags & 1)
    )
    _install(world, call, made, flags & O_CLOEXEC)


@handles("timerfd_create")
def _timerfd(world: World, call: Call) -> None:
    kept = os.O_RDWR | call.args[1] & O_NONBLOCK
    made = TimerFd(id=world.new_id(), flags=kept, event=call.number, clock=call.args[0] & 0xFFFFFFFF)
    _install(world, call, made, call.args[1] & O_CLOEXEC)


@handles("timerfd_settime")
def _set_timerfd(world: World, call: Call) -> None:
    if isinstance(timer := call.description(0), TimerFd):
        timer.settime_flags = call.args[1] & 0xFFFFFFFF
        timer.expirations = 0
        arm(world, timer, call.asked_argument(2, 32), bool(timer.settime_flags & 1), 1)


@handles("signalfd", "signalfd4")
def _signalfd(world: World, call: Call) -> None:
    flags = call.args[3] if call.event.nr == 289 else 0
    mask = int.from_bytes(call.asked_argument(1, 8), "little") & ~(1 << 8 | 1 << 18)  # not SIGKILL and SIGSTOP
    if call.signed(0) >= 0:
        if isinstance(known := call.description(0), SignalFd):
            known.mask = mask
        return
    made = SignalFd(id=world.new_id(), flags=os.O_RDWR | flags & O_NONBLOCK, event=call.number, mask=mask)
    _install(world, call, made, flags & O_CLOEXEC)


@handles("inotify_init", "inotify_init1")
def _inotify(world: World, call: Call) -> None:
    flags = call.args[0] if call.event.nr == 294 else 0
    made = Inotify(id=world.new_id(), flags=os.O_RDONLY | flags & O_NONBLOCK, event=call.number)
    _install(world, call, made, flags & O_CLOEXEC)


@handles("inotify_add_watch")
def _add_watch(world: World, call: Call) -> None:
    if isinstance(inotify := call.description(0), Inotify):
        mask = call.args[2] & 0xFFFFFFFF
        before = inotify.watches.get(call.result)
        if mask & 0x20000000 and before:  # IN_MASK_ADD
            mask |= before[1]
        inotify.watches[call.result] = (world.resolve(call, None, call.text(1)), mask)


@handles("inotify_rm_watch")
def _remove_watch(world: World, call: Call) -> None:
    if isinstance(inotify := call.description(0), Inotify):
        inotify.watches.pop(call.signed(1), None)


@handles("memfd_create")
def _memfd(world: World, call: Call) -> None:
    flags = call.args[1] & 0xFFFFFFFF
    path = f"/memfd:{call.text(0)}"
    file = File(world.new_id(), path, mode=stat.S_IFREG | 0o777, size=0, deleted=True, created=True)
    seals = 0 if flags & 2 else 1  # MFD_ALLOW_SEALING; F_SEAL_SEAL
    made = MemFd(
        id=world.new_id(), flags=os.O_RDWR | 0o100000, event=call.number, file=file, memfd_flags=flags, seals=seals
    )
    _install(world, call, made, flags & 1)


@handles("pidfd_open")
def _pidfd(world: World, call: Call) -> None:
    kept = os.O_RDWR | call.args[1] & O_NONBLOCK
    made = PidFd(id=world.new_id(), flags=kept, event=call.number, process=call.signed(0))
    _install(world, call, made, True)


@handles("pidfd_getfd")
def _take_descriptor(world: World, call: Call) -> None:
    pidfd = call.description(0)
    other = world.processes.get(pidfd.process) if isinstance(pidfd, PidFd) else None
    slot = other.descriptors.get(call.signed(1)) if other else None
    made = slot.description if slot else _unknown(world, call, "taken from another process")
    _install(world, call, made, True)


def _unknown(world: World, call: Call, what: str) -> Unknown:
    return Unknown(id=world.new_id(), flags=os.O_RDWR, event=call.number, what=what)


_ODD = {
    "fanotify_init": "fanotify",
    "open_by_handle_at": "a file opened by its handle",
    "perf_event_open": "performance counters",
    "open_tree": "a mount",
    "open_tree_attr": "a mount",
    "fsopen": "a file system being configured",
    "fsmount": "a mount",
    "fspick": "a file system being configured",
    "userfaultfd": "userfaultfd",
    "memfd_secret": "secret memory",
    "landlock_create_ruleset": "a landlock ruleset",
    "TIOCGPTPEER": "",
    "SIOCGSKNS": "a network namespace",
    "TUNGETDEVNETNS": "a network namespace",
}


def odd(world: World, call: Call) -> None:
    """A descriptor of a kind that the model does not follow."""
    from ..syscalls import lookup

    row = lookup(call.event.nr, call.event.args)
    name = row.name if row else ""
    made: Description
    if name == "TIOCGPTPEER" and isinstance(master := call.description(0), PtyMaster):
        number = master.pty.number
        made = Terminal(
            id=world.new_id(), flags=call.args[2] & ~(O_CLOEXEC | O_NOCTTY), event=call.number,
            path=f"/dev/pts/{number}", settings=master.pty.settings, pty=master.pty,
        )  # fmt: skip
    else:
        made = _unknown(world, call, _ODD.get(name) or name)
    _install(world, call, made, False)


for _name in _ODD:
    handles(_name)(odd)


@handles("mq_open")
def _message_queue(world: World, call: Call) -> None:
    flags = call.args[1] & 0xFFFFFFFF
    made = MessageQueue(
        id=world.new_id(), flags=flags & ~(O_CREAT | O_CLOEXEC), event=call.number, name="/" + call.text(0)
    )
    world.ipc[f"POSIX message queue {made.name}"] = None
    _install(world, call, made, True)


# ---- terminals ----


def _settings(description: Description | None) -> TerminalSettings | None:
    match description:
        case Terminal():
            return description.settings
        case PtyMaster():
            return description.pty.settings
    return None


@handles(*_TCSETS)
def _set_terminal(world: World, call: Call) -> None:
    if settings := _settings(call.description(0)):
        new = call.asked_argument(2, 44 if call.args[1] & 0xFFFF0000 else 36)
        settings.termios = new + (settings.termios or b"")[len(new) :]


@handles("TCGETS", "TCGETS2")
def _see_terminal(world: World, call: Call) -> None:
    description = call.description(0)
    if isinstance(description, (Device, OpenFile)):
        path = description.path if isinstance(description, Device) else description.file.path
        made = Terminal(
            id=description.id, flags=description.flags, event=description.event, path=path,
            settings=world.terminal(path),
        )  # fmt: skip
        world.replace(description, made)
        description = made
    if settings := _settings(description):
        new = call.answered_argument(2, 44 if call.args[1] & 0xFFFF0000 else 36)
        settings.termios = new + (settings.termios or b"")[len(new) :]


@handles("TIOCSWINSZ")
def _set_size(world: World, call: Call) -> None:
    size = call.numbers("<HH", call.asked_argument(2, 4))
    if (settings := _settings(call.description(0))) and size:
        settings.rows, settings.columns = size


@handles("TIOCGWINSZ")
def _see_size(world: World, call: Call) -> None:
    size = call.numbers("<HH", call.answered_argument(2, 4))
    if (settings := _settings(call.description(0))) and size:
        settings.rows, settings.columns = size


@handles("TIOCSPGRP")
def _set_foreground(world: World, call: Call) -> None:
    group = call.numbers("<i", call.asked_argument(2, 4))
    if (settings := _settings(call.description(0))) and group:
        settings.foreground = group[0]


@handles("TIOCSCTTY")
def _set_controlling(world: World, call: Call) -> None:
    terminal = call.description(0)
    if isinstance(terminal, Terminal):
        call.process.terminal = terminal.path
        terminal.settings.session = call.process.session


@handles("TIOCNOTTY")
def _leave_controlling(world: World, call: Call) -> None:
    call.process.terminal = None


@handles("TIOCGPTN")
def _see_pty_number(world: World, call: Call) -> None:
    number = call.numbers("<I", call.answered_argument(2, 4))
    if isinstance(master := call.description(0), PtyMaster) and number:
        master.pty.number = number[0]
        world.ptys[number[0]] = master.pty


@handles("TIOCSPTLCK")
def _lock_pty(world: World, call: Call) -> None:
    locked = call.numbers("<i", call.asked_argument(2, 4))
    if isinstance(master := call.description(0), PtyMaster) and locked:
        master.pty.locked = bool(locked[0])
