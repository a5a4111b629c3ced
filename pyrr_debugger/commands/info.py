"""`pyrr info`."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from typing import Any

import click

from .. import home
from ..errors import TraceError
from ..events import EndEvent, ExecEvent, NoteEvent, SyscallEvent
from ..trace_format import EventKind
from ..trace_reader import EventFilter, TraceReader
from . import completion
from .options import print_table


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
def command(trace: str | None, as_json: bool) -> None:
    """Describe TRACE: its command, interpreter, tasks, events, sizes and warnings.

    \b
    pyrr info
    pyrr info python3-4 --json
    """
    with TraceReader(home.find(trace)) as reader:
        reader.check()
        facts = _facts(reader)
    if as_json:
        print(json.dumps(facts))
    else:
        _print(facts)


def _facts(reader: TraceReader) -> dict[str, Any]:
    from ..syscalls import TABLE
    from ..syscalls import name as call_name

    numbers, tasks = reader.tally()
    calls = Counter({call_name(number): count for number, count in numbers.items()})
    warnings: list[str] = []
    interpreter = None
    status = None
    for event in reader.select(EventFilter((EventKind.EXEC, EventKind.NOTE, EventKind.END))):
        if isinstance(event, ExecEvent) and interpreter is None:
            interpreter = _interpreter(reader, event)
        elif isinstance(event, NoteEvent):
            warnings.append(event.text)
        elif isinstance(event, EndEvent):
            status = event.status
    for number, count in numbers.items():
        row = TABLE.get(number)
        if row is None:
            warnings.append(f"unknown system call {number} recorded conservatively")
        elif row.replay.name == "REFUSE":
            warnings.append(f"{row.name} was refused {count} times (ENOSYS)")
    if redacted := reader.header.get("redacted"):
        warnings.append(_redaction(redacted))
    if reader.end is None:
        warnings.append("the trace is cut: the recording ended early")
    return {
        "path": reader.path,
        "format": reader.header["format"],
        "command": reader.header["command"],
        "cwd": reader.header.get("cwd"),
        "order": _order(reader.header),
        "origin": _origin(reader.header),
        "interpreter": interpreter,
        "events": reader.count,
        "syscalls": dict(calls.most_common()),
        "tasks": len(tasks),
        "status": status,
        "seconds": reader.duration / 1e6,
        "checkpoints": _checkpoints(reader),
        "sources": len(reader.header.get("sources", {})),
        "redacted": redacted,
        "bytes": reader.size,
        "event_bytes": reader.event_size,
        "warnings": list(dict.fromkeys(warnings)),
    }


def _checkpoints(reader: TraceReader) -> int:
    if not reader.has_checkpoints:
        return 0
    from ..replayer.stored import Stored

    stored = Stored(reader)
    stored.close()
    return len(stored.places)


def _origin(header: dict[str, Any]) -> str | None:
    """Where a branch comes from."""
    origin = header.get("origin")
    return f"from event {origin.get('position')} of {origin.get('name')}" if isinstance(origin, dict) else None


def _order(header: dict[str, Any]) -> str | None:
    """How tasks took turns; None where they did as usual."""
    if "chaos" in header:
        return f"at random, from seed {header['chaos']['seed']}"
    if "schedule" in header:
        return f"by a list of {len(header['schedule'])} decisions"
    return None


def _redaction(redacted: dict[str, Any]) -> str:
    """What `pyrr pack` has replaced, in words."""
    parts = [", ".join(redacted.get(kind, [])) for kind in ("variables", "files")]
    text = f"it is redacted: {'; '.join(part for part in parts if part) or 'nothing was found'}"
    if redacted.get("stops_at") is not None:
        text += f"; a replay comes as far as event {redacted['stops_at']}"
    return text


def _interpreter(reader: TraceReader, event: ExecEvent) -> dict[str, str | None] | None:
    """The CPython of a program image: its executable, or the libpython it maps later."""
    from ..pythonstack import interpreter_version

    executable = str(event.image.get("executable"))
    candidates = [(r[5][0], r[4]) for r in event.image.get("regions", []) if r[5]]
    for later in reader.events(event.number + 1, event.number + 2_000):
        if isinstance(later, SyscallEvent):
            candidates += [(p.hash, p.name) for _, p in later.pieces if "libpython" in p.name]
    for hash_, name in dict.fromkeys(candidates):
        if "python" not in name:
            continue
        try:
            version = interpreter_version(reader.file(hash_), name)
        except TraceError:
            raise
        if version:
            return {"path": executable, "version": version}
    return None


def _print(facts: dict[str, Any]) -> None:
    from rich.table import Table

    table = Table(show_header=False, box=None)
    interpreter = facts["interpreter"]
    calls = ", ".join(f"{name} {count}" for name, count in list(facts["syscalls"].items())[:10])
    rows = {
        "trace": f"{facts['path']} (format {facts['format']})",
        "command": shlex.join(facts["command"]),
        "interpreter": f"CPython {interpreter['version']} at {interpreter['path']}" if interpreter else "not CPython",
        "events": f"{facts['events']} in {facts['seconds']:.2f} s by {facts['tasks']} tasks",
        "calls": calls,
        "size": f"{facts['bytes'] / 1e6:.1f} MB, of which events {facts['event_bytes'] / 1e6:.1f} MB",
    }
    if facts["checkpoints"]:
        rows["checkpoints"] = str(facts["checkpoints"])
    if facts["origin"]:
        rows["branch"] = facts["origin"]
    if facts["order"]:
        rows["turns"] = facts["order"]
    for name, value in rows.items():
        table.add_row(name, value)
    for warning in facts["warnings"]:
        table.add_row("warning", warning)
    print_table(table)
