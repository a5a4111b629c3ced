"""Walks the events of a trace and keeps the model of the kernel objects."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from ..events import (
    ContinuedEvent,
    Event,
    ExecEvent,
    ExitEvent,
    LeaveEvent,
    SignalEvent,
    SpawnEvent,
    StoppedEvent,
    SyscallEvent,
)
from ..syscalls import TABLE
from ..syscalls.spec import Effect
from . import beginning, descriptors, identity, memory, sockets, timers
from .call import Call
from .model import (
    Directories,
    Dispositions,
    Epoll,
    Memory,
    Process,
    ProgramState,
    Slot,
    Socket,
    Task,
    TimerFd,
)
from .world import HANDLERS, World

if TYPE_CHECKING:
    from ..trace_reader import TraceReader
    from .world import Handler

_CLONE_VM, _CLONE_FS, _CLONE_FILES, _CLONE_SIGHAND = 0x100, 0x200, 0x400, 0x800
_CLONE_PARENT, _CLONE_CHILD_CLEARTID, _CLONE_PIDFD = 0x8000, 0x200000, 0x1000
_CLONE, _FORK, _VFORK, _CLONE3, _CLOSE, _CONNECT, _SIGRETURN = 56, 57, 58, 435, 3, 42, 15
_EINPROGRESS = -115
_DONTFORK, _WIPEONFORK = 10, 18
_SA_NOCLDWAIT, _SA_NODEFER, _SA_RESETHAND = 2, 0x40000000, 0x80000000
_SIGCHLD = 17
_MASK_OFFSET = 304  # of uc_sigmask in struct rt_sigframe
_RSP = 19 * 8  # in struct user_regs_struct
_SLEEPS_WITH_MASK = {130: 0, 270: 5, 271: 3, 281: 4, 441: 4}
"""Calls that wait under a signal mask of their own: which argument points at it."""
_INTERRUPTED = (-4, -514)  # EINTR, ERESTARTNOHAND

for _family in (descriptors, identity, memory, sockets, timers):
    assert _family.__name__  # importing them has filled HANDLERS


def _by_number() -> tuple[dict[int, Handler], dict[int, dict[int, Handler]]]:
    plain: dict[int, Handler] = {}
    commands: dict[int, dict[int, Handler]] = {}
    for number, row in TABLE.items():
        if row.name in HANDLERS:
            plain[number] = HANDLERS[row.name]
        known = {c.number: HANDLERS[c.name] for c in row.commands if c.name in HANDLERS}
        for command in row.commands:
            if command.effect is Effect.OPEN:
                known.setdefault(command.number, descriptors.odd)
        if known:
            commands[number] = known
    return plain, commands


_PLAIN, _COMMANDS = _by_number()


class History:
    """The state of the program, behind the events that it was given one after the other."""

    def __init__(self) -> None:
        self.world = World()
        self._position = 0
        self._kinds: dict[type, Callable[..., None]] = {
            SyscallEvent: self._syscall,
            ExecEvent: self._exec,
            SpawnEvent: self._spawn,
            ExitEvent: self._exit,
            LeaveEvent: self._leave,
            SignalEvent: self._signal,
            StoppedEvent: self._stopped,
            ContinuedEvent: self._continued,
        }

    def apply(self, event: Event) -> None:
        """Takes the next event."""
        self.world.time = event.time
        self._position = event.number + 1
        if handler := self._kinds.get(type(event)):
            handler(event)
        if (process := self.world.tasks.get(event.task)) and (task := process.tasks.get(event.task)):
            task.since = event.time

    def call(self, event: SyscallEvent) -> Call | None:
        """The next event, as a call of a task that is known."""
        process = self.world.tasks.get(event.task)
        task = process.tasks.get(event.task) if process else None
        return Call(event, process, task) if process and task else None

    def state(self) -> ProgramState:
        """The state at the position behind the last event. Nothing can be applied afterwards."""
        world = self.world
        _finish(world)
        clocks = replace(world.clocks)
        passed = (world.time - world.clocks_at) * 1000
        for name in ("monotonic", "realtime", "boottime"):
            start = getattr(clocks, name)
            setattr(clocks, name, None if start is None else start + passed)
        return ProgramState(self._position, world.time, world.processes, clocks, list(world.ipc), list(world.gaps))

    # ---- calls ----

    def _syscall(self, event: SyscallEvent) -> None:
        world = self.world
        process = world.tasks.get(event.task)
        task = process.tasks.get(event.task) if process else None
        if process is None or task is None:
            return
        world.sleeping_masks.pop(event.task, None)
        nr = event.nr
        if event.result < 0:
            if nr == _CLOSE or (nr == _CONNECT and event.result == _EINPROGRESS):
                _PLAIN[nr](world, Call(event, process, task))
            elif event.result in _INTERRUPTED and nr in _SLEEPS_WITH_MASK:
                self._slept(Call(event, process, task))
            return
        handler = _PLAIN.get(nr)
        if nr in _COMMANDS:
            number = TABLE[nr].command(event.args)
            handler = _COMMANDS[nr].get(number, handler) if number is not None else handler
        if handler is not None:
            handler(world, Call(event, process, task))
        elif nr in (_CLONE, _CLONE3, _FORK, _VFORK):
            self._cloned(Call(event, process, task))
        elif nr == _SIGRETURN:
            self._returned(event, task)

    def _slept(self, call: Call) -> None:
        at = _SLEEPS_WITH_MASK[call.event.nr]
        data = call.asked_argument(at, 8)
        if at == 5:  # pselect6: the address of the mask and its size are behind the argument
            pack = call.numbers("<Q", data)
            data = call.asked(pack[0], 8) if pack else b""
        if len(data) == 8:
            self.world.sleeping_masks[call.event.task] = int.from_bytes(data, "little")

    def _cloned(self, call: Call) -> None:
        """What only the parent's call tells of a new task."""
        tid = self.world.spawned.pop(call.event.task, None)
        if tid is None and call.result > 0:
            call.process.foreign_children.append(call.result)
        task = self.world.task(tid) if tid is not None else None
        if call.event.nr in (_FORK, _VFORK):
            return
        if call.event.nr == _CLONE:
            flags, cleared, pidfd = call.args[0], call.args[3], call.args[2]
        else:
            words = call.numbers("<QQQ", call.asked_argument(0, 24))
            if words is None:
                return
            flags, pidfd, cleared = words
        if task is not None and flags & _CLONE_CHILD_CLEARTID:
            task.clear_child_tid = cleared
        number = call.numbers("<i", call.answered(pidfd, 4)) if flags & _CLONE_PIDFD else None
        if number and tid is not None:
            from .model import PidFd

            made = PidFd(id=self.world.new_id(), flags=2, event=call.number, process=tid)
            self.world.install(call.process, number[0], made, True)

    def _returned(self, event: SyscallEvent, task: Task) -> None:
        saved = self.world.masks.get(event.task, [])
        registers = event.inputs[0][1] if event.inputs else b""
        stack = int.from_bytes(registers[_RSP : _RSP + 8], "little")
        while saved:
            mask, at = saved.pop()
            if at == stack or not saved:
                task.mask = mask
                return

    # ---- tasks and processes ----

    def _exec(self, event: ExecEvent) -> None:
        world = self.world
        # A thread that executes a program takes over the id of the first one, which has ended.
        process = world.tasks.get(event.task) or world.processes.get(event.task)
        if process is None:
            process = beginning.begin(world, event)
            world.processes[process.pid] = process
        else:
            old = process.tasks.get(event.task) or next(iter(process.tasks.values()))
            kept = process.descriptors.items()
            process.descriptors = {n: Slot(s.description) for n, s in kept if not s.close_on_exec}
            if "descriptors" in event.image:
                beginning.compare(world, process, event)
            folders = process.directories
            process.directories = Directories(world.new_id(), folders.cwd, folders.root, folders.umask)
            beginning.become(world, process, old, event)
            process.ending = None
            world.tasks = {tid: other for tid, other in world.tasks.items() if other is not process}
        world.tasks[event.task] = process
        world.masks.pop(event.task, None)

    def _spawn(self, event: SpawnEvent) -> None:
        world = self.world
        parent = world.tasks.get(event.parent)
        maker = parent.tasks.get(event.parent) if parent else None
        if parent is None or maker is None:
            return
        world.spawned[event.parent] = event.task
        credentials = replace(maker.credentials)
        task = Task(
            event.task, maker.name, maker.mask, credentials=credentials, timer_slack_ns=maker.timer_slack_ns,
            nice=maker.nice, policy=maker.policy, affinity=maker.affinity, seccomp=maker.seccomp,
            filters=list(maker.filters), given_filters=maker.given_filters, namespaces=list(maker.namespaces),
        )  # fmt: skip
        identity.note_namespaces(task, event.flags, "new")
        if not event.flags & _CLONE_VM or event.flags & 0x4000:  # CLONE_VFORK keeps it
            task.alternate_stack = maker.alternate_stack
        if event.process == parent.pid:
            parent.tasks[event.task] = task
            world.tasks[event.task] = parent
            return
        child = _child_of(world, parent, event, task)
        world.processes[child.pid] = child
        world.tasks[event.task] = child
        if event.task in world.masks or event.parent in world.masks:
            world.masks[event.task] = list(world.masks.get(event.parent, []))

    def _exit(self, event: ExitEvent) -> None:
        world = self.world
        process = world.tasks.pop(event.task, None)
        world.masks.pop(event.task, None)
        if process is None:
            return
        process.tasks.pop(event.task, None)
        if event.task == process.pid:
            process.ending = event.status
        if not process.tasks:
            self._ended(process, process.ending if process.ending is not None else event.status)

    def _ended(self, process: Process, status: int) -> None:
        world = self.world
        del world.processes[process.pid]
        parent = world.processes.get(process.parent)
        if parent is not None:
            action = parent.dispositions.actions.get(_SIGCHLD)
            if not (action and (action.handler == 1 or action.flags & _SA_NOCLDWAIT)):
                parent.zombies[process.pid] = status
            if all((task.mask or 0) >> _SIGCHLD - 1 & 1 for task in parent.tasks.values()):
                parent.pending |= 1 << _SIGCHLD - 1
        heir = self._heir(process)
        for other in world.processes.values():
            if other.parent == process.pid:
                other.parent = heir.pid if heir else 0
        if heir:
            heir.zombies.update(process.zombies)

    def _heir(self, process: Process) -> Process | None:
        """Who gets the children of a process that has ended: the nearest subreaper above it."""
        above = self.world.processes.get(process.parent)
        while above is not None and not above.subreaper:
            above = self.world.processes.get(above.parent)
        return above

    def _leave(self, event: LeaveEvent) -> None:
        world = self.world
        process = world.tasks.pop(event.task, None)
        if process is None:
            return
        process.tasks.pop(event.task, None)
        if not process.tasks:
            world.processes.pop(process.pid, None)
            if parent := world.processes.get(process.parent):
                parent.foreign_children.append(process.pid)

    # ---- signals ----

    def _signal(self, event: SignalEvent) -> None:
        process = self.world.tasks.get(event.task)
        task = process.tasks.get(event.task) if process else None
        if process is None or task is None:
            return
        bit = 1 << event.signal - 1
        stack = int.from_bytes(event.registers[_RSP : _RSP + 8], "little")
        at = stack - event.stack + _MASK_OFFSET
        saved = event.frame[at : at + 8]
        before = task.mask or 0
        back = int.from_bytes(saved, "little") if len(saved) == 8 else before
        # The interrupted stack pointer is the 16th word of the machine context (struct sigcontext).
        interrupted = event.frame[at - 256 + 120 : at - 256 + 128]
        self.world.masks.setdefault(event.task, []).append((back, int.from_bytes(interrupted, "little")))
        sleeping = self.world.sleeping_masks.pop(event.task, before)
        action = process.dispositions.actions.get(event.signal)
        task.mask = sleeping
        if action:
            task.mask |= action.mask | (0 if action.flags & _SA_NODEFER else bit)
            if action.flags & _SA_RESETHAND:
                del process.dispositions.actions[event.signal]
        if task.pending & bit:
            task.pending &= ~bit
        else:
            process.pending &= ~bit

    def _stopped(self, event: StoppedEvent) -> None:
        if task := self.world.task(event.task):
            task.stopped = event.signal

    def _continued(self, event: ContinuedEvent) -> None:
        if task := self.world.task(event.task):
            task.stopped = 0


