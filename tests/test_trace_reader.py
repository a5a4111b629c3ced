"""A trace can be read with msgpack and zstandard alone, by docs/trace-format.md."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path
from typing import Any

import harness
import msgpack
import zstandard
from harness import Interpreter, Surroundings

from pyrr_debugger.syscalls import name


def read_trace(trace: Path) -> list[dict[str, Any]]:
    """The syscall events of a trace, whole or cut. Imports nothing of pyrr; follows docs/trace-format.md."""
    header = msgpack.unpackb(zstandard.decompress((trace / "header").read_bytes()))
    assert header["format"] in (1, 2, 3)
    data = (trace / "events").read_bytes()
    events: list[dict[str, Any]] = []
    at = number = time = 0
    while at + 32 <= len(data):
        magic, size, first, count, length, crc = struct.unpack_from("<IIQIII", data, at)
        assert (magic, size, first) == (0x184D2A50, 24, number)
        assert zlib.crc32(data[at : at + 28]) == int.from_bytes(data[at + 28 : at + 32], "little")
        frame = data[at + 32 : at + 32 + length]
        if len(frame) < length:
            break  # a cut trace ends here
        assert zlib.crc32(frame) == crc
        unpacker = msgpack.Unpacker(max_buffer_size=0)
        unpacker.feed(zstandard.decompress(frame, max_output_size=1 << 32))
        for kind, task, delta, *items in unpacker:
            time += delta
            if kind == 0:
                keys = ("nr", "result", "site", "args", "inputs", "outputs")
                event = {"event": number, "task": task, "time": time / 1e6}
                events.append(event | dict(zip(keys, items, strict=False)))
            number += 1
        assert number == first + count
        at += 32 + length
    return events


def test_trace_is_readable_without_pyrr(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """A reader of 30 lines finds the same events as `pyrr dump --json`, and the program's output in them."""
    harness.record(trace, one_interpreter.path, "-c", "print('a quite special text')", around=around)
    events = read_trace(trace)
    keys = ("event", "task", "time", "result")
    calls = [event for event in harness.dump(trace) if event["kind"] == "syscall"]
    assert [[event[key] for key in keys] for event in events] == [[call[key] for key in keys] for call in calls]
    # The trace has the kernel's numbers; their names come from the specification.
    assert [name(event["nr"]) for event in events] == [call["name"] for call in calls]
    assert len(events) > 100
    assert any("a quite special text" in str(event) for event in events)
