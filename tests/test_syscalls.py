"""The specification of system calls against the headers of the machine, and the printing of calls."""

from __future__ import annotations

import re
import struct
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrr_debugger.events import FilePiece, SyscallEvent
from pyrr_debugger.syscalls import (
    BY_NAME,
    FAMILIES,
    TABLE,
    fcntls,
    ioctls,
    lookup,
    memory,
    prctls,
    ptraces,
    socket_options,
)
from pyrr_debugger.syscalls.constants import FLAGS, NUMBERS, flags, numbers
from pyrr_debugger.syscalls.format import decode, format_call
from pyrr_debugger.syscalls.generate import render
from pyrr_debugger.syscalls.notation import parse, row
from pyrr_debugger.syscalls.spec import Kind, Replay, Row, Transfer, When
from pyrr_debugger.syscalls.structures import DECLARATIONS, SIZES

INCLUDE = Path("/usr/include")
UNISTD = INCLUDE / "x86_64-linux-gnu/asm/unistd_64.h"

# Kernels newer than the headers of Debian 12, by arch/x86/entry/syscalls/syscall_64.tbl of Linux 6.19.
NEWER = {
    335: "uretprobe",
    336: "uprobe",
    451: "cachestat",
    452: "fchmodat2",
    453: "map_shadow_stack",
    454: "futex_wake",
    455: "futex_wait",
    456: "futex_requeue",
    457: "statmount",
    458: "listmount",
    459: "lsm_get_self_attr",
    460: "lsm_set_self_attr",
    461: "lsm_list_modules",
    462: "mseal",
    463: "setxattrat",
    464: "getxattrat",
    465: "listxattrat",
    466: "removexattrat",
    467: "open_tree_attr",
    468: "file_getattr",
    469: "file_setattr",
    470: "listns",
}


# What headers of devices need beside them.
DEVICES = "stddef.h sys/ioctl.h sys/socket.h sys/time.h linux/fiemap.h linux/blktrace_api.h linux/blkpg.h"
# Numbers set aside in linux/fs.h for what was never merged, or has gone.
NEVER_MADE = {"BLKELVGET", "BLKELVSET"}


def all_rows() -> Iterable[Row]:
    """The rows of all calls, each followed by those of its commands."""
    for call in TABLE.values():
        yield call
        yield from call.commands


def compile_c(source: str, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    file = tmp_path / "test.c"
    file.write_text(source)
    command = ["gcc", "-std=c11", *options, str(file), "-o", str(tmp_path / "test")]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def constants(headers: str, names: Iterable[str], tmp_path: Path) -> dict[str, int]:
    """The values of macros and enumerators of some headers, as the compiler sees them."""
    # Many headers of the kernel cannot stand beside those of the C library: there are none but these.
    includes = "".join(f"#include <{name}>\n" for name in headers.split())
    lines = "".join(f'printf("%s %lu\\n", "{name}", (unsigned long)(unsigned)({name}));\n' for name in names)
    source = f"#define _GNU_SOURCE\n{includes}int printf(const char *, ...);\nint main(void) {{ {lines} }}"
    done = compile_c(source, tmp_path, "-w")
    assert done.returncode == 0, done.stderr
    output = subprocess.run([tmp_path / "test"], capture_output=True, text=True, check=True).stdout
    return {name: int(value) for name, value in (line.split() for line in output.splitlines())}


def defined(header: str, pattern: str, *, arch: bool = False) -> list[str]:
    """The names of the macros with a value in a header that match `pattern` as a whole.

    A macro that stands for the enumerator of its own name is none."""
    text = (INCLUDE / ("x86_64-linux-gnu" if arch else ".") / header).read_text()
    names = re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)[ \t]+(?!\1\b)\S", text, re.MULTILINE)
    return sorted({name for name in names if re.fullmatch(pattern, name)})


# The table ----------------------------------------------------------------------------------------


def test_every_call_of_the_kernel_header_has_its_row() -> None:
    header = {int(number): name for name, number in re.findall(r"__NR_(\w+) (\d+)", UNISTD.read_text())}
    assert len(header) >= 362
    expected = {**NEWER, **header}
    assert {number: call.name for number, call in TABLE.items()} == dict(sorted(expected.items()))


def test_no_call_has_two_rows() -> None:
    counts = Counter(call.number for rows in FAMILIES.values() for call in rows)
    assert [number for number, count in counts.items() if count > 1] == []
    assert len(BY_NAME) == len(TABLE)


def test_names_and_argument_counts_agree_with_python_ptrace() -> None:
    from ptrace.syscall.linux.x86_64 import SYSCALL_NAMES
    from ptrace.syscall.prototypes import SYSCALL_PROTOTYPES

    # 283 was called so before it was split in three (Linux 2.6.25).
    renamed = {"timerfd": "timerfd_create"}
    x32 = 512  # from here on the numbers are of another machine's calls
    names = {number: renamed.get(name, name) for number, name in SYSCALL_NAMES.items() if number < x32}
    assert {number: TABLE[number].name for number in names} == names
    # membarrier got its third argument, cpu_id, in Linux 5.10.
    differing = {
        call.name
        for call in TABLE.values()
        if call.name in SYSCALL_PROTOTYPES and len(SYSCALL_PROTOTYPES[call.name][1]) != len(call.args)
    }
    assert differing == {"membarrier"}


def test_transfers_refer_to_arguments_of_their_call() -> None:
    counted = {
        Kind.ARGUMENT,
        Kind.POINTEE,
        Kind.POINTEE64,
        Kind.IOVEC,
        Kind.MMSGHDR,
        Kind.FDSET,
        Kind.RESULT_UP_TO,
        Kind.MSGBUF,
        Kind.PAGES,
    }
    for call in all_rows():
        for transfer in (*call.ins, *call.outs):
            assert transfer.arg < len(call.args) <= 6, call.name
            assert transfer.unit > 0, call.name
            assert 0 <= transfer.count < (len(call.args) if transfer.kind in counted else 256), call.name
            if transfer.kind in counted:
                assert transfer.count != transfer.arg, call.name
        assert not any(transfer.kind in (Kind.STRING, Kind.STRINGS) for transfer in call.outs), call.name


