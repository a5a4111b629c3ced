"""`pyrr dump`."""

from __future__ import annotations

import json
from contextlib import ExitStack

import click

from .. import home
from ..replayer.causes import Stacks
from ..replayer.position import Position, check_name, parse
from ..trace_reader import TraceReader
from . import completion
from .options import warn_if_cut


def _known(_: click.Context, __: click.Parameter, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        check_name("syscall", name)
    return names


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option("--from", "start", type=parse, default="start", metavar="POSITION", help="First event.")
@click.option("--until", type=parse, metavar="POSITION", help="Stop before this event.")
@click.option(
    "--syscall", "names", multiple=True, metavar="NAME", callback=_known, shell_complete=completion.system_calls,
    help="Only calls of this name (repeatable).",
)  # fmt: skip
@click.option("--stack", is_flag=True, help="With the Python line that caused each event; replays the trace once.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line.")
def command(
    trace: str | None, start: Position, until: Position | None, names: tuple[str, ...], stack: bool, as_json: bool
) -> None:
    """Print the events of TRACE, like strace. Positions are those of 'pyrr replay --to'.

    With --stack and --json, each event has all of its Python frames, innermost first.

    \b
    pyrr dump --syscall openat
    pyrr dump app-3 --from 1200 --until 1300
    pyrr dump --from -20
    pyrr dump --from 'output:/^Traceback/'
    pyrr dump --stack --syscall connect
    """
    from ..replayer.description import as_data, describe_event, name_of

    with TraceReader(home.find(trace)) as reader, ExitStack() as left:
        stacks = left.enter_context(Stacks(reader)) if stack else None
        first = start.resolve(reader)
        last = until.resolve(reader) if until is not None else None
        warn_if_cut(reader)
        for event in reader.events(first, last):
            if names and name_of(event) not in names:
                continue
            frames = stacks.of(event) if stacks else ()
            if as_json:
                data = as_data(event)
                if stacks:
                    data["python"] = [{"function": f.function, "file": f.file, "line": f.line} for f in frames]
                print(json.dumps(data))
            else:
                where = f"  @ {frames[0].file}:{frames[0].line} {frames[0].function}" if frames else ""
                text = f"{event.number:>7} {event.time / 1e6:>11.6f} {event.task:>7}  {describe_event(event)}{where}"
                print(text.encode("utf-8", "backslashreplace").decode())
