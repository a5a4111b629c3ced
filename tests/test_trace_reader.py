"""A trace can be read with msgpack and zstandard alone, by docs/trace-format.md."""

from __future__ import annotations

import struct
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import harness
import msgpack
import pytest
import zstandard
from harness import Interpreter, Surroundings

from pyrr_debugger import _engine
from pyrr_debugger.encoded import encoded
from pyrr_debugger.events import Event, SyscallEvent, decode
from pyrr_debugger.syscalls import name
from pyrr_debugger.trace_format import EventKind
from pyrr_debugger.trace_reader import EventFilter, TraceReader


def read_trace(trace: Path) -> list[dict[str, Any]]:
    """The syscall events of a trace, whole or cut. Imports nothing of pyrr; follows docs/trace-format.md."""
    header = msgpack.unpackb(zstandard.decompress((trace / "header").read_bytes()))
    assert header["format"] in (1, 2, 3, 4, 5, 6)
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
        unpacker, start = msgpack.Unpacker(max_buffer_size=0), 0
        unpacker.feed(plain := zstandard.decompress(frame, max_output_size=1 << 32))
        for kind, task, delta, *items in unpacker:
            time += delta
            if kind == 0:
                for i, output in enumerate(items[5]):
                    if isinstance(output, list) and [type(item) for item in output] == [int, int]:
                        items[5][i] = plain[start - output[0] :][: output[1]]
                keys = ("nr", "result", "site", "args", "inputs", "outputs")
                event = {"event": number, "task": task, "time": time / 1e6}
                events.append(event | dict(zip(keys, items, strict=False)))
            number, start = number + 1, unpacker.tell()
        assert number == first + count
        at += 32 + length
    return events


