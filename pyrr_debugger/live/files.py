"""Files that a program that goes live has open: reopened, or given their recorded content."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import tempfile
from typing import TYPE_CHECKING

from ..errors import PyrrError
from ..state import model
from .decision import Decision, dead
from .policy import Policy

if TYPE_CHECKING:
    from ..state.contents import Contents

_ACCESS = os.O_ACCMODE
_SETTABLE = os.O_APPEND | os.O_NONBLOCK | os.O_ASYNC | os.O_DIRECT | os.O_NOATIME | os.O_SYNC | os.O_DSYNC
_FLOCK = struct.Struct("<2h4x2qi4x")
_LARGEST_COMPARED = 1 << 26  # bytes
_F_ADD_SEALS, _F_GET_SEALS, _F_OFD_SETLK = 1033, 1034, 37


class Files:
    """Decides about files, and makes descriptions of them. Several descriptions of one file that is copied share the
    copy."""

    def __init__(self, contents: Contents, policy: Policy) -> None:
        self._contents = contents
        self._policy = policy
        self._copies: dict[int, str] = {}
        self._restored: set[int] = set()
        self._held: list[int] = []

    def close(self) -> None:
        """Gives the copies up, as far as we hold them."""
        for descriptor in self._held:
            os.close(descriptor)
        self._held.clear()

    def decide(self, description: model.OpenFile, numbers: tuple[int, ...]) -> Decision:
        file = description.file
        subject, how = self.difference(file, writable=description.flags & _ACCESS != os.O_RDONLY)
        choice = self._policy.choice(subject, path=file.path, descriptors=numbers)
        decision = Decision(file.path, how, subject, choice=choice)
        if choice == "refuse":
            decision.refused = True
        elif choice == "dead":
            decision.text = _joined(how, "it is dead")
            decision.make = dead
        elif choice == "reopen":
            decision.make = lambda: self._reopen(description, file.path)
        else:
            self._decide_content(decision, description, choice)
        return decision

    def _decide_content(self, decision: Decision, description: model.OpenFile, choice: str) -> None:
        file = description.file
        _, gaps = self._contents.of_file(file)
        if gaps:
            decision.refused = True
            start, end = gaps[0]
            decision.text = _joined(
                decision.text, f"the trace does not have it from byte {start}" + (f" to {end}" if end > 0 else " on")
            )
        elif choice == "copy":
            gone = decision.subject == "file.deleted"
            decision.text = "" if gone else _joined(decision.text, "a private copy from the trace takes its place")
            decision.make = lambda: self._open_copy(description)
        else:
            decision.text = _joined(decision.text, "the file is written as it was, from the trace")
            decision.make = lambda: self._open_restored(description)

    def difference(self, file: model.File, writable: bool) -> tuple[str, str]:
        """The class of a file in a policy, by what has become of it, and that in words."""
        if file.deleted:
            return "file.deleted", ""
        try:
            present = os.stat(file.path)
        except OSError as error:
            return (
                "file.gone",
                "it is gone" if error.errno == errno.ENOENT else f"it cannot be reached ({error.strerror})",
            )
        if not stat.S_ISREG(present.st_mode):
            return "file.gone", "it is no regular file any more"
        how = self._change(file, present, writable)
        return ("file.changed", how) if how else ("file", "")

    def _change(self, file: model.File, present: os.stat_result, writable: bool) -> str:
        if file.size is not None and file.size != present.st_size:
            return f"it had {file.size} bytes and has {present.st_size} now"
        # What was written through memory is not known here: live/mapped.py compares that.
        if (file.created or file.spans) and not file.mapped and present.st_size <= _LARGEST_COMPARED:
            content, gaps = self._contents.of_file(file)
            if not gaps:
                return _content_change(file.path, content, present)
        if file.mtime_ns is not None and file.mtime_ns != present.st_mtime_ns and not writable:
            return "it has been written since" if present.st_mtime_ns > file.mtime_ns else "it is an older one now"
        return ""

    # ---- making ----

    def _reopen(self, description: model.OpenFile, path: str) -> int:
        flags = description.flags & (_ACCESS | _SETTABLE) | os.O_NOCTTY
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            raise PyrrError(f"{path} cannot be opened again: {error.strerror}") from None
        to_position(descriptor, description.offset)
        self._relock(description, descriptor)
        return descriptor

    def _relock(self, description: model.OpenFile | model.MemFd, descriptor: int) -> None:
        if self._policy.choice("lock", path=description.file.path) != "retake":
            return
        for lock in description.locks:
            try:
                if lock.kind == "flock":
                    fcntl.flock(descriptor, (fcntl.LOCK_EX if lock.exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB)
                elif lock.kind == "ofd":
                    fcntl.fcntl(descriptor, _F_OFD_SETLK, packed_lock(lock))
            except OSError as error:
                raise PyrrError(f"the lock of {description.file.path} is not to be had: {error.strerror}") from None

    def copy_of(self, file: model.File) -> str:
        """A path to an unlinked file with the recorded content."""
        if file.id not in self._copies:
            content, _ = self._contents.of_file(file)
            descriptor = os.open(tempfile.gettempdir(), os.O_TMPFILE | os.O_RDWR, (file.mode or 0o600) & 0o7777 | 0o600)
            _write_all(descriptor, content)
            self._copies[file.id] = f"/proc/self/fd/{descriptor}"
            self._held.append(descriptor)
        return self._copies[file.id]

    def _open_copy(self, description: model.OpenFile) -> int:
        return self._reopen(description, self.copy_of(description.file))

    def _open_restored(self, description: model.OpenFile) -> int:
        file = description.file
        if file.id not in self._restored:
            self._restored.add(file.id)
            content, _ = self._contents.of_file(file)
            os.makedirs(os.path.dirname(file.path), exist_ok=True)
            descriptor = os.open(file.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, (file.mode or 0o666) & 0o777)
            try:
                _write_all(descriptor, content)
            finally:
                os.close(descriptor)
        return self._reopen(description, file.path)

    def memfd(self, description: model.MemFd) -> int:
        """A memfd like another one."""
        name = os.path.basename(description.file.path).removeprefix("memfd:")
        made = os.memfd_create(name, description.memfd_flags & ~os.MFD_CLOEXEC)
        content, _ = self._contents.of_file(description.file)
        _write_all(made, content)
        descriptor = (
            os.open(f"/proc/self/fd/{made}", description.flags & _ACCESS)
            if description.flags & _ACCESS != os.O_RDWR
            else os.dup(made)
        )
        os.close(made)
        to_position(descriptor, description.offset)
        self._relock(description, descriptor)
        missing = description.seals & ~fcntl.fcntl(descriptor, _F_GET_SEALS)
        if missing:  # one that was not made for seals has F_SEAL_SEAL from its beginning
            fcntl.fcntl(descriptor, _F_ADD_SEALS, missing)
        return descriptor

    def decide_directory(self, description: model.OpenDirectory | model.OpenPath, numbers: tuple[int, ...]) -> Decision:
        path = description.file.path
        choice = self._policy.choice("directory", path=path, descriptors=numbers)
        if choice != "reopen" or not os.path.exists(path):
            return Decision(
                path, "it is dead" if choice != "reopen" else "it is gone", "directory", choice == "refuse", dead
            )

        def make() -> int:
            if isinstance(description, model.OpenPath):
                return os.open(path, os.O_PATH)
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
            to_position(descriptor, description.offset)
            return descriptor

        return Decision(path, subject="directory", make=make)


def to_position(descriptor: int, offset: int | None) -> None:
    """Moves to where a program was in a file; None is its end."""
    os.lseek(descriptor, offset or 0, os.SEEK_END if offset is None else os.SEEK_SET)


def packed_lock(lock: model.Lock) -> bytes:
    """struct flock."""
    kind = fcntl.F_WRLCK if lock.exclusive else fcntl.F_RDLCK
    length = 0 if lock.end is None else lock.end - lock.start
    return _FLOCK.pack(kind, os.SEEK_SET, lock.start, length, 0)


def _content_change(path: str, content: bytes, present: os.stat_result) -> str:
    if len(content) != present.st_size:
        return f"it had {len(content)} bytes and has {present.st_size} now"
    try:
        with open(path, "rb") as file:
            same = file.read() == content
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
    return "" if same else "its content is another one now"


def _joined(*texts: str) -> str:
    return ": ".join(text for text in texts if text)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]
