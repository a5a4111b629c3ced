"""All replayed processes as data, and rebuilt from it: what a checkpoint on disk holds (stored.py).

Memory is described as an image at exec is (snapshot.py): mappings of files of the trace, and the pages that are not as
there. Memory that processes share by an anonymous mapping becomes a part of the file of shared memory, as mapped files
are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from .. import _engine, procfs, snapshot
from ..trace_format import FilePiece
from .checkpoints import is_copied_by_fork
from .sharing import LAST_SHARED

if TYPE_CHECKING:
    from ..snapshot import Region
    from .sharing import SharedMemory, StoredMemory

_CLONE_VM = 0x100
_THREAD = _CLONE_VM | 0x200 | 0x400 | 0x800 | 0x10000 | 0x40000  # FS, FILES, SIGHAND, THREAD, SYSVSEM
_TRAMPOLINES = _engine.TICKS[0], _engine.TICKS[1] * _engine.TICKS[2]


class Actor(NamedTuple):
    """A task: the first ten are what the engine knows of it; `present` and `xstate` are its registers."""

    task: int
    space: int
    """The task that names its address space."""
    group: int
    """Threads of one process have the same."""
    stop: str
    signal: int
    arrival: int
    restarted: bool
    agent: bool
    registers: bytes
    brk: int
    present: bytes
    xstate: bytes


class Space(NamedTuple):
    """An address space. `trampolines` are the pages of the bytecode clock in the agent's memory."""

    regions: tuple[Region, ...]
    trampolines: tuple[tuple[int, bytes], ...]


class Tree(NamedTuple):
    """All tasks, the oldest first; address spaces by the task that names them; the file of shared memory."""

    actors: tuple[Actor, ...]
    spaces: dict[int, Space]
    files: list[tuple[int, bytes]]


def capture(engine: _engine.Replayer, shared: SharedMemory, store: StoredMemory) -> Tree | None:
    """All processes as they stand; None where not all of their memory would be rebuilt. Raises OSError."""
    found = engine.actors()
    reals = {actor[0]: engine.actor(actor[0])[0] for actor in found}
    if not all(is_copied_by_fork(reals[actor[1]]) for actor in found):
        return None
    pieces = _Pieces(shared, store)
    actors = tuple(
        Actor(*actor, _engine.registers(reals[actor[0]]), _engine.xstate(reals[actor[0]])) for actor in reversed(found)
    )
    spaces = {actor.space: _space(reals[actor.space], pieces, actor.agent) for actor in actors}
    return Tree(actors, spaces, shared.content() + pieces.contents)


def _space(pid: int, pieces: _Pieces, agent: bool) -> Space:
    maps = snapshot.own([m for m in procfs.read_maps(pid) if m.start != _engine.GATE_PAGE])
    start, size = _TRAMPOLINES
    runs = procfs.private_pages(pid, (start, start + size))[0] if agent else []
    trampolines = tuple((at, _engine.read(pid, at, end - at)) for at, end in runs)
    return Space(tuple(snapshot.regions(pid, pieces.of(pid, maps), maps)), trampolines)


class _Pieces:
    """Says which part of which file replayed memory is mapped from."""

    def __init__(self, shared: SharedMemory, store: StoredMemory) -> None:
        self._shared = shared
        self._store = store
        self._anonymous: dict[int, int] = {}
        self._known: set[tuple[int, int]] = set()
        self.contents: list[tuple[int, bytes]] = []

    def of(self, pid: int, maps: list[procfs.Mapping]) -> dict[int, FilePiece]:
        """The pieces by the beginnings of the mappings."""
        found = ((m.start, self._piece(pid, m)) for m in maps if m.inode)
        return {start: piece for start, piece in found if piece is not None}

    def _piece(self, pid: int, mapping: procfs.Mapping) -> FilePiece | None:
        length = mapping.end - mapping.start
        if mapping.inode == self._shared.inode:
            return self._store.piece_at(mapping.offset, length) or self._shared.piece_at(mapping.offset, length)
        number = self._anonymous.setdefault(mapping.inode, LAST_SHARED - len(self._anonymous))
        offset = self._shared.offset(number, mapping.offset)
        if (offset, length) not in self._known:
            self._known.add((offset, length))
            self.contents.append((offset, _engine.read(pid, mapping.start, length)))
        return self._shared.piece_at(offset, length)


def rebuild(tree: Tree, engine: _engine.Replayer, stub: bytes, shared: SharedMemory, store: StoredMemory) -> None:
    """Makes all tasks of a tree, where there are none. Raises PyrrError, OSError or ValueError."""
    memory = _Memory(shared, store)
    shared.put_back(tree.files)
    spaces: dict[int, int] = {}
    groups: dict[int, int] = {}
    for actor in tree.actors:
        if actor.space not in spaces:
            _rebuild_space(tree.spaces[actor.space], actor, engine, stub, memory)
        elif actor.group in groups:
            engine.spawn(groups[actor.group], actor.task, _THREAD)
        else:
            engine.spawn(spaces[actor.space], actor.task, _CLONE_VM)
        spaces.setdefault(actor.space, actor.task)
        groups.setdefault(actor.group, actor.task)
    for actor in tree.actors:  # only now: making a task leaves other registers in the one that it is made of
        _engine.set_registers(engine.actor(actor.task)[0], actor.present, actor.xstate)
        stop = actor.stop, actor.signal, actor.arrival, actor.restarted
        engine.adopt(actor.task, *stop, actor.registers, actor.brk)


def _rebuild_space(space: Space, actor: Actor, engine: _engine.Replayer, stub: bytes, memory: _Memory) -> None:
    pid = engine.start(actor.task, stub)
    image = snapshot.Snapshot("", space.regions, actor.present, actor.xstate, -1)
    snapshot.restore(image, engine, actor.task, pid, memory)
    if actor.agent:
        engine.install(actor.task)
    start, size = _TRAMPOLINES
    for address, data in space.trampolines:
        if not (actor.agent and start <= address <= address + len(data) <= start + size):
            raise ValueError(f"trampolines at {address:#x}")
        _engine.write(pid, address, data)


class _Memory:
    """All that mappings show: stored files, and memory that is shared."""

    def __init__(self, shared: SharedMemory, store: StoredMemory) -> None:
        self._shared = shared
        self._store = store

    def offset(self, piece: FilePiece, length: int) -> int | None:
        if piece.shared:
            return self._shared.offset(piece.shared, piece.offset)
        return self._store.offset(piece, length)

    def content(self, hash_: str) -> bytes:
        return self._store.content(hash_)
