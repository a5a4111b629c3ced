"""What /proc tells about a process: its mappings, descriptors, auxiliary vector and status.

See proc(5) and, for the exact text, fs/proc/task_mmu.c and fs/proc/fd.c of the kernel. Every reader takes
a process or thread id and raises OSError (FileNotFoundError or ProcessLookupError) when that is gone.
The answers are exact for a stopped process; of a running one each kernel read (at most a page of text) is
consistent in itself only.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct

from .light import NamedTuple

_DELETED = b" (deleted)"
_PERMISSIONS = {
    b"%c%c%c%c" % (r, w, x, s): (
        (r == 0x72) * mmap.PROT_READ | (w == 0x77) * mmap.PROT_WRITE | (x == 0x78) * mmap.PROT_EXEC,
        s == 0x73,
    )
    for r in b"r-"
    for w in b"w-"
    for x in b"x-"
    for s in b"sp"
}
_PAGE = mmap.PAGESIZE
_PRESENT, _SWAPPED, _FILE = 1 << 63, 1 << 62, 1 << 61  # bits of /proc/PID/pagemap
_AT_NULL = 0


class Mapping(NamedTuple):
    """One line of /proc/PID/maps.

    `start` and `end` are addresses (`end` is the first one after the mapping), `offset` is in bytes of the
    file. `prot` is made of mmap's PROT_* bits. `shared` is the `s` of the text (MAP_SHARED). `device` is
    "major:minor" in hexadecimal as the kernel prints it, "00:00" with inode 0 for anonymous memory. `name`
    is the path, "[stack]" or the like, or ""; decoded as os.fsdecode does. `deleted`: the kernel added
    " (deleted)" to it (so it does for shared anonymous memory and memfds too); `name` is without that.

    Two things the text cannot tell apart: a file whose own name ends in " (deleted)", and a newline
    in a name from the four characters \\012 (the kernel escapes newlines, but not the backslash).
    """

    start: int
    end: int
    prot: int
    shared: bool
    offset: int
    device: str
    inode: int
    name: str
    deleted: bool = False


class Descriptor(NamedTuple):
    """An open file descriptor: where its /proc link points, its position in bytes, its open flags.

    `target` is the link's text as it stands: a path (perhaps with " (deleted)"), "pipe:[123]",
    "anon_inode:[eventpoll]". `flags` are the O_* bits of open(2), O_CLOEXEC among them.
    """

    number: int
    target: str
    pos: int
    flags: int


def parse_maps(text: bytes) -> list[Mapping]:
    """The mappings in the text of a /proc/PID/maps file, in its order; ValueError if it is no such text."""
    return [_parse_line(line) for line in text.split(b"\n") if line]


def _parse_line(line: bytes) -> Mapping:
    span, _, what = line.partition(b" ")
    try:
        start, end = span.split(b"-")
        return Mapping(int(start, 16), int(end, 16), *(_KNOWN.get(what) or _parse_what(what)))
    except (ValueError, KeyError):
        raise ValueError(f"not a line of /proc/PID/maps: {line!r}") from None


_MOST_KNOWN = 4096
_KNOWN: dict[bytes, tuple[int, bool, int, str, int, str, bool]] = {}
"""What stands behind the addresses of a line, parsed: the same in all processes that execute one program."""


def _parse_what(what: bytes) -> tuple[int, bool, int, str, int, str, bool]:
    # The name is everything after the padding: it may hold spaces, but never begins with one.
    permissions, offset, device, inode, *rest = what.split(b" ", 4)
    prot, shared = _PERMISSIONS[permissions]
    name, deleted = "", False
    if rest and (text := rest[0].lstrip(b" ")):
        deleted = text.endswith(_DELETED)
        name = os.fsdecode(text.removesuffix(_DELETED).replace(b"\\012", b"\n"))
    if len(_KNOWN) == _MOST_KNOWN:
        _KNOWN.clear()
    parsed = _KNOWN[what] = prot, shared, int(offset, 16), device.decode("ascii"), int(inode), name, deleted
    return parsed


def read_maps(pid: int) -> list[Mapping]:
    """The memory mappings of a process, by rising address."""
    return parse_maps(_read(pid, "maps"))


def private_pages(pid: int, *spans: tuple[int, int]) -> list[list[tuple[int, int]]]:
    """Of each span of private mappings (start, end), the runs of pages that are the process's own: those it or the
    kernel has written. All others show their file, or zeros. See Documentation/admin-guide/mm/pagemap.rst of the
    kernel."""
    with open(f"/proc/{pid}/pagemap", "rb", buffering=0) as file:
        return [_private_pages(file.fileno(), start, end) for start, end in spans]


def _private_pages(file: int, start: int, end: int) -> list[tuple[int, int]]:
    entries = memoryview(os.pread(file, (end - start) // _PAGE * 8, start // _PAGE * 8)).cast("Q")
    runs: list[tuple[int, int]] = []
    for number, entry in enumerate(entries):
        if entry & _SWAPPED or (entry & _PRESENT and not entry & _FILE):
            at = start + number * _PAGE
            if runs and runs[-1][1] == at:
                runs[-1] = (runs[-1][0], at + _PAGE)
            else:
                runs.append((at, at + _PAGE))
    return runs


def read_auxv(pid: int) -> list[tuple[int, int]]:
    """The auxiliary vector the process was given at exec, as (AT_* type, value), without the final AT_NULL.

    It is the kernel's copy: what the process or its tracer later changed on the stack does not show.
    """
    data = _read(pid, "auxv")
    pairs: list[tuple[int, int]] = []
    for kind, value in struct.iter_unpack("=QQ", data[: len(data) // 16 * 16]):
        if kind == _AT_NULL:
            break
        pairs.append((kind, value))
    return pairs


def descriptors(pid: int) -> list[Descriptor]:
    """The open descriptors of a process, by number.

    One that is closed while we look is left out; one that is replaced meanwhile may show the link of the old
    file with the position of the new.
    """
    found: list[Descriptor] = []
    for number in sorted(map(int, os.listdir(f"/proc/{pid}/fd"))):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{number}")
            info = _pairs(_read(pid, f"fdinfo/{number}"))
            found.append(Descriptor(number, target, int(info["pos"]), int(info["flags"], 8)))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def program_names(pid: int) -> list[str]:
    """What one may call the program of a process: its executable's path and name, the name it was called by, and, of a
    script, the script's."""
    path = os.readlink(f"/proc/{pid}/exe")
    called = os.fsdecode(_read(pid, "cmdline").partition(b"\0")[0])
    comm = os.fsdecode(_read(pid, "comm").rstrip(b"\n"))
    return [path, os.path.basename(path), os.path.basename(called), comm]


def status(pid: int) -> dict[str, str]:
    """The fields of /proc/PID/status by name ("Tgid", "SigCgt", ...), values as text without the padding."""
    return _pairs(_read(pid, "status"))


def stack_limit(pid: int) -> int:
    """The soft RLIMIT_STACK, -1 for none. prlimit(2) would want CAP_SYS_RESOURCE for a process of another user."""
    _, _, behind = _read(pid, "limits").partition(b"Max stack size")
    if not behind:
        raise ProcessLookupError(errno.ESRCH, os.strerror(errno.ESRCH), f"/proc/{pid}/limits")
    soft = behind.split(maxsplit=1)[0]
    return -1 if soft == b"unlimited" else int(soft)


def _read(pid: int, name: str) -> bytes:
    with open(f"/proc/{pid}/{name}", "rb") as file:
        return file.read()


def _pairs(text: bytes) -> dict[str, str]:
    """`key: value` lines as a dict. Of a key that is repeated (the `tfd` of an epoll) the first stays."""
    pairs: dict[str, str] = {}
    for line in text.split(b"\n"):
        key, colon, value = line.partition(b":")
        if colon:
            pairs.setdefault(os.fsdecode(key), os.fsdecode(value.strip()))
    return pairs
