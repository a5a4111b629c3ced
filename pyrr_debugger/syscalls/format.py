"""Prints system calls the way strace does, from what the trace holds of them.

`format_call` makes the line, `decode` the same as data. Both look memory up by address in the inputs and
outputs of the event; what is missing there is shown as the bare pointer, and what is cut off ends in "...".
An event may come from a damaged or hostile trace: nothing in it makes these functions fail.
"""

from __future__ import annotations

import errno
import ipaddress
import os
from collections.abc import Callable
from struct import Struct
from struct import error as StructError

from ..events import SyscallEvent
from . import TABLE, lookup, socket_options
from . import name as call_name
from .constants import FLAGS, NUMBERS, RESTARTS, flag_names, flags, numbers
from .spec import Kind, When
from .structures import SIZES

ELEMENTS = 16
"""How many elements of an array are shown."""

_MASK = (1 << 64) - 1
_PATH_LIMIT = 4096
_AT_FDCWD = -100
_NO_DATA = b""


def format_call(event: SyscallEvent, *, width: int = 32) -> str:
    """The call as one line; of buffers and strings (not of paths) at most `width` bytes are shown."""
    call = _Call(event, width)
    return f"{call_name(event.nr)}({', '.join(text for _, text in call.arguments())}) = {call.result()}"


def decode(event: SyscallEvent, *, width: int = 4096) -> dict[str, object]:
    """The call as data: `name`, `args` by name (plain numbers as int, all else as printed), `result` and
    `error`, the name of the error or None."""
    call = _Call(event, width)
    arguments: dict[str, object] = {}
    for position, (name, text) in enumerate(call.arguments()):
        number = call.plain_number(position)
        arguments[name] = text if number is None else number
    return {
        "name": call_name(event.nr),
        "args": arguments,
        "result": event.result,
        "error": _error_name(-event.result) if call.failed else None,
    }


class _Memory:
    """What an event holds of the memory of its task, the more telling chunks first."""

    def __init__(self, *chunks: tuple[int, bytes]) -> None:
        self._chunks = chunks

    def read(self, address: int, size: int) -> bytes:
        """Up to `size` bytes at `address`: fewer, or none, where the event does not have them."""
        data = self._piece(address, size)
        while data and len(data) < size:
            more = self._piece(address + len(data), size - len(data))
            if not more:
                break
            data += more
        return data

    def _piece(self, address: int, size: int) -> bytes:
        for start, data in self._chunks:
            offset = address - start
            if 0 <= offset < len(data):
                return data[offset : offset + max(size, 0)]
        return _NO_DATA


class _Call:
    """One call while it is printed."""

    def __init__(self, event: SyscallEvent, width: int) -> None:
        self.event = event
        self.width = max(width, 0)
        self.args = tuple(argument & _MASK for argument in event.args)
        self.row = lookup(event.nr, self.args)
        self.failed = -4096 < event.result < 0
        self.asked = _Memory(*event.inputs, *event.outputs)
        self.answered = _Memory(*event.outputs, *event.inputs)

    def value(self, position: int) -> int:
        """An argument, unsigned; 0 where a damaged event has none."""
        return self.args[position] if 0 <= position < len(self.args) else 0

    def named(self, name: str) -> int:
        """The argument of that name, 0 if the call has none."""
        for position, (_, other) in enumerate(self.row.args if self.row else ()):
            if other == name:
                return self.value(position)
        return 0

    def arguments(self) -> list[tuple[str, str]]:
        """Names and texts of the arguments that the call looks at."""
        if self.row is None:
            return [(f"arg{position}", f"{value:#x}") for position, value in enumerate(self.args)]
        kinds = self.row.args[: _significant(self)]
        return [(name, self.argument(position, kind)) for position, (kind, name) in enumerate(kinds)]

    def plain_number(self, position: int) -> int | None:
        """The value of an argument whose type is a plain number."""
        if self.row is None:
            return self.value(position)
        kind = self.row.args[position][0]
        return _PLAIN[kind](self.value(position)) if kind in _PLAIN else None

    def argument(self, position: int, declared: str) -> str:
        kind, _, extent = declared.rstrip("]").partition("[")
        value = self.value(position)
        scalar = _scalar(kind, value, self)
        if scalar is not None:
            return scalar
        if value == 0:
            return "NULL"
        read, written = self._directions(position)
        if not read and not written:
            return self.in_file(value) or f"{value:#x}"
        shown = self.answered if written else self.asked
        text = _memory_text(kind, extent, value, shown, self)
        if read and written and kind in _VALUE_RESULT:
            before = _memory_text(kind, extent, value, self.asked, self)
            return text if before == text else f"{before} => {text}"
        return text

    def in_file(self, address: int) -> str:
        """Says where the data at `address` comes from, if it was recorded as part of a file."""
        for start, piece in self.event.pieces:
            if start == address:
                return f"<{piece.length} bytes of {piece.name} at {piece.offset}>"
        return ""

    def _directions(self, position: int) -> tuple[bool, bool]:
        assert self.row is not None
        read = any(transfer.arg == position for transfer in self.row.ins)
        for transfer in self.row.outs:
            applies = transfer.when is When.ALWAYS or (transfer.when is When.ERROR) == self.failed
            if applies and transfer.arg == position and transfer.kind is not Kind.INDIRECT:
                return read, True
        return read, False

    def extent(self, extent: str) -> int:
        """The number of elements that the brackets of a type ask for."""
        if extent.isdigit():
            return int(extent)
        if extent == "result":
            return max(self.event.result, 0)
        if extent.startswith("result/"):
            return min(max(self.event.result, 0), self.named(extent[7:]))
        if extent.startswith("*"):
            width = 8 if extent.startswith("**") else 4
            address = self.named(extent.lstrip("*"))
            before = self.asked.read(address, width) if address else _NO_DATA
            after = self.answered.read(address, width) if address else _NO_DATA
            return min(int.from_bytes(before, "little"), int.from_bytes(after, "little"))
        return _signed(self.named(extent), 64) if extent else 1

    def result(self) -> str:
        """What stands after the equals sign."""
        result = self.event.result
        kind = self.row.result if self.row else "int"
        if self.failed:
            if -result in RESTARTS:
                return f"? {RESTARTS[-result]} (To be restarted)"
            name = _error_name(-result)
            return f"-1 {name} ({os.strerror(-result)})" if name != str(-result) else f"{result}"
        if kind == "none":
            return "?"
        if kind in FLAGS or kind == "open_flags":
            return f"{result:#x} ({_scalar(kind, result & _MASK, self)})"
        if kind in ("int", "long", "fd", "pid", "off", "uid", "gid", "key"):
            return str(result)
        return _scalar(kind, result & _MASK, self) or str(result)