def test_commands_have_the_arguments_of_their_call_and_one_number_each() -> None:
    for call in TABLE.values():
        if call.selector is None:
            assert not call.commands
            continue
        assert call.selector < len(call.args)
        counts = Counter(command.number for command in call.commands)
        assert [number for number, count in counts.items() if count > 1] == [], call.name
        for command in call.commands:
            assert len(command.args) <= 6
            assert command.args[call.selector][0] == call.args[call.selector][0], command.name
            low, high = command.number & 0xFFFFFFFF, command.number >> 32
            assert low & call.selector_mask == low, command.name
            assert high == 0 or call.selector_high is not None, command.name


@pytest.mark.parametrize(
    ("name", "args", "command"),
    [
        ("ioctl", (0, 0x5401, 0), "TCGETS"),
        ("ioctl", (0, 0xFFFFFFFF_00005401, 0), "TCGETS"),
        ("ioctl", (0, 0xDEAD, 0), "ioctl"),
        ("fcntl", (3, 1030, 0), "F_DUPFD_CLOEXEC"),
        ("futex", (0, 0x80 | 9, 1), "FUTEX_WAIT_BITSET"),
        ("futex", (0, 0x100 | 5, 1), "FUTEX_WAKE_OP"),
        ("prctl", (15,), "PR_SET_NAME"),
        ("getsockopt", (3, 6, 11, 0, 0), "TCP_INFO"),
        ("setsockopt", (3, 1, 2, 0, 4), "SO_REUSEADDR"),
        ("quotactl", (0x80000700 | 1, 0, 0, 0), "Q_GETQUOTA"),
        ("madvise", (0, 0, 8), "MADV_FREE"),
        ("read", (0, 0, 0), "read"),
        ("ioctl", (), "ioctl"),
    ],
)
def test_lookup_finds_the_command(name: str, args: tuple[int, ...], command: str) -> None:
    found = lookup(BY_NAME[name].number, args)
    assert found is not None
    assert found.name == command


def test_lookup_of_an_unknown_number() -> None:
    assert lookup(500, (1, 2)) is None


SETS = tuple(Transfer(arg, Kind.FDSET, 1, 0, When.ALWAYS) for arg in (1, 2, 3))
READS = (Transfer(1, Kind.RESULT_UP_TO, 1, 2),)


@pytest.mark.parametrize(
    ("name", "outs"),
    [
        ("read", READS),
        ("nanosleep", (Transfer(1, Kind.FIXED, 16, 0, When.ERROR),)),
        (
            "select",
            (*SETS, Transfer(4, Kind.FIXED, 16, 0, When.ALWAYS)),
        ),
        ("poll", (Transfer(0, Kind.ARGUMENT, 8, 1, When.ALWAYS),)),
        ("epoll_wait", (Transfer(1, Kind.RESULT, 12),)),
        ("accept", (Transfer(1, Kind.POINTEE, 1, 2), Transfer(2, Kind.FIXED, 4))),
        ("getsockopt", (Transfer(3, Kind.POINTEE, 1, 4), Transfer(4, Kind.FIXED, 4, 0, When.ALWAYS))),
        ("readv", (Transfer(1, Kind.IOVEC, 1, 2),)),
        ("recvmsg", (Transfer(1, Kind.MSGHDR),)),
        ("wait4", (Transfer(1, Kind.FIXED, 4), Transfer(3, Kind.FIXED, 144))),
        ("waitid", (Transfer(2, Kind.FIXED, 128, 0, When.ALWAYS), Transfer(4, Kind.FIXED, 144))),
        ("rt_sigprocmask", (Transfer(2, Kind.ARGUMENT, 1, 3),)),
        ("rt_sigaction", (Transfer(2, Kind.FIXED, 32),)),
        ("getgroups", (Transfer(1, Kind.RESULT_UP_TO, 4, 0),)),
        ("msgrcv", (Transfer(1, Kind.MSGBUF, 1, 2),)),
        ("pipe2", (Transfer(0, Kind.FIXED, 8),)),
        ("write", ()),
    ],
)
def test_what_well_known_calls_write(name: str, outs: tuple[Transfer, ...]) -> None:
    assert BY_NAME[name].outs == outs


def test_replay_classes_of_calls_that_are_more_than_their_result() -> None:
    classes = defaultdict(set)
    for call in TABLE.values():
        classes[call.replay].add(call.name)
    assert classes[Replay.EXECUTE] == {"mmap", "mprotect", "pkey_mprotect", "munmap", "mremap", "madvise"}
    assert {"clone", "clone3", "fork", "vfork", "execve", "execveat", "exit", "exit_group"} <= classes[Replay.SPECIAL]
    assert {"rt_sigreturn", "brk", "shmat", "shmdt", "arch_prctl"} <= classes[Replay.SPECIAL]
    assert {"rseq", "io_setup", "io_submit", "io_uring_setup", "io_uring_enter"} <= classes[Replay.REFUSE]


def test_notation_rejects_what_it_does_not_know() -> None:
    assert parse("fd fd, >stat statbuf") == (
        (("fd", "fd"), ("stat", "statbuf")),
        (),
        (Transfer(1, Kind.FIXED, 144),),
    )
    for wrong in ("fd", ">nothing buf", ">bytes[nowhere] buf", ">bytes[result/nowhere] buf", "fd fd;int x"):
        with pytest.raises((ValueError, KeyError)):
            row(0, "wrong", wrong)


# Headers ------------------------------------------------------------------------------------------


def test_structure_sizes(tmp_path: Path) -> None:
    by_header: dict[str, list[str]] = defaultdict(list)
    for name, (_, headers) in DECLARATIONS.items():
        by_header[headers].append(name)
    wrong = {}
    for headers, names in by_header.items():
        includes = "".join(f"#include <{header}>\n" for header in headers.split())
        sizes = "".join(f'printf("{name} %zu\\n", sizeof({DECLARATIONS[name][0]}));' for name in names)
        # linux/signal.h and its like cannot stand beside stdio.h.
        source = f"#define _GNU_SOURCE\n#include <stddef.h>\n{includes}"
        done = compile_c(f"{source}int printf(const char *, ...);int main(void) {{{sizes}}}", tmp_path, "-w")
        assert done.returncode == 0, f"{headers}: {done.stderr}"
        output = subprocess.run([tmp_path / "test"], capture_output=True, text=True, check=True).stdout
        for name, size in (line.split() for line in output.splitlines()):
            if int(size) != SIZES[name]:
                wrong[name] = int(size)
    assert wrong == {}