def test_trace_is_readable_without_pyrr(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """A reader of 30 lines finds the same events as `pyrr dump --json` and `info`, and the program's output in them."""
    program = "import ctypes, os; print('a quite special text', len({os.uname() for _ in range(9)}))"
    unknown = "; ctypes.CDLL(None).syscall(1500)"
    harness.record(trace, one_interpreter.path, "-c", program + unknown, around=around)
    events = read_trace(trace)
    keys = ("event", "task", "time", "result")
    calls = [event for event in harness.dump(trace) if event["kind"] == "syscall"]
    assert [[event[key] for key in keys] for event in events] == [[call[key] for key in keys] for call in calls]
    # The trace has the kernel's numbers; their names come from the specification.
    assert [name(event["nr"]) for event in events] == [call["name"] for call in calls]
    assert len(events) > 100
    facts = harness.info(trace)
    assert facts["syscalls"] == Counter(name(event["nr"]) for event in events)
    assert "unknown system call 1500 recorded conservatively" in facts["warnings"]
    assert facts["tasks"] == len({event["task"] for event in events})
    assert facts["seconds"] == harness.dump(trace)[-1]["time"]
    assert any("a quite special text" in str(event) for event in events)
    names = [event["outputs"] for event in events if name(event["nr"]) == "uname"]
    assert len(names) == 9
    assert all(outputs[:2] == names[0][:2] for outputs in names)  # behind these: the site that was patched


def test_what_is_read_again_is_stored_once(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """And is shown in full, with the agent or without it; each chunk of the trace is understood by itself."""
    program = harness.victim("repeated_reads")
    harness.record(trace, one_interpreter.path, program, around=around)
    with TraceReader(trace) as reader:
        chunks = [list(encoded(reader.data_of(index))) for index in range(len(reader.chunks))]
        referring = [sum(event.refers for event in chunk) for chunk in chunks]
        assert sum(map(bool, referring)) > 2
        assert sum(referring) > 500
        whole = sum(len(event.wire[8][1]) for chunk in chunks for event in chunk if event.refers)
        assert whole > sum(len(reader.data_of(index)) for index in range(len(reader.chunks)))
    assert read_trace(trace)


@pytest.mark.parametrize("reference", [[5, 6], [1000, 1], [-1, 1], [3, -1], [1 << 60, 1 << 59]])
def test_references_lead_to_bytes_of_the_chunk(reference: list[int]) -> None:
    call = [0, 1, 0, 0, 6, 0x1000, [], [], [0x2000, b"abcdef"]]
    again = [*call[:8], [0x2000, reference]]
    with pytest.raises(ValueError, match="reference"):
        list(encoded(msgpack.packb(call) + msgpack.packb(again)))
    again[8] = [0x2000, [6, 6]]
    assert [event.wire[8] for event in encoded(msgpack.packb(call) + msgpack.packb(again))] == [[0x2000, b"abcdef"]] * 2


def whole(reader: TraceReader) -> list[Event]:
    """All events, decoded one after the other."""
    events: list[Event] = []
    for index in range(len(reader.chunks)):
        for stored in encoded(reader.data_of(index)):
            events.append(decode(len(events), events[-1].time if events else 0, stored.wire))
    return events


@pytest.mark.parametrize("with_times", [True, False])
def test_single_events_are_those_of_the_whole(
    with_times: bool, one_interpreter: Interpreter, around: Surroundings, trace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In whatever order they are asked for, with their times; also where the last event does not have those."""
    harness.record(trace, one_interpreter.path, harness.victim("signal_handler"), around=around)
    with TraceReader(trace) as reader:
        events = whole(reader)
        assert reader.end is not None
        assert len(reader.end.times) == len(reader.chunks) - 1
    if not with_times:
        monkeypatch.setattr(TraceReader, "_read_end", lambda self: None)
    with TraceReader(trace) as reader:
        for number in [len(events) - 1, 0, len(events) // 2, *range(0, len(events), 97)]:
            assert reader.event(number) == events[number]
        assert list(reader.events(3, len(events) - 3)) == events[3:-3]
        with pytest.raises(IndexError):
            reader.event(len(events))
        for number in (1, len(events) // 3, len(events) - 1):
            time = events[number].time
            assert reader.at_time(time) == next(e.number for e in events if e.time >= time)
        assert reader.at_time(events[-1].time + 1) == len(events)


def test_events_are_selected(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    harness.record(trace, one_interpreter.path, harness.victim("signal_handler"), around=around)
    with TraceReader(trace) as reader:
        events = whole(reader)
        calls = [event for event in events if isinstance(event, SyscallEvent)]
        wanted = {
            EventFilter((EventKind.SIGNAL,)): [e.number for e in events if type(e).__name__ == "SignalEvent"],
            EventFilter((EventKind.EXEC, EventKind.EXIT)): [
                e.number for e in events if type(e).__name__ in ("ExecEvent", "ExitEvent")
            ],
            EventFilter(calls=(0, 257)): [e.number for e in calls if e.nr in (0, 257)],
            EventFilter(output=True): [e.number for e in calls if e.stream],
            EventFilter(): [],
        }
        for one, expected in wanted.items():
            assert [event.number for event in reader.select(one)] == expected
            assert [event.number for event in reader.select(one, backward=True)] == expected[::-1]
            assert [e.number for e in reader.select(one, 100, 500)] == [n for n in expected if 100 <= n < 500]
        assert all(expected for one, expected in wanted.items() if any(one))


def test_an_index_of_damaged_events_is_refused() -> None:
    chunk = msgpack.packb([12, 3, 5]) + msgpack.packb([12, 3, 7, b"more"])
    offsets, times = _engine.index(chunk, 2)
    assert list(memoryview(offsets).cast("Q")) == [0, 4, len(chunk)]
    assert list(memoryview(times).cast("Q")) == [0, 5, 12]
    damaged = [(chunk, 1), (chunk, 3), (chunk[:-1], 2), (b"", 1), (b"\x92\x0c\x03", 1), (b"\xc1" * 9, 2)]
    damaged.append((chunk, 1 << 40))
    for data, count in damaged:
        with pytest.raises(ValueError, match="does not hold"):
            _engine.index(data, count)
