"""Whether a build of CPython ticks as its version should: it runs calibration.py, once.

What tables.py finds has the form of a dispatch table, and code behind it to which counting does nothing. Whether the
interpreter goes by it, at every loop and call and nowhere else, only that interpreter can show.
"""

from __future__ import annotations

import os
import signal
import subprocess

from .calibration import COURSES

_PROGRAM = os.path.join(os.path.dirname(os.path.abspath(__file__)), "calibration.py")
_SECONDS = 20.0
_FAULTS = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP, signal.SIGABRT}


def ticks_rightly(process: int, file: str, offset: int, words: list[tuple[int, int]]) -> bool | None:
    """Has the executable of a process count known ticks. `words` are places and what they hold, relative to where the
    byte of `file` at `offset` is mapped. None where that cannot be told: the executable is another program that has
    Python in it, or has no ctypes."""
    try:
        name = os.readlink(f"/proc/{process}/exe")
    except OSError:
        return None
    if not os.path.basename(name).startswith("python"):
        return None
    command = [name, "-I", "-S", "-B", _PROGRAM, file, str(offset), *(f"{place}:{target}" for place, target in words)]
    environment = {key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}
    try:
        # Away from the terminal: Ctrl-C is the program's.
        result = subprocess.run(
            command, executable=f"/proc/{process}/exe", env=environment, stdin=subprocess.DEVNULL, timeout=_SECONDS,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, check=False,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    if result.returncode:
        return False if -result.returncode in _FAULTS else None
    return [float(count) for count in result.stdout.split()] == [ticks for _, ticks in COURSES]
