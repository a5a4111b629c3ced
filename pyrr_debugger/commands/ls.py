"""`pyrr ls`."""

from __future__ import annotations

import shlex
import time
from pathlib import Path

import click

from .. import home
from ..errors import TraceError
from ..trace_reader import TraceReader
from .options import print_table


@click.command()
def command() -> None:
    """List the traces in $PYRR_TRACE_DIR or $XDG_DATA_HOME/pyrr, the newest last.

    \b
    pyrr ls
    PYRR_TRACE_DIR=/srv/traces pyrr ls
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "recorded", "events", "size", "command"):
        table.add_column(column, justify="right" if column in ("events", "size") else "left")
    for path in map(Path, home.traces()):
        try:
            with TraceReader(path) as reader:
                started = time.strftime("%F %T", time.localtime(reader.header.get("started", 0)))
                size = f"{reader.size / 1e6:.1f} MB"
                table.add_row(path.name, started, str(reader.count), size, shlex.join(reader.header["command"]))
        except TraceError:
            table.add_row(path.name, "", "", "", "(not readable as a trace)")
    print_table(table)
