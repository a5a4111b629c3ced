"""What a process is: its ids, capabilities, limits, directories, and what signals do to it."""

from __future__ import annotations

from .call import Call
from .model import Action, Credentials, Task
from .world import World, handles

_ALL_CAPABILITIES = (1 << 41) - 1
_KEEP_CAPS = 1 << 4  # SECBIT_KEEP_CAPS
_NO_SETUID_FIXUP = 1 << 2
_UNCATCHABLE = 1 << 8 | 1 << 18
_SIG_BLOCK, _SIG_UNBLOCK, _SIG_SETMASK = 0, 1, 2
_SAME = 0xFFFFFFFF
_INFINITY = (1 << 64) - 1


# ---- ids ----


def _credentials(call: Call) -> Credentials:
    return call.task.credentials


def _set_uids(call: Call, uids: tuple[int, int, int, int]) -> None:
    """New user ids, and what they do to capabilities (capabilities(7), "Effect of user ID changes")."""
    credentials = _credentials(call)
    before, credentials.uids = credentials.uids, uids
    if before is None or credentials.securebits & _NO_SETUID_FIXUP or credentials.permitted is None:
        return
    if 0 in before[:3] and 0 not in uids[:3] and not credentials.securebits & _KEEP_CAPS:
        credentials.permitted = credentials.effective = 0
        credentials.ambient = 0
    if before[1] == 0 and uids[1] != 0:
        credentials.effective = 0
    elif before[1] != 0 and uids[1] == 0:
        credentials.effective = credentials.permitted


def _chosen(new: int, old: int) -> int:
    new &= 0xFFFFFFFF
    return old if new == _SAME else new


@handles("setuid", "setreuid", "setresuid", "setfsuid")
def _setuid(world: World, call: Call) -> None:
    real, effective, saved, file = _credentials(call).uids or (0, 0, 0, 0)
    had = _credentials(call).effective
    privileged = had is None or bool(had >> 7 & 1)  # CAP_SETUID
    _set_uids(call, _changed_ids(call, (105, 113, 117), (real, effective, saved, file), privileged))


@handles("setgid", "setregid", "setresgid", "setfsgid")
def _setgid(world: World, call: Call) -> None:
    had = _credentials(call).effective
    privileged = had is None or bool(had >> 6 & 1)  # CAP_SETGID
    ids = _credentials(call).gids or (0, 0, 0, 0)
    _credentials(call).gids = _changed_ids(call, (106, 114, 119), ids, privileged)


def _changed_ids(
    call: Call, numbers: tuple[int, int, int], ids: tuple[int, int, int, int], privileged: bool
) -> tuple[int, int, int, int]:
    real, effective, saved, _ = ids
    one, two, three = (argument & 0xFFFFFFFF for argument in call.args[:3])
    plain, pair, triple = numbers
    if call.event.nr == plain:
        return (one, one, one, one) if privileged else (real, one, saved, one)
    if call.event.nr == pair:
        new = _chosen(two, effective)
        keeps = one == _SAME and (two == _SAME or new == real)
        return _chosen(one, real), new, saved if keeps else new, new
    if call.event.nr == triple:
        new = _chosen(two, effective)
        return _chosen(one, real), new, _chosen(three, saved), new
    return real, effective, saved, one  # setfsuid answers the old id, and never fails


@handles("setgroups")
def _setgroups(world: World, call: Call) -> None:
    data = call.asked_argument(1, 4 * call.args[0])
    groups = (int.from_bytes(data[at : at + 4], "little") for at in range(0, len(data), 4))
    _credentials(call).groups = tuple(sorted(groups))


@handles("capset")
def _capset(world: World, call: Call) -> None:
    header = call.numbers("<Ii", call.asked_argument(0, 8))
    data = call.numbers("<IIIIII", call.asked_argument(1, 24))
    if header and data:
        credentials = _credentials(call)
        credentials.effective, credentials.permitted, credentials.inheritable = (
            data[at] | data[at + 3] << 32 for at in range(3)
        )
        if credentials.ambient is not None:
            credentials.ambient &= credentials.permitted & credentials.inheritable


