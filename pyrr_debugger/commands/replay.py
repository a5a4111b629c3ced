"""`pyrr replay`."""

from __future__ import annotations

import click

from ..replayer.launch import Request, replay
from . import completion


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option("--to", "to", metavar="POSITION", help="Stop there; see below.")
@click.option("--process", "pid", type=int, metavar="PID", help="Replay only what this process needs; see 'pyrr ps'.")
@click.option("--json", "as_json", is_flag=True, help="Print where it stands as one JSON object (with --to).")
@click.option("--serve", is_flag=False, flag_value="127.0.0.1:0", metavar="[ADDR]", help="Serve gdb there (with --to).")
@click.option("--stop", is_flag=True, help="Leave the processes there, stopped, to be looked at (with --to).")
def command(trace: str | None, to: str | None, pid: int | None, as_json: bool, serve: str | None, stop: bool) -> None:
    """Replay TRACE (a path, a name, or the latest).

    Without --to, runs to the end and writes what the program wrote. Exit status: 0 when the replay is the recording,
    whatever the program's own was; 3 when it is not; 2 when the trace cannot be replayed.

    A POSITION is before an event takes effect: its number, or -K from the end; start, end, exit (of the first
    process); 50% of the events; +12.5s after the start; output:/REGEX/, the write of a line that matches;
    syscall:NAME; signal:NAME; FILE.py:LINE, where that line is begun. The last four with #K are the K-th, #-1 the
    last. EVENT:TICKS is amid Python code, so many ticks behind that event; exception is where the one was raised that
    nobody caught, exception:K the K-th of all.

    \b
    pyrr replay
    pyrr replay python3-4 --to 1200
    pyrr replay --to 'output:/^Traceback/'
    pyrr replay --to syscall:connect#-1
    pyrr replay --to app.py:71
    pyrr replay --to exit --serve          for gdb: target extended-remote 127.0.0.1:PORT
    pyrr replay --to exit --serve /tmp/my-socket
    pyrr replay --to exit --stop           for py-spy dump, gdb -p, /proc/PID
    """
    if (serve is not None or stop or as_json) and to is None:
        raise click.UsageError("--json, --serve and --stop need a position: --to POSITION")
    if serve is not None and stop:
        raise click.UsageError("--serve and --stop are two ways to be looked at: choose one")
    replay(Request(trace, to, pid, as_json, serve, stop))
