"""Lines of the program's source: as `pyrr pack` has kept them, else as they are on this machine."""

from __future__ import annotations

import linecache

from ..errors import TraceError

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from ..trace_reader import TraceReader


def source_lines(trace: TraceReader, path: str) -> list[str]:
    """All lines of a source file; none if there is no such file."""
    if path not in linecache.cache:
        try:
            content = trace.source(path)
        except TraceError:
            content = None
        if content is not None:
            lines = content.decode("utf-8", "replace").splitlines(keepends=True)
            linecache.cache[path] = len(content), None, lines, path
    return linecache.getlines(path)


def source_line(trace: TraceReader, path: str, number: int) -> str:
    """One line, from 1; "" if there is none."""
    lines = source_lines(trace, path)
    return lines[number - 1] if 1 <= number <= len(lines) else ""
