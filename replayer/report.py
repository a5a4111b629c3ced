"""What a program printed of its failure: a traceback, or pytest's last line about one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ..events import SyscallEvent
from ..trace_reader import TraceReader
from .output import last_writes

_STREAMS = (1, 2)
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")  # on a terminal, of CPython from 3.13 on and of pytest
_MARGIN = re.compile(rb" *[|+] ")  # of an exception group, and of what is in it
_UPWARDS = re.compile(r"^(?:\.\./)+")
_TRACEBACK = re.compile(rb"(?:Exception Group )?Traceback \(most recent call last\):")
_FRAME = re.compile(rb'  File "(.+)", line (\d+)')
_NAME = rb"[A-Za-z_\x80-\xff][\w.\x80-\xff]*"
_EXCEPTION = re.compile(rb"(%b)(?::|$)" % _NAME)
_PYTEST = re.compile(rb"(\S.*\.py):(\d+): (?:in .+|(%b))$" % _NAME)
"""With --tb=long `test_cart.py:11: AssertionError`, with --tb=short `test_cart.py:11: in test_total`."""


@dataclass(frozen=True)
class Report:
    """The write that began a report, and where it says that the exception came from."""

    event: int
    file: str = ""
    line: int = 0
    exception: str = ""
    """The name of its class, without its module; empty where it is not told."""


def last_report(trace: TraceReader) -> Report | None:
    """The last report on stdout or stderr; None if there is none."""
    for written in last_writes(trace):
        found = [report for stream in _STREAMS for report in _reports(_lines(written, stream))]
        if found:
            return max(reversed(found), key=lambda report: report.event)  # of one write, the last
    return None


def _lines(written: Iterable[tuple[SyscallEvent, bytes]], stream: int) -> Iterator[tuple[SyscallEvent, bytes]]:
    """Each line of a stream without its colours, with the write that completed what it says."""
    line, last = b"", None
    for event, data in written:
        if event.stream != stream:
            continue
        first, *others = data.split(b"\n")
        for piece, begins in [(first, False), *((piece, True) for piece in others)]:
            if begins and last is not None:
                yield last, _COLOUR.sub(b"", line)
            line = piece if begins else line + piece
            last = event if piece or begins else last
    if last is not None:
        yield last, _COLOUR.sub(b"", line)


def _reports(lines: Iterator[tuple[SyscallEvent, bytes]]) -> Iterator[Report]:
    traceback: Report | None = None
    for event, text in lines:
        margin = _MARGIN.match(text)
        line = text[margin.end() :] if margin else text
        if _TRACEBACK.match(line):
            if traceback:
                yield traceback
            traceback = Report(event.number)
        elif match := _PYTEST.match(line):
            yield replace(_at(Report(event.number), match), exception=_class(match[3] or b""))
        elif traceback and (match := _FRAME.match(line)):
            traceback = _at(traceback, match)
        elif traceback and (match := _EXCEPTION.match(line)):
            yield replace(traceback, exception=_class(match[1]))
            traceback = None
    if traceback:
        yield traceback


def _at(report: Report, match: re.Match[bytes]) -> Report:
    """Without the way up from the working directory, with which pytest may begin: a name is the end of a path."""
    return replace(report, file=_UPWARDS.sub("", os.fsdecode(match[1])), line=int(match[2]))


def _class(name: bytes) -> str:
    return os.fsdecode(name).rpartition(".")[2]