def _significant(call: _Call) -> int:
    """How many arguments count: `open` has a mode only when it may create a file, and so on."""
    assert call.row is not None
    count = len(call.row.args)
    name = call.row.name
    if name in ("open", "openat", "mq_open"):
        # O_CREAT, and the bit of O_TMPFILE which is not O_DIRECTORY.
        flag_value = call.named("oflag" if name == "mq_open" else "flags")
        if not flag_value & (0x40 | 0x400000):
            return 2 if name != "openat" else 3
    elif name == "mremap" and not call.named("flags") & 2:
        return 4
    return count


# Plain values
# ------------------------------------------------------------------------------------------------------


def _signed(value: int, bits: int) -> int:
    value &= (1 << bits) - 1
    return value - (1 << bits) if value >> (bits - 1) else value


def _error_name(number: int) -> str:
    return RESTARTS.get(number) or errno.errorcode.get(number, str(number))


def _signal(number: int) -> str:
    names = numbers("signal")
    if number in names:
        return names[number]
    # The C library keeps the first two real-time signals; strace counts from the kernel's first.
    return f"SIGRT_{number - 32}" if 32 <= number <= 64 else str(number)


def _file_mode(mode: int) -> str:
    kinds = {
        0o140000: "S_IFSOCK",
        0o120000: "S_IFLNK",
        0o100000: "S_IFREG",
        0o060000: "S_IFBLK",
        0o040000: "S_IFDIR",
        0o020000: "S_IFCHR",
        0o010000: "S_IFIFO",
    }
    kind = mode & 0o170000
    parts = [kinds.get(kind, f"0{kind:o}")] if kind else []
    bits = {0o4000: "S_ISUID", 0o2000: "S_ISGID", 0o1000: "S_ISVTX"}
    parts += [name for bit, name in bits.items() if mode & bit]
    return "|".join([*parts, f"0{mode & 0o777:03o}"])


def _device(device: int) -> str:
    """dev_t as the C library makes it, of 12 + 20 bits either way round."""
    major = device >> 8 & 0xFFF | device >> 32 & ~0xFFF
    minor = device & 0xFF | device >> 12 & ~0xFF
    return f"makedev({major:#x}, {minor & 0xFFFFFFFF:#x})"


def _descriptor(value: int) -> str:
    number = _signed(value, 32)
    return "AT_FDCWD" if number == _AT_FDCWD else str(number)


def _open_flags(value: int) -> str:
    value &= 0xFFFFFFFF
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3]
    rest = value & ~3
    return f"{access}|{flag_names(rest, flags('open_flags'))}" if rest else access


def _socket_type(value: int) -> str:
    value &= 0xFFFFFFFF
    name = numbers("socket_kind").get(value & 0xF, str(value & 0xF))
    rest = value & ~0xF
    return f"{name}|{flag_names(rest, flags('socket_flags'))}" if rest else name


def _socket_protocol(value: int, call: _Call) -> str:
    domain = call.named("domain") & 0xFFFFFFFF
    kind = {2: "ip_protocol", 10: "ip_protocol", 16: "netlink_protocol"}.get(domain)
    number = _signed(value, 32)
    return numbers(kind).get(number, str(number)) if kind else str(number)


def _mmap_flags(value: int) -> str:
    # Of huge pages the size stands in the upper bits, as a power of two.
    size = value >> 26 & 0x3F
    text = flag_names(value & ~(0x3F << 26), flags("mmap_flags"))
    return f"{text}|{size}<<MAP_HUGE_SHIFT" if size else text


def _clone_flags(value: int) -> str:
    ending = value & 0x7F
    text = flag_names(value & ~0x7F, flags("clone_flags"))
    if not ending:
        return text
    return _signal(ending) if text == "0" else f"{text}|{_signal(ending)}"


def _futex_op(value: int, call: _Call) -> str:
    number = value & 0x7F
    base = TABLE[202]
    name = call.row.name if call.row and call.row is not base else f"FUTEX_{number:#x}"
    if value & 0x80:
        name += "_PRIVATE" if name != "FUTEX_FD" else "|FUTEX_PRIVATE_FLAG"
    rest = value & 0xFFFFFFFF & ~0xFF
    if rest & 0x100:
        name += "|FUTEX_CLOCK_REALTIME"
    return f"{name}|{rest & ~0x100:#x}" if rest & ~0x100 else name


def _futex_wake_op(value: int) -> str:
    operations = ("SET", "ADD", "OR", "ANDN", "XOR")
    comparisons = ("EQ", "NE", "LT", "LE", "GT", "GE")
    operation, comparison = value >> 28 & 0xF, value >> 24 & 0xF
    shift = "FUTEX_OP_OPARG_SHIFT<<28|" if operation & 8 else ""
    first = operations[operation & 7] if operation & 7 < len(operations) else f"{operation & 7:#x}"
    second = comparisons[comparison] if comparison < len(comparisons) else f"{comparison:#x}"
    operand, compared = value >> 12 & 0xFFF, value & 0xFFF
    return f"{shift}FUTEX_OP_{first}<<28|{operand:#x}<<12|FUTEX_OP_CMP_{second}<<24|{compared:#x}"


