"""`pyrr ls`."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click

from .. import home
from ..errors import TraceError
from ..trace_reader import TraceReader
from .options import print_table


@dataclass
class _Listed:
    """A trace in the list. For a tree `identity` is that of its events, `origin` of what it is a branch of, "" if of
    none."""

    name: str
    cells: tuple[str, ...]
    identity: str = ""
    origin: str = ""
    branches: list[_Listed] = field(default_factory=list)


@click.command()
@click.option("--tree", is_flag=True, help="Branches ('pyrr resume --record') below the trace that they come from.")
def command(tree: bool) -> None:
    """List the traces in $PYRR_TRACE_DIR or $XDG_DATA_HOME/pyrr, the newest last.

    \b
    pyrr ls
    pyrr ls --tree
    PYRR_TRACE_DIR=/srv/traces pyrr ls
    """
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for column in ("name", "recorded", "events", "size", "command"):
        table.add_column(column, justify="right" if column in ("events", "size") else "left")
    found = [_look_at(Path(path), tree) for path in home.traces()]
    for depth, one in _nested(found) if tree else ((0, one) for one in found):
        table.add_row(f"{'   ' * (depth - 1)}{'└─ ' if depth else ''}{one.name}", *one.cells)
    print_table(table)


def _look_at(path: Path, tree: bool) -> _Listed:
    try:
        with TraceReader(path) as reader:
            origin = reader.header.get("origin", {})
            recorded = origin.get("recorded") or reader.header.get("started", 0)
            started = time.strftime("%F %T", time.localtime(recorded))
            size = f"{reader.size / 1e6:.1f} MB"
            text = shlex.join(reader.header["command"])
            if origin:
                text = f"from event {origin['position']} of {origin['name']}"
                text += f", --set {shlex.quote(origin['statement'])}" if "statement" in origin else ""
            listed = _Listed(path.name, (started, str(reader.count), size, text))
            if tree:
                from ..replayer.stored import identity

                listed.identity, listed.origin = identity(reader), str(origin.get("trace", ""))
            return listed
    except (TraceError, KeyError, AttributeError):
        return _Listed(path.name, ("", "", "", "(not readable as a trace)"))


def _nested(found: list[_Listed]) -> Iterator[tuple[int, _Listed]]:
    """All traces, each with the depth at which it stands: a branch behind what it comes from, where that is listed."""
    known = {one.identity: one for one in reversed(found) if one.identity}
    roots: list[_Listed] = []
    for one in found:
        above = known.get(one.origin) if one.origin else None
        (roots if above is None or above is one else above.branches).append(one)

    def walk(traces: list[_Listed], depth: int) -> Iterator[tuple[int, _Listed]]:
        for one in traces:
            yield depth, one
            yield from walk(one.branches, depth + 1)

    return walk(roots, 0)