@handles("PR_SET_KEEPCAPS")
def _keepcaps(world: World, call: Call) -> None:
    credentials = _credentials(call)
    credentials.securebits = credentials.securebits & ~_KEEP_CAPS | (_KEEP_CAPS if call.args[1] else 0)


@handles("PR_SET_SECUREBITS")
def _securebits(world: World, call: Call) -> None:
    _credentials(call).securebits = call.args[1] & 0xFFFFFFFF


@handles("PR_CAPBSET_DROP")
def _drop(world: World, call: Call) -> None:
    if _credentials(call).bounding is not None:
        _credentials(call).bounding &= ~(1 << call.args[1])  # type: ignore[operator]


@handles("PR_CAP_AMBIENT")
def _ambient(world: World, call: Call) -> None:
    credentials, bit = _credentials(call), 1 << (call.args[2] & 63)
    if credentials.ambient is not None:
        operation = call.args[1]
        credentials.ambient = {2: credentials.ambient | bit, 3: credentials.ambient & ~bit, 4: 0}.get(
            operation, credentials.ambient
        )


@handles("PR_SET_NO_NEW_PRIVS")
def _no_new_privs(world: World, call: Call) -> None:
    _credentials(call).no_new_privs = True


# ---- limits, directories, and the rest of prctl ----


@handles("setrlimit")
def _setrlimit(world: World, call: Call) -> None:
    _limit(call, call.signed(0), call.asked_argument(1, 16), call.process.pid, world)


@handles("prlimit64")
def _prlimit(world: World, call: Call) -> None:
    _limit(call, call.signed(1), call.asked_argument(2, 16), call.signed(0) or call.process.pid, world)


def _limit(call: Call, resource: int, data: bytes, pid: int, world: World) -> None:
    limit = call.numbers("<QQ", data)
    process = world.processes.get(pid) or world.tasks.get(pid)
    if limit and process:
        process.limits[resource] = tuple(-1 if value == _INFINITY else value for value in limit)  # type: ignore


@handles("chdir")
def _chdir(world: World, call: Call) -> None:
    call.process.directories.cwd = world.resolve(call, None, call.text(0))


@handles("fchdir")
def _fchdir(world: World, call: Call) -> None:
    path = world.path_of(call.process, call.signed(0))
    if path:
        call.process.directories.cwd = path


@handles("chroot")
def _chroot(world: World, call: Call) -> None:
    call.process.directories.root = world.resolve(call, None, call.text(0))


@handles("umask")
def _umask(world: World, call: Call) -> None:
    call.process.directories.umask = call.args[0] & 0o777


@handles("PR_SET_NAME")
def _name(world: World, call: Call) -> None:
    call.task.name = call.text(1)[:15]


@handles("PR_SET_PDEATHSIG")
def _parent_death(world: World, call: Call) -> None:
    call.task.parent_death_signal = call.signed(1)


@handles("PR_SET_TIMERSLACK")
def _timer_slack(world: World, call: Call) -> None:
    call.task.timer_slack_ns = call.args[1]


@handles("PR_SET_CHILD_SUBREAPER")
def _subreaper(world: World, call: Call) -> None:
    call.process.subreaper = bool(call.args[1])


@handles("PR_SET_DUMPABLE")
def _dumpable(world: World, call: Call) -> None:
    call.process.dumpable = call.signed(1)


@handles("personality")
def _personality(world: World, call: Call) -> None:
    if call.args[0] & 0xFFFFFFFF != 0xFFFFFFFF:
        call.process.personality = call.args[0] & 0xFFFFFFFF


@handles("setpgid")
def _setpgid(world: World, call: Call) -> None:
    process = world.processes.get(call.signed(0) or call.process.pid)
    if process:
        process.group = call.signed(1) or process.pid


@handles("setsid")
def _setsid(world: World, call: Call) -> None:
    process = call.process
    process.session = process.group = process.pid
    process.terminal = None


