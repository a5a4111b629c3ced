"""The commands of `fcntl`."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Row


def _command(
    number: int,
    name: str,
    argument: str = "",
    *,
    effect: Effect = Effect.NONE,
    blocks: bool = False,
    result: str = "int",
) -> Row:
    args = "fd fd, fcntl_command cmd" + (f", {argument} arg" if argument else "")
    return row(number, name, args, effect=effect, blocks=blocks, result=result, source="fcntl")


COMMANDS: tuple[Row, ...] = (
    _command(0, "F_DUPFD", "fd", effect=Effect.DUP, result="fd"),
    _command(1, "F_GETFD", result="fd_flags"),
    _command(2, "F_SETFD", "fd_flags", effect=Effect.DESCRIPTOR_FLAGS),
    _command(3, "F_GETFL", result="open_flags"),
    _command(4, "F_SETFL", "open_flags", effect=Effect.DESCRIPTOR_FLAGS),
    _command(5, "F_GETLK", "<>flock"),
    _command(6, "F_SETLK", "<flock"),
    _command(7, "F_SETLKW", "<flock", blocks=True),
    _command(8, "F_SETOWN", "pid", effect=Effect.DESCRIPTOR_FLAGS),
    _command(9, "F_GETOWN", result="pid"),
    _command(10, "F_SETSIG", "signal", effect=Effect.DESCRIPTOR_FLAGS),
    _command(11, "F_GETSIG", result="signal"),
    # 12 to 14 (F_GETLK64, ...) are of 32-bit programs; the 64-bit call does not know them.
    _command(15, "F_SETOWN_EX", "<f_owner_ex", effect=Effect.DESCRIPTOR_FLAGS),
    _command(16, "F_GETOWN_EX", ">f_owner_ex"),
    _command(17, "F_GETOWNER_UIDS", ">uid_cell[2]"),
    _command(36, "F_OFD_GETLK", "<>flock"),
    _command(37, "F_OFD_SETLK", "<flock"),
    _command(38, "F_OFD_SETLKW", "<flock", blocks=True),
    _command(1024, "F_SETLEASE", "lock_type"),
    _command(1025, "F_GETLEASE", result="lock_type"),
    _command(1026, "F_NOTIFY", "dnotify_mask", effect=Effect.WATCH),
    _command(1027, "F_DUPFD_QUERY", "fd"),
    _command(1028, "F_CREATED_QUERY"),
    _command(1029, "F_CANCELLK", "<flock"),
    _command(1030, "F_DUPFD_CLOEXEC", "fd", effect=Effect.DUP, result="fd"),
    _command(1031, "F_SETPIPE_SZ", "int", effect=Effect.DESCRIPTOR_FLAGS),
    _command(1032, "F_GETPIPE_SZ"),
    _command(1033, "F_ADD_SEALS", "file_seals", effect=Effect.DESCRIPTOR_FLAGS),
    _command(1034, "F_GET_SEALS", result="file_seals"),
    _command(1035, "F_GET_RW_HINT", ">u64"),
    _command(1036, "F_SET_RW_HINT", "<u64"),
    _command(1037, "F_GET_FILE_RW_HINT", ">u64"),
    _command(1038, "F_SET_FILE_RW_HINT", "<u64"),
    _command(1039, "F_GETDELEG", "<>bytes[8]"),
    _command(1040, "F_SETDELEG", "<bytes[8]"),
)
