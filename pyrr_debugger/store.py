"""A cache of stored files shared by recordings, so that the interpreter is hashed and compressed once.

It lies in `$XDG_CACHE_HOME/pyrr/files`. An entry is found by the identity of a file (device, inode, size, times);
traces take entries over as hard links, or copies where that is not possible. It may be deleted at any time.
"""

from __future__ import annotations

import mmap
import os
import struct
import time
import zlib

from .light import suppress

_HEAD = struct.Struct("<4sII")  # of an entry of records: magic, bytes that follow, their crc32
_MAGIC = b"pyrr"
_SETTLED_SECONDS = 2.0
"""A file changed this recently might change again within the granularity of its times."""


class FileCache:
    """All methods do without the cache when it cannot be read or written: it only saves time."""

    def __init__(self) -> None:
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        # Some users' home is a folder that must not exist.
        usable = os.path.isdir(os.path.dirname(base))
        self._folder = os.path.join(base if usable else os.devnull, "pyrr", "files")
        self._learned: dict[str, tuple[str, str | None]] = {}

    @staticmethod
    def _identity(status: os.stat_result) -> str | None:
        if time.time() - max(status.st_ctime, status.st_mtime) < _SETTLED_SECONDS:
            return None
        times = f"{status.st_size}-{status.st_mtime_ns}-{status.st_ctime_ns}"
        return f"{status.st_dev}-{status.st_ino}-{times}"

    def find(self, status: os.stat_result) -> str | None:
        """The hash of the file with this status, if it is known and its content is in the cache."""
        identity = self._identity(status)
        return None if identity is None else self.recall(identity)

    def learn(self, status: os.stat_result, hash_: str, path: str | None) -> None:
        """Remembers what the content of a file hashes to, once the content is kept; and where the file lies, if its
        content does not change without its times."""
        if (identity := self._identity(status)) is not None:
            self._learned[hash_] = identity, path

    def locate(self, hash_: str, path: str) -> None:
        """Remembers where a file lies whose content is in the cache, and does not change without its times."""
        if self.recall(_place(hash_)) != path:
            self._point(_place(hash_), path)

    def original(self, hash_: str) -> Original | None:
        """The file itself that has some content, where it still lies and has not been changed since."""
        path = self.recall(_place(hash_)) if hash_.isalnum() else None
        if path is None:
            return None
        try:
            status = os.stat(path)
        except OSError:
            return None
        return Original(path, status) if self.find(status) == hash_ else None

    def recall(self, name: str) -> str | None:
        """A fact about some content that `remember` has kept."""
        try:
            return os.readlink(os.path.join(self._folder, name))
        except OSError:
            return None

    def remember(self, name: str, fact: str) -> None:
        """Keeps a short text, not empty, under a name. A link is made at once: no reader sees half of it."""
        with suppress(OSError):
            os.symlink(fact, os.path.join(self._folder, name))

    def recall_records(self, name: str, size: int) -> bytes | None:
        """The records, `size` bytes each, that `remember_records` has kept under a name, unless a crash of the machine
        has left something else of them."""
        try:
            file = os.open(os.path.join(self._folder, name), os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return None
        try:
            content = os.read(file, os.fstat(file).st_size)
        except OSError:
            return None
        finally:
            os.close(file)
        records = content[_HEAD.size :]
        whole = content[: _HEAD.size] == _HEAD.pack(_MAGIC, len(records), zlib.crc32(records))
        return records if whole and len(records) % size == 0 else None

    def remember_records(self, name: str, records: bytes) -> None:
        """Keeps records under a name, in the place of those that are there. Readers see the ones or the others."""
        target = os.path.join(self._folder, name)
        temporary = f"{target}.{os.getpid()}"
        with suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            try:
                with open(temporary, "xb") as file:
                    file.write(_HEAD.pack(_MAGIC, len(records), zlib.crc32(records)) + records)
                os.replace(temporary, target)
            except OSError:
                os.unlink(temporary)

    def link(self, hash_: str, target: str) -> bool:
        """Puts the cached content at `target`; False if there is none."""
        return _link_or_copy(os.path.join(self._folder, hash_), target)

    def keep(self, hash_: str, source: str) -> None:
        """Takes over content that a trace has stored, if `learn` has named it."""
        if hash_ not in self._learned:
            return
        identity, path = self._learned.pop(hash_)
        with suppress(OSError):
            os.makedirs(self._folder, mode=0o700, exist_ok=True)
            if _link_or_copy(source, os.path.join(self._folder, hash_)):
                self._point(identity, hash_)
                if path:
                    self._point(_place(hash_), path)

    def _point(self, name: str, fact: str) -> None:
        """Keeps a short text in the place of the one that is there."""
        temporary = os.path.join(self._folder, f"{name}.{os.getpid()}")
        with suppress(OSError):
            os.symlink(fact, temporary)
            os.replace(temporary, os.path.join(self._folder, name))


class Original:
    """A file that is read as long as it stays what it was. It is open only while it is read."""

    def __init__(self, path: str, status: os.stat_result) -> None:
        self._path = path
        self._version = _version(status)
        self.size = status.st_size

    def copy(self, at: int, size: int, target: int, to: int) -> bool:
        """Copies bytes from a page on, as far as there are any, into another file; False where this one has changed."""
        size = min(size, self.size - at)
        try:
            file = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            return False
        try:
            if _version(os.fstat(file)) != self._version:
                return False
            with mmap.mmap(file, size, prot=mmap.PROT_READ, offset=at) as memory:
                whole = os.pwrite(target, memory, to) == size
            return whole and _version(os.fstat(file)) == self._version
        except (OSError, ValueError):  # it has become shorter meanwhile
            return False
        finally:
            os.close(file)


def _version(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _place(hash_: str) -> str:
    return f"{hash_}.path"


def _link_or_copy(source: str, target: str) -> bool:
    try:
        os.link(source, target)
        return True
    except FileExistsError:
        return True
    except OSError:
        pass
    try:
        import shutil

        temporary = f"{target}.{os.getpid()}"
        shutil.copyfile(source, temporary)
        os.replace(temporary, target)
        return True
    except OSError:
        return False
