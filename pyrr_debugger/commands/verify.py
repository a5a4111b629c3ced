"""`pyrr verify`."""

from __future__ import annotations

import sys

import click

from .. import home
from ..trace_reader import TraceReader
from . import completion
from .options import warn_if_cut


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
def command(trace: str | None) -> None:
    """Replay TRACE and compare all writable memory and registers with the recording's checksums.

    Checksums are stored at the end of every process, and with 'pyrr record --checksum-every N' along the way.
    Exit status 0 when every byte is equal, 3 when not.

    \b
    pyrr verify
    pyrr verify python3-4
    """
    from ..replayer.session import ReplaySession

    with TraceReader(home.find(trace)) as reader, ReplaySession(reader, verify=True) as session:
        session.run()
        result = session.verification
        warn_if_cut(reader)
    assert result is not None
    print(
        f"{reader.count} events, {result.checksums} checksums over {result.bytes_compared} bytes: "
        f"{result.differing_bytes} differing bytes"
    )
    if result.first:
        print(f"first difference: {result.first}")
        sys.exit(3)
