"""Copies of all replayed processes, from which a session goes on when it moves backward.

A copy is a fork (native/engine/checkpoint.c): it shares its pages with the present until one of them writes. Memory
that processes share by mapping is shared by their copies too, so its content is kept beside them and put back.

There are as many as a budget of memory allows, the denser the closer to the present: how far back the nearest one is
grows with how far one goes back.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from .. import _engine, procfs

_MOST = 32
_LARGEST_SHARED = 64 << 20
_DEV_ZERO = "/dev/zero"  # the name of shared anonymous memory (shmem_zero_setup, mm/shmem.c)
_UNLIKE_IN_FORKS = (b" dc", b" wf")  # VmFlags of MADV_DONTFORK and MADV_WIPEONFORK


@dataclass(frozen=True, slots=True)
class SharedPart:
    """Content of memory that a task shares by an anonymous mapping."""

    task: int
    start: int
    data: bytes


@dataclass
class Checkpoint:
    """The processes before event `position`. `cost` is how many seconds of replay lead from the beginning to it."""

    position: int
    cost: float
    copies: object
    processes: tuple[int, ...]
    """Real process ids, one for each recorded process."""
    state: Any
    """What the session knows of the processes."""
    files: list[tuple[int, bytes]]
    """Content of the file of shared memory."""
    shared: list[SharedPart]
    memory: int = 0
    """What it takes alone, as far as is known."""

    def measure(self) -> None:
        """Asks the kernel for `memory`: pages that several processes share count by their share."""
        kept = sum(len(data) for _, data in self.files) + sum(len(part.data) for part in self.shared)
        self.memory = kept + sum(_proportional_size(pid) for pid in self.processes)


class Checkpoints:
    """Those of one session, by position. The first one, before anything has run, is always kept."""

    def __init__(self, budget: int) -> None:
        """`budget` is in bytes."""
        self._budget = budget
        self._all: list[Checkpoint] = []

    def __iter__(self) -> Iterator[Checkpoint]:
        return iter(self._all)

    def __len__(self) -> int:
        return len(self._all)

    def before(self, position: int) -> Checkpoint:
        """The last one that is not behind a position."""
        return max((one for one in self._all if one.position <= position), key=lambda one: one.position)

    def add(self, checkpoint: Checkpoint) -> None:
        """Adds one for the present, and drops others that the budget does not allow any more."""
        self._all.append(checkpoint)
        self._all.sort(key=lambda one: one.position)
        self._measure_around(self._all.index(checkpoint))
        while len(self._all) > 2 and (len(self._all) > _MOST or sum(one.memory for one in self._all) > self._budget):
            index = self._least_useful(checkpoint)
            del self._all[index]
            self._measure_around(index)

    def _measure_around(self, index: int) -> None:
        for one in self._all[max(index - 1, 0) : index + 1]:
            one.measure()

    def _least_useful(self, present: Checkpoint) -> int:
        """The one whose gap, without it, would be smallest for its distance from the present."""

        def usefulness(index: int) -> float:
            one = self._all[index]
            after = self._all[index + 1].cost if index + 1 < len(self._all) else one.cost
            return (after - self._all[index - 1].cost) / (abs(present.cost - one.cost) + 1e-3)

        return min((i for i in range(1, len(self._all)) if self._all[i] is not present), key=usefulness)

    def clear(self) -> None:
        """Drops all."""
        self._all.clear()


def is_copied_by_fork(pid: int) -> bool:
    """Whether a fork of a process has all of its memory (madvise(2), MADV_DONTFORK)."""
    with open(f"/proc/{pid}/smaps", "rb") as file:
        smaps = file.read()
    return not any(flag in smaps for flag in _UNLIKE_IN_FORKS)


def shared_parts(processes: dict[int, int]) -> list[SharedPart] | None:
    """The anonymous memory that processes share, each object once; None where it is too much. `processes` are
    real ids by task."""
    parts: dict[tuple[int, int], SharedPart] = {}
    size = 0
    for task, pid in processes.items():
        for mapping in procfs.read_maps(pid):
            if not mapping.shared or mapping.name != _DEV_ZERO or (mapping.inode, mapping.offset) in parts:
                continue
            size += mapping.end - mapping.start
            if size > _LARGEST_SHARED:
                return None
            data = _engine.read(pid, mapping.start, mapping.end - mapping.start)
            parts[mapping.inode, mapping.offset] = SharedPart(task, mapping.start, data)
    return list(parts.values())


def _proportional_size(pid: int) -> int:
    with suppress(OSError, StopIteration), open(f"/proc/{pid}/smaps_rollup", "rb") as file:
        return int(next(line for line in file if line.startswith(b"Pss:")).split()[1]) << 10
    return 0


def default_budget() -> int:
    """A quarter of the memory that is to be had."""
    with open("/proc/meminfo", "rb") as file:
        available = next(line for line in file if line.startswith(b"MemAvailable:"))
    return int(available.split()[1]) << 10 >> 2
