"""Threads of ours, which take no signals: these are for the thread that waits for them, or has to be interrupted."""

from __future__ import annotations

import _thread

from .light import signal

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable


def start(work: Callable[..., object], *arguments: object) -> None:
    """Runs `work` in a thread of its own. Raises RuntimeError where none is to be had."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())  # a new thread has the mask of its maker
    try:
        _thread.start_new_thread(work, arguments)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
