"""The address space. What shapes it is done again in replay; what only advises the kernel is not."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Kind, Replay, Row, Transfer, When

_MADVISE = "address addr, size length, madvise_advice advice"


def _advice(number: int, name: str, replay: Replay = Replay.EMULATE) -> Row:
    return row(number, name, _MADVISE, replay=replay, source="madvise")


# Only advice that changes what the memory holds, or what a child inherits of it, matters to replay.
_ADVICE: tuple[Row, ...] = (
    _advice(0, "MADV_NORMAL"),
    _advice(1, "MADV_RANDOM"),
    _advice(2, "MADV_SEQUENTIAL"),
    _advice(3, "MADV_WILLNEED"),
    # One that fails amid the range (a locked page, a hole) has emptied what lies before.
    row(
        4,
        "MADV_DONTNEED",
        "address addr, size length, madvise_advice advice",
        outs=(Transfer(0, Kind.ARGUMENT, count=1, when=When.ERROR),),
        replay=Replay.EXECUTE,
        source="madvise",
    ),
    # The kernel may empty the pages at any later time, or never: the handler makes it MADV_DONTNEED.
    _advice(8, "MADV_FREE", Replay.SPECIAL),
    _advice(9, "MADV_REMOVE", Replay.EXECUTE),
    _advice(10, "MADV_DONTFORK", Replay.EXECUTE),
    _advice(11, "MADV_DOFORK", Replay.EXECUTE),
    _advice(12, "MADV_MERGEABLE"),
    _advice(13, "MADV_UNMERGEABLE"),
    _advice(14, "MADV_HUGEPAGE"),
    _advice(15, "MADV_NOHUGEPAGE"),
    _advice(16, "MADV_DONTDUMP"),
    _advice(17, "MADV_DODUMP"),
    _advice(18, "MADV_WIPEONFORK", Replay.EXECUTE),
    _advice(19, "MADV_KEEPONFORK", Replay.EXECUTE),
    _advice(20, "MADV_COLD"),
    _advice(21, "MADV_PAGEOUT"),
    _advice(22, "MADV_POPULATE_READ"),
    _advice(23, "MADV_POPULATE_WRITE"),
    _advice(24, "MADV_DONTNEED_LOCKED", Replay.EXECUTE),
    _advice(25, "MADV_COLLAPSE"),
    _advice(100, "MADV_HWPOISON"),
    _advice(101, "MADV_SOFT_OFFLINE"),
    _advice(102, "MADV_GUARD_INSTALL", Replay.EXECUTE),
    _advice(103, "MADV_GUARD_REMOVE", Replay.EXECUTE),
)

ROWS: tuple[Row, ...] = (
    row(
        9,
        "mmap",
        "address addr, size length, mmap_prot prot, mmap_flags flags, fd fd, off offset",
        replay=Replay.EXECUTE,
        effect=Effect.MAP,
        result="address",
    ),
    row(
        10,
        "mprotect",
        "address addr, size len, mmap_prot prot",
        replay=Replay.EXECUTE,
        effect=Effect.PROTECT,
    ),
    row(
        329,
        "pkey_mprotect",
        "address addr, size len, mmap_prot prot, int pkey",
        replay=Replay.EXECUTE,
        effect=Effect.PROTECT,
        source="mprotect",
    ),
    row(11, "munmap", "address addr, size length", replay=Replay.EXECUTE, effect=Effect.UNMAP, source="mmap"),
    row(
        25,
        "mremap",
        "address old_address, size old_size, size new_size, mremap_flags flags, address new_address",
        replay=Replay.EXECUTE,
        effect=Effect.MAP,
        result="address",
    ),
    row(28, "madvise", _MADVISE, replay=Replay.EXECUTE, selector=2, commands=_ADVICE),
    # A restored process cannot have its kernel brk where the recorded one was.
    row(12, "brk", "address addr", replay=Replay.SPECIAL, effect=Effect.MAP, result="address"),
    # Obsolete, and emulated by the kernel with a mapping of the file, which replay does not have.
    row(
        216,
        "remap_file_pages",
        "address addr, size size, mmap_prot prot, size pgoff, mmap_flags flags",
        replay=Replay.REFUSE,
    ),
    # Not done again: sealed, the mapping could never be taken away when the replayer restores a snapshot.
    # Later calls that fail because of the seal failed in the recording, too, and are fed.
    row(462, "mseal", "address addr, size length, ulong flags"),
    row(26, "msync", "address addr, size length, msync_flags flags", blocks=True),
    row(27, "mincore", "address addr, size length, >pages[length] vec"),
    row(149, "mlock", "address addr, size len"),
    row(325, "mlock2", "address addr, size len, mlock2_flags flags", source="mlock"),
    row(150, "munlock", "address addr, size len", source="mlock"),
    row(151, "mlockall", "mlockall_flags flags", source="mlock"),
    row(152, "munlockall", source="mlock"),
    # pkey_alloc would change a register of the thread (PKRU); programs do without where there are no keys.
    row(330, "pkey_alloc", "uint flags, uint access_rights", replay=Replay.REFUSE),
    row(331, "pkey_free", "int pkey", source="pkey_alloc"),
    # The tracer can neither read nor restore what is in such a file.
    row(447, "memfd_secret", "memfd_secret_flags flags", replay=Replay.REFUSE, result="fd"),
    row(319, "memfd_create", "<string name, memfd_flags flags", effect=Effect.OPEN, result="fd"),
    # Another process would fill the memory at its own time.
    row(323, "userfaultfd", "creation_flags flags", replay=Replay.REFUSE, result="fd"),
    # A shadow stack would refuse the returns out of patched syscall sites.
    row(
        453,
        "map_shadow_stack",
        "address addr, size size, uint flags",
        replay=Replay.REFUSE,
        result="address",
    ),
    row(324, "membarrier", "membarrier_command cmd, uint flags, int cpu_id"),
    row(
        237,
        "mbind",
        "address addr, size len, mempolicy_mode mode, <fd_set[maxnode] nodemask, ulong maxnode, mbind_flags flags",
    ),
    row(238, "set_mempolicy", "mempolicy_mode mode, <fd_set[maxnode] nodemask, ulong maxnode"),
    row(
        239,
        "get_mempolicy",
        ">i32 mode, >fd_set[maxnode] nodemask, ulong maxnode, address addr, get_mempolicy_flags flags",
    ),
    row(450, "set_mempolicy_home_node", "address start, size len, ulong home_node, ulong flags"),
    row(
        256,
        "migrate_pages",
        "pid pid, ulong maxnode, <fd_set[maxnode] old_nodes, <fd_set[maxnode] new_nodes",
    ),
    row(
        279,
        "move_pages",
        "pid pid, ulong count, <pointer[count] pages, <i32[count] nodes, >!i32[count] status, mbind_flags flags",
    ),
    row(440, "process_madvise", "fd pidfd, <iovec[vlen] iov, size vlen, madvise_advice advice, uint flags"),
    row(448, "process_mrelease", "fd pidfd, uint flags"),
)
