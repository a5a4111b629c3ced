"""`pyrr ps`."""

from __future__ import annotations

import json
import shlex
from dataclasses import asdict

import click

from .. import home
from ..processes import Process, processes
from ..trace_reader import TraceReader
from . import completion
from .options import print_table, warn_if_cut


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(trace: str | None, as_json: bool) -> None:
    """Show the processes of TRACE as a tree: what they are, between which events they live, how they end.

    \b
    pyrr ps
    pyrr replay --process 4242
    """
    with TraceReader(home.find(trace)) as reader:
        reader.check()
        found = processes(reader.events())
        warn_if_cut(reader)
    if as_json:
        for process in found:
            print(json.dumps({**asdict(process), "threads": sorted(process.threads), "ending": ending(process)}))
    else:
        _print(found)


def ending(process: Process) -> str:
    """How a process ended, in words."""
    from ..replayer.description import ending

    if process.left is not None:
        return f"went on unrecorded: {process.left}"
    if process.end is None:
        return "lives at the end of the trace"
    return ending(process.status) if process.status is not None else "ended"


def _print(found: list[Process]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("pid", "parent", "events", "threads", "ending", "command"):
        table.add_column(column, justify="left" if column in ("ending", "command") else "right")
    for process, depth in _tree(found):
        table.add_row(
            str(process.pid),
            str(process.parent or ""),
            f"{process.start}-{'' if process.end is None else process.end}",
            str(len(process.threads)),
            ending(process),
            "  " * depth + shlex.join(process.arguments),
        )
    print_table(table)


def _tree(found: list[Process]) -> list[tuple[Process, int]]:
    """Every process behind its parent, with its depth."""
    rows: list[tuple[Process, int]] = []

    def add(process: Process, depth: int) -> None:
        rows.append((process, depth))
        for child in found:
            # Of two processes with one id, a child's parent is the one that lived when it began.
            ended = process.end is not None and process.end < child.start
            if child.parent == process.pid and process.start < child.start and not ended:
                add(child, depth + 1)

    for process in found:
        if process.parent is None:
            add(process, 0)
    return rows
