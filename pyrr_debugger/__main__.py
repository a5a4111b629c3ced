"""The command `pyrr`, also as `python -m pyrr_debugger`."""

from __future__ import annotations

import io
import os
import sys

from .errors import PyrrError
from .light import signal
from .recorder import launch as recorder
from .replayer import launch as replayer


def main() -> None:
    """Runs `pyrr`; errors of the user's concern are one message on stderr."""
    _prepare_streams()
    try:
        if recording := recorder.plain_request(sys.argv[1:]):
            recorder.record(recording)
        if replay := replayer.plain_request(sys.argv[1:]):
            replayer.replay(replay)
        from .cli import run

        try:
            run()
        finally:
            sys.stdout.flush()
    except PyrrError as error:
        print(f"pyrr: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        print("pyrr: interrupted", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as error:  # what is printed cannot be written, a folder cannot be read
        where = f"{error.filename}: " if error.filename else ""
        print(f"pyrr: {where}{error.strerror or error}", file=sys.stderr, flush=True)
        os._exit(PyrrError.status)  # not by way of the interpreter, which would try to write the rest once more


def _prepare_streams() -> None:
    """Gives a stdin, stdout or stderr that is closed to the null device, or the next file that is opened, one of the
    trace, would get its number; it is closed again in what is executed (PEP 446). What stdout has no bytes for, a path
    that is not UTF-8 for example, is written with backslashes, as stderr does."""
    if sys.stdin is None:
        sys.stdin = open(os.devnull)  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


if __name__ == "__main__":
    main()