def _ioctl_command(value: int, call: _Call) -> str:
    value &= 0xFFFFFFFF
    if call.row is not None and call.row.number == value and call.row is not TABLE.get(call.event.nr):
        return call.row.name
    direction = ("_IOC_NONE", "_IOC_WRITE", "_IOC_READ", "_IOC_READ|_IOC_WRITE")[value >> 30]
    return f"_IOC({direction}, {value >> 8 & 0xFF:#x}, {value & 0xFF:#x}, {value >> 16 & 0x3FFF:#x})"


def _command(value: int, call: _Call) -> str:
    """A selecting argument: the name of the command row that was found."""
    plain = TABLE.get(call.event.nr)
    if call.row is not None and call.row is not plain:
        return call.row.name
    return f"{value & 0xFFFFFFFF:#x}"


def _quota_command(value: int, call: _Call) -> str:
    kind = ("USRQUOTA", "GRPQUOTA", "PRJQUOTA")
    type_ = value & 0xFF
    return f"QCMD({_command(value >> 8 & 0xFFFFFF, call)}, {kind[type_] if type_ < len(kind) else type_})"


def _sockopt_level(value: int) -> str:
    number = _signed(value, 32)
    for name, level in socket_options.LEVELS.items():
        if level == number:
            return name
    return str(number)


def _wait_status(status: int) -> str:
    status &= 0xFFFFFFFF
    if status & 0x7F == 0:
        return f"[{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}]"
    if status == 0xFFFF:
        return "[{WIFCONTINUED(s)}]"
    if status & 0xFF == 0x7F:
        stop = status >> 8 & 0xFF
        event = f" | {status >> 16:#x}<<8" if status >> 16 else ""
        trap = " | 0x80" if stop & 0x80 else ""
        return f"[{{WIFSTOPPED(s) && WSTOPSIG(s) == {_signal(stop & 0x7F)}{trap}{event}}}]"
    core = " && WCOREDUMP(s)" if status & 0x80 else ""
    return f"[{{WIFSIGNALED(s) && WTERMSIG(s) == {_signal(status & 0x7F)}{core}}}]"


def _limit(value: int) -> str:
    if value == _MASK:
        return "RLIM64_INFINITY"
    return f"{value // 1024}*1024" if value and value % 1024 == 0 else str(value)


def _owner(value: int) -> str:
    return "-1" if value & 0xFFFFFFFF == 0xFFFFFFFF else str(value & 0xFFFFFFFF)


def _unsigned32(value: int) -> int:
    return value & 0xFFFFFFFF


def _signed32(value: int) -> int:
    return _signed(value, 32)


def _signed64(value: int) -> int:
    return _signed(value, 64)


_PLAIN: dict[str, Callable[[int], int]] = {
    "int": _signed32,
    "uint": _unsigned32,
    "long": _signed64,
    "ulong": int,
    "size": int,
    "off": _signed64,
    "fd": _signed32,
    "pid": _signed32,
    "id": _signed32,
    "key": _signed32,
    "msec": _signed32,
    "socklen": _unsigned32,
    "ipc_key": _signed32,
}
"""Types that are shown as a number and nothing else."""

_VALUES: dict[str, Callable[[int], str]] = {
    "hex": hex,
    "u64_value": hex,
    "address": lambda value: hex(value) if value else "NULL",
    "mode": lambda value: f"0{value & 0o7777:o}" if value & 0o7777 else "0",
    "file_mode": lambda value: _file_mode(value & 0xFFFF),
    "dev": _device,
    "dirfd": _descriptor,
    "uid": _owner,
    "gid": _owner,
    "signal": lambda value: _signal(_signed32(value)),
    "open_flags": _open_flags,
    "access_mode": lambda value: flag_names(value, flags("access_mode")) if value else "F_OK",
    "mmap_prot": lambda value: flag_names(value, flags("mmap_prot")) if value else "PROT_NONE",
    "mmap_flags": _mmap_flags,
    "clone_flags": _clone_flags,
    "socket_type": _socket_type,
    "sockopt_level": _sockopt_level,
    "futex_wake_op": _futex_wake_op,
    "limit": _limit,
    "shmat_flags": lambda value: flag_names(value & 0xFFFFFFFF, flags("shmat_flags")),
    "ipc_flags": lambda value: _mode_and_flags(value & 0xFFFFFFFF, "ipc_flags"),
}

_COMMANDS: dict[str, Callable[[int, _Call], str]] = {
    "socket_protocol": _socket_protocol,
    "futex_op": _futex_op,
    "ioctl_command": _ioctl_command,
    "quotactl_command": _quota_command,
    "sockopt_name": _command,
    "fcntl_command": _command,
    "prctl_option": _command,
    "arch_prctl_option": _command,
    "ptrace_request": _command,
    "keyctl_operation": _command,
    "shmctl_command": _command,
    "semctl_command": _command,
    "msgctl_command": _command,
    "seccomp_operation": _command,
    "syslog_type": _command,
    "madvise_advice": lambda value, call: _madvise_name(value),
}


def _madvise_name(value: int) -> str:
    # process_madvise has no command rows of its own: both calls take the same advice.
    for row in TABLE[28].commands:
        if row.number == value & 0xFFFFFFFF:
            return row.name
    return str(_signed32(value))


def _mode_and_flags(value: int, kind: str) -> str:
    text = flag_names(value & ~0o777, flags(kind)) if value & ~0o777 else ""
    return "|".join(part for part in (text, f"0{value & 0o777:o}" if value & 0o777 else "") if part) or "0"


_NARROW_FLAGS = 0xFFFFFFFF


def _scalar(kind: str, value: int, call: _Call) -> str | None:
    """An argument that is no pointer to memory the event could hold; None for the types that are."""
    if kind in _PLAIN:
        return str(_PLAIN[kind](value))
    if kind in _VALUES:
        return _VALUES[kind](value)
    if kind in _COMMANDS:
        return _COMMANDS[kind](value, call)
    if kind in FLAGS:
        return flag_names(value if value >> 32 not in (0, _NARROW_FLAGS) else value & _NARROW_FLAGS, flags(kind))
    if kind in NUMBERS:
        number = _signed32(value)
        return numbers(kind).get(number, str(number))
    return None


# Memory
# ------------------------------------------------------------------------------------------------------------


