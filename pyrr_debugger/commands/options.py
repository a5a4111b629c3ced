"""What several subcommands understand in the same way."""

from __future__ import annotations

import sys

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from rich.table import Table

    from ..trace_reader import TraceReader

_UNWRAPPED = 4096


def warn_if_cut(trace: TraceReader) -> None:
    """Says on stderr when a recording ended early: what a command shows of it is not all that happened."""
    if trace.end is None:
        message = f"pyrr: {trace.path} is cut: the recording ended early, after {trace.count} events that are whole"
        print(message, file=sys.stderr)


def print_table(table: Table) -> None:
    """Prints a table as wide as the terminal, or unwrapped where there is none."""
    from rich.console import Console

    Console(highlight=False, width=None if sys.stdout.isatty() else _UNWRAPPED).print(table)
