"""The encoded events of a chunk, one by one. docs/trace-format.md specifies them."""

from __future__ import annotations

from .light import NamedTuple
from .trace_format import EventKind
from .wire import unpacker_of

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

_OUTPUTS = 8
"""The index of a call's outputs among its items."""


class Encoded(NamedTuple):
    """An event as it is stored: `wire` are its items, with bytes in the place of references; `start` and `end` are
    where it lies in the chunk. `refers` tells that it cannot be understood without the events before it."""

    wire: Any
    start: int
    end: int
    refers: bool


def encoded(data: bytes | memoryview, begin: int = 0, until: int | None = None) -> Iterator[Encoded]:
    """The events of a chunk, or those that lie from byte `begin` up to `until`. Raises ValueError or an exception of
    msgpack on damage."""
    unpacker = unpacker_of(memoryview(data)[begin:until])
    known: dict[tuple[int, int], bytes] = {}  # what is referred to again and again is one object
    start = begin
    for wire in unpacker:
        refers = False
        if isinstance(wire, list) and len(wire) > _OUTPUTS and wire[0] == EventKind.SYSCALL:
            outputs = wire[_OUTPUTS]
            for at in range(1, len(outputs), 2) if isinstance(outputs, list) else ():
                match outputs[at]:
                    case [int(distance), int(size)]:
                        place = start - distance, size
                        if not 0 <= size <= distance <= start:
                            raise ValueError("a reference to what is not in the chunk")
                        if place not in known:
                            known[place] = bytes(data[place[0] : place[0] + size])
                        outputs[at] = known[place]
                        refers = True
        end = begin + unpacker.tell()
        yield Encoded(wire, start, end, refers)
        start = end
