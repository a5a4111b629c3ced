"""What is recorded does not depend on how: with the agent or without it, the same program gives the same events.

Two runs of a program differ by themselves: in process ids, clocks, random bytes, inodes. The
programs here are deterministic otherwise, run without address randomisation, and what is left is levelled.
"""

from __future__ import annotations

import errno
import re
import shutil
import struct
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import harness
import pytest
from harness import Interpreter, Surroundings
from test_victims import PROGRAMS

from pyrr_debugger import _engine
from pyrr_debugger.events import (
    Event,
    ExecEvent,
    ExitEvent,
    InstructionEvent,
    SignalEvent,
    SpawnEvent,
    SyscallEvent,
)
from pyrr_debugger.snapshot import Snapshot
from pyrr_debugger.syscalls import BY_NAME, TABLE
from pyrr_debugger.trace_reader import TraceReader

ALIKE = [
    "assembly_sites",
    "bad_pointers",
    "code_replaced",
    "filter_by_place",
    "filter_traps",
    "kept_registers",
    "odd_stacks",
    "own_segments",
    "red_zone",
    "static_nolibc",
    "strict_mode",
]
"""Victims in C whose tasks each make the same calls in every run."""

PYTHON = """
import io, json, os, re, select, socket, sys, tempfile
table = {f"key {i}": list(range(i)) for i in range(50)}
with open(sys.argv[1], "w+") as file:
    json.dump(table, file)
    file.seek(0)
    assert json.load(file) == table
print(sorted(os.listdir(os.path.dirname(sys.argv[1]))), os.stat(sys.argv[1]).st_size)
left, right = socket.socketpair()
for number in range(500):
    os.getppid()
    left.send(b"message %d" % number)
    assert right.recv(100) == b"message %d" % number
print(select.select([left], [right], [], 0)[0])
with open(sys.argv[1], "r+b", buffering=0) as file:
    for number in range(200):
        file.seek(number * 7)
        part = bytearray(100)
        file.readinto(part)
        file.seek(0, 2)
        file.write(part)
        os.fsync(file.fileno())
    print(os.fstat(file.fileno()).st_size)
os.remove(sys.argv[1])
try:
    os.read(999, 10)
except OSError as error:
    print(error)
"""

UNLIKE_RESULTS = {
    *("getpid", "gettid", "getppid", "getpgrp", "getpgid", "getsid", "set_tid_address"),
    *("fork", "vfork", "clone", "clone3", "wait4", "waitid", "time", "times", "arch_prctl"),
}
"""Results that are process ids or times."""

UNLIKE_ARGUMENTS = {"kill": {0}, "tkill": {0}, "tgkill": {0, 1}, "wait4": {0}, "waitid": {1}}
"""Arguments that are process ids, by their places."""

UNLIKE_OUTPUTS = {
    *("clock_gettime", "gettimeofday", "time", "getrandom", "stat", "lstat", "fstat", "newfstatat", "statx", "times"),
    *("wait4", "waitid", "sysinfo", "statfs", "clone", "clone3", "getdents64", "nanosleep", "select", "uname"),
}
"""Calls whose outputs hold times, inodes, random bytes or process ids: only their places and sizes are compared, as of
calls without a row, for which whole pages are taken."""

STUB_BYTES = 64

MAPPING = {BY_NAME[name].number for name in ("mmap", "mprotect", "mremap")}

UNLIKE_TEXT = (
    (re.compile(rb"~ [^\n]*"), b"~"),  # entropy of victims
    (re.compile(rb"/proc/\d+"), b"/proc/N"),
)


