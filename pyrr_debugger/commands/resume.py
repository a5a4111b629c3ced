"""`pyrr resume`."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from .. import home
from ..errors import PyrrError
from ..trace_reader import TraceReader
from . import completion
from .options import path_for

if TYPE_CHECKING:
    from ..recorder.branch import BranchSession


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option("--to", "to", metavar="POSITION", help="Go live there; as in 'pyrr replay --help'.")
@click.option(
    "--policy",
    "policy_name",
    metavar="FILE",
    help="What becomes of files, sockets, ...: a TOML file, or strict, reopen or sandbox.",
)
@click.option("--set", "statement", metavar="STATEMENT", help="Run this Python statement first.")
@click.option("--record", "again", is_flag=True, help="Record it again: a branch of TRACE, a trace of its own.")
@click.option("-o", "--output", type=click.Path(), callback=path_for, help="Where to put that (a new directory).")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
def command(
    trace: str | None,
    to: str | None,
    policy_name: str | None,
    statement: str | None,
    again: bool,
    output: str | None,
    yes: bool,
) -> None:
    """Let the program of TRACE live on from a position, on its own, on this terminal.

    Without --to, where its first process last waited for input. What will not be as it was is shown before anything
    runs. The program has your authority from then on: resume only traces that you trust.

    \b
    pyrr record python3           work, then leave it, or reboot
    pyrr resume                   the prompt, and everything is there
    pyrr resume --to 1200 --set 'limit = 10'
    pyrr resume --to 1200 --record; pyrr ls --tree
    """
    if output and not again:
        raise click.UsageError("--output is for --record")
    from ..live import going, policy, waiting

    with TraceReader(home.find(trace)) as reader, waiting.TerminalKept() as terminal:
        chosen = policy.load(policy_name)

        def go_live(recorder: BranchSession | None) -> int:
            shown = (lambda lines: _agree(lines, yes)), _tell, terminal.descriptor
            return going.go_live(reader, to, chosen, statement, *shown, recorder)

        status = _record(reader, output, go_live) if again else waiting.status_of(waiting.wait_for(go_live(None)))
    sys.exit(status)


def _record(reader: TraceReader, output: str | None, go_live: Callable[[BranchSession], int]) -> int:
    """Has the program be recorded to its end: the status of that."""
    from ..recorder.branch import BranchSession
    from ..recorder.session import report

    session = BranchSession(reader, output or home.new_trace(reader.header["command"][0]))
    try:
        go_live(session)
    except BaseException:
        session.discard()
        raise
    recording = session.run()
    if recording.path is not None:
        home.point_latest(recording.path)
    report(recording, quiet=False)
    return recording.status


def _tell(lines: list[str]) -> None:
    for line in lines:
        print(f"pyrr: {line}", file=sys.stderr)


def _agree(lines: list[str], yes: bool) -> None:
    """Shows what will differ. Raises PyrrError where that is not agreed to."""
    _tell(lines)
    if yes or not lines:
        return
    if not (os.isatty(0) and os.isatty(2)):
        raise PyrrError("not all will be as it was: --yes goes on all the same, and --policy says what to do")
    print("pyrr: go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise PyrrError("nothing has been run")
