"""`pyrr dap`."""

from __future__ import annotations

import os
import signal
import socket
import sys

import click

from .. import home
from ..errors import PyrrError


@click.command()
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    metavar="PORT",
    help="Listen there, on 127.0.0.1 only, for one client; 0 is any port.",
)
def command(port: int | None) -> None:
    """Serve an editor, by the Debug Adapter Protocol: on stdin and stdout, or on a port.

    The launch configuration has "trace" (a path, a name; the latest if not given) and "position" (as for 'pyrr replay
    --to'; the failure if not given). docs/editors.md has the set-up of VS Code.

    \b
    pyrr dap
    pyrr dap --port 4711
    """
    from ..replayer.dap import DapServer

    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if port is None:
        DapServer(sys.stdin.buffer, sys.stdout.buffer, home.find).run()
    else:
        try:
            server = socket.create_server(("127.0.0.1", port))
        except OSError as error:
            reason = os.strerror(error.errno) if error.errno else str(error)
            raise PyrrError(f"nothing can be served at 127.0.0.1:{port}: {reason}; --port 0 is any free one") from None
        with server:
            print(f"listening on 127.0.0.1:{server.getsockname()[1]}", flush=True)
            client, _ = server.accept()
        DapServer(client.makefile("rb"), client.makefile("wb"), home.find).run()
        client.shutdown(socket.SHUT_RDWR)
    sys.stdout.flush()
    # A thread still waits for what the client might say.
    os._exit(0)
