"""Where a replayed task stands: its native location, and its Python stack."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import pythonstack
from ..errors import PyrrError
from ..symbols import SymbolTable, load_bias

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .session import MappedPiece, ReplaySession


class _TaskMemory:
    """Memory of a task, as pythonstack reads it."""

    def __init__(self, session: ReplaySession, task: int) -> None:
        self._session = session
        self._task = task

    def read(self, address: int, size: int) -> bytes:
        return self._session.read(self._task, address, size)


def modules(session: ReplaySession, task: int) -> Iterator[pythonstack.Module]:
    """The ELF files mapped by a task's process, the interpreter's first: to read one takes up to 0.1 s."""
    parts: dict[str, list[MappedPiece]] = {}
    for part in session.mapped.get(session.process_of(task), []):
        parts.setdefault(part.piece.hash, []).append(part)
    names = {hash_: mapped[0].piece.name.rpartition("/")[2] for hash_, mapped in parts.items()}
    for hash_, mapped in sorted(parts.items(), key=lambda part: "python" not in names[part[0]]):
        elf = session.file(hash_)
        if elf[:4] != b"\x7fELF":
            continue
        first = min(mapped, key=lambda part: part.start)
        bias = load_bias(elf, first.start, first.piece.offset)
        if bias is not None:
            yield pythonstack.Module(first.piece.name, first.start, bias, elf)


def interpreter_of(session: ReplaySession, task: int) -> pythonstack.Interpreter | None:
    """The CPython in the process of a task, if there is one. It is good for this position."""
    if task not in session.tasks:
        return None
    mapped = frozenset((part.start, part.piece.hash) for part in session.mapped.get(session.process_of(task), []))
    memory = _TaskMemory(session, task)
    if mapped in session.interpreters:
        known = session.interpreters[mapped]
        return known and known.at(memory)
    try:
        found = pythonstack.Interpreter.find(memory, modules(session, task))
    except OSError:
        return None
    session.interpreters[mapped] = found
    return found


def python_functions(session: ReplaySession, task: int, names: tuple[str, ...]) -> dict[str, int]:
    """The addresses of functions of CPython's C API in the process of a task. Raises PyrrError if one is not there."""
    memory = _TaskMemory(session, task)
    for module in modules(session, task):
        try:
            found = pythonstack.exported(memory, module, ("_PyRuntime", *names))
        except OSError:
            continue
        if found is not None:
            return found
    raise PyrrError("the interpreter does not export what an evaluation needs")


def python_thread(
    session: ReplaySession, task: int, known: pythonstack.KnownCodes | None = None
) -> pythonstack.PythonThread | None:
    """The Python thread that a task is; None when it runs no Python."""
    try:
        interpreter = interpreter_of(session, task)
        pointer = session.registers(task)["fs_base"]
        threads = interpreter.threads(known) if interpreter else []
    except (OSError, KeyError):
        return None
    # glibc's pthread_t is the address of the thread's control block, which fs points at. A thread that has not begun
    # yet has that of its creator, and no frames.
    own = sorted((it for it in threads if it.native_thread == pointer), key=lambda thread: not thread.frames)
    if own:
        return own[0]
    return threads[0] if len(threads) == 1 else None


def python_stack(session: ReplaySession, task: int) -> tuple[pythonstack.PythonFrame, ...]:
    """The Python frames of a task, innermost first; none when it runs no Python."""
    thread = python_thread(session, task)
    return thread.frames if thread else ()


def native_location(session: ReplaySession, task: int) -> str:
    """`libc.so.6+0xf1a30 (read+0x10)` for the task's instruction pointer."""
    return describe_address(session, task, program_address(session, task))


def program_address(session: ReplaySession, task: int) -> int:
    """Where a task stands in its program: its instruction pointer, or, in the stub of a patched call, the address
    behind the call's own instruction, which the stub has before its own (native/agent/agent.h)."""
    address = session.registers(task)["rip"]
    before = session.read(task, address - 10, 10)
    if before[8:] == b"\x0f\x05" and not _mapped_at(session, task, address):
        site = int.from_bytes(before[:8], "little")
        return site if _mapped_at(session, task, site) else address
    return address


def _mapped_at(session: ReplaySession, task: int, address: int) -> list[MappedPiece]:
    return [part for part in session.mapped.get(session.process_of(task), []) if part.start <= address < part.end]


def describe_address(session: ReplaySession, task: int, address: int) -> str:
    """An address as module+offset and symbol."""
    mapped = _mapped_at(session, task, address)
    if not mapped:
        return f"{address:#x}"
    part = mapped[-1]
    elf = session.file(part.piece.hash)
    name = part.piece.name.rpartition("/")[2]
    bias = load_bias(elf, part.start, part.piece.offset, executable=True)
    if bias is None:
        return f"{name}+{address - part.start + part.piece.offset:#x}"
    symbol = SymbolTable.from_elf(elf).find(address - bias)
    suffix = f" ({symbol[0]}+{symbol[1]:#x})" if symbol else ""
    return f"{name}+{address - bias:#x}{suffix}"