@handles("set_tid_address")
def _tid_address(world: World, call: Call) -> None:
    call.task.clear_child_tid = call.args[0]


@handles("set_robust_list")
def _robust_list(world: World, call: Call) -> None:
    call.task.robust_list = call.args[0], call.args[1]


@handles("setpriority")
def _nice(world: World, call: Call) -> None:
    task = world.task(call.signed(1)) if call.signed(1) else call.task
    if call.signed(0) == 0 and task:
        task.nice = call.signed(2)


@handles("sched_setscheduler")
def _scheduler(world: World, call: Call) -> None:
    priority = call.numbers("<i", call.asked_argument(2, 4))
    task = world.task(call.signed(0)) if call.signed(0) else call.task
    if task:
        task.policy = call.signed(1), priority[0] if priority else 0


@handles("sched_setaffinity")
def _affinity(world: World, call: Call) -> None:
    task = world.task(call.signed(0)) if call.signed(0) else call.task
    if task:
        task.affinity = call.asked_argument(2, call.args[1])


_MOST_INPUT = 4096  # bytes of one input, as transfer.c stores them


@handles("seccomp")
def _seccomp(world: World, call: Call) -> None:
    _filter(world, call, call.args[0] + 1, call.args[1], 2)


@handles("PR_SET_SECCOMP")
def _set_seccomp(world: World, call: Call) -> None:
    _filter(world, call, call.args[1], 0, 2)


def _filter(world: World, call: Call, mode: int, flags: int, pointer: int) -> None:
    if mode not in (1, 2):
        return
    tasks = call.process.tasks.values() if flags & 1 else [call.task]  # SECCOMP_FILTER_FLAG_TSYNC
    program = call.numbers("<Hxxxxxx Q".replace(" ", ""), call.asked_argument(pointer, 16)) if mode == 2 else None
    for task in tasks:
        task.seccomp = mode
        if mode == 2:
            task.filters.append(_program(call, *program) if program else b"")


def _program(call: Call, count: int, address: int) -> bytes:
    """That of a filter; b"" where the trace does not have all of it (those before 2026-11-30 have none)."""
    size = 8 * count
    parts = [call.asked(address + at, min(_MOST_INPUT, size - at)) for at in range(0, size, _MOST_INPUT)]
    return whole if len(whole := b"".join(parts)) == size else b""


@handles("unshare", "setns")
def _namespace(world: World, call: Call) -> None:
    flags = call.args[0] if call.event.nr == 272 else call.args[1]
    note_namespaces(call.task, flags, "new" if call.event.nr == 272 else "entered")
    if call.event.nr == 272:
        if flags & 0x200:  # CLONE_FS
            process = call.process
            process.directories = type(process.directories)(
                world.new_id(), process.directories.cwd, process.directories.root, process.directories.umask
            )
        if flags & 0x400:  # CLONE_FILES
            from .model import Slot

            slots = call.process.descriptors.items()
            call.process.descriptors = {n: Slot(s.description, s.close_on_exec) for n, s in slots}


NAMESPACES = {
    0x80: "time", 0x20000: "mnt", 0x2000000: "cgroup", 0x4000000: "uts", 0x8000000: "ipc", 0x10000000: "user",
    0x20000000: "pid", 0x40000000: "net",
}  # fmt: skip


def note_namespaces(task: Task, flags: int, how: str) -> None:
    """Namespaces that a task is in by its own doing."""
    task.namespaces += [f"{name} ({how})" for bit, name in NAMESPACES.items() if flags & bit]


@handles("mount", "umount2", "pivot_root", "move_mount", "mount_setattr", "fsconfig")
def _mount(world: World, call: Call) -> None:
    call.task.namespaces.append("mnt (mounts changed)")


# ---- signals ----


