"""`pyrr record`."""

from __future__ import annotations

import secrets

import click

from ..recorder.launch import Request, record
from . import completion
from .options import path_for

MAX_SEED = 2**32 - 1


class _Command(click.Command):
    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """`--follow exec NAME` is an option with two words, `--follow none` one with one: click knows neither."""
        flags = [name for p in self.params if isinstance(p, click.Option) and p.is_flag for name in p.opts]
        at = 0
        while at < len(args) and args[at].startswith("-") and args[at] != "--":
            if args[at : at + 2] == ["--follow", "exec"] and at + 2 < len(args):
                args = [*args[: at + 1], f"exec {args[at + 2]}", *args[at + 3 :]]
            at += 1 if args[at] in flags or "=" in args[at] else 2
        return super().parse_args(ctx, args)


def _following(_: click.Context, __: click.Parameter, value: str) -> str:
    if value in ("all", "none") or (value.startswith("exec ") and value != "exec "):
        return value
    raise click.BadParameter(f"{value!r} is none of 'all', 'exec NAME' and 'none'")


@click.command(
    cls=_Command,
    context_settings={"allow_interspersed_args": False},
)
@click.option("-o", "--output", type=click.Path(), callback=path_for, help="Where to put the trace (a new directory).")
@click.option("-q", "--quiet", is_flag=True, help="No line about the trace at the end.")
@click.option(
    "--checksum-every", type=click.IntRange(0), default=0, metavar="N",
    help="Store checksums of all memory every N events, for 'pyrr verify'.",
)  # fmt: skip
@click.option(
    "--follow", default="all", metavar="all|exec NAME|none", callback=_following,
    help="Which children are recorded: all; those that execute NAME, and forks of what is recorded; or none.",
)  # fmt: skip
@click.option("-w", "--wait", is_flag=True, help="Record until the last process has ended, not only the first.")
@click.option("--no-agent", is_flag=True, help="Stop at every system call: slower, the reference for the agent.")
@click.option("--chaos", is_flag=True, help="Let threads and processes take turns at random: 'pyrr hunt' repeats that.")
@click.option(
    "--seed", type=click.IntRange(0, MAX_SEED), metavar="N", help="What --chaos draws from; 'pyrr info' shows it."
)
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, shell_complete=completion.command)
def command(
    output: str | None,
    quiet: bool,
    checksum_every: int,
    follow: str,
    wait: bool,
    no_agent: bool,
    chaos: bool,
    seed: int | None,
    command: tuple[str, ...],
) -> None:
    """Record COMMAND and its children until COMMAND has ended. What goes on after that goes on unrecorded.

    The program keeps its terminal, its stdin, its environment and its exit status (128 + signal when it was killed).
    Traces go to $PYRR_TRACE_DIR or $XDG_DATA_HOME/pyrr, named after the program with a number.

    \b
    pyrr record python app.py --port 8000
    pyrr record -o /tmp/flaky -- pytest -x tests/test_flaky.py
    pyrr record --follow exec python make test
    pyrr record --chaos -- python workers.py
    """
    if seed is not None and not chaos:
        raise click.UsageError("--seed is for --chaos")
    if chaos and seed is None:
        seed = secrets.randbelow(MAX_SEED + 1)
    record(Request(command, output, quiet, checksum_every, follow, wait, not no_agent, seed))
