"""Reads the msgpack that traces are made of. `_engine.pack` writes it, so that a recording does without importing
msgpack, which takes longer than the snapshot of a new program.

A path may hold bytes that are not UTF-8, which Python has as surrogates (PEP 383): they are stored as they are.
"""

from __future__ import annotations

import msgpack

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import Any

UnpackException = msgpack.UnpackException
_ERRORS = "surrogateescape"


def unpacked(data: bytes | memoryview) -> Any:
    """Raises ValueError or UnpackException when that is not msgpack."""
    return msgpack.unpackb(data, strict_map_key=False, unicode_errors=_ERRORS)


def unpacker_of(data: bytes | memoryview) -> msgpack.Unpacker:
    """Of values one behind the other, of any size."""
    unpacker = msgpack.Unpacker(strict_map_key=False, max_buffer_size=0, unicode_errors=_ERRORS)
    unpacker.feed(data)
    return unpacker
