"""`pyrr record`, from its words to the exit status of the program.

Importing click takes longer than two starts of Python, and a recording is started often. So the plainest command
lines are understood here, and all others by click (commands/record.py); tests/test_launch.py compares the two.
"""

from __future__ import annotations

import gc
import os
import sys

from .. import home
from ..errors import TakenError
from ..light import NamedTuple

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import NoReturn


class Request(NamedTuple):
    """What a command line of `pyrr record` asks for; see its help."""

    command: tuple[str, ...]
    output: str | None = None
    quiet: bool = False
    checksum_every: int = 0
    follow: str = "all"
    wait: bool = False
    agent: bool = True
    seed: int | None = None


def plain_request(words: list[str]) -> Request | None:
    """What the words after `pyrr` ask for; None when they are not those of a plain recording."""
    if words[:1] != ["record"]:
        return None
    output, quiet, at = None, False, 1
    while at < len(words) and words[at].startswith("-"):
        if words[at] in ("-q", "--quiet"):
            quiet = True
        elif words[at] in ("-o", "--output") and at + 1 < len(words):
            at += 1
            output = words[at]
            if not output:
                return None
        elif words[at] == "--":
            at += 1
            break
        else:
            return None
        at += 1
    return Request(tuple(words[at:]), output, quiet) if at < len(words) else None


def record(request: Request) -> NoReturn:
    """Records, reports, and ends this process with the status of the program. Raises PyrrError."""
    gc.disable()  # importing makes no garbage, only much to look through
    from .session import RecordingSession, report

    gc.enable()
    session, path = None, ""
    while session is None:
        tried, path = path, request.output or home.new_trace(request.command[0])
        try:
            session = RecordingSession(
                list(request.command), path, request.checksum_every, request.follow, request.wait, request.agent,
                request.seed,
            )  # fmt: skip
        except TakenError:
            if path in (request.output, tried):
                raise
            # Else another recording has taken the number meanwhile.
    recording = session.run()
    if recording.path is not None:
        home.point_latest(recording.path)
    report(recording, request.quiet)
    # Nothing is left to be done but to take the interpreter down, which takes as long as the program's own start.
    sys.stderr.flush()
    os._exit(recording.status)
