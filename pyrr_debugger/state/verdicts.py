"""What going live would do with each component of a state."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


class Outcome(Enum):
    """The four verdicts of `pyrr state`."""

    EXACT = "restored exactly"
    REBUILT = "rebuilt"
    CHOICE = "needs a choice"
    CANNOT = "cannot"


@dataclass(frozen=True, slots=True)
class Verdict:
    """`text` says how, which or why. A component of class `subject` (`file`, `socket.connected`, ...: the classes of
    a policy) has `choices`, the first of which is the default of the policy `reopen`."""

    outcome: Outcome
    text: str
    subject: str = ""
    choices: tuple[str, ...] = ()
