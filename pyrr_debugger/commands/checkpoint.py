"""`pyrr checkpoint`."""

from __future__ import annotations

import os
import sys

import click

from .. import home
from ..errors import PyrrError
from ..trace_reader import TraceReader
from . import completion
from .options import finite, warn_if_cut


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option(
    "--every", default=0.5, type=click.FloatRange(min=0), metavar="T", callback=finite,
    help="Seconds of replay between two; 0.5.",
)  # fmt: skip
@click.option("-q", "--quiet", is_flag=True, help="No word on stderr.")
def command(trace: str | None, every: float, quiet: bool) -> None:
    """Replay TRACE once and leave checkpoints in it, so that every command opens it anywhere at once.

    They are one file of the trace, 'checkpoints', which may be removed; those that are there already are replaced.
    'pyrr pack' takes them along, unless something is redacted.

    \b
    pyrr checkpoint
    pyrr checkpoint pytest-3 --every 2
    """
    from ..replayer.session import ReplaySession
    from ..replayer.stored import Writer

    with TraceReader(home.find(trace)) as reader:
        if not os.path.isdir(reader.path):
            raise PyrrError(f"{reader.path} is packed, and is not changed: make checkpoints before 'pyrr pack'")
        warn_if_cut(reader)
        try:
            with Writer(reader) as writer, ReplaySession(reader, checkpoints=False) as session:
                session.store_checkpoints(writer, every)
                writer.finish()
        except OSError as error:
            raise PyrrError(f"{reader.path}: no checkpoints can be written: {error.strerror}") from None
        if not quiet:
            words = f"pyrr: {reader.path}: {writer.count} checkpoints, {writer.size / 1e6:.1f} MB"
            print(words, file=sys.stderr)