@handles("rt_sigaction")
def _sigaction(world: World, call: Call) -> None:
    number, new = call.signed(0), call.numbers("<QQQQ", call.asked_argument(1, 32))
    if new is None:
        return
    handler, flags, restorer, mask = new
    if handler == 0 and not flags & ~0x04000000:
        call.process.dispositions.actions.pop(number, None)
    else:
        call.process.dispositions.actions[number] = Action(handler, flags, restorer, mask & ~_UNCATCHABLE)
    if handler == 1:
        bit = ~(1 << number - 1)
        call.process.pending &= bit
        call.task.pending &= bit


@handles("rt_sigprocmask")
def _sigprocmask(world: World, call: Call) -> None:
    data = call.asked_argument(1, 8)
    if len(data) < 8:
        return
    new, how = int.from_bytes(data, "little"), call.signed(0)
    old = call.task.mask or 0
    result = {_SIG_BLOCK: old | new, _SIG_UNBLOCK: old & ~new, _SIG_SETMASK: new}.get(how, old)
    call.task.mask = result & ~_UNCATCHABLE


@handles("sigaltstack")
def _sigaltstack(world: World, call: Call) -> None:
    stack = call.numbers("<QixxxxQ", call.asked_argument(0, 24))
    if stack:
        address, flags, size = stack
        call.task.alternate_stack = None if flags & 2 else (address, flags, size)


@handles("rt_sigpending")
def _sigpending(world: World, call: Call) -> None:
    data = call.answered_argument(0, 8)
    if len(data) == 8:
        call.process.pending = int.from_bytes(data, "little") & ~call.task.pending


@handles("rt_sigtimedwait")
def _sigtimedwait(world: World, call: Call) -> None:
    if call.result > 0:
        drop_pending(call, call.result)


def drop_pending(call: Call, number: int) -> None:
    """A pending signal was taken."""
    bit = 1 << number - 1
    if call.task.pending & bit:
        call.task.pending &= ~bit
    else:
        call.process.pending &= ~bit


@handles("kill", "rt_sigqueueinfo")
def _kill(world: World, call: Call) -> None:
    number, pid = call.signed(1), call.signed(0)
    if not number:
        return
    for process in list(world.processes.values()):
        grouped = pid <= 0 and pid != -1 and process.group == (-pid if pid < -1 else call.process.group)
        blocked = all((task.mask or 0) >> number - 1 & 1 for task in process.tasks.values())
        if blocked and (process.pid == pid or grouped):
            process.pending |= 1 << number - 1


@handles("tkill", "tgkill", "rt_tgsigqueueinfo")
def _tkill(world: World, call: Call) -> None:
    at = 0 if call.event.nr == 200 else 1
    task, number = world.task(call.signed(at)), call.signed(at + 1)
    if task and number and (task.mask or 0) >> number - 1 & 1:
        task.pending |= 1 << number - 1


@handles("pidfd_send_signal")
def _pidfd_signal(world: World, call: Call) -> None:
    from .model import PidFd

    pidfd, number = call.description(0), call.signed(1)
    process = world.processes.get(pidfd.process) if isinstance(pidfd, PidFd) else None
    if process and number and all((task.mask or 0) >> number - 1 & 1 for task in process.tasks.values()):
        process.pending |= 1 << number - 1


@handles("wait4", "waitid")
def _wait(world: World, call: Call) -> None:
    if call.event.nr == 61:
        pid, status = call.result, call.numbers("<I", call.answered_argument(1, 4))
        if pid > 0 and (status is None or not _goes_on(status[0])):
            _reaped(call, pid)
        return
    data = call.answered_argument(2, 128)
    if len(data) >= 28 and not call.args[3] & 0x1000000:  # WNOWAIT
        code, pid = int.from_bytes(data[8:12], "little", signed=True), int.from_bytes(data[12:16], "little")
        if code in (1, 2, 3):  # CLD_EXITED, CLD_KILLED, CLD_DUMPED
            _reaped(call, pid)


def _reaped(call: Call, pid: int) -> None:
    call.process.zombies.pop(pid, None)
    call.process.foreign_children = [child for child in call.process.foreign_children if child != pid]


def _goes_on(status: int) -> bool:
    return status & 0xFF == 0x7F or status & 0xFFFF == 0xFFFF
