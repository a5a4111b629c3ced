"""`pyrr gdb`."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys

import click

from .. import home
from ..errors import PyrrError
from ..replayer.position import Position, parse
from ..trace_reader import TraceReader


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("trace", required=False)
@click.option("--to", "to", type=parse, default="exit", metavar="POSITION", help="Open there; the end if not given.")
@click.option("--serve", is_flag=True, help="Speak gdb's remote protocol on stdin and stdout: 'target remote | ...'.")
@click.option("--ex", "commands", multiple=True, metavar="COMMAND", help="Given to gdb (repeatable).")
@click.option("--batch", is_flag=True, help="Leave gdb after these commands.")
def command(trace: str | None, to: Position, serve: bool, commands: tuple[str, ...], batch: bool) -> None:
    """Look at a program of TRACE with gdb, at any position.

    Registers, memory, threads and backtraces, with symbols from the files of the trace. Moves end at events: stepi and
    reverse-stepi go to the next and the last one of the thread, continue and reverse-continue to a system call that is
    caught ('catch syscall write'). Breakpoints are passed by, since there are only events yet; nothing can be changed.

    \b
    pyrr gdb
    pyrr gdb app-3 --to 'signal:SIGSEGV' --ex bt --batch
    """
    from ..replayer.gdb_server import GdbServer
    from ..replayer.session import ReplaySession

    path = home.find(trace)
    if serve:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # gdb's own
        with TraceReader(path) as reader, ReplaySession(reader) as session:
            session.seek(to)
            GdbServer(session, sys.stdin.buffer, sys.stdout.buffer).run()
        return
    gdb = shutil.which("gdb")
    if gdb is None:
        raise PyrrError("there is no gdb in PATH")
    with TraceReader(path) as reader:
        position = to.resolve(reader)
    # Not `-m`, which looks for modules in the current directory first: a checkout of pyrr has one that is not built.
    start = f"import sys; sys.path[:] = {sys.path!r}; from pyrr_debugger.__main__ import main; main()"
    server = [sys.executable, "-c", start, "gdb", str(path), "--to", str(position), "--serve"]
    words = ["-q", "-ex", "set sysroot target:", "-ex", f"target remote | {shlex.join(server)}"]
    for one in commands:
        words += ["-ex", one]
    os.execv(gdb, [gdb, *(["-batch"] if batch else []), *words])
