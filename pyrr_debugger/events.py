"""The events of a trace, as the rest of the program sees them. docs/trace-format.md says how they are stored."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SyscallEvent:
    """One system call of one task: what it was asked, what it answered.

    `inputs` and `outputs` are (address, bytes) pairs of the task's memory: what the kernel read (long
    buffers only by their first bytes) and what it wrote. `site` is the address after the syscall
    instruction. `result` is the signed return value (-errno on failure). `time` is in microseconds since
    the start of the recording.
    """

    number: int
    task: int
    time: int
    nr: int
    args: tuple[int, ...]
    result: int
    site: int
    inputs: tuple[tuple[int, bytes], ...]
    outputs: tuple[tuple[int, bytes], ...]
