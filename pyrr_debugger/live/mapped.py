"""Files that a program has mapped shared: what it writes to memory there is to reach the file.

Where the file has a descriptor, too, the mapping goes along with what is chosen for that. Else it is compared with
memory, and the policy's classes `mapped` and `mapped.changed` say what becomes of it. Without a file of its own such
memory is shared among the program's processes only (memory.SharedObjects).
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from .. import checksum
from ..errors import PyrrError
from ..state import model
from .decision import Decision
from .memory import in_steps

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..replayer.session import ReplaySession
    from .descriptors import Descriptors
    from .policy import Policy
    from .process import LiveProcess

_MMAP = 9
_SHARED_FIXED = 0x01 | 0x10
_PROT_WRITE = 2
_PRIVATE = "private"


class _Place(NamedTuple):
    """A mapping of a file in the replayed program."""

    task: int
    mapping: model.Mapping


@dataclass
class _MappedFile:
    """A file, where it is mapped, and what becomes of that: `private` memory, or a mapping of the file (`reopen`), of
    the file with the content that memory has (`restore`), or of what its descriptor is of (`copy`, `memfd`)."""

    file: model.File
    places: list[_Place] = field(default_factory=list)
    how: str = _PRIVATE
    memfd: model.MemFd | None = None

    @property
    def writable(self) -> bool:
        return any(place.mapping.prot & _PROT_WRITE for place in self.places)


class MappedFiles:
    """Those of all processes of a program."""

    def __init__(
        self, session: ReplaySession, state: model.ProgramState, descriptors: Descriptors, policy: Policy
    ) -> None:
        self._session = session
        self._descriptors = descriptors
        self._files: dict[int, _MappedFile] = {}
        self._made: dict[int, int] = {}
        self.decisions: list[Decision] = []
        known: set[int] = set()
        for process in state.processes.values():
            if process.memory.id in known:
                continue
            known.add(process.memory.id)
            task = next(iter(process.tasks))
            for mapping in process.memory.mappings:
                if mapping.shared and mapping.file is not None and mapping.kind == "file":
                    found = self._files.setdefault(mapping.file.id, _MappedFile(mapping.file))
                    found.places.append(_Place(task, mapping))
        for one in self._files.values():
            decision = self._decide(one, policy)
            if decision.text or decision.refused:
                self.decisions.append(decision)

    def _decide(self, one: _MappedFile, policy: Policy) -> Decision:
        file = one.file
        decision = Decision(f"mapped file {file.path}", subject="mapped")
        opened = self._descriptors.choice_of(file)
        if isinstance(opened, model.MemFd):
            one.how, one.memfd = "memfd", opened
            return decision
        if opened in ("copy", "restore"):
            one.how = opened
            return decision
        if file.deleted or opened == "dead":
            return decision
        how = self._difference(one)
        decision.subject = "mapped.changed" if how else "mapped"
        choice = policy.choice(decision.subject, path=file.path)
        decision.text = how
        if choice == "refuse":
            decision.refused = True
            decision.text = how or "it would have to be mapped again"
        elif choice == "copy":
            text = "what is written through memory does not reach it any more"
            decision.text = "; ".join(part for part in (how, text) if part) if one.writable else ""
        elif choice == "reopen" and not os.path.isfile(file.path):
            decision.refused = True
            decision.text += ": mapped.changed can be copy or restore"
        else:
            one.how = choice
            if choice == "restore":
                decision.text += ": what memory has is written to it"
        return decision

    def _difference(self, one: _MappedFile) -> str:
        """What has become of a file, in words; "" if it has what memory has."""
        path, size = one.file.path, one.file.size
        try:
            descriptor = os.open(path, (os.O_RDWR if one.writable else os.O_RDONLY) | os.O_NONBLOCK | os.O_NOCTTY)
        except FileNotFoundError:
            return "it is gone"
        except OSError as error:
            return f"it cannot be opened ({error.strerror})"
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                return "it is no regular file any more"
            if size is not None and size != status.st_size:
                return f"it had {size} bytes and has {status.st_size} now"
            same = all(self._is_same(descriptor, place) for place in one.places)
            return "" if same else "its content is another one now"
        finally:
            os.close(descriptor)

    def _is_same(self, descriptor: int, place: _Place) -> bool:
        mapping = place.mapping
        for start, size in (*self._filled(place), *_data(descriptor, mapping)):
            memory = self._session.read(place.task, start, size)
            content = os.pread(descriptor, size, mapping.offset + start - mapping.start)
            if memory != content.ljust(size, b"\0"):
                return False
        return True

    def _filled(self, place: _Place) -> Iterator[tuple[int, int]]:
        """The parts of a mapping that may be other than zero in memory, where they begin and how long they are."""
        real, mapping = self._session.real(place.task), place.mapping
        for low, high in checksum.filled(real, mapping.start, mapping.end, self._session.shared_memory):
            yield from in_steps(low, high)

    # ---- making ----

    def make(self) -> None:
        """Opens what is to be mapped; its descriptors have been made. Raises PyrrError."""
        for key, one in self._files.items():
            if one.how == _PRIVATE:
                continue
            try:
                self._made[key] = self._descriptors.keep(self._open(one))
                if one.how != "reopen":
                    self._fill(one, self._made[key])
            except OSError as error:
                raise PyrrError(f"{one.file.path} cannot be mapped again: {error.strerror}") from None

    def _open(self, one: _MappedFile) -> int:
        path = one.file.path
        if one.memfd is not None:
            made = self._descriptors.descriptor_of(one.memfd)
            path = f"/proc/self/fd/{made}"
        elif one.how == "copy":
            path = self._descriptors.files.copy_of(one.file)
        elif one.how == "restore":
            os.makedirs(os.path.dirname(path), exist_ok=True)
            return os.open(path, os.O_RDWR | os.O_CREAT, (one.file.mode or 0o666) & 0o777)
        try:
            return os.open(path, os.O_RDWR)
        except OSError:
            if one.writable:
                raise
            return os.open(path, os.O_RDONLY)

    def _fill(self, one: _MappedFile, descriptor: int) -> None:
        """Memory may hold what was never written to the file by a call."""
        if not one.writable:
            return
        size = one.file.size
        for place in one.places:
            mapping = place.mapping
            for start, length in self._filled(place):
                at = mapping.offset + start - mapping.start
                left = length if size is None else min(length, max(0, size - at))
                if left:
                    os.pwrite(descriptor, self._session.read(place.task, start, left), at)

    @property
    def inherited(self) -> list[int]:
        """What the program's processes must inherit."""
        return list(self._made.values())

    def place(self, state: model.Process, process: LiveProcess) -> None:
        """Maps the files in a process, over the memory that is there. Raises OSError."""
        for mapping in state.memory.mappings:
            if not mapping.shared or mapping.file is None or mapping.file.id not in self._made:
                continue
            made = self._made[mapping.file.id]
            length = mapping.end - mapping.start
            process.call(_MMAP, mapping.start, length, mapping.prot, _SHARED_FIXED, made, mapping.offset)

    def watched(self) -> list[tuple[int, int, int]]:
        """Device and inode of the files, and the number that each has in the trace: of a program that is recorded
        again."""
        found = []
        for key, one in self._files.items():
            if key not in self._made:
                continue
            task, mapping = one.places[0]
            parts = self._session.mapped.get(self._session.process_of(task), [])
            numbers = [p.piece.shared for p in parts if p.start < mapping.end and mapping.start < p.end]
            status = os.fstat(self._made[key])
            # What was mapped there before, and is not any more, stands before it.
            found += [(status.st_dev, status.st_ino, number) for number in numbers[-1:] if number]
        return found

    def close(self) -> None:
        """Gives up what has been opened."""
        for descriptor in self._made.values():
            os.close(descriptor)
        self._made.clear()


def _data(descriptor: int, mapping: model.Mapping) -> Iterator[tuple[int, int]]:
    """The parts of a mapping for which a file has data: addresses and lengths."""
    at, end = mapping.offset, mapping.offset + mapping.end - mapping.start
    while at < end:
        try:
            start = os.lseek(descriptor, at, os.SEEK_DATA)
            at = os.lseek(descriptor, start, os.SEEK_HOLE)
        except OSError:  # no more
            return
        for low, size in in_steps(start, min(at, end)):
            yield mapping.start + low - mapping.offset, size