def _child_of(world: World, parent: Process, event: SpawnEvent, task: Task) -> Process:
    """What clone(2) makes a new process of."""
    flags = event.flags
    space = parent.memory
    if not flags & _CLONE_VM:
        inherited = [m for m in space.mappings if _DONTFORK not in m.advice]
        space = Memory(
            world.new_id(), [replace(m, locked=False) for m in inherited], space.brk, space.brk_start, space.start_stack
        )
    table = parent.descriptors
    if not flags & _CLONE_FILES:
        table = {n: Slot(s.description, s.close_on_exec) for n, s in table.items()}
    folders = parent.directories
    if not flags & _CLONE_FS:
        folders = Directories(world.new_id(), folders.cwd, folders.root, folders.umask)
    actions = parent.dispositions
    if not flags & _CLONE_SIGHAND:
        actions = Dispositions(world.new_id(), {n: replace(a) for n, a in actions.actions.items()})
    return Process(
        pid=event.process, parent=parent.parent if flags & _CLONE_PARENT else parent.pid, group=parent.group,
        session=parent.session, executable=parent.executable, arguments=parent.arguments, tasks={event.task: task},
        memory=space, descriptors=table, directories=folders, dispositions=actions, limits=dict(parent.limits),
        dumpable=parent.dumpable, personality=parent.personality, terminal=parent.terminal,
        shared_memory=dict(parent.shared_memory) if not flags & _CLONE_VM else parent.shared_memory,
    )  # fmt: skip


def _finish(world: World) -> None:
    """What is left out while the events go by: what has died with the last descriptor, and the time."""
    alive = {description.id: description for description in world.descriptions()}
    for description in alive.values():
        match description:
            case Epoll():
                description.watches = [w for w in description.watches if w.description.id in alive]
            case TimerFd():
                timers.advance(description, world.time)
            case Socket():
                if description.peer is not None and description.peer not in alive:
                    description.peer = -1
                if description.listener is not None and description.listener not in alive:
                    description.listener = None
                description.pending = [number for number in description.pending if number in alive]
    for process in world.processes.values():
        process.memory.mappings = memory.joined(process.memory.mappings)
        for timer in process.timers:
            timers.advance(timer, world.time)
        process.timers = [t for t in process.timers if t.which == "posix" or t.remaining_ns]


def state_at(trace: TraceReader, position: int) -> ProgramState:
    """The state of a recorded program before event `position`. Raises TraceError where the trace is damaged."""
    history = History()
    for event in trace.events(0, position):
        history.apply(event)
    return history.state()
