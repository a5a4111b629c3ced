"""Jumps back in bytecode: where a line is come to again in a loop.

The numbers of instructions are fixed within a minor version (opcode.py); code in memory also has those that an
instruction is specialised to (pycore_opcode.h). What lies in inline caches is taken for instructions too, so that of
the jumps found some may be none: who stops at one must look.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class _Form:
    """How one minor version jumps back."""

    absolute: frozenset[int]
    """To the byte or code unit of the argument."""
    relative: frozenset[int]
    """By as many code units as the argument says, counted from the next instruction."""
    cached: frozenset[int]
    """Those of `relative` that have an inline cache of one unit."""
    extended: frozenset[int]
    unit: int
    """Bytes by which arguments count."""


_ABSOLUTE = frozenset({111, 112, 113, 114, 115, 121})
_NONE: frozenset[int] = frozenset()
_FORMS = {
    (3, 8): _Form(_ABSOLUTE - {121}, _NONE, _NONE, frozenset({144}), 1),
    (3, 9): _Form(_ABSOLUTE, _NONE, _NONE, frozenset({144}), 1),
    (3, 10): _Form(_ABSOLUTE, _NONE, _NONE, frozenset({144}), 2),
    (3, 11): _Form(_NONE, frozenset({38, 134, 140, 173, 174, 175, 176}), _NONE, frozenset({34, 144}), 2),
    (3, 12): _Form(_NONE, frozenset({134, 140, 246}), _NONE, frozenset({144}), 2),
    (3, 13): _Form(_NONE, frozenset({77, 78, 249}), frozenset({77, 249}), frozenset({71}), 2),
    (3, 14): _Form(_NONE, frozenset({75, 76, 175, 176, 253}), frozenset({75, 175, 176, 253}), frozenset({69}), 2),
}


def backward_jumps(version: tuple[int, int], words: bytes) -> dict[int, int]:
    """Where jumps lead back to, by byte offset, each with the offset of one such jump."""
    form = _FORMS.get(version)
    found: dict[int, int] = {}
    argument = 0
    for offset in range(0, len(words) - 1, 2) if form else ():
        opcode, argument = words[offset], argument << 8 | words[offset + 1]
        assert form is not None
        if opcode in form.extended:
            continue
        target = len(words)
        if opcode in form.absolute:
            target = argument * form.unit
        elif opcode in form.relative:
            target = offset + 2 + 2 * (opcode in form.cached) - 2 * argument
        if 0 <= target <= offset:
            found[target] = offset
        argument = 0
    return found