@dataclass
class Recording:
    """What is compared of a trace. The agent has memory of its own beside libraries, so the kernel may place later
    mappings elsewhere: an address in a mapping is replaced by the number of the mapping and the place in it."""

    tasks: dict[int, list[tuple[Any, ...]]] = field(default_factory=lambda: defaultdict(list))
    """The events of each task, by the order in which tasks came to be."""
    mappings: list[tuple[int, int]] = field(default_factory=list)
    code: list[tuple[int, int]] = field(default_factory=list)
    stubs: list[tuple[int, int, int]] = field(default_factory=list)
    """Of patched sites: the address behind the call in the stub, the stub's end, and the address behind the site."""
    calls: int = 0
    lowest: int = 1 << 64

    def follow(self, event: Event) -> None:
        if isinstance(event, ExecEvent):
            regions = Snapshot.from_wire(event.image).regions
            self.code.extend((region.start, region.end) for region in regions if region.prot & 4)
        elif isinstance(event, SyscallEvent) and event.nr in MAPPING and event.result >= 0:
            start = event.args[0] if event.nr == BY_NAME["mprotect"].number else event.result
            end = start + event.args[2 if event.nr == BY_NAME["mremap"].number else 1]
            if event.nr != BY_NAME["mprotect"].number:
                self.mappings.append((start, end))
                self.lowest = min(self.lowest, start)
            if event.nr != BY_NAME["mremap"].number and event.args[2] & 4:
                self.code.append((start, end))
        if isinstance(event, SyscallEvent):
            self.stubs.extend(stubs_among(event))

    def is_code(self, address: int) -> bool:
        return any(start <= address < end for start, end in self.code)

    def is_patch(self, address: int, data: bytes) -> bool:
        """Whether an output is the agent's: code, or a trampoline of the clock, or a word that leads to one."""
        low, high = _engine.AGENT
        word = int.from_bytes(data, "little") if len(data) == 8 else 0
        return self.is_code(address) or low <= address < high or low <= word < high

    def unmoved(self, address: int) -> int:
        """A task behind a patched call is in its stub: what a handler returns to is stored as that."""
        return next((site + address - after for after, end, site in self.stubs if after <= address < end), address)

    def place(self, address: int) -> int | str:
        address = self.unmoved(address)
        if address >= self.lowest:
            for behind in (0, 1):  # else the end of one
                for number in range(len(self.mappings) - 1, -1, -1):
                    start, end = self.mappings[number]
                    if start <= address < end + behind:
                        return f"mapping {number} + {address - start:#x}"
        return address

    def level(self, data: bytes) -> Any:
        for pattern, text in UNLIKE_TEXT:
            data = pattern.sub(text, data)
        words = struct.unpack_from(f"<{len(data) // 8}Q", data)
        if any(self.lowest <= word < 1 << 47 for word in words):
            return [*(self.place(word) for word in words), data[len(words) * 8 :]]
        return data


def stubs_among(event: SyscallEvent) -> Iterator[tuple[int, int, int]]:
    """A stub holds a jump to the agent, the address behind its site, and a `syscall` (native/agent/agent.h)."""
    jump = b"\x49\xbb" + struct.pack("<Q", _engine.AGENT[0]) + b"\x41\xff\xe3"
    for address, data in event.outputs:
        _, found, rest = data.partition(jump)
        if found and len(data) <= STUB_BYTES:
            site, behind = int.from_bytes(rest[:8], "little"), rest[10:]
            yield address + len(data) - len(behind), address + len(data), site


def varies(data: bytes) -> bool:
    return any(pattern.search(data) for pattern, _ in UNLIKE_TEXT)


def level_call(event: SyscallEvent, trace: Recording) -> tuple[Any, ...]:
    row = TABLE.get(event.nr & 0xFFFFFFFF)  # as the kernel takes it
    name = row.name if row else str(event.nr)
    # What a victim prints of its process id may be longer or shorter.
    chance = name == "write" and any(varies(data) for _, data in event.inputs)
    unlike = {1, 2} if chance else UNLIKE_ARGUMENTS.get(name, ())
    result: Any = trace.place(event.result) if name not in UNLIKE_RESULTS or event.result <= 0 else "positive"
    arguments = event.args[: len(row.args) if row else 0]
    # A tracer reads what the program itself may not.
    inputs = event.inputs if event.result != -errno.EFAULT else ()
    # All that was asked for is taken then, whoever has memory behind the bad page.
    outputs = event.outputs if event.result != -errno.EFAULT else ()
    sizes_only = name in UNLIKE_OUTPUTS or row is None
    return (
        name,
        tuple(None if place in unlike else trace.place(value) for place, value in enumerate(arguments)),
        None if chance else result,
        trace.place(event.site),
        tuple((None if chance else trace.place(address), trace.level(data)) for address, data in inputs),
        tuple(
            (trace.place(address), len(data) if sizes_only else trace.level(data), trace.is_patch(address, data))
            for address, data in outputs
        ),
        tuple((trace.place(address), piece.length if piece.shared else piece.hash) for address, piece in event.pieces),
        len(event.writes),
        event.stream,
        trace.level(event.sent),
    )