def _quoted(data: bytes, ellipsis: bool) -> str:
    """A C string; what is no printable ASCII as an octal escape, as short as what follows allows."""
    escapes = {0x22: '\\"', 0x5C: "\\\\", 0x0A: "\\n", 0x09: "\\t", 0x0D: "\\r", 0x0B: "\\v", 0x0C: "\\f"}
    parts = []
    for position, byte in enumerate(data):
        if byte in escapes:
            parts.append(escapes[byte])
        elif 0x20 <= byte < 0x7F:
            parts.append(chr(byte))
        else:
            digit_follows = position + 1 < len(data) and 0x30 <= data[position + 1] <= 0x37
            parts.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return f'"{"".join(parts)}"{"..." if ellipsis else ""}'


def _string(address: int, memory: _Memory, limit: int) -> str:
    """The string at `address`, up to its NUL."""
    data = memory.read(address, limit + 1)
    if not data:
        return f"{address:#x}"
    end = data.find(0)
    if end >= 0:
        return _quoted(data[:end], False)
    return _quoted(data[:limit], True)


def _buffer(address: int, size: int, memory: _Memory, call: _Call) -> str:
    """`size` bytes at `address`, as far as they are there."""
    if size <= 0:
        return '""' if size == 0 else f"{address:#x}"
    data = memory.read(address, min(size, call.width))
    if not data and call.width:
        return call.in_file(address) or f"{address:#x}"
    return _quoted(data, len(data) < size)


_U8, _U16, _U32, _U64, _I32, _I64 = (Struct(code) for code in ("<B", "<H", "<I", "<Q", "<i", "<q"))
_CODES = {"u8": _U8, "u16": _U16, "u32": _U32, "u64": _U64, "i16": Struct("<h"), "i32": _I32, "i64": _I64}


def _number(code: Struct, data: bytes, offset: int = 0) -> int | None:
    """The number at `offset`, None beyond the end of the data."""
    try:
        return int(code.unpack_from(data, offset)[0])
    except StructError:
        return None


_LAYOUTS: dict[str, str] = {
    # Members as NAME@OFFSET:NUMBER, with the type of a plain value where it is not shown as a number; "..."
    # for members that are left out.
    "statfs": "f_type@0:i64:hex f_bsize@8:i64 f_blocks@16:u64 f_bfree@24:u64 f_bavail@32:u64 f_files@40:u64 "
    "f_ffree@48:u64 ...",
    "statx": "stx_mask@0:u32:statx_mask stx_mode@28:u16:file_mode stx_size@40:u64 ...",
    "ustat": "f_tfree@0:i32 f_tinode@8:u64",
    "flock": "l_type@0:i16:lock_type l_whence@2:i16:whence l_start@8:i64 l_len@16:i64 l_pid@24:i32",
    "f_owner_ex": "type@0:i32:owner_type pid@4:i32",
    "file_handle": "handle_bytes@0:u32 handle_type@4:i32 ...",
    "cachestat": """
        nr_cache@0:u64 nr_dirty@8:u64 nr_writeback@16:u64 nr_evicted@24:u64 nr_recently_evicted@32:u64
    """,
    "cachestat_range": "off@0:u64 len@8:u64",
    "mnt_id_req": "size@0:u32 mnt_id@8:u64 param@16:u64:hex",
    "timespec": "tv_sec@0:i64 tv_nsec@8:i64",
    "timeval": "tv_sec@0:i64 tv_usec@8:i64",
    "timezone": "tz_minuteswest@0:i32 tz_dsttime@4:i32",
    "tms": "tms_utime@0:i64 tms_stime@8:i64 tms_cutime@16:i64 tms_cstime@24:i64",
    "timex": "modes@0:u32:hex offset@8:i64 freq@16:i64 maxerror@24:i64 esterror@32:i64 status@40:i32:hex ...",
    "utimbuf": "actime@0:i64 modtime@8:i64",
    "rlimit": "rlim_cur@0:u64:limit rlim_max@8:u64:limit",
    "sched_param": "sched_priority@0:i32",
    "sched_attr": "size@0:u32 sched_policy@4:u32:sched_policy sched_flags@8:u64:hex sched_nice@16:i32 "
    "sched_priority@20:u32 ...",
    "sigaltstack": "ss_sp@0:u64:address ss_flags@8:i32:ss_flags ss_size@16:u64",
    "cap_header": "version@0:u32:hex pid@4:i32",
    "cap_data": "effective@0:u32:hex permitted@4:u32:hex inheritable@8:u32:hex ...",
    "clone_args": "flags@0:u64:clone_flags pidfd@8:u64:address child_tid@16:u64:address "
    "parent_tid@24:u64:address "
    "exit_signal@32:u64:signal stack@40:u64:address stack_size@48:u64:hex tls@56:u64:address ...",
    "open_how": "flags@0:u64:open_flags mode@8:u64:mode resolve@16:u64:resolve_flags",
    "user_desc": "entry_number@0:u32 base_addr@4:u32:hex limit@8:u32:hex flags@12:u32:hex",
    "futex_waitv": "val@0:u64 uaddr@8:u64:address flags@16:u32:futex2_flags",
    "sock_fprog": "len@0:u16 filter@8:u64:address",
    "sysinfo": "uptime@0:i64 loads@8:u64 totalram@32:u64 freeram@40:u64 sharedram@48:u64 bufferram@56:u64 "
    "totalswap@64:u64 freeswap@72:u64 procs@80:u16 ... mem_unit@104:u32",
    "perf_event_attr": "type@0:u32 size@4:u32 config@8:u64:hex ...",
    "sembuf": "sem_num@0:u16 sem_op@2:i16 sem_flg@4:u16:ipc_flags",
    "shmid_ds": "... shm_segsz@48:u64 shm_cpid@80:i32 shm_lpid@84:i32 shm_nattch@88:u64",
    "semid_ds": "... sem_otime@48:i64 sem_ctime@64:i64 sem_nsems@80:u64",
    "msqid_ds": "... msg_cbytes@72:u64 msg_qnum@80:u64 msg_qbytes@88:u64 msg_lspid@96:i32 msg_lrpid@100:i32",
    "mq_attr": "mq_flags@0:i64:open_flags mq_maxmsg@8:i64 mq_msgsize@16:i64 mq_curmsgs@24:i64",
    "termios": "c_iflag@0:u32:hex c_oflag@4:u32:hex c_cflag@8:u32:hex c_lflag@12:u32:hex ...",
    "termios2": "c_iflag@0:u32:hex c_oflag@4:u32:hex c_cflag@8:u32:hex c_lflag@12:u32:hex ...",
    "termio": "c_iflag@0:u16:hex c_oflag@2:u16:hex c_cflag@4:u16:hex c_lflag@6:u16:hex ...",
    "winsize": "ws_row@0:u16 ws_col@2:u16 ws_xpixel@4:u16 ws_ypixel@6:u16",
    "vt_stat": "v_active@0:u16 v_signal@2:u16 v_state@4:u16:hex",
    "hd_geometry": "heads@0:u8 sectors@1:u8 cylinders@2:u16 start@8:u64",
    "ifconf": "ifc_len@0:i32 ifc_buf@8:u64:address",
    "linger": "l_onoff@0:i32 l_linger@4:i32",
    "ucred": "pid@0:i32 uid@4:u32:uid gid@8:u32:gid",
    "kexec_segment": "buf@0:u64:address bufsz@8:u64 mem@16:u64:hex memsz@24:u64",
}


