"""What is to stay private, replaced in a trace: every letter and digit of it by an `x`.

Values of environment variables are replaced wherever they stand as they are: in memory that calls read or wrote, in
images, in files. Of chosen files all that was read or mapped is replaced, and their longer words, if the program had
not met them before, everywhere. What a program has made of a value (its hash, an encoding of it) is not found.
"""

from __future__ import annotations

import fnmatch
import os
import re
import sys
from typing import TYPE_CHECKING, Any

from . import registers
from .events import ExecEvent, SyscallEvent
from .state.history import History
from .state.model import MemFd, OpenFile
from .trace_format import EventKind, hash_of

if TYPE_CHECKING:
    from .trace_reader import TraceReader

_READS = (0, 17, 19, 295, 327)
_SHORTEST_VALUE = 6
"""A shorter value is replaced only behind its name: elsewhere it could be anything."""
_SHORTEST_WORD = 8
_MOST_WORDS = 1000  # the longest ones
_WORD = re.compile(rb"[^\s=:,;\"'(){}\[\]<>]{%d,}" % _SHORTEST_WORD)
_VISIBLE = re.compile(rb"[A-Za-z0-9]")
_ELF_MAGIC = b"\x7fELF"
_NOTE = "checksums were left out: the trace is redacted"


class Redaction:
    """Which values are replaced, once `learn` has found them in a trace."""

    def __init__(self, names: tuple[str, ...], files: tuple[str, ...]) -> None:
        """Patterns, as in shells, of names of environment variables and paths of files."""
        self._names = names
        self._files = files
        self._variables: dict[str, set[bytes]] = {}
        self._words: set[bytes] = set()
        self._chosen: set[str] = set()  # hashes of stored files
        self._paths: set[str] = set()
        self._reads: set[int] = set()  # events that read from a chosen file
        self._first = sys.maxsize  # the event that first brought something of a chosen file
        self._renamed: dict[str, str] = {}
        self._pattern: re.Pattern[bytes] | None = None

    @property
    def count(self) -> int:
        """How many variables and files were found."""
        return len(self._variables) + len(self._paths)

    def statement(self) -> dict[str, Any]:
        """What was replaced, for the header of the trace."""
        return {"variables": sorted(self._variables), "files": sorted(self._paths)}

    def names_file(self, path: str) -> bool:
        """Whether a file is one of those to be left out."""
        return any(fnmatch.fnmatch(path, pattern) for pattern in self._files)

    # ---- what is to be replaced ----

    def learn(self, reader: TraceReader) -> None:
        """Finds the values in a trace. Raises TraceError where it is damaged."""
        history = History()
        for event in reader.events():
            if isinstance(event, ExecEvent):
                self._learn_variables(event)
                for region in event.image.get("regions", []):
                    self._learn_file(reader, event.number, str(region[4]), region[5][0] if region[5] else None)
            elif isinstance(event, SyscallEvent):
                for _, piece in event.pieces:
                    self._learn_file(reader, event.number, piece.name, piece.hash)
                if event.nr in _READS and event.result > 0:
                    self._learn_read(history, event)
            history.apply(event)
        self._forget_known(reader)
        secrets = {word: word for word in sorted(self._words, key=len)[-_MOST_WORDS:]}
        for name, values in self._variables.items():
            for value in values:
                secrets[os.fsencode(name) + b"=" + value] = value
                if len(value) >= _SHORTEST_VALUE:
                    secrets[value] = value
        alternatives = sorted(secrets, key=len, reverse=True)
        if alternatives:
            self._secrets = secrets
            self._pattern = re.compile(b"|".join(map(re.escape, alternatives)))

    def _forget_known(self, reader: TraceReader) -> None:
        """A word that the program had before it came to the chosen files is none of theirs alone."""
        if not self._words:
            return
        for event in reader.events(0, self._first):
            memory: list[tuple[int, bytes]] = []
            if isinstance(event, SyscallEvent):
                memory = list(event.outputs)
            elif isinstance(event, ExecEvent):
                memory = [part for region in event.image.get("regions", []) for part in region[6]]
            for _, data in memory:
                self._words.difference_update(_WORD.findall(data))

    def _learn_variables(self, event: ExecEvent) -> None:
        for text in environment_of(event):
            name, equals, value = text.partition(b"=")
            shown = os.fsdecode(name)
            if equals and value and any(fnmatch.fnmatchcase(shown, pattern) for pattern in self._names):
                self._variables.setdefault(shown, set()).add(value)

    def _learn_file(self, reader: TraceReader, number: int, name: str, hash_: str | None) -> None:
        if hash_ is not None and hash_ not in self._chosen and self.names_file(name):
            self._first = min(self._first, number)
            self._chosen.add(hash_)
            self._paths.add(name)
            self._words.update(_WORD.findall(reader.file(hash_)))

    def _learn_read(self, history: History, event: SyscallEvent) -> None:
        call = history.call(event)
        opened = call.description(0) if call else None
        if isinstance(opened, (OpenFile, MemFd)) and self.names_file(opened.file.path):
            self._paths.add(opened.file.path)
            self._reads.add(event.number)
            self._first = min(self._first, event.number)
            for _, data in event.outputs:
                self._words.update(_WORD.findall(data))

    # ---- replacing ----

    def scrub(self, data: bytes) -> bytes:
        """Bytes without the values."""
        if self._pattern is None:
            return data
        return self._pattern.sub(self._mask, data)

    def _mask(self, match: re.Match[bytes]) -> bytes:
        found = match[0]
        value = self._secrets[found]
        return found[: len(found) - len(value)] + _masked(value)

    def value(self, value: Any) -> Any:
        """A value of msgpack without them; names of stored files are those of the new content."""
        if isinstance(value, bytes):
            return self.scrub(value)
        if isinstance(value, str):
            return self._renamed.get(value) or self._text(value)
        if isinstance(value, (list, tuple)):
            return [self.value(one) for one in value]
        if isinstance(value, dict):
            return {key: self.value(one) for key, one in value.items()}
        return value

    def _text(self, text: str) -> str:
        data = text.encode("utf-8", "surrogateescape")
        scrubbed = self.scrub(data)
        return text if scrubbed == data else scrubbed.decode("utf-8", "surrogateescape")

    def file(self, hash_: str, content: bytes) -> bytes | None:
        """The new content of a stored file; None if it stays as it is."""
        if hash_ in self._chosen:
            changed = _masked(content)
        else:
            changed = content if content.startswith(_ELF_MAGIC) else self.scrub(content)
        if changed == content:
            return None
        self._renamed[hash_] = hash_of(changed)
        return changed

    def event(self, number: int, wire: list[Any], sums: dict[str, int]) -> list[Any]:
        """An event, as stored. `sums` are the checksums of the stored files, all of which `file` has seen."""
        if wire[0] == EventKind.CHECKSUM:
            return [int(EventKind.NOTE), wire[1], wire[2], _NOTE]
        if wire[0] == EventKind.END:
            files = [part for name, crc in sums.items() for part in (name, crc)]
            return [*wire[:4], files, *wire[5:]]
        if wire[0] == EventKind.SYSCALL and number in self._reads:
            outputs = [_masked(one) if isinstance(one, bytes) else one for one in wire[8]]
            wire = [*wire[:8], outputs, *wire[9:]]
        changed: list[Any] = self.value(wire)
        return changed


def _masked(data: bytes) -> bytes:
    """Letters and digits as `x`: what separates words stays, so that a program that takes them apart goes on."""
    return _VISIBLE.sub(b"x", data)


def environment_of(event: ExecEvent) -> list[bytes]:
    """The environment of a program image, `NAME=value` each; [] where the image does not have it."""
    image = event.image
    try:
        stack = registers.unpack(image["registers"])["rsp"]
        start, data = next((a, d) for r in image["regions"] for a, d in r[6] if a <= stack < a + len(d))
        words = memoryview(data[stack - start :][: (len(data) - (stack - start)) // 8 * 8]).cast("Q")
        at = 1 + words[0] + 1  # argc, argv and its NULL
        found: list[bytes] = []
        while words[at]:
            offset = words[at] - start
            found.append(data[offset : data.index(b"\0", offset)])
            at += 1
        return found
    except (KeyError, IndexError, ValueError, TypeError, StopIteration):
        return []
