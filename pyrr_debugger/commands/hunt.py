"""`pyrr hunt`."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .. import home
from ..errors import PyrrError
from ..hunt.runs import Outcome, Recorder, Run
from ..hunt.search import Found, Minimiser, Order, Place, first_failure
from . import completion
from .options import finite, path_for
from .record import MAX_SEED

_NOT_FOUND = 1
_FAILURES = 4
"""That are looked at until the decisions of one lead to it again."""


class _Until(click.ParamType):  # type: ignore[type-arg]
    name = "until"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value in ("fail", "hang") or (isinstance(value, str) and value.isdecimal() and int(value) < 256):
            return value
        self.fail(f"{value!r} is none of 'fail', 'hang' and an exit status", param, ctx)


@click.command(context_settings={"allow_interspersed_args": False})
@click.option(
    "--runs", type=click.IntRange(1), default=1000, metavar="N", show_default=True, help="Recordings at most."
)
@click.option(
    "--until", type=_Until(), default="fail", metavar="fail|hang|CODE", show_default=True,
    help="What is hunted: an exit status other than 0 or a hang; a hang; that exit status.",
)  # fmt: skip
@click.option(
    "--hang", type=click.FloatRange(0.1), default=10.0, metavar="SECONDS", show_default=True, callback=finite,
    help="A program that takes longer hangs. One that sleeps for good is found out before.",
)  # fmt: skip
@click.option(
    "--keep", type=click.Path(), metavar="PATH", callback=path_for, help="Where to put the trace (a new directory)."
)
@click.option("--seed", type=click.IntRange(0, MAX_SEED), metavar="N", help="That of the first run; random by default.")
@click.option("--no-minimise", is_flag=True, help="Keep the failure as it was found.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=completion.command)
def command(
    runs: int,
    until: str,
    hang: float,
    keep: str | None,
    seed: int | None,
    no_minimise: bool,
    as_json: bool,
    command: tuple[str, ...],
) -> None:
    """Record COMMAND under chaos, each time with another seed, until it fails. Its output is shown when it has.

    The trace is kept. Then the program is recorded with ever fewer switches between its threads and processes, as
    long as it fails in the same way; the smallest recording is kept, too, at PATH-smallest, and the two lines are
    named whose order decides.

    \b
    Exit status: 0 found, 1 not found, 2 trouble.

    \b
    pyrr hunt -- pytest -x tests/test_flaky.py
    pyrr hunt --until hang --hang 5 -- python workers.py
    """
    path = _place(keep, command[0])
    for taken in (path, _smallest(path)):
        if taken.exists():
            raise PyrrError(f"{taken} exists already: name another trace, or remove it")
    first = secrets.randbelow(max(1, MAX_SEED - runs)) if seed is None else seed
    seeds = range(first, min(first + runs, MAX_SEED + 1))
    with _ended_in_order(), _folder_beside(path) as folder, _telling() as tell:
        recorder = Recorder(list(command), folder, hang)
        found = _hunt(recorder, _wanted(until), seeds, no_minimise, tell)
        if found:
            _keep(found, _place(keep, command[0]))  # another recording may have taken the number meanwhile
    if as_json:
        print(json.dumps(_facts(recorder, found)))
    else:
        _print(recorder, found)
    if not found:
        sys.exit(_NOT_FOUND)


def _place(keep: str | None, program: str) -> Path:
    return Path(os.path.abspath(keep or home.new_trace(program)))


def _smallest(path: Path) -> Path:
    return path.with_name(f"{path.name}-smallest")


def _wanted(until: str) -> Callable[[Outcome], bool]:
    if until == "fail":
        return lambda outcome: outcome.hung or outcome.status != 0
    if until == "hang":
        return lambda outcome: outcome.hung
    return lambda outcome: not outcome.hung and outcome.status == int(until)


def _hunt(
    recorder: Recorder, wanted: Callable[[Outcome], bool], seeds: range, no_minimise: bool, tell: Callable[[str], None]
) -> Found | None:
    """A failure, and its order; of those whose decisions do not lead to it again, one."""
    found = None
    for _ in range(_FAILURES):
        run = first_failure(recorder, wanted, seeds, tell)
        if run is None:
            break
        if found:
            found.first.remove()
        found = Found(run)
        assert run.seed is not None
        seeds = range(run.seed + 1, seeds.stop)
        if no_minimise:
            break
        _minimise(recorder, found, tell)
        if found.smallest:
            break
    return found


def _minimise(recorder: Recorder, found: Found, tell: Callable[[str], None]) -> None:
    minimiser = Minimiser(recorder, found.first, tell)
    found.smallest = minimiser.reduce()
    found.order = minimiser.order()
    found.smallest = minimiser.smallest


def _keep(found: Found, path: Path) -> None:
    """Puts the traces where they are to stay."""
    found.first = _moved(found.first, path)
    if found.smallest:
        found.smallest = _moved(found.smallest, _smallest(path))
    home.point_latest(str((found.smallest or found.first).path))


def _moved(run: Run, path: Path) -> Run:
    from dataclasses import replace

    os.rename(run.path, path)
    return replace(run, path=path)


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """Signals that end a program end this one as Ctrl-C does: the recorder is killed, and its traces are removed."""

    def end(number: int, _: object) -> None:
        sys.exit(128 + number)

    handlers = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


@contextmanager
def _folder_beside(path: Path) -> Iterator[Path]:
    """A folder on the same disk, for the traces of all runs."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(prefix=".hunt-", dir=path.parent)
    except OSError as error:
        raise PyrrError(f"cannot make a trace at {path}: {error.strerror}") from None
    try:
        yield Path(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _telling() -> Iterator[Callable[[str], None]]:
    """Progress on stderr, where that is a terminal. Without a thread of its own: recorders are forked from here."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn()
    with Progress(
        *columns, console=console, transient=True, auto_refresh=False, disable=not console.is_terminal
    ) as progress:
        task = progress.add_task("")

        def tell(text: str) -> None:
            progress.update(task, description=text, refresh=True)

        yield tell


def _facts(recorder: Recorder, found: Found | None) -> dict[str, Any]:
    facts: dict[str, Any] = {"found": found is not None, "recordings": recorder.count}
    if not found:
        return facts
    run = found.first
    facts |= {
        "trace": str(run.path), "seed": run.seed, "status": run.outcome.status, "hung": run.outcome.hung,
        "exception": run.outcome.exception, "decisions": len(run.decided), "smallest": None, "order": None,
    }  # fmt: skip
    if found.smallest:
        facts["smallest"] = {"trace": str(found.smallest.path), "switches": found.switches}
    if found.order:
        facts["order"] = {"early": _place_facts(found.order.early), "late": _place_facts(found.order.late)}
    return facts


def _place_facts(place: Place) -> dict[str, Any]:
    frames = [{"file": f.file, "line": f.line, "function": f.function} for f in place.frames]
    line = place.line
    return {"task": place.task, "file": line and line.file, "line": line and line.line, "frames": frames}


def _print(recorder: Recorder, found: Found | None) -> None:
    if not found:
        print(f"it did not fail in {recorder.count} runs")
        return
    run = found.first
    print(run.output, end="" if run.output.endswith("\n") or not run.output else "\n")
    print(f"found: seed {run.seed}: {run.outcome}; {len(run.decided)} decisions of the scheduler")
    print(f"trace: {run.path}")
    if found.smallest:
        print(f"smallest: {found.smallest.path}: {_switches(found.switches)}")
    else:
        print("its decisions did not lead to the failure again" if recorder.count > 1 else "")
    if found.order:
        _print_order(found.order)
    print(f"look at it: pyrr debug {(found.smallest or run).path}")


def _switches(count: int) -> str:
    if not count:
        return "no switch: it fails without any"
    return "1 switch" if count == 1 else f"{count} switches"


def _print_order(order: Order) -> None:
    print("it fails because this")
    _print_place(order.early)
    print("came before this")
    _print_place(order.late)


def _print_place(place: Place) -> None:
    if not place.frames:
        print(f"    task {place.task}, where it runs no Python")
    for frame in [frame for frame in place.frames if frame.is_own][:3] or place.frames[:1]:
        print(f"    task {place.task}  {frame.file}:{frame.line} in {frame.function}: {frame.text}")
