"""Every form of a position, against the events of recorded victims."""

from __future__ import annotations

import json
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import harness
import pytest
from harness import Interpreter, Surroundings, victim
from hypothesis import given
from hypothesis import strategies as st

from pyrr_debugger.errors import PyrrError
from pyrr_debugger.replayer.output import writes
from pyrr_debugger.replayer.position import Output, parse
from pyrr_debugger.trace_reader import TraceReader

GOLDEN = Path(__file__).parent.parent / "traces" / "format-2"


def _record(name: str, one_interpreter: Interpreter, directory: Path) -> Path:
    scratch = directory / "scratch"
    scratch.mkdir()
    around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
    harness.record(directory / "trace", one_interpreter.path, victim(name), around=around)
    return directory / "trace"


@pytest.fixture
def streams(one_interpreter: Interpreter, tmp_path: Path) -> Path:
    """Its output goes many roads, in long and in small writes."""
    return _record("output_streams", one_interpreter, tmp_path)


def _numbers(trace: Path, *texts: str) -> list[int]:
    with TraceReader(trace) as reader:
        return [parse(text).resolve(reader) for text in texts]


def _text(event: dict[str, Any]) -> str:
    return json.dumps(event["arguments"])


def test_numbers_and_shares(streams: Path) -> None:
    count = len(harness.dump(streams))
    found = _numbers(streams, "0", "17", "-1", f"-{count}", "start", "end", str(count), "0%", "50%", "100%")
    assert found == [0, 17, count - 1, 0, 0, count, count, 0, count // 2, count]


def test_times(streams: Path) -> None:
    events = harness.dump(streams)
    middle = events[len(events) // 2]["time"]
    first = next(event["event"] for event in events if event["time"] >= middle)
    assert _numbers(streams, "+0s", f"+{middle:.6f}s") == [0, first]


def test_exit_of_the_first_process(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """Its own, though other processes end before it and after it."""
    trace = _record("process_tree", one_interpreter, tmp_path)
    events = harness.dump(trace)
    first = events[1]["task"]
    expected = max(event["event"] for event in events if event["kind"] == "exit" and event["task"] == first)
    assert _numbers(trace, "exit") == [expected]


def test_calls_and_signals(one_interpreter: Interpreter, tmp_path: Path) -> None:
    trace = _record("signal_handler", one_interpreter, tmp_path)
    events = harness.dump(trace)
    opened = [event["event"] for event in events if event["name"] == "openat"]
    alarms = [event["event"] for event in events if event["kind"] == "signal" and event["name"] == "SIGALRM"]
    assert len(alarms) >= 3
    found = _numbers(trace, "syscall:openat", "syscall:openat#3", "syscall:openat#-2", "syscall:execve")
    assert found == [opened[0], opened[2], opened[-2], 0]
    assert _numbers(trace, "signal:SIGALRM", "signal:SIGALRM#2", "signal:SIGALRM#-1") == [*alarms[:2], alarms[-1]]


def test_calls_without_a_name(one_interpreter: Interpreter, tmp_path: Path) -> None:
    program = "import ctypes\ncall = ctypes.CDLL(None).syscall\nfor number in 5000, 1000000, 5000:\n    call(number)"
    harness.record(tmp_path / "trace", one_interpreter.path, "-c", program)
    calls = {name: [] for name in ("syscall_0x1388", "syscall_0xf4240")}
    for event in harness.dump(tmp_path / "trace"):
        calls.get(event["name"], []).append(event["event"])
    found = _numbers(tmp_path / "trace", "syscall:syscall_0x1388#-1", "syscall:syscall_0xf4240")
    assert found == [calls["syscall_0x1388"][1], *calls["syscall_0xf4240"]]


def test_a_signal_that_kills(one_interpreter: Interpreter, tmp_path: Path) -> None:
    trace = _record("segfault", one_interpreter, tmp_path)
    (number,) = _numbers(trace, "signal:SIGSEGV#-1")
    assert harness.dump(trace)[number]["kind"] == "exit"


def test_output(streams: Path) -> None:
    """The write that completes a match, whatever its length and wherever it came from."""
    events = harness.dump(streams)

    def write_of(text: str) -> list[int]:
        return [event["event"] for event in events if text in _text(event) and "write" in event["name"]]

    lines = ["written", "through a duplicate$", "standard error is standard output now", "in the pipe"]
    assert _numbers(streams, *(f"output:/^{line}/" for line in lines)) == [
        write_of("written")[0],
        write_of("through a duplicate")[0],
        write_of("standard error is")[0],
        write_of("in the pipe")[0],
    ]
    # One line in three pieces of one call; a match deep in a long write; what went to a pipe was not printed.
    vector = next(event["event"] for event in events if event["name"] == "writev")
    whole = next(event["event"] for event in events if event["name"] == "write" and event["result"] == 16 * 65536)
    found = _numbers(streams, "output:/in pieces/", "output:/0123456789abcdef/#65536", "output:/out 49/")
    assert found[:2] == [vector, whole]
    assert found[2] < vector
    with pytest.raises(PyrrError, match="no output that matches"):
        _numbers(streams, "output:/^not to be seen/")


def test_output_in_several_writes(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """A line counts as a whole: a match that begins in one write ends in another."""
    program = "import os\nfor part in b'one', b' two', b' three\\n', b'one two\\n': os.write(1, part)"
    harness.record(tmp_path / "trace", one_interpreter.path, "-c", program)
    parts = [event["event"] for event in harness.dump(tmp_path / "trace") if event["name"] == "write"][-4:]
    found = _numbers(tmp_path / "trace", "output:/one two/", "output:/one two$/", "output:/^one/#2", "output:/three/")
    assert found == [parts[1], parts[1], parts[3], parts[2]]


def test_the_last_output(one_interpreter: Interpreter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted from the last one, it is found from the end, and is what it is among all."""
    program = (
        "import os\nfor n in range(40):\n"
        "    text = f'part {n} ' * (1 + 19 * (n % 9 == 0)) + '\\n' * (n % 4 > 1)\n"
        "    os.write(1 + n % 2, text.encode())"
    )
    harness.record(tmp_path / "trace", one_interpreter.path, "-c", program)
    patterns = [r"part \d", r"^part 3", r"part 1\d part", r"\d $", "part 0", "part 9 part 9"]
    with TraceReader(tmp_path / "trace") as reader:
        for pattern in patterns:
            every = list(Output(re.compile(pattern.encode(), re.MULTILINE)).numbers(writes(reader)))
            for look in (1, 3, 64):
                monkeypatch.setattr("pyrr_debugger.replayer.output._FIRST_LOOK", look)
                for which in {1, 2, len(every) // 2, len(every)}:
                    assert parse(f"output:/{pattern}/#-{which}").resolve(reader) == every[-which], (pattern, look)
        with pytest.raises(PyrrError, match=rf"has {len(every)} times output"):
            parse(f"output:/{pattern}/#-{len(every) + 1}").resolve(reader)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("exception:0", "counted from #1"),
        ("app.py:71#0", "counted from #1"),
        ("output:/(/", "no regular expression"),
        ("syscall:opnat", "did you mean openat"),
        ("signal:SIGSERV", "did you mean SIGSEGV"),
        ("syscall:openat#0", "counted from #1"),
        ("", "no position"),
        ("soon", "no position"),
        ("1_000", "no position"),
        ("101%", "outside of the trace"),
        ("+9999s", "outside of the trace"),
        ("-99999", "outside of the trace"),
        ("99999", "outside of the trace"),
        ("syscall:write#9999", "no syscall write number 9999"),
        ("syscall:write#-9999", "times syscall write"),
        ("signal:SIGUSR1", "no signal SIGUSR1"),
    ],
)
def test_what_is_refused(text: str, message: str) -> None:
    """In one message, with status 2; nothing of it needs a replay."""
    result = harness.pyrr("dump", GOLDEN, "--from", text)
    assert result.status == 2
    assert message.encode() in result.stderr
    assert b"Traceback" not in result.stderr


def test_where_positions_are_taken(streams: Path) -> None:
    (number,) = _numbers(streams, "output:/^written/")
    result = harness.pyrr("replay", streams, "--to", "output:/^written/", "--json")
    assert json.loads(result.stdout)["position"] == number
    lines = harness.pyrr("dump", streams, "--from", "output:/^written/", "--until", str(number + 2)).stdout
    assert [int(line.split()[0]) for line in lines.splitlines()] == [number, number + 1]


@given(st.text())
def test_any_text(text: str) -> None:
    """Is a position, or is refused as none."""
    with suppress(PyrrError):
        assert hasattr(parse(text), "resolve")