def test_every_structure_is_checked_or_too_new() -> None:
    numbers_and_bytes = {name for name, size in SIZES.items() if size in (1, 2, 4, 8) and name not in DECLARATIONS}
    unchecked = SIZES.keys() - DECLARATIONS.keys() - numbers_and_bytes
    aliases = {"iovec_array", "perf_event_attr"}
    gone = {"termiox"}
    newer = {"xattr_args", "file_attr", "cachestat", "cachestat_range", "mnt_id_req"}
    assert unchecked == aliases | newer | gone | {"ustat"}


def without_row(values: dict[str, int], rows: Iterable[Row], level: int = 0) -> dict[str, int]:
    """The constants for which there is no row of that name and number."""
    known = {(command.name, command.number) for command in rows}
    return {name: value for name, value in values.items() if (name, level << 32 | value) not in known}


def test_terminal_requests(tmp_path: Path) -> None:
    names = defined("asm-generic/ioctls.h", r"(T|F)[A-Z0-9]+")
    values = constants("sys/ioctl.h asm/termbits.h linux/serial.h", names, tmp_path)
    assert values.pop("TIOCINQ") == values["FIONREAD"]
    assert len(values) > 70
    assert without_row(values, ioctls.COMMANDS) == {}


def test_network_requests(tmp_path: Path) -> None:
    names = defined("linux/sockios.h", r"SIO\w+")
    values = constants(f"{DEVICES} linux/sockios.h", names, tmp_path)
    aliases = {"SIOCINQ", "SIOCOUTQ", "SIOCGSTAMP", "SIOCGSTAMPNS", "SIOGIFINDEX"}
    assert len(values) > 80
    assert without_row(values, ioctls.COMMANDS).keys() == aliases
    assert all(any(values[alias] == known.number for known in ioctls.COMMANDS) for alias in aliases)


@pytest.mark.parametrize(
    ("header", "pattern", "others"),
    [
        ("linux/fs.h", r"BLK[A-Z0-9]+|FI[A-Z]+|FS_IOC\w+", NEVER_MADE),
        ("linux/random.h", r"RND[A-Z]+", set()),
        ("linux/fscrypt.h", r"FS_IOC\w+", set()),
        ("linux/fsverity.h", r"FS_IOC\w+", set()),
        ("linux/if_tun.h", r"TUN[SG]ET[A-Z]+|TUN(AT|DE)TACHFILTER", set()),
        (
            "linux/loop.h",
            r"LOOP_(SET|GET|CLR|CHANGE|CTL|CONFIGURE)\w*",
            {
                "LOOP_SET_STATUS_SETTABLE_FLAGS",
                "LOOP_SET_STATUS_CLEARABLE_FLAGS",
                "LOOP_CONFIGURE_SETTABLE_FLAGS",
            },
        ),
        (
            "linux/rtc.h",
            r"RTC_(AIE|UIE|PIE|WIE|ALM|RD|SET|IRQP|EPOCH|WKALM|PLL|VL_(READ|CLR)|PARAM_[GS]ET)\w*",
            set(),
        ),
        ("linux/watchdog.h", r"WDIOC_\w+", set()),
        ("linux/input.h", r"EVIOC[A-Z0-9_]+", set()),
        (
            "linux/vt.h",
            r"VT_(OPENQRY|[GS]ET\w+|RELDISP|ACTIVATE|WAIT\w+|DISALLOCATE|RESIZEX?|\w*LOCKSWITCH)",
            set(),
        ),
        (
            "linux/kd.h",
            r"(GIO|PIO)_\w+|KD(G|S|FONT|KB|MK|ADD|DEL|EN|DIS|MAP|UNMAP)\w+|KIOCSOUND",
            {"KDSKBMODE"},
        ),
        ("linux/hdreg.h", r"HDIO_(?!DRIVE_\w+_SIZE|DRIVE_CMD_AEB)\w+", set()),
        ("linux/perf_event.h", r"PERF_EVENT_IOC_\w+", set()),
        ("linux/seccomp.h", r"SECCOMP_IOCTL_\w+", set()),
        ("linux/nsfs.h", r"NS_GET_\w+", set()),
        ("linux/i2c-dev.h", r"I2C_(RETRIES|TIMEOUT|SLAVE\w*|TENBIT|FUNCS|RDWR|PEC|SMBUS)", set()),
        ("linux/wireless.h", r"SIOC[SG]IW[A-Z]+", set()),
    ],
)
def test_requests_of_devices_and_files(header: str, pattern: str, others: set[str], tmp_path: Path) -> None:
    text = (INCLUDE / header).read_text()
    # A macro with arguments (EVIOCGNAME(len)) makes numbers of many sizes, for which the base row is there.
    names = [name for name in defined(header, pattern) if not re.search(rf"define\s+{name}\(", text)]
    values = constants(f"{DEVICES} {header}", [name for name in names if name not in others], tmp_path)
    assert len(values) >= 3
    assert without_row(values, ioctls.COMMANDS) == {}


def test_encoded_sizes_agree_with_the_rows() -> None:
    """A row for an encoded request writes at least what the request says, where its direction says so."""
    # Made as _IOR by mistake or for history; the kernel only reads them.
    misnamed = {
        "FS_IOC_SET_ENCRYPTION_POLICY",
        "EVIOCGMASK",
        "USBDEVFS_SUBMITURB",
        "SNDRV_PCM_IOCTL_READI_FRAMES",
        "FS_IOC_ENABLE_VERITY",
        "USBDEVFS_CONTROL",
        "USBDEVFS_BULK",
        "USBDEVFS_IOCTL",
        "TUNGETDEVNETNS",
    }
    for command in ioctls.COMMANDS:
        size = command.number >> 16 & 0x3FFF
        if not command.number >> 31 or command.name in misnamed:
            continue
        covered = [t for t in command.outs if t.kind in (Kind.IOCTL, Kind.CONSERVATIVE) or t.unit >= size]
        assert covered, command.name


def test_fcntl_commands(tmp_path: Path) -> None:
    names = defined("asm-generic/fcntl.h", r"F_\w+") + defined("linux/fcntl.h", r"F_\w+")
    no_commands = r"F_(RDLCK|WRLCK|UNLCK|EXLCK|SHLCK|OWNER_\w+|SEAL_\w+|LINUX_SPECIFIC_BASE|[GS]ETLKW?64)"
    commands = [name for name in names if not re.fullmatch(no_commands, name)]
    values = constants("linux/fcntl.h", commands, tmp_path)
    assert len(values) >= 30
    assert without_row(values, fcntls.COMMANDS) == {}


