"""The keys of a terminal while its foreground job is a recording: recorder and program share a process group."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import signal
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import harness
import pytest
from harness import Interpreter, Surroundings

SHELL = """
import os, signal, sys

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
job = os.fork()
if job == 0:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.argv[1], sys.argv[1:])
while True:
    status = os.waitpid(job, os.WUNTRACED)[1]
    os.tcsetpgrp(0, os.getpgrp())
    if not os.WIFSTOPPED(status):
        break
    print("stopped", job, flush=True)
    os.read(0, 100)
    os.tcsetpgrp(0, job)
    os.killpg(job, signal.SIGCONT)
print("signal" if os.WIFSIGNALED(status) else "status", os.WTERMSIG(status) or os.WEXITSTATUS(status), flush=True)
"""
"""A shell that is not recorded: its one job is the command in its arguments."""

JOB = """
import os, signal

{first}
try:
    print("working", flush=True)
    while line := os.read(0, 100).decode():
        print(line.upper(), end="", flush=True)
except KeyboardInterrupt:
    print("interrupted", flush=True)
"""


class Terminal:
    """What somebody who sits at a terminal can do."""

    def __init__(self, master: int) -> None:
        self._master = master
        self.seen = b""

    def type(self, keys: bytes) -> None:
        os.write(self._master, keys)

    def expect(self, line: str) -> str:
        """Reads up to the end of a line that begins so; returns it."""
        deadline = time.monotonic() + 30
        start = f"\n{line}".encode()
        text = b""
        while start not in b"\n" + text or not text.endswith(b"\n"):
            if not select.select([self._master], [], [], max(0, deadline - time.monotonic()))[0]:
                raise AssertionError(f"no line {line!r} in {text!r} after {self.seen!r}")
            text += os.read(self._master, 1000)
        self.seen += text
        return (b"\n" + text).rpartition(start)[2].decode()


@contextmanager
def shell(job: list[str], around: Surroundings) -> Iterator[Terminal]:
    """Runs a job in the foreground of a terminal that does not echo; it has ended at the end."""
    master, slave = pty.openpty()
    modes = termios.tcgetattr(slave)
    modes[1] &= ~termios.OPOST
    modes[3] &= ~termios.ECHO
    termios.tcsetattr(slave, termios.TCSANOW, modes)

    def control() -> None:
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    words = [sys.executable, "-c", SHELL, *job]
    with subprocess.Popen(
        words,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=control,
        **around.popen_options(),
    ) as process:
        os.close(slave)
        try:
            yield Terminal(master)
            process.wait(30)
        finally:
            if process.poll() is None:
                process.kill()
            os.close(master)


def job(trace: Path, interpreter: Interpreter, first: str = "") -> list[str]:
    return harness.record_words(trace, interpreter.path, "-c", JOB.format(first=first))


def states(group: int) -> list[str]:
    """The states of the processes of a group, by /proc."""
    found = []
    for entry in filter(str.isdigit, os.listdir("/proc")):
        try:
            state, _, of, *_ = Path("/proc", entry, "stat").read_text().rpartition(") ")[2].split()
        except OSError:
            continue
        if int(of) == group:
            found.append(state)
    return sorted(found)


def assert_replayed(trace: Path, around: Surroundings, status: int, output: bytes) -> None:
    """The recording has its end, with the status that a shell was told of."""
    assert harness.info(trace)["status"] == (status - 128 if status > 128 else status << 8)
    assert harness.replay(trace, around).stdout == output
    harness.assert_verified(harness.verify(trace, around))


def test_suspended_and_continued(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """^Z stops the recorder and the program, and SIGCONT brings both back."""
    with shell(job(trace, one_interpreter), around) as terminal:
        terminal.expect("working")
        for word in ("one", "two"):
            terminal.type(b"\x1a")
            group = int(terminal.expect("stopped "))
            deadline = time.monotonic() + 5
            while set(states(group)) - {"T", "t"} and time.monotonic() < deadline:
                time.sleep(0.02)
            assert set(states(group)) <= {"T", "t"}
            terminal.type(b"fg\n")
            terminal.type(word.encode() + b"\n")
            terminal.expect(word.upper())
        terminal.type(b"\x04")
        assert terminal.expect("status ") == "0\n"
    assert_replayed(trace, around, 0, b"working\nONE\nTWO\n")


@pytest.mark.parametrize(
    ("key", "first", "status", "output"),
    [
        (b"\x03", "", 0, b"working\ninterrupted\n"),
        (b"\x03", "signal.signal(signal.SIGINT, signal.SIG_DFL)", 128 + signal.SIGINT, b"working\n"),
        (b"\x1c", "", 128 + signal.SIGQUIT, b"working\n"),
    ],
    ids=["handled", "interrupted", "quit"],
)
def test_ended_by_key(
    key: bytes, first: str, status: int, output: bytes, one_interpreter: Interpreter, around: Surroundings, trace: Path
) -> None:
    """^C and ^\\ are the program's; the recorder writes the end of it."""
    with shell(job(trace, one_interpreter, first), around) as terminal:
        terminal.expect("working")
        terminal.type(key)
        assert terminal.expect("status ") == f"{status}\n"
    assert_replayed(trace, around, status, output)
