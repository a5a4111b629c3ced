"""`pyrr record`."""

from __future__ import annotations

import click

from ..recorder.launch import Request, record


@click.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("-o", "--output", type=click.Path(), help="Where to put the trace (a new directory).")
@click.option("-q", "--quiet", is_flag=True, help="No line about the trace at the end.")
@click.option(
    "--checksum-every", type=click.IntRange(0), default=0, metavar="N",
    help="Store checksums of all memory every N events, for 'pyrr verify'.",
)  # fmt: skip
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
def command(output: str | None, quiet: bool, checksum_every: int, command: tuple[str, ...]) -> None:
    """Record COMMAND and its children until they have ended.

    The program keeps its terminal, its stdin, its environment and its exit status (128 + signal when it was killed).
    Traces go to $PYRR_TRACE_DIR or $XDG_DATA_HOME/pyrr, named after the program with a number.

    \b
    pyrr record python app.py --port 8000
    pyrr record -o /tmp/flaky -- pytest -x tests/test_flaky.py
    """
    record(Request(command, output, quiet, checksum_every))