def test_prctl_options(tmp_path: Path) -> None:
    text = (INCLUDE / "linux/prctl.h").read_text()
    # The operations stand at the beginning of their line, their values are indented.
    names = sorted(set(re.findall(r"^#define (PR_(?!SET_MM_|MCE_KILL_[A-FH-Z]|CAP_AMBIENT_)\w+)", text, re.MULTILINE)))
    values_of_options = (
        r"PR_(UNALIGN|FPEMU|FP_EXC|TIMING|ENDIAN|TSC|MCE_KILL_(CLEAR|SET|LATE|EARLY|DEFAULT)|SVE_VL|SME_VL|SPEC|PAC_AP"
        r"|MTE|TAGGED|SYS_DISPATCH|SCHED_CORE_|FP_MODE|SVE_SET_VL_ONEXEC|SME_SET_VL_ONEXEC|SET_VMA_ANON|SET_PTRACER_ANY)"
        r"\w*"
    )
    names = [name for name in names if not re.fullmatch(values_of_options, name)]
    values = constants("linux/prctl.h", names, tmp_path)
    assert len(values) >= 55
    assert without_row(values, prctls.PRCTL) == {}


def test_arch_prctl_options(tmp_path: Path) -> None:
    names = defined("asm/prctl.h", r"ARCH_\w+", arch=True)
    features = {"ARCH_XCOMP_TILECFG", "ARCH_XCOMP_TILEDATA"}
    values = constants("asm/prctl.h", [name for name in names if name not in features], tmp_path)
    assert without_row(values, prctls.ARCH_PRCTL) == {}


def test_ptrace_requests(tmp_path: Path) -> None:
    names = defined("linux/ptrace.h", r"PTRACE_\w+") + defined("asm/ptrace-abi.h", r"PTRACE_\w+", arch=True)
    parts = r"PTRACE_(EVENT|O|PEEKSIGINFO_SHARED|SYSCALL_INFO|EVENTMSG)(_\w+)?"
    values = constants("linux/ptrace.h", [name for name in names if not re.fullmatch(parts, name)], tmp_path)
    renamed = {"PTRACE_PEEKUSR": "PTRACE_PEEKUSER", "PTRACE_POKEUSR": "PTRACE_POKEUSER"}
    values = {renamed.get(name, name): value for name, value in values.items()}
    assert len(values) >= 40
    assert without_row(values, ptraces.COMMANDS) == {}


def test_madvise_advice(tmp_path: Path) -> None:
    values = constants("asm-generic/mman-common.h", defined("asm-generic/mman-common.h", r"MADV_\w+"), tmp_path)
    assert len(values) >= 20
    assert without_row(values, TABLE[28].commands) == {}


# Headers mix options with the values of options and with other names: those are told apart here.
VALUES_OF_OPTIONS = {
    "SOL_TCP": r"TCP_(REPAIR_(ON|OFF\w*)|MD5SIG_(FLAG|MAX)\w+|RECEIVE_ZEROCOPY\w+|ENCAP_\w+|MSS_\w+)",
    "SOL_UDP": r"UDP_ENCAP_\w+",
    "SOL_IP": r"IP_(PMTUDISC_\w+|DEFAULT_\w+|RECVRETOPTS|MAX_\w+|MSFILTER_SIZE)|MCAST_(EXCLUDE|INCLUDE)",
    "SOL_IPV6": r"IPV6_(FL_\w+|FLOWINFO_(FLOWLABEL|PRIORITY)|PRIORITY_\w+|TLV_\w+|PMTUDISC_\w+|PREFER_SRC_\w+"
    r"|JOIN_GROUP|LEAVE_GROUP)",
    "SOL_NETLINK": r"NETLINK_(ROUTE|UNUSED|USERSOCK|FIREWALL|SOCK_DIAG|INET_DIAG|NFLOG|XFRM|SELINUX|ISCSI"
    r"|AUDIT|FIB_LOOKUP|CONNECTOR|NETFILTER|IP6_FW|DNRTMSG|KOBJECT_UEVENT|GENERIC|SCSITRANSPORT|ECRYPTFS|RDMA|CRYPTO"
    r"|SMC)",
    "SOL_PACKET": r"PACKET_(HOST|BROADCAST|MULTICAST|OTHERHOST|OUTGOING|LOOPBACK|USER|KERNEL|FASTROUTE"
    r"|FANOUT_(?!DATA)\w+|MR_\w+)",
    "SOL_XDP": r"XDP_(SHARED_UMEM|COPY|ZEROCOPY|USE_NEED_WAKEUP|UMEM_UNALIGNED\w*|UMEM_PGOFF\w*|RING_\w+"
    r"|OPTIONS_\w+|PGOFF_\w+)",
    "SOL_SCTP": r"SCTP_(FUTURE_ASSOC|CURRENT_ASSOC|ALL_ASSOC|PR_SCTP_\w+|ENABLE_(RESET|CHANGE|STRRESET)_\w+"
    r"|STREAM_(RESET|CHANGE)_\w+|ASSOC_(RESET|CHANGE)_\w+|BINDX_\w+|ADDR_PF|AUTHENTICATION_INDICATION"
    r"|AUTH_NEWKEY|POTENTIALLY_FAILED|EXPOSE_PF_STATE|DELAYED_S?ACK)",
    "SOL_TIPC": r"TIPC_(NODE_STATE|TOP_SRV|LINK_STATE|RESERVED_TYPES|\w+_IMPORTANCE|OK|ERR_\w+|CONN_SHUTDOWN"
    r"|SUB_\w+|PUBLISHED|WITHDRAWN|SUBSCR_TIMEOUT|ADDR_\w+|SERVICE_\w+|SOCKET_ADDR|ERRINFO|RETDATA|DESTNAME"
    r"|GROUP_\w+_EVTS|GROUP_LOOPBACK|NODEID_LEN|MAX_\w+|CFG_SRV|\w+_SCOPE|\w+_BITS|\w+_OFFSET|\w+_SIZE"
    r"|\w+_MASK|WAIT_FOREVER|AEAD_\w+|REKEYING_\w+)",
}


