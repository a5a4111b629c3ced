"""Reading, writing, duplicating, closing and controlling descriptors."""

from __future__ import annotations

from . import fcntls, ioctls
from .notation import row
from .spec import Effect, Row

ROWS: tuple[Row, ...] = (
    row(0, "read", "fd fd, >bytes[result/count] buf, size count", blocks=True, effect=Effect.OFFSET),
    row(1, "write", "fd fd, <bytes[count] buf, size count", blocks=True, effect=Effect.WRITE),
    row(
        17, "pread64", "fd fd, >bytes[result/count] buf, size count, off offset", blocks=True, source="pread"
    ),
    row(
        18,
        "pwrite64",
        "fd fd, <bytes[count] buf, size count, off offset",
        blocks=True,
        effect=Effect.WRITE,
        source="pwrite",
    ),
    row(19, "readv", "fd fd, >iovec[iovcnt] iov, ulong iovcnt", blocks=True, effect=Effect.OFFSET),
    row(20, "writev", "fd fd, <iovec[iovcnt] iov, ulong iovcnt", blocks=True, effect=Effect.WRITE),
    # The offset of the vector calls is split for 32-bit machines; on x86-64 the low half is all of it.
    row(
        295,
        "preadv",
        "fd fd, >iovec[iovcnt] iov, ulong iovcnt, off offset, ulong offset_high",
        blocks=True,
    ),
    row(
        296,
        "pwritev",
        "fd fd, <iovec[iovcnt] iov, ulong iovcnt, off offset, ulong offset_high",
        blocks=True,
        effect=Effect.WRITE,
    ),
    row(
        327,
        "preadv2",
        "fd fd, >iovec[iovcnt] iov, ulong iovcnt, off offset, ulong offset_high, rwf_flags flags",
        blocks=True,
        effect=Effect.OFFSET,
    ),
    row(
        328,
        "pwritev2",
        "fd fd, <iovec[iovcnt] iov, ulong iovcnt, off offset, ulong offset_high, rwf_flags flags",
        blocks=True,
        effect=Effect.WRITE,
    ),
    row(8, "lseek", "fd fd, off offset, whence whence", effect=Effect.OFFSET, result="off"),
    row(3, "close", "fd fd", effect=Effect.CLOSE, blocks=True),
    row(436, "close_range", "fd first, fd last, close_range_flags flags", effect=Effect.CLOSE_RANGE),
    row(32, "dup", "fd oldfd", effect=Effect.DUP, result="fd"),
    row(33, "dup2", "fd oldfd, fd newfd", effect=Effect.DUP_TO, result="fd", source="dup"),
    row(
        292,
        "dup3",
        "fd oldfd, fd newfd, creation_flags flags",
        effect=Effect.DUP_TO,
        result="fd",
        source="dup",
    ),
    row(22, "pipe", ">fd_pair pipefd", effect=Effect.OPEN_PAIR),
    row(293, "pipe2", ">fd_pair pipefd, creation_flags flags", effect=Effect.OPEN_PAIR, source="pipe"),
    row(
        72,
        "fcntl",
        "fd fd, fcntl_command cmd, <>!changed[64] arg",
        selector=1,
        commands=fcntls.COMMANDS,
        blocks=True,
    ),
    row(
        16,
        "ioctl",
        "fd fd, ioctl_command request, <>!ioctl argp",
        selector=1,
        commands=ioctls.COMMANDS,
        blocks=True,
    ),
    row(73, "flock", "fd fd, flock_flags operation", blocks=True),
    # The offsets are read and, when bytes were moved, updated; on error the kernel may have updated them too.
    row(
        40,
        "sendfile",
        "fd out_fd, fd in_fd, <>!off_cell offset, size count",
        blocks=True,
        effect=Effect.WRITE,
        result="long",
    ),
    row(
        275,
        "splice",
        "fd fd_in, <>!off_cell off_in, fd fd_out, <>!off_cell off_out, size len, splice_flags flags",
        blocks=True,
        effect=Effect.WRITE,
        effect_arg=2,
        result="long",
    ),
    row(
        276,
        "tee",
        "fd fd_in, fd fd_out, size len, splice_flags flags",
        blocks=True,
        effect=Effect.WRITE,
        effect_arg=1,
        result="long",
    ),
    # On the reading end of a pipe vmsplice fills the buffers, on the writing end it reads them.
    row(
        278,
        "vmsplice",
        "fd fd, <>iovec[nr_segs] iov, ulong nr_segs, splice_flags flags",
        blocks=True,
        effect=Effect.WRITE,
        result="long",
    ),
    row(
        326,
        "copy_file_range",
        "fd fd_in, <>!off_cell off_in, fd fd_out, <>!off_cell off_out, size len, uint flags",
        blocks=True,
        effect=Effect.WRITE,
        effect_arg=2,
        result="long",
    ),
    row(74, "fsync", "fd fd", blocks=True),
    row(75, "fdatasync", "fd fd", blocks=True, source="fsync"),
    row(306, "syncfs", "fd fd", blocks=True, source="sync"),
    row(277, "sync_file_range", "fd fd, off offset, off nbytes, sync_file_range_flags flags", blocks=True),
    row(76, "truncate", "<path path, off length", effect=Effect.TRUNCATE),
    row(77, "ftruncate", "fd fd, off length", effect=Effect.TRUNCATE, source="truncate"),
    row(
        285,
        "fallocate",
        "fd fd, fallocate_mode mode, off offset, off len",
        effect=Effect.TRUNCATE,
        blocks=True,
    ),
    row(187, "readahead", "fd fd, off offset, size count", blocks=True),
    row(221, "fadvise64", "fd fd, off offset, off len, fadvise_advice advice", source="posix_fadvise"),
    row(451, "cachestat", "fd fd, <cachestat_range cstat_range, >cachestat cstat, uint flags"),
)
