"""The machine and its kernel: facts about it, its administration, and calls that were never made or are
gone."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Replay, Row

_SYSLOG = "syslog_type type, {} bufp, int len"
_SYSLOG_COMMANDS: tuple[Row, ...] = (
    row(0, "SYSLOG_ACTION_CLOSE", _SYSLOG.format("address"), source="syslog"),
    row(1, "SYSLOG_ACTION_OPEN", _SYSLOG.format("address"), source="syslog"),
    row(2, "SYSLOG_ACTION_READ", _SYSLOG.format(">text[result/len]"), blocks=True, source="syslog"),
    row(3, "SYSLOG_ACTION_READ_ALL", _SYSLOG.format(">text[result/len]"), source="syslog"),
    row(4, "SYSLOG_ACTION_READ_CLEAR", _SYSLOG.format(">text[result/len]"), source="syslog"),
    row(5, "SYSLOG_ACTION_CLEAR", _SYSLOG.format("address"), source="syslog"),
    row(6, "SYSLOG_ACTION_CONSOLE_OFF", _SYSLOG.format("address"), source="syslog"),
    row(7, "SYSLOG_ACTION_CONSOLE_ON", _SYSLOG.format("address"), source="syslog"),
    row(8, "SYSLOG_ACTION_CONSOLE_LEVEL", _SYSLOG.format("address"), source="syslog"),
    row(9, "SYSLOG_ACTION_SIZE_UNREAD", _SYSLOG.format("address"), source="syslog"),
    row(10, "SYSLOG_ACTION_SIZE_BUFFER", _SYSLOG.format("address"), source="syslog"),
)

_SYSFS_COMMANDS: tuple[Row, ...] = (
    row(1, "sysfs_index", "int option, <string fsname", source="sysfs"),
    # The name of a file system, however long that is; none comes near 256 bytes.
    row(2, "sysfs_name", "int option, uint fs_index, >changed[256] buf", source="sysfs"),
    row(3, "sysfs_count", "int option", source="sysfs"),
)

_QUOTA = "quotactl_command op, <path special, id id"
_QUOTA_COMMANDS: dict[str, tuple[int, str]] = {
    "Q_SYNC": (0x800001, "address addr"),
    "Q_QUOTAON": (0x800002, "<path addr"),
    "Q_QUOTAOFF": (0x800003, "address addr"),
    "Q_GETFMT": (0x800004, ">u32 addr"),
    "Q_GETINFO": (0x800005, ">dqinfo addr"),
    "Q_SETINFO": (0x800006, "<dqinfo addr"),
    "Q_GETQUOTA": (0x800007, ">dqblk addr"),
    "Q_SETQUOTA": (0x800008, "<dqblk addr"),
    "Q_GETNEXTQUOTA": (0x800009, ">nextdqblk addr"),
    "Q_XQUOTAON": (0x5801, "<u32 addr"),
    "Q_XQUOTAOFF": (0x5802, "<u32 addr"),
    "Q_XGETQUOTA": (0x5803, ">fs_disk_quota addr"),
    "Q_XSETQLIM": (0x5804, "<fs_disk_quota addr"),
    "Q_XGETQSTAT": (0x5805, ">fs_quota_stat addr"),
    "Q_XQUOTARM": (0x5806, "<u32 addr"),
    "Q_XQUOTASYNC": (0x5807, "address addr"),
    "Q_XGETQSTATV": (0x5808, "<>fs_quota_statv addr"),
    "Q_XGETNEXTQUOTA": (0x5809, ">fs_disk_quota addr"),
}


def _quota(head: str, source: str) -> tuple[Row, ...]:
    # The command is shifted over the type of quota, a byte; kept to 32 bits, as the kernel's own are.
    return tuple(
        row(number << 8 & 0xFFFFFFFF, name, f"{head}, {argument}", source=source)
        for name, (number, argument) in _QUOTA_COMMANDS.items()
    )


_QUOTA_FD = "fd fd, quotactl_command op, id id"

ROWS: tuple[Row, ...] = (
    row(63, "uname", ">utsname buf"),
    row(99, "sysinfo", ">sysinfo info"),
    row(170, "sethostname", "<text[len] name, int len"),
    row(171, "setdomainname", "<text[len] name, int len"),
    row(318, "getrandom", ">bytes[result/buflen] buf, size buflen, getrandom_flags flags", blocks=True),
    row(
        103,
        "syslog",
        _SYSLOG.format(">!changed[65536]"),
        selector=0,
        commands=_SYSLOG_COMMANDS,
        blocks=True,
    ),
    row(139, "sysfs", "int option, hex arg1, hex arg2", selector=0, commands=_SYSFS_COMMANDS),
    row(163, "acct", "<path filename"),
    row(153, "vhangup"),
    row(167, "swapon", "<path path, swap_flags swapflags"),
    row(168, "swapoff", "<path path", source="swapon"),
    row(169, "reboot", "hex magic, hex magic2, hex op, <string arg"),
    row(172, "iopl", "int level"),
    row(173, "ioperm", "ulong from, ulong num, int turn_on"),
    row(
        154,
        "modify_ldt",
        "int func, >!bytes[result/bytecount] ptr, ulong bytecount",
        selector=0,
        commands=(
            row(
                0,
                "modify_ldt_read",
                "int func, >bytes[result/bytecount] ptr, ulong bytecount",
                source="modify_ldt",
            ),
            row(
                2,
                "modify_ldt_default",
                "int func, >bytes[result/bytecount] ptr, ulong bytecount",
                source="modify_ldt",
            ),
            # A descriptor table of its own is state that no snapshot holds.
            row(
                1,
                "modify_ldt_write_old",
                "int func, <bytes[bytecount] ptr, ulong bytecount",
                replay=Replay.REFUSE,
                source="modify_ldt",
            ),
            row(
                0x11,
                "modify_ldt_write",
                "int func, <bytes[bytecount] ptr, ulong bytecount",
                replay=Replay.REFUSE,
                source="modify_ldt",
            ),
        ),
    ),
    row(175, "init_module", "<bytes[len] module_image, size len, <string param_values"),
    row(313, "finit_module", "fd fd, <string param_values, module_flags flags", source="init_module"),
    row(176, "delete_module", "<string name, creation_flags flags"),
    row(246, "kexec_load", "hex entry, ulong nr_segments, <kexec_segment[nr_segments] segments, hex flags"),
    row(
        320,
        "kexec_file_load",
        "fd kernel_fd, fd initrd_fd, size cmdline_len, <text[cmdline_len] cmdline, hex flags",
        source="kexec_load",
    ),
    row(
        179,
        "quotactl",
        f"{_QUOTA}, <>!changed[256] addr",
        selector=0,
        selector_mask=0xFFFFFF00,
        commands=_quota(_QUOTA, "quotactl"),
    ),
    row(
        443,
        "quotactl_fd",
        f"{_QUOTA_FD}, <>!changed[256] addr",
        selector=1,
        selector_mask=0xFFFFFF00,
        commands=_quota(_QUOTA_FD, "quotactl"),
        source="quotactl",
    ),
    row(
        298,
        "perf_event_open",
        # The size which the kernel would have liked is written when it does not know this one (E2BIG).
        "<>?perf_event_attr attr, pid pid, int cpu, fd group_fd, perf_flags flags",
        effect=Effect.OPEN,
        result="fd",
    ),
    # Its attributes point at further memory which the kernel writes, sized by objects in the kernel.
    row(321, "bpf", "int cmd, <bytes[size] attr, uint size", replay=Replay.REFUSE),
    # Entered only from code which the kernel itself put there; what they do is to change the registers.
    row(335, "uretprobe", replay=Replay.SPECIAL),
    row(336, "uprobe", replay=Replay.SPECIAL),
    # Numbers without a call on x86-64: removed, never made, or of 32-bit programs only. All answer ENOSYS.
    row(134, "uselib", "<path library"),
    row(156, "_sysctl", "address args"),
    row(174, "create_module", "<string name, size size"),
    row(177, "get_kernel_syms", "address table"),
    row(178, "query_module", "<string name, int which, address buf, size bufsize, address ret"),
    row(180, "nfsservctl", "int cmd, address argp, address resp"),
    row(181, "getpmsg", source="unimplemented"),
    row(182, "putpmsg", source="unimplemented"),
    row(183, "afs_syscall", source="unimplemented"),
    row(184, "tuxcall", source="unimplemented"),
    row(185, "security", source="unimplemented"),
    row(205, "set_thread_area", "address u_info"),
    row(211, "get_thread_area", "address u_info", source="set_thread_area"),
    row(236, "vserver", source="unimplemented"),
)