@pytest.mark.parametrize(
    ("level", "headers", "pattern", "others"),
    [
        (
            "SOL_SOCKET",
            "asm-generic/socket.h",
            r"SO_\w+",
            {
                "SO_GET_FILTER",
                "SO_RCVTIMEO",
                "SO_SNDTIMEO",
                "SO_TIMESTAMP",
                "SO_TIMESTAMPNS",
                "SO_TIMESTAMPING",
                "SO_DETACH_BPF",
            },
        ),
        ("SOL_TCP", "linux/tcp.h", r"TCP_[A-Z0-9_]+", {"TCP_CM_INQ"}),
        ("SOL_UDP", "linux/udp.h", r"UDP_\w+", set()),
        ("SOL_IP", "linux/in.h", r"IP_\w+|MCAST_\w+", {"IP_RECVORIGDSTADDR"}),
        # The one left out stands in a comment.
        ("SOL_IPV6", "linux/in6.h", r"IPV6_\w+", {"IPV6_USE_MIN_MTU", "IPV6_RECVORIGDSTADDR"}),
        ("SOL_NETLINK", "linux/netlink.h", r"NETLINK_\w+", set()),
        ("SOL_PACKET", "linux/if_packet.h", r"PACKET_\w+", set()),
        ("SOL_TLS", "linux/tls.h", r"TLS_[TR]X\w*", set()),
        ("SOL_XDP", "linux/if_xdp.h", r"XDP_\w+", set()),
        ("SOL_VSOCK_OPTIONS", "linux/vm_sockets.h", r"SO_VM_SOCKETS_\w+", {"SO_VM_SOCKETS_CONNECT_TIMEOUT"}),
        ("SOL_ALG", "linux/if_alg.h", r"ALG_SET_\w+", set()),
        ("SOL_SCTP", "stdint.h sys/socket.h linux/sctp.h", r"SCTP_\w+", set()),
        ("SOL_TIPC", "linux/tipc.h", r"TIPC_\w+", set()),
    ],
)
def test_socket_options(level: str, headers: str, pattern: str, others: set[str], tmp_path: Path) -> None:
    names = defined(headers.split()[-1], pattern)
    left_out = VALUES_OF_OPTIONS.get(level, "")
    options = {row.name for row in socket_options.SET if row.number >> 32 == socket_options.LEVELS[level]}
    assert not {name for name in options if re.fullmatch(left_out, name)}
    names = [name for name in names if not re.fullmatch(left_out, name) and name not in others]
    values = constants(headers, names, tmp_path)
    assert len(values) >= 2
    assert without_row(values, socket_options.SET, socket_options.LEVELS[level]) == {}
    assert without_row(values, socket_options.GET, socket_options.LEVELS[level]) == {}


@pytest.mark.parametrize(
    ("kind", "header"),
    [
        ("mmap_prot", "sys/mman.h"),
        ("mremap_flags", "sys/mman.h"),
        ("msync_flags", "sys/mman.h"),
        ("memfd_flags", "linux/memfd.h"),
        ("close_range_flags", "linux/close_range.h"),
        ("inotify_mask", "sys/inotify.h"),
        ("eventfd_flags", "sys/eventfd.h"),
        ("epoll_events", "sys/epoll.h"),
        ("epoll_op", "sys/epoll.h"),
        ("poll_events", "poll.h"),
        ("statx_mask", "linux/stat.h"),
        ("clockid", "time.h"),
        ("itimer_which", "sys/time.h"),
        ("rlimit_resource", "sys/resource.h"),
        ("signal", "signal.h"),
        ("sigprocmask_how", "signal.h"),
        ("socket_domain", "sys/socket.h"),
        ("socket_kind", "sys/socket.h"),
        ("socket_flags", "sys/socket.h"),
        ("ip_protocol", "netinet/in.h"),
        ("netlink_protocol", "linux/netlink.h"),
        ("capability", "linux/capability.h"),
        ("kcmp_type", "linux/kcmp.h"),
        ("umount_flags", "sys/mount.h"),
        ("wait_options", "sys/wait.h"),
        ("whence", "linux/fs.h"),
        ("splice_flags", "fcntl.h"),
        ("rename_flags", "linux/fs.h"),
        ("file_seals", "linux/fcntl.h"),
        ("fallocate_mode", "linux/falloc.h"),
        ("fanotify_mask", "linux/fanotify.h"),
        ("fanotify_init_flags", "linux/fanotify.h"),
        ("membarrier_command", "linux/membarrier.h"),
        ("mempolicy_mode", "linux/mempolicy.h"),
        ("seccomp_flags", "linux/seccomp.h"),
        ("xattr_flags", "linux/xattr.h"),
        ("open_flags", "linux/fcntl.h"),
    ],
)
def test_names_of_flags(kind: str, header: str, tmp_path: Path) -> None:
    names = flags(kind) if kind in FLAGS or kind == "open_flags" else numbers(kind)
    # Not in the headers of the C library of Debian 12, or nowhere but in the kernel.
    newer = {
        "MFD_NOEXEC_SEAL", "MFD_EXEC", "FAN_REPORT_MNT", "F_SEAL_EXEC", "CLOCK_SGI_CYCLE", "IPPROTO_DCCP",
        "FALLOC_FL_WRITE_ZEROES", "MEMBARRIER_CMD_GET_REGISTRATIONS", "MPOL_WEIGHTED_INTERLEAVE", "PROT_SEM",
        "STATX_MNT_ID_UNIQUE", "STATX_SUBVOL", "STATX_WRITE_ATOMIC", "STATX_DIO_READ_ALIGN", "SIGSTKFLT_",
        "O_LARGEFILE", "MREMAP_DONTUNMAP", "EPOLLNVAL", "AF_MCTP",
    }  # fmt: skip
    wanted = {value: name for value, name in names.items() if name not in newer and value >= 0}
    values = constants(header, wanted.values(), tmp_path)
    assert values == {name: value & 0xFFFFFFFF for value, name in wanted.items()}


def test_all_names_parse() -> None:
    for kind in FLAGS:
        assert flags(kind)
    for kind in NUMBERS:
        assert numbers(kind)


