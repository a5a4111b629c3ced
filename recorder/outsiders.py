"""Processes that are not recorded and share memory with one that is: what they write there no system call tells."""

from __future__ import annotations

import os

from .. import procfs

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Iterator

_PROT_WRITE = 2


class Outsiders:
    """Finds them, and names each once. What is mapped after the last look is not found."""

    def __init__(self) -> None:
        self._named: set[tuple[int, str, int]] = set()

    def look(self, maps: list[procfs.Mapping]) -> Iterator[str]:
        """A sentence for each piece of memory that a recorded process, with these mappings, shares with an outsider who
        can write to it, or reads what it writes. Processes of other users cannot be looked into."""
        own = {_identity(m): m for m in _shared(maps) if m.prot & _PROT_WRITE or m.device.startswith("00:")}
        if not own:
            return
        for other in map(int, filter(str.isdigit, os.listdir("/proc"))):
            try:
                # Cheapest first: most processes share nothing.
                found = [m for m in _shared(procfs.read_maps(other)) if _identity(m) in own]
                if not found or int(procfs.status(other)["TracerPid"]) == os.getpid():
                    continue
            except OSError:
                continue
            for mapping in found:
                named = (other, *_identity(mapping))
                if named not in self._named:
                    self._named.add(named)
                    yield sharing(own[_identity(mapping)], other)


def sharing(mapping: procfs.Mapping, outsider: int) -> str:
    """The sentence for memory that is shared with an outsider."""
    what = mapping.name or "anonymous memory"
    return f"{what} is shared with process {outsider}, which is not recorded: what it writes is missing"


def _shared(maps: list[procfs.Mapping]) -> list[procfs.Mapping]:
    return [m for m in maps if m.shared and m.inode]


def _identity(mapping: procfs.Mapping) -> tuple[str, int]:
    return mapping.device, mapping.inode
