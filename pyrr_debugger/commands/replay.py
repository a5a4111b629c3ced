"""`pyrr replay`."""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

import click

from .. import home
from ..replayer.position import Position, parse
from ..trace_reader import TraceReader
from .options import warn_if_cut


@click.command()
@click.argument("trace", required=False)
@click.option("--to", "to", type=parse, metavar="POSITION", help="Stop there; see below.")
@click.option("--process", "pid", type=int, metavar="PID", help="Replay only what this process needs; see 'pyrr ps'.")
@click.option("--json", "as_json", is_flag=True, help="Print where it stands as one JSON object (with --to).")
def command(trace: str | None, to: Position | None, pid: int | None, as_json: bool) -> None:
    """Replay TRACE (a path, a name, or the latest).

    Without --to, runs to the end and writes what the program wrote. Exit status: 0 when the replay is the recording,
    whatever the program's own was; 3 when it is not; 2 when the trace cannot be replayed.

    A POSITION is before an event takes effect: its number, or -K from the end; start, end, exit (of the first
    process); 50% of the events; +12.5s after the start; output:/REGEX/, the write of a line that matches;
    syscall:NAME; signal:NAME. The last three with #K are the K-th, #-1 the last.

    \b
    pyrr replay
    pyrr replay python3-4 --to 1200
    pyrr replay --to 'output:/^Traceback/'
    pyrr replay --to syscall:connect#-1
    """
    from ..replayer.selection import Selection
    from ..replayer.session import ReplaySession

    # The engine waits for replayed code without looking at signals; it ends with us.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    with TraceReader(home.find(trace)) as reader:
        position = reader.count if to is None else to.resolve(reader)
        selection = None if pid is None else Selection(reader, pid, position)
        if to is None:
            sys.stdout.flush()
            with ReplaySession(reader, 1, 2, selection=selection) as session:
                session.run()
            warn_if_cut(reader)
            return
        with ReplaySession(reader, selection=selection) as session:
            _run_with_progress(session, position)
            where = _where(session, pid)
    if as_json:
        print(json.dumps(where))
    else:
        _print(where)


def _run_with_progress(session: Any, position: int) -> None:
    """Shows progress on a terminal, for replays long enough to be waited for."""
    if position < 20_000 or not sys.stderr.isatty():
        session.run(position)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("replaying", total=position)
        while session.position < position:
            before = session.position
            session.run(min(position, before + 5_000))
            progress.update(bar, completed=session.position)
            if session.position == before:
                return


def _where(session: Any, pid: int | None) -> dict[str, Any]:
    from ..replayer.description import as_data, describe_event
    from ..replayer.place import native_location, python_stack

    event = session.next_event()
    tasks = [task for task in session.tasks if pid is None or session.process_of(task) == pid] or [0]
    task = event.task if event is not None and event.task in tasks else tasks[0]
    where: dict[str, Any] = {
        "position": session.position,
        "event": as_data(event) if event is not None else None,
        "text": describe_event(event) if event is not None else "behind the last event",
        "task": task,
    }
    if task in session.tasks:
        where["registers"] = session.registers(task)
        where["memory_checksum"] = session.memory_checksum(task)
        where["native"] = native_location(session, task)
        where["python"] = [
            {"function": f.function, "file": f.file, "line": f.line} for f in python_stack(session, task)
        ]
    return where


def _print(where: dict[str, Any]) -> None:
    import linecache

    print(f"event {where['position']}, task {where['task']}: {where['text']}")
    if "native" in where:
        print(f"  native: {where['native']}")
    for frame in where.get("python", []):
        print(f'  File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}')
        source = linecache.getline(frame["file"], frame["line"]).strip()
        if source:
            print(f"    {source}")
