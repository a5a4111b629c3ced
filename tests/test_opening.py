"""Where a debugger opens a trace whose failure is over when it is printed: tests, Ctrl-C, sys.exit."""

from __future__ import annotations

import io
import random
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import harness
import pytest
from harness import Command, Interpreter, Surroundings

from pyrr_debugger.events import SyscallEvent
from pyrr_debugger.replayer import report
from pyrr_debugger.replayer.opening import open_at_failure
from pyrr_debugger.replayer.prompt import Prompt
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader

CART = """
import unittest

def total(prices):
    try:
        return {}["total"]
    except KeyError:
        return sum(prices)

class TestCart(unittest.TestCase):
    def test_total(self):
        prices = [1, 2]
        for more in (3, 4):
            prices.append(more)
        self.assertEqual(total(prices), 99)

    def test_zero(self):
        self.assertEqual(total([]), 0)

def test_function():
    prices = [5, 6]
    assert total(prices) == 99

if __name__ == "__main__":
    unittest.main()
"""
IN_CLASS, IN_FUNCTION = 15, 22

HANG = """
import os, signal, threading
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
def wait(turns):
    while True:
        turns += 1
        last = turns
wait(0)
"""
GROUP = """
import asyncio
async def fetch(number):
    await asyncio.sleep(0)
    if number == 2:
        raise ValueError(f"bad {number}")
async def main():
    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(fetch(number))
asyncio.run(main())
"""
EXIT = """
import atexit, sys
atexit.register(print, "bye")
def main():
    code = 7
    return code
sys.exit(main())
"""


def program(folder: Path, name: str, source: str) -> Path:
    path = folder / name
    path.write_text(source)
    return path


@contextmanager
def opened(
    place: Path, words: Command, status: int, around: Surroundings = harness.DEFAULT
) -> Iterator[tuple[Prompt, str, io.StringIO]]:
    """Records a command that ends with a status, and opens it: the prompt, where it is said to be, what is shown."""
    assert harness.record(place / "trace", *words, around=around).status == status
    with TraceReader(place / "trace") as reader, ReplaySession(reader) as session:
        opening = open_at_failure(session)
        prompt = Prompt(session, out := io.StringIO())
        prompt.greet(opening.text, opening.frame)
        yield prompt, opening.text, out


def place(prompt: Prompt) -> tuple[str, int]:
    frame = prompt.stack.frames[prompt.index]
    return frame.function.rpartition(".")[2], frame.line


def test_a_failed_unittest(interpreter: Interpreter, tmp_path: Path) -> None:
    """In the test, where it failed, not in the runner that prints it; and back from there."""
    words = [interpreter.path, program(tmp_path, "cart.py", CART)]
    with opened(tmp_path, words, 1) as (prompt, text, out):
        assert text == "the exception of the failure that is printed last"
        assert place(prompt) == ("test_total", IN_CLASS)
        assert "AssertionError('10 != 99') is raised" in out.getvalue()
        prompt.execute("p prices")
        assert out.getvalue().endswith("[1, 2, 3, 4]\n")
        prompt.execute("rnext")
        assert place(prompt) == ("test_total", IN_CLASS - 2)
        prompt.execute("seek exception")
        assert "AssertionError('10 != 99') is raised" in out.getvalue().rpartition("seek")[2]


@pytest.mark.parametrize("options", [(), ("--tb=short",), ("--tb=native",), ("--color=yes",)], ids="".join)
def test_a_failed_test_of_pytest(options: tuple[str, ...], tmp_path: Path) -> None:
    """`assert` of its own, which raises and catches other exceptions for its message."""
    path = program(tmp_path, "test_cart.py", CART)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *options, path]
    with opened(tmp_path, words, 1) as (prompt, text, out):
        assert text == "the exception of the failure that is printed last"
        assert place(prompt) == ("test_function", IN_FUNCTION)
        assert "AssertionError('assert 11 == 99" in out.getvalue()
        prompt.execute("rnext")
        assert place(prompt) == ("test_function", IN_FUNCTION - 1)


