"""What the clock knows of each version of CPython: which opcodes there are, and which of them tick.

The numbers are fixed within a minor version; `tests/test_clock.py` compares them with the headers of the interpreters
at hand. `ticking` are those that one at least of which every loop, recursion and generator executes again and again:
backward jumps, and entries to frames where they have an opcode, else exits from them. Up to 3.10 a jump has no
direction, and a frame begins with an opcode that is not dispatched through the table.
"""

from __future__ import annotations

from typing import NamedTuple


class Version(NamedTuple):
    """A minor version: the opcodes that it leaves undefined, and those that tick."""

    name: str
    undefined: frozenset[int]
    ticking: dict[str, int]

    @property
    def longest_gap(self) -> tuple[int, int]:
        """The first and the last of the most undefined opcodes in a row."""
        best = first = last = -2
        longest = -1
        for number in sorted(self.undefined):
            if number != last + 1:
                first = number
            last = number
            if last - first > longest:
                longest, best = last - first, first
        return best, best + longest


def _numbers(text: str) -> frozenset[int]:
    found: set[int] = set()
    for part in text.split():
        first, _, last = part.partition("-")
        found.update(range(int(first), int(last or first) + 1))
    return frozenset(found)


_JUMPS = {
    "JUMP_IF_FALSE_OR_POP": 111,
    "JUMP_IF_TRUE_OR_POP": 112,
    "JUMP_ABSOLUTE": 113,
    "POP_JUMP_IF_FALSE": 114,
    "POP_JUMP_IF_TRUE": 115,
}
_LEAVES = {"YIELD_FROM": 72, "RETURN_VALUE": 83, "YIELD_VALUE": 86, "RAISE_VARARGS": 130}

FUNCTIONS = ("PyErr_CheckSignals",)
"""Functions that long loops in C call again and again to look at signals: `re`, conversions of large integers."""

VERSIONS = (
    Version(
        "3.8",
        _numbers("0 7-8 13-14 18 21 30-49 58 74 80 99 117-121 123 127-129 134 139-140 159 164-255"),
        {**_JUMPS, **_LEAVES, "END_FINALLY": 88},
    ),
    Version(
        "3.9",
        _numbers("0 7-8 13-14 18 21 30-47 53 58 80-81 88 99 119-120 123 127-129 134 139-140 149-153 158-159 166-255"),
        {**_JUMPS, **_LEAVES, "RERAISE": 48},
    ),
    Version(
        "3.10",
        _numbers("0 7-8 13-14 18 21 35-48 53 58 80-81 88 120 123 127-128 134 139-140 149-151 153 158-159 166-255"),
        {**_JUMPS, **_LEAVES, "RERAISE": 119, "GEN_START": 129},
    ),
    Version(
        "3.11",
        _numbers("181-254"),
        {
            "COMPARE_OP_FLOAT_JUMP": 27,
            "COMPARE_OP_INT_JUMP": 28,
            "COMPARE_OP_STR_JUMP": 29,
            "JUMP_BACKWARD_QUICK": 38,
            "RETURN_GENERATOR": 75,
            "JUMP_BACKWARD_NO_INTERRUPT": 134,
            "JUMP_BACKWARD": 140,
            "RESUME_QUICK": 150,
            "RESUME": 151,
            "POP_JUMP_BACKWARD_IF_NOT_NONE": 173,
            "POP_JUMP_BACKWARD_IF_NONE": 174,
            "POP_JUMP_BACKWARD_IF_FALSE": 175,
            "POP_JUMP_BACKWARD_IF_TRUE": 176,
        },
    ),
    Version(
        "3.12",
        _numbers("169-170 177-236 255"),
        {
            "RETURN_GENERATOR": 75,
            "JUMP_BACKWARD_NO_INTERRUPT": 134,
            "JUMP_BACKWARD": 140,
            "RESUME": 151,
            "INSTRUMENTED_RESUME": 240,
            "INSTRUMENTED_JUMP_BACKWARD": 246,
        },
    ),
    Version(
        "3.13",
        _numbers("119-148 223-235 255"),
        {
            "RETURN_GENERATOR": 35,
            "ENTER_EXECUTOR": 70,
            "JUMP_BACKWARD": 77,
            "JUMP_BACKWARD_NO_INTERRUPT": 78,
            "RESUME": 149,
            "RESUME_CHECK": 207,
            "INSTRUMENTED_RESUME": 236,
            "INSTRUMENTED_JUMP_BACKWARD": 249,
        },
    ),
    Version(
        "3.14",
        _numbers("121-127 212-233"),
        {
            "RETURN_GENERATOR": 34,
            "JUMP_BACKWARD": 75,
            "JUMP_BACKWARD_NO_INTERRUPT": 76,
            "RESUME": 128,
            "JUMP_BACKWARD_JIT": 175,
            "JUMP_BACKWARD_NO_JIT": 176,
            "RESUME_CHECK": 196,
            "INSTRUMENTED_RESUME": 245,
            "INSTRUMENTED_JUMP_BACKWARD": 253,
            "ENTER_EXECUTOR": 255,
        },
    ),
)
