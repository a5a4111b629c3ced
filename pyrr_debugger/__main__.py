"""The command `pyrr`, also as `python -m pyrr_debugger`."""

from __future__ import annotations

import sys

from .errors import PyrrError
from .recorder import launch as recorder
from .replayer import launch as replayer


def main() -> None:
    """Runs `pyrr`; errors of the user's concern are one message on stderr."""
    try:
        if recording := recorder.plain_request(sys.argv[1:]):
            recorder.record(recording)
        if replay := replayer.plain_request(sys.argv[1:]):
            replayer.replay(replay)
        from .cli import cli

        cli(prog_name="pyrr")
    except PyrrError as error:
        print(f"pyrr: {error}", file=sys.stderr)
        sys.exit(error.status)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)


if __name__ == "__main__":
    main()
