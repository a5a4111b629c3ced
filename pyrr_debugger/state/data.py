"""A state as data, for JSON: objects that are shared stand in tables of their own, by id."""

from __future__ import annotations

from dataclasses import fields, is_dataclass
from typing import Any

from ..trace_format import FilePiece
from .model import (
    Description,
    Directories,
    Dispositions,
    File,
    Memory,
    Pipe,
    ProgramState,
    Pty,
)

_TABLES: tuple[tuple[type, str], ...] = (
    (Description, "descriptions"),
    (File, "files"),
    (Pipe, "pipes"),
    (Pty, "ptys"),
    (Memory, "memories"),
    (Directories, "directories"),
    (Dispositions, "dispositions"),
)


def as_data(state: ProgramState) -> dict[str, Any]:
    """The whole of a state: maps, lists, numbers and text. A reference to an object of a table is its id; bytes are
    hexadecimal."""
    return _Writer().write(state)


class _Writer:
    def __init__(self) -> None:
        self._tables: dict[str, dict[int, Any]] = {name: {} for _, name in _TABLES}

    def write(self, state: ProgramState) -> dict[str, Any]:
        data = self._members(state)
        return {**data, **self._tables}

    def _members(self, thing: Any) -> dict[str, Any]:
        return {field.name: self._value(getattr(thing, field.name)) for field in fields(thing)}

    def _value(self, value: Any) -> Any:
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, bytes):
            return value.hex()
        if isinstance(value, FilePiece):
            return value._asdict()
        for kind, table in _TABLES:
            if isinstance(value, kind):
                return self._reference(value, self._tables[table])
        if isinstance(value, dict):
            return {self._key(key): self._value(one) for key, one in value.items()}
        if isinstance(value, frozenset):
            return sorted(value)
        if isinstance(value, (list, tuple)):
            return [self._value(one) for one in value]
        assert is_dataclass(value), value
        return self._members(value)

    def _reference(self, value: Any, table: dict[int, Any]) -> int:
        number: int = value.id
        if number not in table:
            table[number] = None  # it may refer to itself
            kind = {"kind": value.kind} if isinstance(value, Description) else {}
            table[number] = {**kind, **self._members(value)}
        return number

    @staticmethod
    def _key(key: Any) -> str:
        return ":".join(map(str, key)) if isinstance(key, tuple) else str(key)
