"""`pyrr replay`, from its words to what it prints.

A replay can be shorter than the program was, so that its start counts: as in recorder/launch.py, click reads only the
command lines that are not plain (commands/replay.py), and tests/test_launch.py compares the two.
"""

from __future__ import annotations

import gc
import os
import sys

from .. import home
from ..errors import PyrrError
from ..light import NamedTuple, signal

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ..trace_reader import TraceReader
    from .session import ReplaySession

_LONG = 20_000  # events, to be waited for
_STEP = 5_000


class Request(NamedTuple):
    """What a command line of `pyrr replay` asks for; see its help."""

    trace: str | None = None
    to: str | None = None
    process: int | None = None
    as_json: bool = False
    serve: str | None = None
    stop: bool = False


def plain_request(words: list[str]) -> Request | None:
    """What the words after `pyrr` ask for; None when they are not those of a plain replay."""
    if words[:1] != ["replay"]:
        return None
    trace, to, as_json, at = None, None, False, 1
    while at < len(words):
        if words[at] == "--json":
            as_json = True
        elif words[at] == "--to" and at + 1 < len(words):
            at += 1
            to = words[at]
        elif words[at].startswith("-") or trace is not None:
            return None
        else:
            trace = words[at]
        at += 1
    return None if as_json and to is None else Request(trace, to, None, as_json)


def replay(request: Request) -> NoReturn:
    """Replays, prints what was asked for, and ends this process. Raises PyrrError."""
    # The engine waits for replayed code without looking at signals; it ends with us.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    gc.disable()  # importing makes no garbage, only much to look through
    from ..trace_reader import TraceReader

    with TraceReader(home.find(request.trace)) as reader:
        from .sharing import memory_of

        memory = memory_of(reader)  # its thread works while the rest is imported
        from ..commands.options import warn_if_cut
        from .session import ReplaySession

        gc.freeze()
        gc.enable()
        position, between = reader.count, None
        if request.to is not None:
            from .position import Between, parse

            wanted = parse(request.to)
            between = wanted if isinstance(wanted, Between) else None
            position = reader.count if between else wanted.resolve(reader)
        selection = None
        if request.process is not None:
            from .selection import Selection

            selection = Selection(reader, request.process, position)
        streams = (1, 2) if request.to is None else (-1, -1)
        with ReplaySession(reader, *streams, selection=selection, memory=memory) as session:
            if request.to is None:
                session.run()
                warn_if_cut(reader)
                if session.output_error:
                    raise PyrrError(f"its output cannot be written: {os.strerror(session.output_error)}")
            else:
                session.seek(between) if between else _run_with_progress(session, position)
                where = _where(session, request.process, request.as_json)
                _print_json(where) if request.as_json else _print(reader, where)
                if request.serve is not None:
                    _serve(session, request.serve)
                elif request.stop:
                    _hand_over(session)
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to be done but to take the interpreter down.
    os._exit(0)


def _serve(session: ReplaySession, address: str) -> None:
    from .serving import listener, name_of, serve

    with listener(address) as listening:
        print(f"gdb: target extended-remote {name_of(listening)}", flush=True)
        serve(session, listening)


def _hand_over(session: ReplaySession) -> None:
    """Leaves the replayed processes to others, stopped, until we are told to end."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        for task, real in session.hand_over().items():
            print(f"task {task} of process {session.process_of(task)}: {real}")
        print("stopped; end with Ctrl-C", flush=True)
        while True:
            signal.pause()
    except KeyboardInterrupt:
        return


def _run_with_progress(session: ReplaySession, position: int) -> None:
    """Shows progress on a terminal, for replays long enough to be waited for."""
    session.approach(position)
    if position < _LONG or not sys.stderr.isatty():
        session.run(position)
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task("replaying", total=position)
        while session.position < position:
            before = session.position
            session.run(min(position, before + _STEP))
            progress.update(bar, completed=session.position)
            if session.position == before:
                return


def _where(session: ReplaySession, pid: int | None, checksum: bool) -> dict[str, Any]:
    from .description import as_data, describe_event
    from .place import native_location, python_stack

    event = session.trace.event(session.position - 1) if session.midway else session.next_event()
    ticks = session.ticks
    tasks = [task for task in session.tasks if pid is None or session.process_of(task) == pid]
    nobody_yet = [event.task] if event is not None else [0]
    task = session.midway or (event.task if event is not None and event.task in tasks else (tasks or nobody_yet)[0])
    where: dict[str, Any] = {
        "position": session.position if ticks is None else session.position - 1,
        "ticks": ticks,
        "event": as_data(event) if event is not None else None,
        "text": describe_event(event) if event is not None else "behind the last event",
        "task": task,
    }
    if task in session.tasks:
        where["registers"] = session.registers(task)
        if checksum:
            where["memory_checksum"] = session.memory_checksum(task)
        where["native"] = native_location(session, task)
        where["python"] = [
            {"function": f.function, "file": f.file, "line": f.line} for f in python_stack(session, task)
        ]
    return where


def _print_json(where: dict[str, Any]) -> None:
    import json

    print(json.dumps(where))


def _print(trace: TraceReader, where: dict[str, Any]) -> None:
    from .source import source_line

    ticks = where["ticks"]
    position = where["position"] if ticks is None else f"{where['position']}:{ticks}"
    behind = "" if ticks is None else f"{ticks} ticks behind "
    task = f", task {where['task']}" if where["task"] else ""
    print(f"event {position}{task}: {behind}{where['text']}")
    if "native" in where:
        print(f"  native: {where['native']}")
    for frame in where.get("python", []):
        print(f'  File "{frame["file"]}", line {frame["line"]}, in {frame["function"]}')
        source = source_line(trace, frame["file"], frame["line"]).strip()
        if source:
            print(f"    {source}")
