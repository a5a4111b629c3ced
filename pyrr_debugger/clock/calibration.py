"""A program whose ticks are known. It runs on the interpreter that it is about, and imports nothing of pyrr:

    PYTHON -I -S calibration.py FILE OFFSET PLACE:TARGET ...

FILE is mapped executable from OFFSET on; the places are those of pack() that are words, relative to there. Has these
words lead to trampolines like the agent's, counts, and prints the ticks of each of COURSES by a turn; nothing where
that cannot be done. check.py starts it and judges.
"""

from __future__ import annotations

import ctypes
import mmap
import struct
import sys

_TURNS = 1000
_WARM = 100
"""Turns behind which all code is specialised."""
_TICK_BYTES = 32


class Clock:
    """The ticking words of this very process: `words` are places and what they hold, relative to `start`."""

    def __init__(self, start: int, words: list[tuple[int, int]]) -> None:
        every = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
        self._region = mmap.mmap(-1, mmap.PAGESIZE + _TICK_BYTES * len(words), prot=every)
        address = ctypes.addressof(ctypes.c_char.from_buffer(self._region))
        self._counter = ctypes.c_int64.from_address(address)
        self._counter.value = self._rest = 1 << 62
        self._words = []
        libc = ctypes.CDLL(None, use_errno=True)
        for index, (place, target) in enumerate(words):
            at = mmap.PAGESIZE + index * _TICK_BYTES
            # As in native/agent/agent.h: sub $1, counter; js stop; jmp *target; stop: int3.
            tick = b"\x48\x83\x2d" + struct.pack("<i", -(at + 8)) + b"\x01\x78\x06\xff\x25\x08\0\0\0" + b"\xcc" * 8
            self._region[at : at + _TICK_BYTES] = tick + struct.pack("<Q", start + target)
            page = ctypes.c_void_p((start + place) & -mmap.PAGESIZE)
            if libc.mprotect(page, ctypes.c_size_t(2 * mmap.PAGESIZE), mmap.PROT_READ | mmap.PROT_WRITE):
                raise OSError(ctypes.get_errno(), "mprotect")
            word = ctypes.c_uint64.from_address(start + place)
            if word.value != start + target:
                raise ValueError("the table is another one")
            self._words.append((word, start + target, address + at))

    def turn(self, on: bool) -> None:
        for word, original, tick in self._words:
            word.value = tick if on else original

    @property
    def ticks(self) -> int:
        return self._rest - self._counter.value


def _nothing() -> None:
    pass


def _loop(turns: int) -> None:
    for _ in range(turns):
        pass


def _calls(turns: int) -> None:
    for _ in range(turns):
        _nothing()


def _generated(turns: int) -> None:
    for _ in _numbers(turns):
        pass


def _numbers(turns: int):  # type: ignore[no-untyped-def]
    for _ in range(turns):
        yield None


COURSES = ((_loop, 1), (_calls, 2), (_generated, 3))
"""And the ticks of one turn, in all versions: a jump back; that and a call; two jumps back and a generator resumed."""


def main() -> None:
    file, offset, words = sys.argv[1], int(sys.argv[2]), [tuple(map(int, word.split(":"))) for word in sys.argv[3:]]
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        rows = [line.rstrip("\n").split(None, 5) for line in maps]
    starts = [int(r[0].split("-")[0], 16) for r in rows if "x" in r[1] and int(r[2], 16) == offset and r[5:] == [file]]
    clock = Clock(starts[0], words)  # type: ignore[arg-type]
    for course, _ in COURSES:
        course(_WARM)
    clock.turn(True)
    counts = []
    for course, _ in COURSES:
        begun = clock.ticks
        course(_TURNS)
        between = clock.ticks
        course(2 * _TURNS)
        counts.append((clock.ticks - between) - (between - begun))
    clock.turn(False)
    print(*(count / _TURNS for count in counts))


if __name__ == "__main__":
    main()
