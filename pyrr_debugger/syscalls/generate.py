"""Writes the C tables of the engine and the agent: `python -m pyrr_debugger.syscalls.generate [OUTPUT]`.

The build runs this before anything is installed, so it stands on the standard library alone. The output
depends on nothing but the rows. Commands that differ from the call they belong to in nothing that C looks at
(most socket options) are left out: the row of the call says the same.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from enum import Enum
from pathlib import Path

from . import TABLE
from .buffering import Buffering, buffering
from .spec import Effect, Kind, Replay, Row, Transfer, When

NARROW = frozenset({"int", "uint", "socklen", "fd", "dirfd", "pid", "uid", "gid", "mode", "signal", "msec", "clockid"})
"""The types of which the kernel looks at the lower 32 bits only."""

_PREAMBLE = """\
/* Made by pyrr_debugger/syscalls/generate.py from the rows beside it. Do not edit.
 *
 * The meaning of kinds, moments, replay classes and effects stands in pyrr_debugger/syscalls/spec.py. */
#ifndef PYRR_SYSCALL_TABLES_H
#define PYRR_SYSCALL_TABLES_H

#include <stdint.h>

"""

_STRUCTURES = """\
/* A piece of memory which the kernel reads or writes; `arg` and `count` are argument numbers (for
 * KIND_INDIRECT `count` is an offset). */
struct transfer {
    uint8_t arg, kind, count, when;
    uint32_t unit;
};

/* A call, or one command of a call. */
struct syscall_row {
    const char *name;
    uint64_t number;
    uint8_t argument_count, replay, effect, effect_arg;
    uint8_t blocks;
    uint8_t selector;      /* the argument that selects a command; 0xff: none */
    uint8_t in_count, out_count;
    uint64_t selector_mask;
    const struct transfer *in, *out;
    const struct syscall_row *commands; /* by rising number */
    uint32_t command_count;
    uint8_t selector_high; /* the argument that gives the upper half of a command's number; 0xff: none */
    uint8_t narrow;        /* bit n: of argument n the kernel looks at the lower 32 bits only */
    uint8_t buffering;     /* when the agent makes the call itself */
};

/* The tables themselves, for the one file that looks rows up. The agent, which every program carries, has neither names
 * nor the commands of calls that it never makes. */
#ifdef PYRR_SYSCALL_ROWS
#ifdef PYRR_AGENT
#define NAME(name) ""
#define TRACER_ONLY(value) 0
#else
#define NAME(name) name
#define TRACER_ONLY(value) value
#endif
#define UNUSED __attribute__((unused))

"""


def render() -> str:
    """The text of the header."""
    parts = [
        _PREAMBLE,
        _enum("syscall_kind", "KIND", Kind),
        _enum("when", "WHEN", When),
        _enum("replay_class", "REPLAY", Replay),
        _enum("effect", "EFFECT", Effect),
        _enum("buffering", "BUFFERING", Buffering),
        _STRUCTURES,
    ]
    kept = {row.number: _distinct_commands(row) for row in TABLE.values()}
    lists = sorted(
        {
            transfers
            for row in TABLE.values()
            for described in (row, *kept[row.number])
            for transfers in (described.ins, described.outs)
            if transfers
        },
        key=lambda transfers: [_key(transfer) for transfer in transfers],
    )
    names = {transfers: f"transfers_{index}" for index, transfers in enumerate(lists)}
    for transfers, name in names.items():
        body = ", ".join(_transfer(transfer) for transfer in transfers)
        parts.append(f"UNUSED static const struct transfer {name}[] = {{{body}}};\n")
    parts.append("\n")
    for row in TABLE.values():
        if kept[row.number]:
            parts.append(f"UNUSED static const struct syscall_row {row.name}_commands[] = {{\n")
            parts += [f"    {{{_row(command, row, names, ())}}},\n" for command in kept[row.number]]
            parts.append("};\n\n")
    parts.append("/* By number; where there is no call the name is NULL. */\n")
    parts.append("static const struct syscall_row syscall_rows[] = {\n")
    parts += [f"    [{row.number}] = {{{_row(row, row, names, kept[row.number])}}},\n" for row in TABLE.values()]
    parts.append("};\n\n")
    parts.append("#define SYSCALL_ROW_COUNT (sizeof syscall_rows / sizeof syscall_rows[0])\n\n#endif\n#endif\n")
    return "".join(parts)


def _enum(name: str, prefix: str, members: Iterable[Enum]) -> str:
    body = "".join(f"    {prefix}_{member.name} = {value},\n" for value, member in enumerate(members))
    return f"enum {name} {{\n{body}}};\n\n"


def _distinct_commands(row: Row) -> tuple[Row, ...]:
    by_number = {command.number: command for command in reversed(row.commands)}
    own = _meaning(row, row)
    return tuple(by_number[number] for number in sorted(by_number) if _meaning(by_number[number], row) != own)


def _meaning(row: Row, call: Row) -> tuple[object, ...]:
    return row.ins, row.outs, row.replay, row.effect, row.effect_arg, row.blocks, buffering(row, call.name)


def _key(transfer: Transfer) -> tuple[int, ...]:
    return transfer.arg, transfer.kind.value, transfer.unit, transfer.count, transfer.when.value


def _transfer(transfer: Transfer) -> str:
    kind, when = f"KIND_{transfer.kind.name}", f"WHEN_{transfer.when.name}"
    return f"{{{transfer.arg}, {kind}, {transfer.count}, {when}, {transfer.unit}}}"


def _row(row: Row, call: Row, names: dict[tuple[Transfer, ...], str], commands: tuple[Row, ...]) -> str:
    selects = row.selector is not None
    buffered = any(buffering(described, call.name) is not Buffering.NEVER for described in (row, *commands))
    table, count = (f"{row.name}_commands", str(len(commands))) if commands else ("0", "0")
    if not buffered:
        table, count = f"TRACER_ONLY({table})", f"TRACER_ONLY({count})"
    narrow = sum(1 << position for position, (kind, _) in enumerate(row.args) if kind in NARROW)
    fields = [
        f'.name = NAME("{row.name}")',
        f".number = {row.number:#x}",
        f".argument_count = {len(row.args)}",
        f".replay = REPLAY_{row.replay.name}",
        f".effect = EFFECT_{row.effect.name}",
        f".effect_arg = {row.effect_arg}",
        f".blocks = {int(row.blocks)}",
        f".selector = {row.selector if selects else 0xFF:#x}",
        f".in_count = {len(row.ins)}",
        f".out_count = {len(row.outs)}",
        f".selector_mask = {row.selector_mask if selects else 0:#x}",
        f".in = {names.get(row.ins, '0')}",
        f".out = {names.get(row.outs, '0')}",
        f".commands = {table}",
        f".command_count = {count}",
        f".selector_high = {row.selector_high if row.selector_high is not None else 0xFF:#x}",
        f".narrow = {narrow:#x}",
        f".buffering = BUFFERING_{buffering(row, call.name).name}",
    ]
    return ", ".join(fields)


def main(arguments: list[str]) -> None:
    """Write the header to the file named, or to standard output. One that is as it should be keeps its date."""
    text = render()
    if not arguments:
        sys.stdout.write(text)
    elif not Path(arguments[0]).exists() or Path(arguments[0]).read_text() != text:
        Path(arguments[0]).write_text(text)


if __name__ == "__main__":
    main(sys.argv[1:])