def test_generated_header_compiles_and_finds_rows(tmp_path: Path) -> None:
    header = render()
    assert header == render()
    (tmp_path / "table.h").write_text(header)
    program = """
        #define PYRR_SYSCALL_ROWS
        #include "table.h"
        #include <stdio.h>
        int main(void)
        {
            for (unsigned i = 0; i < SYSCALL_ROW_COUNT; i++) {
                const struct syscall_row *row = &syscall_rows[i];
                if (!row->name) continue;
                printf("%lu %s ", (unsigned long)row->number, row->name);
                printf("%u %u\\n", row->argument_count, row->replay);
                for (unsigned c = 1; c < row->command_count; c++)
                    if (row->commands[c].number <= row->commands[c - 1].number) return 1;
            }
            return 0;
        }
    """
    done = compile_c(program, tmp_path, "-Wall", "-Wextra", "-Werror", "-I", str(tmp_path))
    assert done.returncode == 0, done.stderr
    output = subprocess.run([tmp_path / "test"], capture_output=True, text=True, check=True).stdout
    classes = list(Replay)
    assert [line.split() for line in output.splitlines()] == [
        [str(call.number), call.name, str(len(call.args)), str(classes.index(call.replay))] for call in TABLE.values()
    ]


def test_left_out_commands_say_nothing_new() -> None:
    """C knows no row for most socket options, and needs none; it does for each request that differs."""
    header = render()
    assert '"TCP_NODELAY"' not in header
    assert '"TCP_ZEROCOPY_RECEIVE"' in header
    assert '"TCGETS"' in header
    assert '"FIOCLEX"' in header


def test_advice_that_frees_memory_is_not_left_to_chance() -> None:
    by_name = {command.name: command.replay for command in memory.ROWS[5].commands}
    assert memory.ROWS[5].name == "madvise"
    assert by_name["MADV_DONTNEED"] is Replay.EXECUTE
    assert by_name["MADV_FREE"] is Replay.SPECIAL


# Printing -----------------------------------------------------------------------------------------


def event(
    name: str,
    args: tuple[int, ...],
    result: int = 0,
    inputs: tuple[tuple[int, bytes], ...] = (),
    outputs: tuple[tuple[int, bytes], ...] = (),
    pieces: tuple[tuple[int, FilePiece], ...] = (),
) -> SyscallEvent:
    padded = args + (0,) * (6 - len(args))
    return SyscallEvent(
        number=1,
        task=100,
        time=0,
        nr=BY_NAME[name].number,
        args=padded,
        result=result,
        site=0,
        inputs=inputs,
        outputs=outputs,
        pieces=pieces,
    )


def stat(mode: int, size: int = 0, device: int = 0) -> bytes:
    data = bytearray(144)
    struct.pack_into("<I", data, 24, mode)
    struct.pack_into("<Qq", data, 40, device, size)
    return bytes(data)


A, B, C, D = 0x1000, 0x2000, 0x3000, 0x4000
CWD = (1 << 64) - 100
LOCALHOST = struct.pack("<H", 2) + (8080).to_bytes(2, "big") + bytes([127, 0, 0, 1]) + bytes(8)
TIME = struct.pack("<qq", 1, 500)

