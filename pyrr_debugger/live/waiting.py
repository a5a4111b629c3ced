"""Standing by for the shell while a program that has gone live runs: it has our process group and our terminal.

The program does not need us: when we are killed it goes on.
"""

from __future__ import annotations

import os
import signal
import termios
from contextlib import suppress
from typing import Any

_PASSED_ON = (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


class TerminalKept:
    """Puts the settings of our terminal back at its end, and us into its foreground. A context manager."""

    def __init__(self) -> None:
        self._descriptor = next((number for number in range(3) if os.isatty(number)), None)
        self._settings: list[Any] | None = None
        if self._descriptor is not None:
            self._settings = termios.tcgetattr(self._descriptor)

    @property
    def descriptor(self) -> int | None:
        return self._descriptor

    def __enter__(self) -> TerminalKept:
        return self

    def __exit__(self, *_: object) -> None:
        if self._descriptor is not None and self._settings is not None:
            previous = signal.signal(signal.SIGTTOU, signal.SIG_IGN)
            with suppress(OSError):  # it is not our controlling terminal
                os.tcsetpgrp(self._descriptor, os.getpgrp())
            with suppress(termios.error):
                termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._settings)
            signal.signal(signal.SIGTTOU, previous)


def prepare() -> None:
    """The terminal's signals are the program's from now on; others that mean it are passed on by `wait_for`."""
    for number in (signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGCHLD, *_PASSED_ON})


def wait_for(pid: int) -> int:
    """Waits for a child, behind `prepare`: its wait status. When it is stopped from the terminal, so are we."""
    signals = {signal.SIGCHLD, *_PASSED_ON}
    while True:
        found, status = os.waitpid(pid, os.WUNTRACED | os.WNOHANG)
        if found and not os.WIFSTOPPED(status):
            return status
        if found:
            os.kill(os.getpid(), signal.SIGSTOP)
            _send(pid, signal.SIGCONT)
            continue
        received = signal.sigwaitinfo(signals)  # the replay's threads take none of them (threads.py)
        if received.si_signo != signal.SIGCHLD and not _is_of_group(received):
            _send(pid, received.si_signo)


def _is_of_group(received: signal.struct_siginfo) -> bool:
    """Whether the program has got a signal as well: the terminal sends to all of a group, and so may the program."""
    try:
        return received.si_code > 0 or os.getpgid(received.si_pid) == os.getpgrp()
    except ProcessLookupError:
        return False


def _send(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def status_of(status: int) -> int:
    """A wait status as a shell gives it, as `pyrr record` does."""
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code