def level_event(event: Event, numbers: Mapping[int, int], trace: Recording) -> tuple[Any, ...]:
    match event:
        case SyscallEvent():
            return level_call(event, trace)
        case SignalEvent():
            return "signal", event.signal, event.place, trace.place(event.stack), trace.level(event.registers)
        case SpawnEvent():
            return "spawn", event.flags, numbers[event.parent]
        case ExitEvent():
            outputs = [(trace.place(address), len(data)) for address, data in event.outputs]
            return "exit", event.status, event.arrived, outputs
        case InstructionEvent():
            return event.name, trace.place(event.address), [register for register, _ in event.changes]
        case ExecEvent():
            return "exec", event.image.get("executable")
    return (type(event).__name__,)


def read(path: Path) -> Recording:
    found = Recording()
    numbers: dict[int, int] = {}
    with TraceReader(path) as trace:
        for event in trace.events():
            found.follow(event)
            number = numbers.setdefault(event.task, len(numbers))
            found.tasks[number].append(level_event(event, numbers, found))
            found.calls += isinstance(event, SyscallEvent)
    return found


def without_patches(call: tuple[Any, ...], reference: tuple[Any, ...]) -> tuple[Any, ...]:
    """The agent patches code behind a call: that is an output of it which the kernel did not make. When depends on what
    recordings before have met."""
    if len(call) != len(reference) or len(call) < 10:
        return call
    kept = tuple(output for output in call[5] if output in reference[5] or not output[2])
    return (*call[:5], kept, *call[6:])


def assert_same_events(reference: Recording, other: Recording) -> None:
    assert len(reference.tasks) == len(other.tasks)
    for number, events in reference.tasks.items():
        pairs = enumerate(zip(events, other.tasks[number], strict=False))
        for place, (left, right) in pairs:
            left, right = without_patches(left, right), without_patches(right, left)
            assert left == right, f"task {number}, its event {place} of {len(events)}:\n{left}\n{right}"
        assert len(events) == len(other.tasks[number]), f"task {number}"


@pytest.fixture(params=[(), ("--no-agent",)], ids=["again", "no-agent"])
def other_way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """How the same program is recorded a second time: the same way shows that the comparison itself is sound."""
    found: tuple[str, ...] = request.param
    return found


@pytest.fixture
def steady(around: Surroundings) -> Surroundings:
    """Surroundings in which a program does the same twice. Python's allocator would align pools by their place."""
    if shutil.which("setarch") is None:
        pytest.skip("no setarch")
    environment = {**(around.env or {}), "PYTHONHASHSEED": "0", "PYTHONMALLOC": "malloc"}
    return replace(around, env=environment, prefix=["setarch", "x86_64", "-R"])


def assert_same_both_ways(command: list[str], directory: Path, around: Surroundings, options: tuple[str, ...]) -> None:
    first, second = directory / "first", directory / "second"
    one = harness.record(first, *command, around=around, options=options)
    other = harness.record(second, *command, around=around)
    harness.assert_same_meaning(one, other)
    reference, found = read(first), read(second)
    assert reference.calls > 50
    assert_same_events(reference, found)
    for trace in (first, second):
        harness.assert_verified(harness.verify(trace))


@pytest.mark.parametrize("name", ALIKE)
def test_program_gives_the_same_events(
    name: str, compiled: Callable[..., Path], other_way: tuple[str, ...], steady: Surroundings, tmp_path: Path
) -> None:
    program = compiled(name, *PROGRAMS[name], "-pthread")
    assert_same_both_ways([str(program)], tmp_path, steady, other_way)


def test_python_gives_the_same_events(
    interpreter: Interpreter, other_way: tuple[str, ...], steady: Surroundings, tmp_path: Path, scratch: Path
) -> None:
    command = [str(interpreter.path), "-s", "-c", PYTHON, str(scratch / "file")]
    assert_same_both_ways(command, tmp_path, steady, other_way)
