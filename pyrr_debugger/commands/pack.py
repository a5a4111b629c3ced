"""`pyrr pack`."""

from __future__ import annotations

import os
import sys

import click

from .. import home
from ..trace_reader import TraceReader
from . import completion
from .options import path_for, warn_if_cut


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option(
    "-o", "--output", metavar="FILE", callback=path_for, help="Where to; by default the trace's name with .pyrr, here."
)
@click.option("--redact", "names", multiple=True, metavar="NAME", help="Replace values of environment variables.")
@click.option("--redact-file", "files", multiple=True, metavar="PATH", help="Replace what was read from these files.")
@click.option("-q", "--quiet", is_flag=True, help="No word on stderr.")
def command(trace: str | None, output: str | None, names: tuple[str, ...], files: tuple[str, ...], quiet: bool) -> None:
    """Make one file of TRACE: all it mapped, with symbols, and the sources of the Python modules it looked at.

    Every command takes the file as it takes a trace, on any machine with a like processor. NAME and PATH are patterns,
    as in shells; the letters and digits of what is redacted become 'x', there and wherever else the same bytes
    stand, and 'pyrr info' says so. What the program has made of it (a hash, an encoding) stays.

    \b
    pyrr pack -o failure.pyrr
    pyrr pack app-3 --redact '*TOKEN*' --redact '*PASSWORD*' --redact-file '/srv/app/secrets/*'
    """
    from ..packing import pack
    from ..redaction import Redaction

    with TraceReader(home.find(trace)) as reader:
        warn_if_cut(reader)
        name = os.path.basename(os.path.abspath(reader.path)).removesuffix(".pyrr")
        target = output or f"{name}.pyrr"
        packed = pack(reader, target, Redaction(names, files) if names or files else None)
    if quiet:
        return
    words = f"pyrr: {target}: {packed.size / 1e6:.1f} MB, with {packed.sources} sources"
    if names or files:
        words += f"; redacted: {packed.redacted} variables and files"
    if packed.stops_at is not None:
        words += f"; a replay comes as far as event {packed.stops_at}, where the program made something of them"
    print(words, file=sys.stderr)
