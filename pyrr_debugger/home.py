"""Where traces live: `$PYRR_TRACE_DIR`, else `$XDG_DATA_HOME/pyrr`, else `~/.local/share/pyrr`."""

from __future__ import annotations

import os

from .errors import PyrrError
from .light import suppress

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
    with suppress(OSError):
        os.makedirs(home, mode=0o700, exist_ok=True)
        return os.path.join(home, ".debug-history")
    return None


def new_trace(program: str) -> str:
    """A path for a new trace, named after the program with the next free number."""
    base = os.path.basename(program) or "program"
    home = folder()
    numbers = [0]
    with suppress(OSError):
        for name in os.listdir(home):
            stem, _, number = name.rpartition("-")
            if stem == base and number.isdecimal():
                numbers.append(int(number))
    return os.path.join(home, f"{base}-{max(numbers) + 1}")


def traces() -> list[str]:
    """The paths of what may be traces in the folder, the newest last. Raises PyrrError."""
    try:
        with os.scandir(folder()) as entries:
            found = [e for e in entries if not e.name.startswith(".") and not e.is_symlink() and _may_be_trace(e)]
        return [entry.path for entry in sorted(found, key=_recorded)]
    except FileNotFoundError:
        return []
    except OSError as error:
        raise PyrrError(f"{folder()} cannot be read: {error.strerror}") from None


def _recorded(entry: os.DirEntry[str]) -> float:
    """When a trace was begun, or packed: checkpoints are written into its folder later."""
    with suppress(OSError):
        return os.stat(os.path.join(entry.path, "header") if entry.is_dir() else entry.path).st_mtime
    with suppress(OSError):
        return entry.stat().st_mtime
    return 0.0  # it has been removed meanwhile


def _may_be_trace(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir() or entry.name.endswith(".pyrr")


def point_latest(trace: str) -> None:
    """Makes `latest` point at a trace, wherever it lies."""
    home = folder()
    with suppress(OSError):
        os.makedirs(home, mode=0o700, exist_ok=True)
        temporary = os.path.join(home, f"{LATEST}.{os.getpid()}")
        os.symlink(os.path.abspath(trace), temporary)
        os.replace(temporary, os.path.join(home, LATEST))


def forget_latest() -> None:
    """Makes `latest` point at the newest trace of the folder where the one that it pointed at has been removed."""
    latest = os.path.join(folder(), LATEST)
    if os.path.islink(latest) and not os.path.exists(latest):
        if left := traces():
            point_latest(left[-1])
        else:
            os.unlink(latest)


def find(name: str | None) -> str:
    """The trace that a user means by a path, a name, or nothing (the latest). Raises PyrrError."""
    if name == "":
        raise PyrrError("the name of the trace is empty: give a path or a name, or nothing for the latest trace")
    named = os.path.join(folder(), name or LATEST)
    if name and _exists(name):
        return name
    if _exists(named):
        return os.path.realpath(named)
    if name is None:
        if os.path.islink(named):
            raise PyrrError(f"the latest trace, {os.readlink(named)}, is gone; 'pyrr ls' lists others")
        traces()  # says so where the folder cannot be read
        raise PyrrError("there is no trace yet: make one with 'pyrr record COMMAND'")
    raise PyrrError(f"there is no trace {name!r}, neither as a path nor in {folder()}; 'pyrr ls' lists them")


def _exists(path: str) -> bool:
    """Whether there is something. Raises PyrrError where that is not to be known."""
    try:
        os.stat(path)
    except PermissionError as error:
        raise PyrrError(f"{os.path.realpath(path)} cannot be looked at: {error.strerror}") from None
    except OSError:
        return False
    return True
