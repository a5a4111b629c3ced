"""Where traces live: `$PYRR_TRACE_DIR`, else `$XDG_DATA_HOME/pyrr`, else `~/.local/share/pyrr`."""

from __future__ import annotations

import contextlib
import os

from .errors import PyrrError

LATEST = "latest"


def folder() -> str:
    """The folder of named traces; it may not exist yet."""
    if chosen := os.environ.get("PYRR_TRACE_DIR"):
        return chosen
    data = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(data, "pyrr")


def history() -> str | None:
    """The file of what was typed at prompts; None where it cannot be kept."""
    home = folder()
    with contextlib.suppress(OSError):
        os.makedirs(home, mode=0o700, exist_ok=True)
        return os.path.join(home, ".debug-history")
    return None


def new_trace(program: str) -> str:
    """A path for a new trace, named after the program with the next free number."""
    base = os.path.basename(program) or "program"
    home = folder()
    numbers = [0]
    with contextlib.suppress(OSError):
        for name in os.listdir(home):
            stem, _, number = name.rpartition("-")
            if stem == base and number.isdecimal():
                numbers.append(int(number))
    return os.path.join(home, f"{base}-{max(numbers) + 1}")


def point_latest(trace: str) -> None:
    """Makes `latest` point at a trace, wherever it lies."""
    home = folder()
    with contextlib.suppress(OSError):
        os.makedirs(home, mode=0o700, exist_ok=True)
        temporary = os.path.join(home, f"{LATEST}.{os.getpid()}")
        os.symlink(os.path.abspath(trace), temporary)
        os.replace(temporary, os.path.join(home, LATEST))


def find(name: str | None) -> str:
    """The trace that a user means by a path, a name, or nothing (the latest). Raises PyrrError."""
    named = os.path.join(folder(), name or LATEST)
    if name and os.path.exists(name):
        return name
    if os.path.exists(named):
        return os.path.realpath(named)
    if name is None:
        raise PyrrError("there is no trace yet: make one with 'pyrr record COMMAND'")
    raise PyrrError(f"there is no trace {name!r}, neither as a path nor in {folder()}; 'pyrr ls' lists them")