def test_a_failed_test_above_the_working_directory(tmp_path: Path) -> None:
    """Pytest prints its file with the way there, if that is shorter: `../tests/test_cart.py:22: AssertionError`."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "here").mkdir()
    path = program(tmp_path / "tests", "test_cart.py", CART)
    words = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", path]
    with opened(tmp_path, words, 1, Surroundings(cwd=tmp_path / "here")) as (prompt, text, _):
        assert text == "the exception of the failure that is printed last"
        assert place(prompt) == ("test_function", IN_FUNCTION)


def test_an_interrupted_loop(interpreter: Interpreter, tmp_path: Path) -> None:
    """Python ends itself by SIGINT, when no frame is left."""
    words = [interpreter.path, program(tmp_path, "hang.py", HANG)]
    with opened(tmp_path, words, 130) as (prompt, text, out):
        assert text == "the failure that is about to be printed"
        assert "KeyboardInterrupt" in out.getvalue()
        assert place(prompt)[0] == "wait"
        before = int(str(prompt.stack.locals(0)["turns"]))
        prompt.execute("rstep")
        prompt.execute("rstep")
        assert 0 < int(str(prompt.stack.locals(0)["turns"])) <= before


def test_an_exit_with_a_status(interpreter: Interpreter, tmp_path: Path) -> None:
    words = [interpreter.path, program(tmp_path, "leaves.py", EXIT)]
    with opened(tmp_path, words, 7) as (prompt, text, out):
        assert text == "the exception that ends the program"
        assert "SystemExit(7) is raised" in out.getvalue()
        assert place(prompt) == ("<module>", 7)
        prompt.execute("rstep")
        assert place(prompt) == ("main", 6)


def test_an_exception_group(interpreter: Interpreter, tmp_path: Path) -> None:
    """At the last of its exceptions, which was raised long before."""
    if interpreter.version < (3, 11):
        pytest.skip("has no groups")
    words = [interpreter.path, program(tmp_path, "group.py", GROUP)]
    with opened(tmp_path, words, 1) as (prompt, text, out):
        assert text == "the exception of the failure that is printed last"
        assert "ValueError('bad 2') is raised" in out.getvalue()
        assert place(prompt) == ("fetch", 6)
        assert str(prompt.stack.locals(0)["number"]) == "2"


def test_a_status_without_an_exception(tmp_path: Path) -> None:
    with opened(tmp_path, ["/bin/false"], 1) as (prompt, text, _):
        assert text == "the end of the program, which fails without a traceback"
        assert not prompt.stack.frames


def test_reports_however_they_are_written() -> None:
    """The last one counts, wherever a write ends."""
    first = b'Traceback (most recent call last):\n  File "a.py", line 1, in f\n    f()\nold.Error: text\nmore\n'
    last = (
        b'Traceback (most recent call last):\n  File \x1b[35m"b.py"\x1b[0m, line \x1b[35m12\x1b[0m, in g\nnew.Error\n'
    )
    chance = random.Random(1)
    for text, expected in [
        (first, ("a.py", 1, "Error")),
        (first + last, ("b.py", 12, "Error")),
        (last + b"\x1b[1m\x1b[31mtest_c.py\x1b[0m:30: KeyError\nand so on\n", ("test_c.py", 30, "KeyError")),
        (b"test_c.py:30: in test_c\n" + b"lib/d.py:4: in d\nE   KeyError\n", ("lib/d.py", 4, "")),
        (b"../../up/test_c.py:30: KeyError\n", ("up/test_c.py", 30, "KeyError")),
        (first + b"x.py:3: UserWarning: text\n", ("a.py", 1, "Error")),
        (b"Traceback (most recent call last):\n", ("", 0, "")),
        (b'  + Exception Group Traceback (most recent call last):\n  |   File "e.py", line 5, in h\n', ("e.py", 5, "")),
        (b"    | " + first.replace(b"\n", b"\n    | ") + b"\n    +------\n", ("a.py", 1, "Error")),
    ]:
        for _ in range(20):
            cuts = sorted(chance.choices(range(len(text)), k=5))
            pieces = [text[start:end] for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True)]
            events = [cast(SyscallEvent, SimpleNamespace(number=at, stream=2)) for at in range(len(pieces))]
            written = list(zip(events, pieces, strict=True))
            found = list(report._reports(report._lines(written, 2)))[-1]
            assert (found.file, found.line, found.exception) == expected
