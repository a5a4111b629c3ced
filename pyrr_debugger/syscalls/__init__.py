"""What every x86-64 system call reads, writes, blocks on and changes, one file per family.

`TABLE` and `BY_NAME` hold the rows; `lookup` finds the row that describes one call. The families speak the
vocabulary of `spec`, in the notation of `notation`; `generate` makes the C tables out of them, `format`
prints calls by them. Importing this package imports all families (some 40 ms): recording does without.
"""

from __future__ import annotations

from . import (
    asynchronous_io,
    attributes,
    clocks,
    descriptors,
    files,
    identity,
    ipc,
    memory,
    namespaces,
    polling,
    processes,
    scheduling,
    security,
    signals,
    sockets,
    synchronization,
    system,
)
from .spec import Row

__all__ = ["BY_NAME", "FAMILIES", "TABLE", "lookup", "name"]

FAMILIES: dict[str, tuple[Row, ...]] = {
    family.__name__.rpartition(".")[2]: family.ROWS
    for family in (
        asynchronous_io,
        attributes,
        clocks,
        descriptors,
        files,
        identity,
        ipc,
        memory,
        namespaces,
        polling,
        processes,
        scheduling,
        security,
        signals,
        sockets,
        synchronization,
        system,
    )
}
"""The rows by family."""

TABLE: dict[int, Row] = {
    row.number: row for row in sorted((row for rows in FAMILIES.values() for row in rows), key=lambda row: row.number)
}
"""The rows by number, in the order of the numbers."""

BY_NAME: dict[str, Row] = {row.name: row for row in TABLE.values()}
"""The rows by name."""

_COMMANDS: dict[int, dict[int, Row]] = {}


def lookup(nr: int, args: tuple[int, ...]) -> Row | None:
    """The row for a call: its command row where there is one, else its own, None for an unknown number."""
    row = TABLE.get(nr)
    if row is None or row.selector is None:
        return row
    commands = _COMMANDS.get(nr)
    if commands is None:
        # Where two names share a number (EVIOCGREP, ...) the first stands.
        commands = _COMMANDS[nr] = {command.number: command for command in reversed(row.commands)}
    number = row.command(args)
    return row if number is None else commands.get(number, row)


def name(nr: int) -> str:
    """The name of a system call, or `syscall_0x1f4` for a number that is not known."""
    row = TABLE.get(nr)
    return f"syscall_{nr:#x}" if row is None else row.name