CALLS = [
    (
        event("openat", (CWD, A, 0x80000, 0), 3, ((A, b"/etc/passwd\0"),)),
        'openat(AT_FDCWD, "/etc/passwd", O_RDONLY|O_CLOEXEC) = 3',
    ),
    (
        event("open", (A, 0x241, 0o644), -13, ((A, b"/x\0"),)),
        'open("/x", O_WRONLY|O_CREAT|O_TRUNC, 0644) = -1 EACCES (Permission denied)',
    ),
    (
        event("read", (3, A, 4096), 2048, (), ((A, b"root:x:0:0:root:/root:/bin/bash\nd" + bytes(2015)),)),
        'read(3, "root:x:0:0:root:/root:/bin/bash\\n"..., 4096) = 2048',
    ),
    (event("read", (3, A, 4096), 0), 'read(3, "", 4096) = 0'),
    (
        event("read", (3, A, 4096), -11),
        "read(3, 0x1000, 4096) = -1 EAGAIN (Resource temporarily unavailable)",
    ),
    (
        event("read", (3, A, 4096), 7, (), (), ((A, FilePiece("ab", 16, 7, "/lib/x.py")),)),
        "read(3, <7 bytes of /lib/x.py at 16>, 4096) = 7",
    ),
    (event("write", (1, A, 3), 3, ((A, b'a"\xff'),)), 'write(1, "a\\"\\377", 3) = 3'),
    (
        event("fstat", (3, A), 0, (), ((A, stat(0o100644, 123)),)),
        "fstat(3, {st_mode=S_IFREG|0644, st_size=123, ...}) = 0",
    ),
    (
        event("fstat", (0, A), 0, (), ((A, stat(0o020620, 0, 0x8801)),)),
        "fstat(0, {st_mode=S_IFCHR|0620, st_rdev=makedev(0x88, 0x1), ...}) = 0",
    ),
    (
        event("newfstatat", (CWD, A, B, 0x100), -2, ((A, b"no\0"),)),
        'newfstatat(AT_FDCWD, "no", 0x2000, AT_SYMLINK_NOFOLLOW) = -1 ENOENT (No such file or directory)',
    ),
    (
        event("mmap", (0, 8192, 3, 0x22, (1 << 64) - 1, 0), 0x7F0000000000),
        "mmap(NULL, 8192, PROT_READ|PROT_WRITE, MAP_PRIVATE|MAP_ANONYMOUS, -1, 0) = 0x7f0000000000",
    ),
    (event("mprotect", (A, 4096, 0)), "mprotect(0x1000, 4096, PROT_NONE) = 0"),
    (event("brk", (0,), 0x55000), "brk(NULL) = 0x55000"),
    (
        event(
            "execve",
            (A, B, 0),
            0,
            (
                (A, b"/bin/ls\0"),
                (B, struct.pack("<Q", C)),
                (B + 8, struct.pack("<Q", D)),
                (C, b"ls\0"),
                (D, b"-l\0"),
            ),
        ),
        'execve("/bin/ls", ["ls", "-l"], NULL) = 0',
    ),
    (event("exit_group", (1,)), "exit_group(1) = ?"),
    (event("getpid", (), 42), "getpid() = 42"),
    (
        event("wait4", ((1 << 64) - 1, A, 1, 0), 7, (), ((A, struct.pack("<I", 256)),)),
        "wait4(-1, [{WIFEXITED(s) && WEXITSTATUS(s) == 1}], WNOHANG, NULL) = 7",
    ),
    (
        event("wait4", (7, A, 0, 0), 7, (), ((A, struct.pack("<I", 9)),)),
        "wait4(7, [{WIFSIGNALED(s) && WTERMSIG(s) == SIGKILL}], 0, NULL) = 7",
    ),
    (
        event("clone", (0x1200011, 0, 0, 0x7000, 0), 8),
        "clone(CLONE_CHILD_CLEARTID|CLONE_CHILD_SETTID|SIGCHLD, NULL, NULL, 0x7000, NULL) = 8",
    ),
    (
        event("clock_gettime", (1, A), 0, (), ((A, TIME),)),
        "clock_gettime(CLOCK_MONOTONIC, {tv_sec=1, tv_nsec=500}) = 0",
    ),
    (event("nanosleep", (A, B), 0, ((A, TIME),)), "nanosleep({tv_sec=1, tv_nsec=500}, 0x2000) = 0"),
    (
        event("nanosleep", (A, B), -516, ((A, TIME),), ((B, struct.pack("<qq", 0, 7)),)),
        "nanosleep({tv_sec=1, tv_nsec=500}, {tv_sec=0, tv_nsec=7}) = ? ERESTART_RESTARTBLOCK (To be restarted)",
    ),
    (
        event("rt_sigaction", (2, A, 0, 8), 0, ((A, struct.pack("<QQQQ", 0x5000, 0x4000000, 0x6000, 0)),)),
        "rt_sigaction(SIGINT, {sa_handler=0x5000, sa_mask=[], sa_flags=SA_RESTORER, sa_restorer=0x6000}, NULL, 8) = 0",
    ),
    (
        event("rt_sigprocmask", (0, A, B, 8), 0, ((A, struct.pack("<Q", 0x4002)),), ((B, bytes(8)),)),
        "rt_sigprocmask(SIG_BLOCK, [INT TERM], [], 8) = 0",
    ),
    (
        event("rt_sigprocmask", (0, A, 0, 8), 0, ((A, b"\xff" * 8),)),
        "rt_sigprocmask(SIG_BLOCK, ~[], NULL, 8) = 0",
    ),
    (event("kill", (5, 15)), "kill(5, SIGTERM) = 0"),
    (event("socket", (2, 0x80001, 6), 4), "socket(AF_INET, SOCK_STREAM|SOCK_CLOEXEC, IPPROTO_TCP) = 4"),
    (
        event("connect", (4, A, 16), -115, ((A, LOCALHOST),)),
        'connect(4, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, 16)'
        " = -1 EINPROGRESS (Operation now in progress)",
    ),
    (
        event("connect", (4, A, 10), 0, ((A, b"\1\0/run/x\0\0"),)),
        'connect(4, {sa_family=AF_UNIX, sun_path="/run/x"}, 10) = 0',
    ),
    (
        event(
            "accept4",
            (4, A, B, 0),
            5,
            ((B, struct.pack("<I", 128)),),
            ((A, LOCALHOST), (B, struct.pack("<I", 16))),
        ),
        'accept4(4, {sa_family=AF_INET, sin_port=htons(8080), sin_addr=inet_addr("127.0.0.1")}, [128] => [16], 0) = 5',
    ),
    (
        event(
            "getsockopt",
            (4, 1, 4, A, B),
            0,
            ((B, struct.pack("<I", 4)),),
            ((A, struct.pack("<I", 111)), (B, struct.pack("<I", 4))),
        ),
        "getsockopt(4, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0",
    ),
    (
        event("setsockopt", (4, 6, 1, A, 4), 0, ((A, struct.pack("<I", 1)),)),
        "setsockopt(4, SOL_TCP, TCP_NODELAY, [1], 4) = 0",
    ),
    (
        event(
            "poll",
            (A, 1, (1 << 32) - 1),
            1,
            ((A, struct.pack("<ihh", 3, 1, 0)),),
            ((A, struct.pack("<ihh", 3, 1, 1)),),
        ),
        "poll([{fd=3, events=POLLIN, revents=POLLIN}], 1, -1) = 1",
    ),
    (
        event("select", (6, A, 0, 0, 0), 1, ((A, b"\x28" + bytes(7)),), ((A, b"\x08" + bytes(7)),)),
        "select(6, [3 5] => [3], NULL, NULL, NULL) = 1",
    ),
    (
        event("epoll_ctl", (4, 1, 5, A), 0, ((A, struct.pack("<IQ", 0x80000001, 5)),)),
        "epoll_ctl(4, EPOLL_CTL_ADD, 5, {events=EPOLLIN|EPOLLET, data=0x5}) = 0",
    ),
    (
        event("epoll_wait", (4, A, 64, 10), 1, (), ((A, struct.pack("<IQ", 1, 5)),)),
        "epoll_wait(4, [{events=EPOLLIN, data=0x5}], 64, 10) = 1",
    ),
    (
        event("writev", (1, A, 2), 5, ((A, struct.pack("<QQQQ", B, 2, C, 3)), (B, b"ab"), (C, b"cde"))),
        'writev(1, [{iov_base="ab", iov_len=2}, {iov_base="cde", iov_len=3}], 2) = 5',
    ),
    (
        event("readv", (0, A, 2), 3, ((A, struct.pack("<QQQQ", B, 2, C, 9)),), ((B, b"ab"), (C, b"c"))),
        'readv(0, [{iov_base="ab", iov_len=2}, {iov_base="c", iov_len=9}], 2) = 3',
    ),
    (
        event(
            "recvmsg",
            (4, A, 0),
            2,
            ((C, struct.pack("<QQ", D, 8)),),
            ((A, struct.pack("<QIxxxxQQQQixxxx", 0, 0, C, 1, 0, 0, 0)), (D, b"hi")),
        ),
        'recvmsg(4, {msg_name=NULL, msg_namelen=0, msg_iov=[{iov_base="hi", iov_len=8}], msg_iovlen=1,'
        " msg_controllen=0, msg_flags=0}, 0) = 2",
    ),
    (
        event("ioctl", (0, 0x5413, A), 0, (), ((A, struct.pack("<HHHH", 24, 80, 0, 0)),)),
        "ioctl(0, TIOCGWINSZ, {ws_row=24, ws_col=80, ws_xpixel=0, ws_ypixel=0}) = 0",
    ),
    (
        event("ioctl", (0, 0x5401, A), -25),
        "ioctl(0, TCGETS, 0x1000) = -1 ENOTTY (Inappropriate ioctl for device)",
    ),
    (
        event("ioctl", (0, 0x80044D00, A), 0, (), ((A, struct.pack("<I", 5)),)),
        "ioctl(0, _IOC(_IOC_READ, 0x4d, 0x0, 0x4), [5]) = 0",
    ),
    (event("fcntl", (3, 3), 0x8002), "fcntl(3, F_GETFL) = 0x8002 (O_RDWR|O_LARGEFILE)"),
    (event("fcntl", (3, 2, 1)), "fcntl(3, F_SETFD, FD_CLOEXEC) = 0"),
    (
        event("futex", (A, 0x80, 2, 0), -11, ((A, struct.pack("<I", 1)),)),
        "futex([1], FUTEX_WAIT_PRIVATE, 2, NULL) = -1 EAGAIN (Resource temporarily unavailable)",
    ),
    (
        event("prlimit64", (0, 3, 0, A), 0, (), ((A, struct.pack("<QQ", 8 << 20, (1 << 64) - 1)),)),
        "prlimit64(0, RLIMIT_STACK, NULL, {rlim_cur=8192*1024, rlim_max=RLIM64_INFINITY}) = 0",
    ),
    (event("pipe2", (A, 0x80000), 0, (), ((A, struct.pack("<ii", 3, 4)),)), "pipe2([3, 4], O_CLOEXEC) = 0"),
    (
        event(
            "uname",
            (A,),
            0,
            (),
            ((A, b"Linux".ljust(65, b"\0") + b"host".ljust(65, b"\0") + b"6.1".ljust(260, b"\0")),),
        ),
        'uname({sysname="Linux", nodename="host", release="6.1", ...}) = 0',
    ),
    (
        event("getrandom", (A, 4, 1), 4, (), ((A, b"\x00\x01\x412"),)),
        'getrandom("\\0\\1A2", 4, GRND_NONBLOCK) = 4',
    ),
    (event("prctl", (15, A), 0, ((A, b"worker\0"),)), 'prctl(PR_SET_NAME, "worker") = 0'),
    (event("arch_prctl", (0x1002, 0x7000)), "arch_prctl(ARCH_SET_FS, 0x7000) = 0"),
    (event("readlink", (A, B, 4096), 3, ((A, b"/l\0"),), ((B, b"abc"),)), 'readlink("/l", "abc", 4096) = 3'),
    (event("getcwd", (A, 99), 5, (), ((A, b"/tmp\0"),)), 'getcwd("/tmp", 99) = 5'),
    (
        event("sched_getaffinity", (0, 8, A), 8, (), ((A, b"\x05" + bytes(7)),)),
        "sched_getaffinity(0, 8, [0 2]) = 8",
    ),
]


