"""`pyrr gdb`."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import tempfile
from typing import NoReturn

import click

from .. import home
from ..errors import PyrrError
from ..replayer.position import Position, parse
from ..trace_reader import TraceReader
from . import completion


@click.command(context_settings={"ignore_unknown_options": True})
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option("--to", "to", type=parse, default="exit", metavar="POSITION", help="Open there; the end if not given.")
@click.option("--ex", "commands", multiple=True, metavar="COMMAND", help="Given to gdb (repeatable).")
@click.option("--batch", is_flag=True, help="Leave gdb after these commands.")
def command(trace: str | None, to: Position, commands: tuple[str, ...], batch: bool) -> None:
    """Look at a program of TRACE with gdb, at any position, and move in both directions.

    Breakpoints, watchpoints, steps and 'finish' work forward and as reverse-step, reverse-next, reverse-continue and
    reverse-finish; 'catch syscall' stops at system calls, 'run' begins anew. Symbols come from the files of the trace.
    What is written or called ('print f(1)', 'set var') changes a copy, until the program moves.

    \b
    monitor when             the position
    monitor seek POSITION    go there (pyrr replay --help); then: maintenance flush register-cache
    monitor checkpoint       remember this place; 'monitor restore N' goes back to it

    \b
    pyrr gdb
    pyrr gdb app-3 --to 'signal:SIGSEGV' --ex bt --batch
    """
    path = home.find(trace)
    gdb = shutil.which("gdb")
    if gdb is None:
        raise PyrrError("there is no gdb in PATH")
    with TraceReader(path) as reader:
        position = to.resolve(reader)
    # Not a pipe: gdb makes a system call for each byte that comes out of one (gdb/ser-base.c, do_ser_base_readchar).
    folder = tempfile.mkdtemp(prefix="pyrr-gdb-")
    address = os.path.join(folder, "socket")
    reading, writing = os.pipe()
    # In the child a KeyboardInterrupt amid what CPython does behind a fork is printed, and ignored.
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    server = os.fork()
    if server == 0:
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # gdb's own, which tells us
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    if server == 0:
        os.close(reading)
        _serve_and_exit(path, position, address, writing)
    os.close(writing)
    message = b""
    while part := os.read(reading, 4096):
        message += part
    if message:
        error = PyrrError(os.fsdecode(message))
        error.status = os.waitstatus_to_exitcode(os.waitpid(server, 0)[1])
        raise error
    words = ["-q", "-ex", "set remotetimeout 3600", "-ex", "set sysroot target:"]
    words += ["-ex", f"target extended-remote {address}"]
    for one in commands:
        words += ["-ex", one]
    os.execv(gdb, [gdb, *(["-batch"] if batch else []), *words])


def _serve_and_exit(path: str, position: int, address: str, ready: int) -> NoReturn:
    """The server: a child of what becomes gdb, with which it ends. What it writes to `ready` is why it cannot serve."""
    from ..replayer.serving import listener, serve
    from ..replayer.session import ReplaySession

    parent, status = os.getppid(), 1
    try:
        with TraceReader(path) as reader, ReplaySession(reader) as session, listener(address) as listening:
            session.seek(position)
            os.close(ready)
            while not select.select([listening], [], [], 1)[0]:
                if os.getppid() != parent:
                    raise PyrrError("gdb has gone")
            serve(session, listening)
        status = 0
    except PyrrError as error:
        status = error.status
        with contextlib.suppress(OSError):
            os.write(ready, os.fsencode(str(error)))
    finally:
        shutil.rmtree(os.path.dirname(address), ignore_errors=True)
        os._exit(status)
