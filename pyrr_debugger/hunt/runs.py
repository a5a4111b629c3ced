"""One recording of many: in a process of its own, with what came of it."""

from __future__ import annotations

import json
import os
import re
import select
import shutil
import signal
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PyrrError
from ..recorder.session import Decided, RecordingSession, Schedule

_GRACE = 20.0  # seconds that a recorder has to end by itself after the time of the program
_TAIL = 1 << 16
_EXCEPTION = re.compile(r"^([A-Za-z_][\w.]*)(?:: .*)?$")


@dataclass(frozen=True)
class Outcome:
    """How a program ended. Two runs failed alike if these are equal."""

    status: int
    """As a shell gives it; of a program that hung 137."""
    hung: bool
    exception: str | None = None
    """The type of the last uncaught exception that it printed."""

    def __str__(self) -> str:
        if self.hung:
            return "hung"
        return f"status {self.status}" + (f", {self.exception}" if self.exception else "")


@dataclass(frozen=True)
class Run:
    """A recording and what came of it."""

    path: Path
    outcome: Outcome
    decided: list[Decided] = field(repr=False)
    output: str = field(repr=False)
    """The end of what it wrote to stdout and stderr."""
    seconds: float = 0.0
    seed: int | None = None

    @property
    def schedule(self) -> Schedule:
        """The decisions that lead to it again."""
        return [decided.asked for decided in self.decided]

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Recorder:
    """Records one command over and over, each time into a trace of its own in `folder`."""

    def __init__(self, command: list[str], folder: Path, limit: float) -> None:
        """`limit`: the seconds after which a program hangs."""
        self._command = command
        self._folder = folder
        self._limit = limit
        self.count = 0

    def record(self, seed: int | None = None, schedule: Schedule | None = None) -> Run:
        """Runs the command once. Raises PyrrError if it could not be recorded to its end."""
        self.count += 1
        path = self._folder / f"run-{self.count}"
        output = self._folder / f"run-{self.count}.output"
        shutil.rmtree(path, ignore_errors=True)
        receive, send = os.pipe()
        started = time.monotonic()
        sys.stdout.flush()
        sys.stderr.flush()
        # In the child a KeyboardInterrupt amid what CPython does behind a fork is printed, and ignored.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        child = os.fork()
        if child == 0:
            os.close(receive)
            self._record(path, output, send, seed, schedule, mask)
        try:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            os.close(send)
            answer = self._await(receive)
        finally:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            os.close(receive)
        text = _tail(output)
        output.unlink(missing_ok=True)
        if "failure" in answer:
            shutil.rmtree(path, ignore_errors=True)
            raise PyrrError(answer["failure"])
        status, hung = answer["status"], answer["hung"]
        outcome = Outcome(status, hung, None if hung or not status else _last_exception(text))
        decided = [Decided(*decision) for decision in answer["decided"]]
        return Run(path, outcome, decided, text, time.monotonic() - started, seed)

    def _await(self, receive: int) -> dict[str, Any]:
        data = b""
        until = time.monotonic() + self._limit + _GRACE
        while select.select([receive], [], [], max(0.0, until - time.monotonic()))[0]:
            if not (part := os.read(receive, 1 << 16)):
                return dict(json.loads(data)) if data else {"failure": "a recorder died"}
            data += part
        return {"failure": "the program could not be ended"}

    def _record(
        self, path: Path, output: Path, send: int, seed: int | None, schedule: Schedule | None, mask: set[int]
    ) -> None:
        """In the child."""
        answer: dict[str, object] = {"failure": "the recorder failed"}
        try:
            _redirect(output)
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            session = RecordingSession(self._command, str(path), seed=seed, schedule=schedule, limit=self._limit)
            recording = session.run()
            answer = {"status": recording.status, "hung": recording.hung, "decided": session.decisions()}
            if recording.failure:
                answer = {"failure": recording.failure}
        except PyrrError as error:
            answer = {"failure": str(error)}
        except BaseException:
            traceback.print_exc()
        finally:
            with suppress(OSError), os.fdopen(send, "w") as pipe:
                json.dump(answer, pipe)
            os._exit(0)


def _redirect(output: Path) -> None:
    """What the program writes goes to a file, from where it is shown if it failed; it has nothing to read."""
    null = os.open(os.devnull, os.O_RDONLY)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    os.dup2(null, 0)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(null)
    os.close(file)


def _tail(path: Path) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
            return file.read().decode(errors="backslashreplace")
    except OSError:
        return ""


def _last_exception(text: str) -> str | None:
    """The type of the exception whose traceback ends `text` last."""
    at = text.rfind("Traceback (most recent call last)")
    for line in text[at:].splitlines()[1:] if at >= 0 else []:
        if found := _EXCEPTION.match(line):
            return found[1]
    return None
