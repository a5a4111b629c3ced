"""What becomes of one open file description."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Decision:
    """A component, and what is made in its place."""

    what: str
    """The component, in words."""
    text: str = ""
    """What differs from what it was; "" if nothing does."""
    subject: str = ""
    """Its class in a policy."""
    refused: bool = False
    make: Callable[[], int] | None = None
    """Makes it in our process: a descriptor. None: it is made in the program's own process."""
    choice: str = ""
    """What was chosen, of a file."""


def dead() -> int:
    """A descriptor whose other side is gone: reading gives the end, writing EPIPE."""
    ours, other = socket.socketpair()
    other.close()
    return ours.detach()
