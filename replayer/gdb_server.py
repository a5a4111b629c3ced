"""gdb's remote serial protocol over a replay session (gdb manual, appendix E).

Moves end at events: a step goes to the next event of the thread, continuing to a system call that is caught, or to the
end of the recording; both also in reverse. Nothing can be written, so there are no breakpoints either: gdb takes them
for such as lie in libraries that are not loaded, and passes them by.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from typing import BinaryIO
from xml.sax.saxutils import quoteattr

from ..errors import PyrrError
from ..events import Event, ExecEvent, SyscallEvent
from ..symbols import dynamic_section
from .description import describe_event
from .gdb_registers import description, packed
from .place import modules, program_address
from .session import ReplaySession

_LARGEST_PACKET = 1 << 20
_LARGEST_PART = 1 << 18  # twice as much at most, when it is escaped or in hexadecimal
_FEATURES = (
    f"PacketSize={_LARGEST_PACKET:x};QStartNoAckMode+;ReverseStep+;ReverseContinue+;QCatchSyscalls+;"
    "qXfer:features:read+;qXfer:auxv:read+;qXfer:exec-file:read+;qXfer:libraries-svr4:read+"
)
_ENOENT, _EBADF = 2, 9
_ESCAPED = re.compile(rb"[#$}*]")


class GdbServer:
    """Serves one gdb, until it goes."""

    def __init__(self, session: ReplaySession, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._session = session
        self._in, self._out = incoming, outgoing
        self._acknowledges = True
        self._task = self._present()
        self._caught: frozenset[int] | None = frozenset()
        """Numbers of the system calls at which continuing stops; None is all."""
        self._files: dict[int, bytes] = {}
        self._images: dict[tuple[int, int], dict[str, object]] = {}

    def _present(self) -> int:
        """The task whose event comes next."""
        event, tasks = self._session.next_event(), self._session.tasks
        return event.task if event and event.task in tasks else next(iter(tasks), 0)

    def run(self) -> None:
        """Answers packets until gdb detaches, kills or hangs up."""
        while (packet := self._receive()) is not None:
            if packet[:1] in (b"D", b"k"):
                if packet[:1] == b"D":
                    self._send(b"OK")
                return
            try:
                answer = self._answer(packet)
            except (PyrrError, OSError, ValueError, KeyError, IndexError):
                answer = b"E01"
            self._send(answer)
            if packet == b"QStartNoAckMode":
                self._acknowledges = False

    # Packets

    def _receive(self) -> bytes | None:
        while (byte := self._in.read(1)) != b"$":
            if not byte:
                return None
        data = b""
        while (byte := self._in.read(1)) != b"#":
            if not byte or len(data) > _LARGEST_PACKET:
                return None
            data += byte
        checksum = self._in.read(2)
        if self._acknowledges:
            good = checksum == b"%02x" % (sum(data) & 0xFF)
            self._out.write(b"+" if good else b"-")
            self._out.flush()
            if not good:
                return self._receive()
        return re.sub(rb"\}(.)", lambda match: bytes([match[1][0] ^ 0x20]), data, flags=re.DOTALL)

    def _send(self, data: bytes) -> None:
        data = _ESCAPED.sub(lambda match: b"}" + bytes([match[0][0] ^ 0x20]), data)
        self._out.write(b"$" + data + b"#%02x" % (sum(data) & 0xFF))
        self._out.flush()

    def _answer(self, packet: bytes) -> bytes:
        text = packet.decode("latin-1")
        for prefix, handler in _HANDLERS.items():
            if text.startswith(prefix):
                return handler(self, text[len(prefix) :])
        return b""

    # Looking

    def _supported(self, _: str) -> bytes:
        return _FEATURES.encode()

    def _ok(self, _: str) -> bytes:
        return b"OK"

    def _refuse(self, _: str) -> bytes:
        return b"E01"

    def _why(self, _: str) -> bytes:
        return self._stopped()

    def _stopped(self, how: str = "") -> bytes:
        if self._task not in self._session.tasks:
            return b"T05" + how.encode() if how and self._session.tasks else b"W00"
        return f"T05thread:{self._task:x};{how}".encode()

    def _registers(self, _: str) -> bytes:
        present = self._session.registers(self._task)
        present["rip"] = program_address(self._session, self._task)
        return packed(present, self._session.xstate(self._task)).hex().encode()

    def _memory(self, text: str) -> bytes:
        address, size = (int(part, 16) for part in text.split(","))
        data = self._session.read(self._task, address, min(size, _LARGEST_PART))
        return data.hex().encode() if data or not size else b"E0e"

    def _select(self, text: str) -> bytes:
        task = int(text[1:], 16)
        if text[0] == "g" and task > 0:
            if task not in self._session.tasks:
                return b"E01"
            self._task = task
        return b"OK"

    def _threads(self, _: str) -> bytes:
        session = self._session
        if self._task not in session.tasks:
            return b"l"
        process = session.process_of(self._task)
        tasks = sorted(task for task in session.tasks if session.process_of(task) == process)
        return b"m" + b",".join(b"%x" % task for task in tasks)

    def _no_more_threads(self, _: str) -> bytes:
        return b"l"

    def _current(self, _: str) -> bytes:
        return b"QC%x" % self._task

    def _lives(self, text: str) -> bytes:
        return b"OK" if int(text, 16) in self._session.tasks else b"E01"

    def _attached(self, _: str) -> bytes:
        return b"1"

    # Objects

    def _description(self, text: str) -> bytes:
        annex, _, window = text.rpartition(":")
        return self._window(description(), window) if annex == "target.xml" else b"E00"

    def _auxv(self, text: str) -> bytes:
        return self._window(self._auxiliary_vector(), text.rpartition(":")[2])

    def _executable(self, text: str) -> bytes:
        image = self._image()
        return self._window(os.fsencode(str(image.get("executable", ""))), text.rpartition(":")[2])

    def _libraries(self, text: str) -> bytes:
        """The mapped ELF files but the program itself, by the names that they have in the trace."""
        rows, program = "", str(self._image().get("executable", ""))
        for module in modules(self._session, self._task):
            if module.path != program:
                place = (
                    f'l_addr="{module.load_bias:#x}" l_ld="{module.load_bias + dynamic_section(bytes(module.elf)):#x}"'
                )
                rows += f'<library name={quoteattr(module.path)} lm="{module.start:#x}" lmid="0x0" {place}/>'
        whole = f'<library-list-svr4 version="1.0">{rows}</library-list-svr4>'
        return self._window(whole.encode(), text.rpartition(":")[2])

    def _window(self, content: bytes, window: str) -> bytes:
        start, size = (int(part, 16) for part in window.split(","))
        piece = content[start : start + min(size, _LARGEST_PART)]
        return (b"m" if start + len(piece) < len(content) else b"l") + piece

    def _image(self) -> dict[str, object]:
        """The program image that the task runs: the last one of its process before this position."""
        process = self._session.process_of(self._task)
        position = self._session.position
        if (process, position) not in self._images:
            found: dict[str, object] = {}
            for event in self._session.trace.events(0, position):
                if isinstance(event, ExecEvent) and (event.task == process or not found):
                    found = event.image
            self._images = {(process, position): found}
        return self._images[process, position]

    def _auxiliary_vector(self) -> bytes:
        """From the top of the stack as the kernel laid it out: argc, argv, environment, then the vector."""
        from .. import registers

        image = self._image()
        stack = registers.unpack(image["registers"])["rsp"]  # type: ignore[arg-type]
        regions: list[list[object]] = image["regions"]  # type: ignore[assignment]
        pages = [(a, d) for region in regions for a, d in region[6]]  # type: ignore[attr-defined]
        data = next(d[stack - a :] for a, d in pages if a <= stack < a + len(d))
        words = [int.from_bytes(data[i : i + 8], "little") for i in range(0, len(data) - 7, 8)]
        at = words.index(0, 1 + words[0]) + 1
        start = words.index(0, at) + 1
        end = start
        while words[end]:
            end += 2
        return bytes(data[8 * start : 8 * (end + 2)])

    # Files: those of the trace

    def _open(self, text: str) -> bytes:
        name = os.fsdecode(bytes.fromhex(text.split(",")[0]))
        for part in self._session.mapped.get(self._session.process_of(self._task), []):
            if part.piece.name == name and not part.piece.start:
                self._files[len(self._files) + 3] = self._session.file(part.piece.hash)
                return b"F%x" % (len(self._files) + 2)
        return b"F-1,%x" % _ENOENT

    def _pread(self, text: str) -> bytes:
        descriptor, size, offset = (int(part, 16) for part in text.split(","))
        if descriptor not in self._files:
            return b"F-1,%x" % _EBADF
        data = self._files[descriptor][offset : offset + min(size, _LARGEST_PART)]
        return b"F%x;" % len(data) + data

    def _fstat(self, text: str) -> bytes:
        content = self._files.get(int(text, 16))
        if content is None:
            return b"F-1,%x" % _EBADF
        # struct stat of the protocol: 4 words of 4 bytes and mode before the size, big-endian
        fields = [(0, 4), (0, 4), (0o100444, 4), (1, 4), (0, 4), (0, 4), (0, 4), (len(content), 8), (4096, 8)]
        fields += [(-(-len(content) // 512), 8), (0, 4), (0, 4), (0, 4)]
        data = b"".join(value.to_bytes(size, "big") for value, size in fields)
        return b"F%x;" % len(data) + data

    def _set_filesystem(self, _: str) -> bytes:
        return b"F0"

    def _close(self, text: str) -> bytes:
        return b"F0" if int(text, 16) in self._files else b"F-1,%x" % _EBADF

    # Moving

    def _catch(self, text: str) -> bytes:
        kind, _, numbers = text.partition(";")
        if kind == "0":
            self._caught = frozenset()
        else:
            self._caught = frozenset(int(part, 16) for part in numbers.split(";")) if numbers else None
        return b"OK"

    def _is_caught(self, event: Event) -> bool:
        return isinstance(event, SyscallEvent) and (self._caught is None or event.nr in self._caught)

    def _move(self, condition: Callable[[Event], bool], backward: bool) -> bytes:
        number = self._session.find(condition, backward)
        if number is None:
            # As gdb has it: the ends of the log are stops. Nothing lives at the very ends.
            first, last = self._ends()
            self._session.seek(first if backward else last)
            self._task = self._present()
            return self._stopped(f"replaylog:{'begin' if backward else 'end'};")
        self._session.seek(number)
        self._task = self._present()
        event = self._session.next_event()
        if event is not None and isinstance(event, SyscallEvent) and self._is_caught(event):
            return self._stopped(f"syscall_entry:{event.nr:x};")
        return self._stopped()

    def _ends(self) -> tuple[int, int]:
        trace = self._session.trace
        return min(1, trace.count), max(0, trace.count - 2)

    def _continue(self, _: str) -> bytes:
        return self._move(self._is_caught, backward=False)

    def _continue_back(self, _: str) -> bytes:
        return self._move(self._is_caught, backward=True)

    def _step(self, _: str) -> bytes:
        task = self._task
        return self._move(lambda event: event.task == task, backward=False)

    def _step_back(self, _: str) -> bytes:
        task = self._task
        return self._move(lambda event: event.task == task and event.number > 0, backward=True)

    def _monitor(self, text: str) -> bytes:
        words = shlex.split(bytes.fromhex(text).decode())
        try:
            answer = self._command(words)
        except PyrrError as error:
            answer = str(error)
        return (answer + "\n").encode().hex().encode()

    def _command(self, words: list[str]) -> str:
        if words[:1] == ["seek"] and len(words) == 2:
            self._session.seek(words[1])
            self._task = self._present()
            return self._where() + "\nnow: maintenance flush register-cache"
        if words == ["when"]:
            return self._where()
        return "monitor when: the position. monitor seek POSITION: go there."

    def _where(self) -> str:
        event = self._session.next_event()
        text = describe_event(event) if event else "behind the last event"
        return f"event {self._session.position}, task {self._task}: {text}"


_HANDLERS: dict[str, Callable[[GdbServer, str], bytes]] = {
    "qSupported": GdbServer._supported,
    "QStartNoAckMode": GdbServer._ok,
    "QCatchSyscalls:": GdbServer._catch,
    "qXfer:features:read:": GdbServer._description,
    "qXfer:auxv:read:": GdbServer._auxv,
    "qXfer:exec-file:read:": GdbServer._executable,
    "qXfer:libraries-svr4:read:": GdbServer._libraries,
    "qfThreadInfo": GdbServer._threads,
    "qsThreadInfo": GdbServer._no_more_threads,
    "qAttached": GdbServer._attached,
    "qRcmd,": GdbServer._monitor,
    "qC": GdbServer._current,
    "vFile:setfs:": GdbServer._set_filesystem,
    "vFile:open:": GdbServer._open,
    "vFile:pread:": GdbServer._pread,
    "vFile:fstat:": GdbServer._fstat,
    "vFile:close:": GdbServer._close,
    "?": GdbServer._why,
    "g": GdbServer._registers,
    "G": GdbServer._refuse,
    "P": GdbServer._refuse,
    "m": GdbServer._memory,
    "M": GdbServer._refuse,
    "H": GdbServer._select,
    "T": GdbServer._lives,
    "bc": GdbServer._continue_back,
    "bs": GdbServer._step_back,
    "c": GdbServer._continue,
    "s": GdbServer._step,
}