@pytest.mark.parametrize(("call", "line"), CALLS, ids=lambda value: value[:24] if isinstance(value, str) else "")
def test_format(call: SyscallEvent, line: str) -> None:
    assert format_call(call) == line


def test_format_of_an_unknown_number() -> None:
    call = SyscallEvent(1, 1, 0, 0x1F4, (1, 2, 3, 4, 5, 6), -38, 0, (), ())
    line = "syscall_0x1f4(0x1, 0x2, 0x3, 0x4, 0x5, 0x6) = -1 ENOSYS (Function not implemented)"
    assert format_call(call) == line


def test_width() -> None:
    call = event("write", (1, A, 6), 6, ((A, b"abcdef"),))
    assert format_call(call, width=4) == 'write(1, "abcd"..., 6) = 6'


def test_decode() -> None:
    call = event("openat", (CWD, A, 0, 0), -2, ((A, b"/x\0"),))
    assert decode(call) == {
        "name": "openat",
        "args": {"dirfd": "AT_FDCWD", "pathname": '"/x"', "flags": "O_RDONLY"},
        "result": -2,
        "error": "ENOENT",
    }
    call = event("read", (3, A, 4), 2, (), ((A, b"hi"),))
    assert decode(call) == {
        "name": "read",
        "args": {"fd": 3, "buf": '"hi"', "count": 4},
        "result": 2,
        "error": None,
    }


ADDRESSES = st.sampled_from([0, 8, A, A + 8, B, B + 16, (1 << 64) - 4, (1 << 64) - 1])
VALUES = st.one_of(ADDRESSES, st.integers(-(1 << 64), 1 << 65))
CHUNKS = st.lists(
    st.tuples(
        st.one_of(ADDRESSES, st.integers(-10, 1 << 65)),
        st.one_of(
            st.binary(max_size=200),
            # Structures that point at each other and at themselves.
            st.lists(ADDRESSES, max_size=16).map(lambda words: struct.pack(f"<{len(words)}Q", *words)),
        ),
    ),
    max_size=5,
).map(tuple)
NUMBERS_OF_CALLS = st.one_of(st.sampled_from(sorted(TABLE)), st.integers(-5, 1 << 40))
COMMANDS = st.sampled_from([(call, command) for call in TABLE.values() for command in call.commands])


@settings(max_examples=600, deadline=None)
@given(
    NUMBERS_OF_CALLS,
    st.lists(VALUES, max_size=7).map(tuple),
    st.one_of(st.integers(-600, 600), st.integers(-(1 << 64), 1 << 64)),
    CHUNKS,
    CHUNKS,
    st.integers(-3, 5000),
)
def test_nothing_in_an_event_makes_printing_fail(
    nr: int,
    args: tuple[int, ...],
    result: int,
    inputs: tuple[tuple[int, bytes], ...],
    outputs: tuple[tuple[int, bytes], ...],
    width: int,
) -> None:
    call = SyscallEvent(1, 1, 0, nr, args, result, 0, inputs, outputs)
    assert isinstance(format_call(call, width=width), str)
    assert decode(call)["result"] == result


@settings(max_examples=400, deadline=None)
@given(COMMANDS, st.lists(VALUES, min_size=6, max_size=6), st.integers(-600, 600), CHUNKS, CHUNKS)
def test_no_command_makes_printing_fail(
    pair: tuple[Row, Row],
    args: list[int],
    result: int,
    inputs: tuple[tuple[int, bytes], ...],
    outputs: tuple[tuple[int, bytes], ...],
) -> None:
    call, command = pair
    assert call.selector is not None
    args[call.selector] = command.number & 0xFFFFFFFF
    if call.selector_high is not None:
        args[call.selector_high] = command.number >> 32
    line = format_call(SyscallEvent(1, 1, 0, call.number, tuple(args), result, 0, inputs, outputs))
    assert line.startswith(f"{call.name}(")
    if call.name not in ("madvise", "futex", "sysfs", "modify_ldt", "landlock_create_ruleset"):
        assert command.name in line