def _members(kind: str, data: bytes, call: _Call) -> str:
    """A structure by its layout; cut off where the data ends."""
    parts = []
    for member in _LAYOUTS[kind].split():
        if member == "...":
            parts.append("...")
            continue
        name, _, rest = member.partition("@")
        offset, code, *types = rest.split(":")
        value = _number(_CODES[code], data, int(offset))
        if value is None:
            parts.append("...")
            break
        text = _scalar(types[0], value & _MASK, call) if types else None
        parts.append(f"{name}={value if text is None else text}")
    return "{" + ", ".join(parts) + "}"


def _stat(data: bytes) -> str:
    mode = _number(_U32, data, 24)
    device, size = _number(_U64, data, 40), _number(_I64, data, 48)
    if mode is None:
        return "{...}"
    last = ""
    if mode & 0o170000 in (0o060000, 0o020000):
        last = f", st_rdev={_device(device)}" if device is not None else ""
    elif size is not None:
        last = f", st_size={size}"
    return f"{{st_mode={_file_mode(mode)}{last}, ...}}"


def _sigset(data: bytes) -> str:
    members = [
        _signal(number).removeprefix("SIG")
        for number in range(1, min(len(data), 8) * 8 + 1)
        if data[(number - 1) // 8] >> (number - 1) % 8 & 1
    ]
    # strace shows the complement of a set that has more members than not.
    count = min(len(data), 8) * 8
    if len(members) * 3 > count * 2:
        absent = [
            _signal(number).removeprefix("SIG")
            for number in range(1, count + 1)
            if not data[(number - 1) // 8] >> (number - 1) % 8 & 1
        ]
        return f"~[{' '.join(absent)}]"
    return f"[{' '.join(members)}]"


def _sigaction(data: bytes) -> str:
    handler, mode, restorer = (_number(_U64, data, offset) for offset in (0, 8, 16))
    if handler is None or mode is None:
        return "{...}"
    name = {0: "SIG_DFL", 1: "SIG_IGN", _MASK: "SIG_ERR"}.get(handler, hex(handler))
    text = f"{{sa_handler={name}, sa_mask={_sigset(data[24:32])}, sa_flags={flag_names(mode, flags('sa_flags'))}"
    return f"{text}, sa_restorer={restorer:#x}}}" if mode & 0x4000000 and restorer is not None else text + "}"


_SIGNAL_CODES = {
    0: "SI_USER",
    0x80: "SI_KERNEL",
    -1: "SI_QUEUE",
    -2: "SI_TIMER",
    -3: "SI_MESGQ",
    -6: "SI_TKILL",
}
_CHILD_CODES = {
    1: "CLD_EXITED",
    2: "CLD_KILLED",
    3: "CLD_DUMPED",
    4: "CLD_TRAPPED",
    5: "CLD_STOPPED",
    6: "CLD_CONTINUED",
}


def _siginfo(data: bytes) -> str:
    signal, code = _number(_I32, data, 0), _number(_I32, data, 8)
    if signal is None or code is None:
        return "{...}"
    if signal == 0:
        return "{}"
    names = _CHILD_CODES if signal == 17 and code > 0 else _SIGNAL_CODES
    parts = [f"si_signo={_signal(signal)}", f"si_code={names.get(code, code)}"]
    pid, uid, status = _number(_I32, data, 16), _number(_U32, data, 20), _number(_I32, data, 24)
    if (signal == 17 or code <= 0) and pid is not None and uid is not None:
        parts += [f"si_pid={pid}", f"si_uid={uid}"]
        if signal == 17 and status is not None:
            parts.append(f"si_status={status if code == 1 else _signal(status)}")
    elif (address := _number(_U64, data, 16)) is not None:
        parts.append(f"si_addr={address:#x}")
    return "{" + ", ".join([*parts, "..."]) + "}"


def _sigevent(data: bytes) -> str:
    value, signal, notify, target = (
        _number(code, data, offset) for code, offset in ((_U64, 0), (_I32, 8), (_I32, 12), (_I32, 16))
    )
    if value is None or signal is None or notify is None:
        return "{...}"
    name = numbers("sigev_notify").get(notify, str(notify))
    text = f"{{sigev_value={value:#x}, sigev_signo={_signal(signal)}, sigev_notify={name}"
    return f"{text}, sigev_notify_thread_id={target}}}" if notify == 4 and target is not None else text + "}"


def _pollfd(data: bytes, call: _Call) -> str:
    descriptor, events, answered = (_number(code, data, offset) for code, offset in ((_I32, 0), (_U16, 4), (_U16, 6)))
    if descriptor is None or events is None:
        return "{...}"
    text = f"{{fd={descriptor}, events={flag_names(events, flags('poll_events'))}"
    if answered:
        text += f", revents={flag_names(answered, flags('poll_events'))}"
    return text + "}"


def _epoll_event(data: bytes) -> str:
    events, value = _number(_U32, data, 0), _number(_U64, data, 4)
    if events is None or value is None:
        return "{...}"
    return f"{{events={flag_names(events, flags('epoll_events'))}, data={value:#x}}}"


def _utsname(data: bytes) -> str:
    names = ("sysname", "nodename", "release")
    parts = [
        f"{name}={_quoted(data[position * 65 : position * 65 + 65].split(bytes(1))[0], False)}"
        for position, name in enumerate(names)
    ]
    return "{" + ", ".join([*parts, "..."]) + "}"


def _pair(data: bytes, member: str, unit: str) -> str:
    """itimerval and itimerspec: two times, the interval first."""
    values = [_number(_I64, data, offset) for offset in (0, 8, 16, 24)]
    if None in values:
        return "{...}"
    first = f"{{tv_sec={values[0]}, {unit}={values[1]}}}"
    second = f"{{tv_sec={values[2]}, {unit}={values[3]}}}"
    return f"{{it_interval={first}, {member}={second}}}"


def _rusage(data: bytes) -> str:
    values = [_number(_I64, data, offset) for offset in (0, 8, 16, 24)]
    if None in values:
        return "{...}"
    return (
        f"{{ru_utime={{tv_sec={values[0]}, tv_usec={values[1]}}}, "
        f"ru_stime={{tv_sec={values[2]}, tv_usec={values[3]}}}, ...}}"
    )


def _text(data: bytes) -> str:
    return _quoted(data.split(bytes(1))[0], False)


def _sockaddr(data: bytes) -> str:
    """A socket address, of the length that the call gave."""
    family = _number(_U16, data, 0)
    if family is None:
        return "{}" if not data else "{...}"
    head = f"sa_family={numbers('socket_domain').get(family, str(family))}"
    if family == 1:
        path = data[2:]
        if not path:
            return f"{{{head}}}"
        if path[0] == 0:
            return f"{{{head}, sun_path=@{_quoted(path[1:], False)}}}"
        return f"{{{head}, sun_path={_text(path)}}}"
    if family == 2 and len(data) >= 8:
        port, host = int.from_bytes(data[2:4], "big"), ipaddress.IPv4Address(data[4:8])
        return f'{{{head}, sin_port=htons({port}), sin_addr=inet_addr("{host}")}}'
    if family == 10 and len(data) >= 24:
        port, flow = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big")
        host6, scope = ipaddress.IPv6Address(data[8:24]), int.from_bytes(data[24:28], "little")
        return (
            f"{{{head}, sin6_port=htons({port}), sin6_flowinfo=htonl({flow}), "
            f'inet_pton(AF_INET6, "{host6}"), sin6_scope_id={scope}}}'
        )
    if family == 16 and len(data) >= 12:
        pid, groups = _number(_I32, data, 4), _number(_U32, data, 8)
        return f"{{{head}, nl_pid={pid}, nl_groups={groups:08x}}}"
    if family == 17 and len(data) >= 12:
        protocol, index = int.from_bytes(data[2:4], "big"), _number(_I32, data, 4)
        return f"{{{head}, sll_protocol=htons({protocol:#x}), sll_ifindex={index}, ...}}"
    if family == 40 and len(data) >= 12:
        return f"{{{head}, svm_cid={_number(_U32, data, 8)}, svm_port={_number(_U32, data, 4)}}}"
    return f"{{{head}, sa_data={_quoted(data[2:], False)}}}"


_STRUCTURES: dict[str, Callable[[bytes, _Call], str]] = {
    "stat": lambda data, call: _stat(data),
    "sigaction": lambda data, call: _sigaction(data),
    "siginfo": lambda data, call: _siginfo(data),
    "sigevent": lambda data, call: _sigevent(data),
    "pollfd": _pollfd,
    "epoll_event": lambda data, call: _epoll_event(data),
    "utsname": lambda data, call: _utsname(data),
    "itimerval": lambda data, call: _pair(data, "it_value", "tv_usec"),
    "itimerspec": lambda data, call: _pair(data, "it_value", "tv_nsec"),
    "rusage": lambda data, call: _rusage(data),
    "ifreq": lambda data, call: f"{{ifr_name={_text(data[:16])}, ...}}",
    "iwreq": lambda data, call: f"{{ifr_name={_text(data[:16])}, ...}}",
    "sigset_argpack": lambda data, call: _argument_pack(data, call),
    "iovec_array": lambda data, call: _io_vector(data),
}

_CELLS: dict[str, Struct] = {
    "u8": _U8,
    "u16": _U16,
    "i32": _I32,
    "u32": _U32,
    "i64": _I64,
    "u64": _U64,
    "off_cell": _I64,
    "loff": _I64,
    "pid_cell": _I32,
    "uid_cell": _U32,
    "gid_cell": _U32,
    "pgrp_cell": _I32,
    "time_cell": _I64,
    "pointer": _U64,
}
_VALUE_RESULT = {"i32", "u32", "off_cell", "fd_set", "timespec", "timeval"}
"""What a call changes in place, so that both values are shown."""


def _memory_text(kind: str, extent: str, address: int, memory: _Memory, call: _Call) -> str:
    """What lies behind a pointer."""
    if kind in _CELLS and extent == "":
        value = _number(_CELLS[kind], memory.read(address, SIZES[kind]))
        if value is None:
            return f"{address:#x}"
        return f"[{value:#x}]" if kind == "pointer" else f"[{value}]"
    if kind in ("path", "string"):
        return _string(address, memory, _PATH_LIMIT if kind == "path" else max(call.width, 32))
    if kind in _SPECIAL:
        return _SPECIAL[kind](extent, address, memory, call)
    if extent == "":
        return _element(kind, address, memory, call)
    count = call.extent(extent)
    if count <= 0:
        return "[]" if count == 0 else f"{address:#x}"
    return _array(kind, count, address, memory, call)


def _element(kind: str, address: int, memory: _Memory, call: _Call) -> str:
    """One structure, or the pointer if the event has nothing of it."""
    data = memory.read(address, SIZES[kind])
    if not data:
        return f"{address:#x}"
    if kind in _STRUCTURES:
        return _STRUCTURES[kind](data, call)
    if _LAYOUTS.get(kind):
        return _members(kind, data, call)
    if kind in _CELLS:
        value = _number(_CELLS[kind], data)
        return "..." if value is None else f"{value:#x}" if kind == "pointer" else str(value)
    return _buffer(address, SIZES[kind], memory, call)


def _array(kind: str, count: int, address: int, memory: _Memory, call: _Call) -> str:
    size = SIZES[kind]
    parts = []
    for index in range(min(count, ELEMENTS)):
        if not memory.read(address + index * size, 1):
            if index == 0:
                return f"{address:#x}"
            break
        parts.append(_element(kind, address + index * size, memory, call))
    if len(parts) < count:
        parts.append("...")
    return f"[{', '.join(parts)}]"


def _bytes(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    if extent == "size" and call.row is not None and call.row.name == "openat2":
        return _members("open_how", memory.read(address, 24), call) if memory.read(address, 1) else hex(address)
    return _buffer(address, call.extent(extent) if extent else call.width, memory, call)


def _counted_text(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    """A string whose length the call says, with or without a NUL at its end."""
    size = call.extent(extent)
    if size <= 0:
        return '""' if size == 0 else f"{address:#x}"
    data = memory.read(address, min(size, _PATH_LIMIT))
    if not data:
        return f"{address:#x}"
    text = data.split(bytes(1))[0]
    return _quoted(text, text == data and len(data) < size)


def _names(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    return _buffer(address, call.extent(extent), memory, call)


def _strings(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    """argv and envp: pointers until NULL."""
    if not memory.read(address, 8):
        return f"{address:#x}"
    parts = []
    for index in range(ELEMENTS):
        pointer = _number(_U64, memory.read(address + 8 * index, 8))
        if not pointer:
            # The recorder keeps the pointers up to the NULL, which it leaves out.
            break
        parts.append(_string(pointer, memory, max(call.width, 32)))
    else:
        parts.append("...")
    return f"[{', '.join(parts)}]"


def _socket_address(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    size = call.extent(extent)
    if size <= 0:
        return f"{address:#x}"
    data = memory.read(address, min(size, 128))
    return _sockaddr(data) if data else f"{address:#x}"


def _option(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    """The value of a socket option, of the type which belongs to it."""
    kind = socket_options.value_type(call.row.name) if call.row else "bytes"
    size = call.extent(extent)
    if kind == "sockaddr":
        return _socket_address(extent, address, memory, call)
    if kind == "text":
        data = memory.read(address, min(max(size, 0), 256))
        return _text(data) if data else f"{address:#x}"
    value = _number(_I32, memory.read(address, 4))
    if kind in ("errno", "socket_type", "socket_domain") and size >= 4 and value is not None:
        if kind == "errno":
            return f"[{_error_name(value) if value else 0}]"
        return f"[{_scalar(kind, value & _MASK, call)}]"
    if kind == "in_addr" and size == 4:
        data = memory.read(address, 4)
        return f'inet_addr("{ipaddress.IPv4Address(data)}")' if len(data) == 4 else f"{address:#x}"
    if kind in _CELLS and size == SIZES[kind]:
        return _memory_text(kind, "", address, memory, call)
    if _LAYOUTS.get(kind) and size >= SIZES[kind]:
        return _element(kind, address, memory, call)
    return _buffer(address, size, memory, call)


def _signal_set(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    data = memory.read(address, min(max(call.extent(extent), 0), 8))
    return _sigset(data) if data else f"{address:#x}"


def _argument_pack(data: bytes, call: _Call) -> str:
    address, size = _number(_U64, data, 0), _number(_U64, data, 8)
    if address is None or size is None:
        return "{...}"
    inner = call.asked.read(address, 8)
    mask = _sigset(inner) if inner else hex(address) if address else "NULL"
    return f"{{sigmask={mask}, sigsetsize={size}}}"


def _descriptor_pair(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    data = memory.read(address, 8)
    first, second = _number(_I32, data, 0), _number(_I32, data, 4)
    return f"{address:#x}" if first is None or second is None else f"[{first}, {second}]"


def _fd_set(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    bits = min(max(_signed32(call.named(extent)), 0), 65536)
    data = memory.read(address, (bits + 63) // 64 * 8)
    if not data:
        return f"{address:#x}"
    members = [str(bit) for bit in range(min(bits, len(data) * 8)) if data[bit // 8] >> bit % 8 & 1]
    return f"[{' '.join(members[:64])}{' ...' if len(members) > 64 else ''}]"


def _cpu_set(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    data = memory.read(address, min(max(call.extent(extent), 0), 1024))
    if not data:
        return f"{address:#x}"
    members = [str(bit) for bit in range(len(data) * 8) if data[bit // 8] >> bit % 8 & 1]
    return f"[{' '.join(members[:64])}{' ...' if len(members) > 64 else ''}]"


def _io_vector(data: bytes) -> str:
    base, length = _number(_U64, data, 0), _number(_U64, data, 8)
    return "{...}" if base is None or length is None else f"{{iov_base={base:#x}, iov_len={length}}}"


def _io_vectors(count: int, address: int, memory: _Memory, limit: int, call: _Call) -> str:
    """An array of iovecs with what they hold: in all `limit` bytes, for calls that filled them."""
    parts = []
    for index in range(min(max(count, 0), ELEMENTS)):
        data = memory.read(address + 16 * index, 16)
        base, length = _number(_U64, data, 0), _number(_U64, data, 8)
        if base is None or length is None:
            if index == 0:
                return f"{address:#x}"
            break
        part = min(length, limit)
        limit -= part
        parts.append(f"{{iov_base={_buffer(base, part, memory, call) if base else 'NULL'}, iov_len={length}}}")
    if len(parts) < count:
        parts.append("...")
    return f"[{', '.join(parts)}]"


def _vectors(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    reading = memory is call.answered
    limit = max(call.event.result, 0) if reading else _MASK
    # The structures themselves are inputs; they are found in either memory.
    return _io_vectors(_signed(call.named(extent), 64), address, memory, limit, call)


def _message(address: int, memory: _Memory, limit: int, call: _Call) -> str:
    """A struct msghdr with all it points at."""
    data = memory.read(address, 56)
    name, name_size, vectors, count, control, control_size, mode = (
        _number(code, data, offset)
        for code, offset in ((_U64, 0), (_U32, 8), (_U64, 16), (_U64, 24), (_U64, 32), (_U64, 40), (_U32, 48))
    )
    if (
        name is None
        or name_size is None
        or vectors is None
        or count is None
        or control is None
        or control_size is None
        or mode is None
    ):
        return f"{address:#x}"
    peer = memory.read(name, min(name_size, 128)) if name else _NO_DATA
    parts = [
        f"msg_name={_sockaddr(peer) if peer else hex(name) if name else 'NULL'}",
        f"msg_namelen={name_size}",
        f"msg_iov={_io_vectors(count, vectors, memory, limit, call) if vectors else 'NULL'}",
        f"msg_iovlen={count}",
    ]
    if control and control_size:
        parts.append(f"msg_control={_control(control, control_size, memory, call)}")
    parts += [f"msg_controllen={control_size}", f"msg_flags={flag_names(mode, flags('msg_flags'))}"]
    return "{" + ", ".join(parts) + "}"


def _control(address: int, size: int, memory: _Memory, call: _Call) -> str:
    """Control messages: descriptors and credentials by their values, others as bytes."""
    data = memory.read(address, min(size, 4096))
    if not data:
        return f"{address:#x}"
    parts: list[str] = []
    offset = 0
    while offset + 16 <= len(data) and len(parts) < ELEMENTS:
        length, level, kind = (_number(code, data, offset + at) for code, at in ((_U64, 0), (_I32, 8), (_I32, 12)))
        if length is None or level is None or kind is None or not 16 <= length <= len(data) - offset:
            parts.append("...")
            break
        body = data[offset + 16 : offset + length]
        if level == 1 and kind == 1:
            values = [_number(_I32, body, at) for at in range(0, len(body) - 3, 4)]
            parts.append(f"{{cmsg_type=SCM_RIGHTS, cmsg_data={values}}}")
        elif level == 1 and kind == 2:
            parts.append(f"{{cmsg_type=SCM_CREDENTIALS, cmsg_data={_members('ucred', body, call)}}}")
        else:
            shown = _quoted(body[: call.width], len(body) > call.width)
            parts.append(f"{{cmsg_level={_sockopt_level(level)}, cmsg_type={kind:#x}, cmsg_data={shown}}}")
        offset += (length + 7) & ~7
    return f"[{', '.join(parts)}]"


def _message_header(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    limit = max(call.event.result, 0) if memory is call.answered else _MASK
    return _message(address, memory, limit, call)


def _message_headers(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    receiving = memory is call.answered and call.row is not None and call.row.name == "recvmmsg"
    count = max(call.event.result, 0) if receiving else _unsigned32(call.named(extent))
    parts = []
    for index in range(min(count, ELEMENTS)):
        entry = address + 64 * index
        length = _number(_U32, memory.read(entry + 56, 4))
        if length is None:
            if index == 0:
                return f"{address:#x}"
            break
        header = _message(entry, memory, length if receiving else _MASK, call)
        parts.append(f"{{msg_hdr={header}, msg_len={length}}}")
    if len(parts) < count:
        parts.append("...")
    return f"[{', '.join(parts)}]"


def _entries(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    """Directory entries, only counted: the names stand in `dump --json` elsewhere."""
    size = max(call.event.result, 0)
    data = memory.read(address, min(size, 1 << 20))
    if size and not data:
        return f"{address:#x}"
    count = offset = 0
    while (length := _number(_U16, data, offset + 16)) is not None and length >= 19:
        count += 1
        offset += length
    return f"{address:#x} /* {count} entries */"


def _message_buffer(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    kind = _number(_I64, memory.read(address, 8))
    if kind is None:
        return f"{address:#x}"
    size = max(call.event.result, 0) if memory is call.answered else _signed64(call.named(extent))
    return f"{{{kind}, {_buffer(address + 8, size, memory, call)}}}"


def _status(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    value = _number(_U32, memory.read(address, 4))
    # With WNOHANG and no child ready nothing is written.
    return f"{address:#x}" if value is None or call.event.result == 0 else _wait_status(value)


def _by_request(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    """The argument of an ioctl of which only the size in the request is known."""
    size = call.value(1) >> 16 & 0x3FFF
    if size == 0:
        return f"{address:#x}"
    value = _number(_U32, memory.read(address, 4)) if size == 4 else None
    return f"[{value}]" if value is not None else _buffer(address, size, memory, call)


def _raw(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    return f"{address:#x}"


def _clone_arguments(extent: str, address: int, memory: _Memory, call: _Call) -> str:
    data = memory.read(address, min(max(call.extent(extent), 0), 256))
    return _members("clone_args", data, call) if data else f"{address:#x}"


_SPECIAL: dict[str, Callable[[str, int, _Memory, _Call], str]] = {
    "bytes": _bytes,
    "text": _counted_text,
    "names": _names,
    "strings": _strings,
    "sockaddr": _socket_address,
    "option": _option,
    "sigset": _signal_set,
    "fd_pair": _descriptor_pair,
    "fd_set": _fd_set,
    "cpu_set": _cpu_set,
    "iovec": _vectors,
    "msghdr": _message_header,
    "mmsghdr": _message_headers,
    "dirents": _entries,
    "dirents64": _entries,
    "msgbuf": _message_buffer,
    "wait_status": _status,
    "ioctl": _by_request,
    "changed": _raw,
    "pages": _raw,
    "clone_args": _clone_arguments,
}
