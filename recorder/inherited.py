"""What a program has from those who started it, and no call of its own tells: kept with its first image.

The state inventory (pyrr_debugger/state) begins with it. docs/trace-format.md lists the keys.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time

from .. import procfs
from ..light import suppress

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from typing import Any

_F_DUPFD_QUERY = 1027  # Linux 6.10
_TCGETS2, _TIOCGWINSZ = 0x802C542A, 0x5413
_TERMIOS2_SIZE, _WINSIZE_SIZE = 44, 8
_OPTIONS = {"family": 39, "type": 3, "protocol": 38, "listening": 30}  # SO_DOMAIN, SO_TYPE, SO_PROTOCOL, SO_ACCEPTCONN


def inherited(process: int) -> dict[str, Any]:
    """What a process that this one has just forked and executed was given. Raises OSError when it is gone."""
    folder = f"/proc/{process}"
    return {
        "limits": _read(f"{folder}/limits"),
        "stat": _read(f"{folder}/stat"),
        "root": os.readlink(f"{folder}/root"),
        "namespaces": {name: os.readlink(f"{folder}/ns/{name}") for name in sorted(os.listdir(f"{folder}/ns"))},
        "clocks": {
            "monotonic": time.clock_gettime_ns(time.CLOCK_MONOTONIC),
            "realtime": time.clock_gettime_ns(time.CLOCK_REALTIME),
            "boottime": time.clock_gettime_ns(time.CLOCK_BOOTTIME),
        },
        "descriptors": _descriptors(process),
    }


def status_text(process: int) -> bytes:
    """The text of /proc/PID/status."""
    return _read(f"/proc/{process}/status")


def _descriptors(process: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for descriptor in procfs.descriptors(process):
        number = descriptor.number
        status = os.stat(f"/proc/{process}/fd/{number}")
        facts: dict[str, Any] = {
            "number": number,
            "stat": [*_identity(status), status.st_mode, status.st_rdev, status.st_size, status.st_mtime_ns],
            "fdinfo": _read(f"/proc/{process}/fdinfo/{number}"),
        }
        with suppress(OSError):
            # Ours is the same open file: the process has it from us.
            if _identity(os.fstat(number)) == _identity(status):
                facts |= _facts_of(number, status)
                twins = [other["number"] for other in found if other["stat"][:2] == facts["stat"][:2]]
                facts["same"] = next((twin for twin in twins if _is_same(number, twin)), number)
        found.append(facts)
    return found


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _facts_of(descriptor: int, status: os.stat_result) -> dict[str, Any]:
    if stat.S_ISCHR(status.st_mode) and os.isatty(descriptor):
        return {
            "termios": fcntl.ioctl(descriptor, _TCGETS2, bytes(_TERMIOS2_SIZE)),
            "winsize": fcntl.ioctl(descriptor, _TIOCGWINSZ, bytes(_WINSIZE_SIZE)),
        }
    if stat.S_ISSOCK(status.st_mode):
        return _socket_facts(descriptor)
    return {}


def _socket_facts(descriptor: int) -> dict[str, Any]:
    import socket  # only here: it takes a while to import

    with socket.socket(fileno=os.dup(descriptor)) as own:
        facts: dict[str, Any] = {}
        for name, option in _OPTIONS.items():
            with suppress(OSError):
                facts[name] = own.getsockopt(socket.SOL_SOCKET, option)
        for name, ask in (("local", own.getsockname), ("remote", own.getpeername)):
            with suppress(OSError):
                facts[name] = _packed(own.family, ask())
        return {"socket": facts}


def _packed(family: int, address: Any) -> bytes:
    """An address as struct sockaddr has it; of families that are neither IP nor Unix only the family."""
    import socket
    import struct

    head = struct.pack("=H", family)
    if family == socket.AF_UNIX:
        return head + os.fsencode(address)
    if family == socket.AF_INET:
        return head + struct.pack("!H", address[1]) + socket.inet_pton(family, address[0]) + bytes(8)
    if family == socket.AF_INET6:
        host, port, flow, scope = address
        packed = socket.inet_pton(family, host.partition("%")[0])
        return head + struct.pack("!HI", port, flow) + packed + struct.pack("=I", scope)
    return head


def _is_same(one: int, other: int) -> bool:
    """Whether two descriptors are one open file."""
    try:
        return bool(fcntl.fcntl(one, _F_DUPFD_QUERY, other) == 1)
    except OSError:
        pass
    import ctypes  # before Linux 6.10

    kcmp, pid = 312, os.getpid()
    return bool(ctypes.CDLL(None).syscall(kcmp, pid, pid, 0, one, other) == 0)


def _read(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()
