"""gdb's remote serial protocol over a replay session (gdb manual, appendix E).

Moves are of single instructions (native.py), forward and in reverse, to breakpoints, watchpoints and system calls that
are caught. The program is shown as it was without the agent. What gdb writes, and functions that it calls, change a
clone (clone.py), which is thrown away when the program moves.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
from collections.abc import Callable
from typing import BinaryIO, Protocol
from xml.sax.saxutils import quoteattr

from ..errors import PyrrError
from ..events import Event, ExecEvent, SyscallEvent
from ..symbols import dynamic_section
from ..trace_format import EventKind
from ..trace_reader import EventFilter
from . import native
from .clone import Clone
from .description import describe_event
from .gdb_registers import changed, description, packed, window
from .place import modules
from .session import ReplaySession
from .traps import MOST, MOST_TRAPS, Place, Trap

_LARGEST_PACKET = 1 << 20
_READ_AT_ONCE = 1 << 16
_LARGEST_PART = 1 << 18  # twice as much at most, when it is escaped or in hexadecimal
_FEATURES = (
    f"PacketSize={_LARGEST_PACKET:x};QStartNoAckMode+;ReverseStep+;ReverseContinue+;QCatchSyscalls+;"
    "swbreak+;hwbreak+;vContSupported+;"
    "qXfer:features:read+;qXfer:auxv:read+;qXfer:exec-file:read+;qXfer:libraries-svr4:read+"
)
_ENOENT, _EBADF = 2, 9
_BREAKPOINTS = {"0": "swbreak", "1": "hwbreak"}
_WATCHPOINTS = {"2": "watch", "3": "rwatch", "4": "awatch"}
_SIGTRAP = 5
_ENDS = EventFilter((EventKind.EXIT, EventKind.LEAVE))
_ESCAPED = re.compile(rb"[#$}*]")


class Readable(Protocol):
    """Where packets come from: io.BufferedReader, io.BytesIO."""

    def read1(self, size: int = ..., /) -> bytes:
        """What is there, or comes next; empty at the end."""
        ...


def _uninterrupted() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


class GdbServer:
    """Serves one gdb, until it goes."""

    def __init__(self, session: ReplaySession, incoming: Readable, outgoing: BinaryIO) -> None:
        self._session = session
        self._in, self._out = incoming, outgoing
        self._interruptible = getattr(incoming, "interruptible", _uninterrupted)
        self._buffer = b""
        self._acknowledges = True
        self._task = self._present()
        self._caught: frozenset[int] | None = frozenset()
        """Numbers of the system calls at which continuing stops; None is all."""
        self._breakpoints: dict[Trap, tuple[str, int]] = {}
        """What has been set, each piece of memory by itself: the kind in a stop reply, and the address gdb knows."""
        self._clone: Clone | None = None
        self._signal = _SIGTRAP
        self._extended = False
        self._saved: dict[int, Place] = {}
        self._files: dict[int, bytes] = {}
        self._images: dict[tuple[int, int], dict[str, object]] = {}

    def _present(self) -> int:
        """The task whose event comes next."""
        event, tasks = self._session.next_event(), self._session.tasks
        return event.task if event and event.task in tasks else next(iter(tasks), 0)

    def run(self) -> None:
        """Answers packets until gdb detaches, kills or hangs up."""
        try:
            self._serve()
        finally:
            self._throw_clone_away()

    def _serve(self) -> None:
        while (packet := self._receive()) is not None:
            if packet == b"D" or packet.startswith(b"D;"):
                self._send(b"OK")
                return
            if packet == b"k":
                if self._extended:
                    continue
                return
            if packet[:1] == b"R":
                self._restart("")
                continue
            moves = packet[:1] in (b"c", b"s", b"b") or packet.startswith((b"vCont;", b"qRcmd"))
            try:
                with self._interruptible() if moves else _uninterrupted():
                    answer = self._answer(packet)
            except (PyrrError, OSError, ValueError, KeyError, IndexError, OverflowError):
                answer = b"E01"
            except KeyboardInterrupt:
                self._task = self._task if self._task in self._session.tasks else self._present()
                answer = self._stopped(signal=2)
            self._send(answer)
            if packet == b"QStartNoAckMode":
                self._acknowledges = False

    # Packets

    def _fill(self) -> bool:
        data = self._in.read1(_READ_AT_ONCE)
        self._buffer += data
        return bool(data)

    def _receive(self) -> bytes | None:
        """The next packet; None where there will be none. What comes between packets (acknowledgements, and the
        interrupt of a move that has ended by then) is dropped."""
        while True:
            start = self._buffer.find(b"$")
            end = self._buffer.find(b"#", start) if start >= 0 else -1
            if end >= 0 and len(self._buffer) >= end + 3:
                break
            if start < 0:
                self._buffer = b""
            if len(self._buffer) > _LARGEST_PACKET or not self._fill():
                return None
        packet, self._buffer = self._buffer[start : end + 3], self._buffer[end + 3 :]
        data = packet[1:-3]
        if self._acknowledges:
            good = packet[-2:] == b"%02x" % (sum(data) & 0xFF)
            # gdb sends it again when nobody has acknowledged it for two seconds, as while we come to our position, and
            # takes a second answer for that to its next packet.
            while data.startswith(b"qSupported") and self._buffer.startswith(packet):
                self._buffer = self._buffer[len(packet) :]
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

    def _why(self, _: str) -> bytes:
        return self._stopped()

    def _stopped(self, how: str = "", signal: int = _SIGTRAP) -> bytes:
        self._signal = signal
        if self._task not in self._session.tasks:
            return f"T{signal:02x}".encode() + how.encode() if how and self._session.tasks else b"W00"
        return f"T{signal:02x}thread:{self._task:x};{how}".encode()

    def _registers(self, _: str) -> bytes:
        return self._present_registers().hex().encode()

    def _present_registers(self) -> bytes:
        if self._clone:
            return packed(self._clone.registers, self._clone.xstate)
        present = self._session.registers(self._task)
        shown = native.address_of(self._session, self._task)
        if shown != present["rip"] and self._session.stop(self._task) == "call":
            present["rcx"] = shown  # as the program's own instruction leaves it
        present["rip"] = shown
        return packed(present, self._session.xstate(self._task))

    def _register(self, text: str) -> bytes:
        start, end = window(int(text, 16))
        return self._present_registers()[start:end].hex().encode()

    def _memory(self, text: str) -> bytes:
        address, size = (int(part, 16) for part in text.split(","))
        if address < 0 or size < 0 or address >= 1 << 64:
            return b"E0e"
        size = min(size, _LARGEST_PART)
        if self._clone:
            data = self._clone.read(address, size)
        else:
            data = native.program_memory(self._session, self._task, address, size)
        return data.hex().encode() if data or not size else b"E0e"

    # Changing: in a clone

    def _made_clone(self) -> Clone:
        if self._clone is None:
            self._clone = Clone(self._session, self._task)
            shown = native.address_of(self._session, self._task)
            self._clone.set_registers({**self._clone.registers, "rip": shown})
        return self._clone

    def _throw_clone_away(self) -> None:
        if self._clone:
            self._clone.close()
            self._clone = None

    def _write_memory(self, text: str) -> bytes:
        where, _, data = text.partition(":")
        address, size = (int(part, 16) for part in where.split(","))
        written = bytes.fromhex(data)
        if len(written) != size:
            return b"E01"
        if size:
            self._made_clone().write(address, written)
        return b"OK"

    def _write_binary(self, text: str) -> bytes:
        where, _, data = text.partition(":")
        address, size = (int(part, 16) for part in where.split(","))
        written = data.encode("latin-1")
        if len(written) != size:
            return b"E01"
        if size:
            self._made_clone().write(address, written)
        return b"OK"

    def _write_registers(self, text: str) -> bytes:
        self._change(bytes.fromhex(text))
        return b"OK"

    def _write_register(self, text: str) -> bytes:
        number, _, data = text.partition("=")
        start, end = window(int(number, 16))
        value, all_ = bytes.fromhex(data), self._present_registers()
        if len(value) != end - start:
            return b"E01"
        self._change(all_[:start] + value + all_[end:])
        return b"OK"

    def _change(self, data: bytes) -> None:
        if len(data) != len(self._present_registers()):
            raise ValueError("registers of another size")
        if data == self._present_registers():
            return
        clone = self._made_clone()
        clone.set_registers(*changed(data, clone.registers, clone.xstate))

    def _runs_clone(self) -> bool:
        """Whether gdb calls a function: it has changed where the program stands."""
        if self._clone is None:
            return False
        now, shown = self._clone.registers, native.address_of(self._session, self._task)
        return now["rip"] != shown or now["rsp"] != self._session.registers(self._task)["rsp"]

    def _run_clone(self) -> bytes:
        assert self._clone
        try:
            signal = self._clone.run_to({trap.address for trap in self._breakpoints if trap.kind == "execute"})
        except PyrrError:
            self._throw_clone_away()
            return self._stopped(signal=6)
        return self._stopped("swbreak:;" if signal == _SIGTRAP else "", signal)

    def _select(self, text: str) -> bytes:
        task = int(text[1:], 16)
        if text[0] == "g" and task != self._task and task in self._session.tasks:
            self._throw_clone_away()
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
            for event in self._session.trace.select(EventFilter((EventKind.EXEC,)), 0, position):
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

    @property
    def _among(self) -> EventFilter:
        """Lets what is caught through."""
        return EventFilter((EventKind.SYSCALL,)) if self._caught is None else EventFilter(calls=tuple(self._caught))

    def _is_caught(self, event: Event) -> bool:
        return isinstance(event, SyscallEvent) and (self._caught is None or event.nr in self._caught)

    def _set_breakpoint(self, text: str) -> bytes:
        pieces, known = self._pieces(text)
        wanted = {**self._breakpoints, **dict.fromkeys(pieces, known)}
        if len(wanted) > MOST_TRAPS - 4 or sum(trap.kind != "execute" for trap in wanted) > MOST - 1:
            return b"E1c"
        self._breakpoints = wanted
        return b"OK"

    def _delete_breakpoint(self, text: str) -> bytes:
        for piece in self._pieces(text)[0]:
            self._breakpoints.pop(piece, None)
        return b"OK"

    def _pieces(self, text: str) -> tuple[list[Trap], tuple[str, int]]:
        """The traps of a breakpoint or watchpoint: debug registers watch 1, 2, 4 or 8 bytes, aligned."""
        type_, address, size = text.split(";")[0].split(",")
        start, length = int(address, 16), int(size, 16)
        if not 0 <= start < 1 << 47:
            raise ValueError(text)
        if type_ in _BREAKPOINTS:
            return [Trap(start, 1, "execute")], (_BREAKPOINTS[type_], start)
        kind, pieces, at, end = "write" if type_ == "2" else "access", [], start, start + min(length, 64)
        while at < end:
            part = next(p for p in (8, 4, 2, 1) if at % p == 0 and at + p <= end)
            pieces.append(Trap(at, part, kind))
            at += part
        return pieces, (_WATCHPOINTS[type_], start)

    def _is_ours(self, _: Trap, task: int) -> bool:
        session = self._session
        return self._task not in session.tasks or session.process_of(task) == session.process_of(self._task)

    def _stopped_at(self, trap: Trap) -> bytes:
        how, address = self._breakpoints[trap]
        return self._stopped(f"{how}:{address:x};" if how in _WATCHPOINTS.values() else f"{how}:;")

    def _move(self, backward: bool) -> bytes:
        """On to a breakpoint, a watchpoint, or a system call that is caught; else to an end of the log, which gdb
        knows as a stop. Nothing lives at the very ends."""
        self._throw_clone_away()
        session, traps = self._session, list(self._breakpoints)
        event = session.next_event()
        caught = session.position if session.midway and not backward and event and self._is_caught(event) else None
        caught = session.find(self._is_caught, backward, self._among) if caught is None else caught
        last = caught if caught is not None else 0 if backward else self._last()
        hit = None
        if traps and backward:
            hit = native.run_back(session, traps, self._is_ours, last)
        elif traps:
            hit = native.run_on(session, traps, self._is_ours, last)
        if hit:
            self._task = session.midway or self._present()
            return self._stopped_at(hit)
        if caught is None:
            if not backward:
                session.seek(last)
            elif not session.hold(min(1, session.trace.count)):  # behind the first exec
                session.seek(min(1, session.trace.count))
            self._task = session.midway or self._present()
            return self._stopped(f"replaylog:{'begin' if backward else 'end'};")
        session.seek(caught)
        self._task = self._present()
        event = session.next_event()
        assert isinstance(event, SyscallEvent)
        return self._stopped(f"syscall_entry:{event.nr:x};")

    def _last(self) -> int:
        """Before the end of the program."""
        trace, session = self._session.trace, self._session
        last = max(0, trace.count - 2)
        if self._task in session.tasks:
            process = session.process_of(self._task)
            tasks = {task for task in session.tasks if session.process_of(task) == process}
            ends = trace.select(_ENDS, session.position, backward=True)
            last = next((event.number for event in ends if event.task in tasks), last)
        return last

    def _continue(self, _: str) -> bytes:
        return self._run_clone() if self._runs_clone() else self._move(backward=False)

    def _continue_back(self, _: str) -> bytes:
        return self._move(backward=True)

    def _step(self, text: str) -> bytes:
        return self._step_in(0, 0)

    def _step_in(self, start: int, end: int) -> bytes:
        """One instruction, and more while it stands in a range."""
        if self._runs_clone():
            return self._stopped(signal=0)
        self._throw_clone_away()
        session, task = self._session, self._task
        places = {trap.address for trap in self._breakpoints if trap.kind == "execute"}
        while True:
            session.check_interrupted()
            before = self._watched()
            if not native.step(session, task):
                session.seek(min(session.position, self._last()))
                self._task = self._present()
                return self._stopped("replaylog:end;")
            if changed := self._changed(before):
                return self._stopped_at(changed)
            address = native.address_of(session, task)
            if not start <= address < end or address in places:
                return self._stopped()

    def _step_back(self, _: str) -> bytes:
        self._throw_clone_away()
        before = self._watched()
        if not native.step_back(self._session, self._task):
            return self._stopped("replaylog:begin;")
        changed = self._changed(before)
        return self._stopped_at(changed) if changed else self._stopped()

    def _watched(self) -> dict[Trap, bytes]:
        written = [trap for trap in self._breakpoints if trap.kind == "write"]
        return {trap: self._session.read(self._task, trap.address, trap.size) for trap in written}

    def _changed(self, before: dict[Trap, bytes]) -> Trap | None:
        now = self._watched() if before else {}
        return next((trap for trap in now if now[trap] != before.get(trap)), None)

    def _continue_by_thread(self, text: str) -> bytes:
        """vCont: the first action; all threads move as they did."""
        if text == "?":
            return b"vCont;c;C;s;S;r"
        action, _, thread = text[1:].split(";")[0].partition(":")
        if thread and int(thread, 16) in self._session.tasks and action[:1] in "sSr":
            self._task = int(thread, 16)
        if action[:1] in ("c", "C"):
            return self._continue("")
        if action[:1] in ("s", "S"):
            return self._step("")
        if action[:1] == "r":
            start, end = (int(part, 16) for part in action[1:].split(","))
            return self._step_in(start, end)
        return b"E01"

    def _extend(self, _: str) -> bytes:
        self._extended = True
        return b"OK"

    def _restart(self, _: str) -> bytes:
        """To where the program begins: the first one of the recording."""
        self._throw_clone_away()
        self._session.seek(min(1, self._session.trace.count))
        self._task = self._present()
        return self._stopped()

    def _monitor(self, text: str) -> bytes:
        words = shlex.split(bytes.fromhex(text).decode())
        try:
            answer = self._command(words)
        except PyrrError as error:
            answer = str(error)
        return (answer + "\n").encode().hex().encode()

    def _command(self, words: list[str]) -> str:
        session = self._session
        if words[:1] in (["seek"], ["restore"]) and len(words) == 2:
            self._throw_clone_away()
            if words[0] == "restore":
                session.go(self._saved[int(words[1])])
            else:
                session.seek(words[1])
            self._task = session.midway or self._present()
            return self._where() + "\nnow: maintenance flush register-cache"
        if words == ["checkpoint"]:
            session.keep()
            self._saved[len(self._saved) + 1] = session.place
            return f"checkpoint {len(self._saved)}: {self._where()}"
        if words == ["when"]:
            return self._where()
        return (
            "monitor when: the position. monitor seek POSITION: go there. "
            "monitor checkpoint: remember this place. monitor restore N: go back to it."
        )

    def _where(self) -> str:
        session = self._session
        if session.midway:
            return (
                f"behind event {session.position - 1}, task {session.midway}: amid its run to event {session.position}"
            )
        event = session.next_event()
        text = describe_event(event) if event else "behind the last event"
        return f"event {session.position}, task {self._task}: {text}"


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
    "vCont": GdbServer._continue_by_thread,
    "vRun": GdbServer._restart,
    "vKill": GdbServer._ok,
    "!": GdbServer._extend,
    "?": GdbServer._why,
    "g": GdbServer._registers,
    "G": GdbServer._write_registers,
    "P": GdbServer._write_register,
    "p": GdbServer._register,
    "m": GdbServer._memory,
    "M": GdbServer._write_memory,
    "X": GdbServer._write_binary,
    "Z": GdbServer._set_breakpoint,
    "z": GdbServer._delete_breakpoint,
    "H": GdbServer._select,
    "T": GdbServer._lives,
    "bc": GdbServer._continue_back,
    "bs": GdbServer._step_back,
    "c": GdbServer._continue,
    "s": GdbServer._step,
}
