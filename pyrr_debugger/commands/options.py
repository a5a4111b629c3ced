"""What several subcommands understand in the same way."""

from __future__ import annotations

import sys

from ..errors import PyrrError

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from rich.table import Table

    from ..trace_reader import TraceReader

_UNWRAPPED = 4096
_MOST_SECONDS = 1e6


def path_for(_: object, __: object, value: str | None) -> str | None:
    """The callback of an option that says where something is to be made: `--output "$NOWHERE"` is a slip."""
    if value == "":
        raise PyrrError("the path to write to is empty: give one, or leave the option out")
    return value


def finite(_: object, __: object, value: float) -> float:
    """The callback of an option with a number of seconds."""
    if not 0 <= value < _MOST_SECONDS:
        raise PyrrError(f"{value:g} seconds are none to wait: give a number below {_MOST_SECONDS:g}")
    return value


def warn_if_cut(trace: TraceReader) -> None:
    """Says on stderr when a recording ended early: what a command shows of it is not all that happened."""
    if trace.end is None:
        message = f"pyrr: {trace.path} is cut: the recording ended early, after {trace.count} events that are whole"
        print(message, file=sys.stderr)


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal, or unwrapped where there is none."""
    from rich.console import Console

    Console(highlight=False, width=None if sys.stdout.isatty() else _UNWRAPPED).print(table)
