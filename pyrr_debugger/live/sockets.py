"""The sockets of a program that goes live."""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ..errors import PyrrError
from ..state import model
from .decision import Decision, dead
from .policy import Policy

if TYPE_CHECKING:
    from ..state.contents import Contents

_TYPE_MASK = 0xF
_INTERNET = (socket.AF_INET, socket.AF_INET6)
_SCM_RIGHTS = 1
_SO_REUSEADDR = (socket.SOL_SOCKET, socket.SO_REUSEADDR)


class Sockets:
    """Decides about sockets, and makes them. The two ends of a connection within the program are made together."""

    def __init__(self, state: model.ProgramState, contents: Contents, policy: Policy) -> None:
        self._contents = contents
        self._policy = policy
        self._processes = list(state.processes.values())
        self._living: dict[int, model.Socket] = {
            slot.description.id: slot.description
            for process in state.processes.values()
            for slot in process.descriptors.values()
            if isinstance(slot.description, model.Socket)
        }
        self._waiting: dict[int, socket.socket] = {}
        """Other ends of connections that have been made, by the id of the socket that they stand for."""
        self._gone: dict[int, socket.socket] = {}
        """Other ends that are gone and have sent what is in flight, by the id of the socket that remains."""

    def decide(self, description: model.Socket, numbers: tuple[int, ...]) -> Decision:
        what = f"socket {address_text(description.local)}".rstrip()
        if description.remote and description.peer is None:
            what = f"connection to {address_text(description.remote)}".rstrip()
        if description.peer is not None or self._is_inner(description):
            return Decision("connection within the program", make=lambda: self._make_inner(description))
        subject = _subject(description)
        port = _port(description.local if description.state in ("listening", "bound") else description.remote)
        choice = self._policy.choice(subject, path=_path(description), port=port, descriptors=numbers)
        decision = Decision(what, "", subject, choice == "refuse")
        if choice == "dead":
            decision.text = "its other side is gone" if subject != "socket.listening" else "nobody can connect to it"
            decision.make = lambda: _dead_like(description)
        elif choice == "reconnect":
            decision.text = "it is connected anew"
            decision.make = lambda: _connected(description)
        elif choice in ("bind", "rebuild"):
            if description.bound_path:
                decision.text, decision.refused = _place(description.bound_path)
            decision.make = lambda: self._make_bound(description)
        elif choice == "refuse":
            decision.text = "it would have to be connected anew"
        return decision

    def _make_bound(self, description: model.Socket) -> int:
        before = os.umask(self._umask_of(description))
        try:
            return _bound(description)
        finally:
            os.umask(before)

    def _umask_of(self, description: model.Socket) -> int:
        """That of a process that has a socket: who may connect to it by its path."""
        for process in self._processes:
            if any(slot.description is description for slot in process.descriptors.values()):
                return process.directories.umask or 0
        return 0o077

    def _is_inner(self, description: model.Socket) -> bool:
        return any(other.peer == description.id for other in self._living.values())

    def _make_inner(self, description: model.Socket) -> int:
        if description.id in self._waiting:
            return self._waiting.pop(description.id).detach()
        if description.peer not in self._living:
            return self._make_widow(description)
        ours, other = _pair(description)
        assert description.peer is not None
        self._waiting[description.peer] = other
        return ours.detach()

    def _make_widow(self, description: model.Socket) -> int:
        """One whose other end is gone; what that has sent may still be in flight."""
        ours, other = _pair(description)
        if description.queue:
            self._gone[description.id] = other
        else:
            other.close()
        return ours.detach()

    def close_unused(self) -> None:
        """Closes the ends that nobody has asked for."""
        for one in self._waiting.values():
            one.close()
        self._waiting.clear()

    def close(self) -> None:
        """Closes what stands for ends that were gone."""
        for one in self._gone.values():
            one.close()
        self._gone.clear()

    def fill(self, made: dict[int, int]) -> None:
        """Sends what is in flight: `made` are our descriptors by the id of their descriptions. Raises PyrrError."""
        for one in self._living.values():
            if not one.queue or one.id not in made:
                continue
            gone = self._gone.get(one.id)
            sender = gone.fileno() if gone is not None else made.get(one.peer) if one.peer is not None else None
            if sender is None:
                raise PyrrError("data is in flight from a socket outside of the program: this cannot be rebuilt")
            with socket.socket(fileno=os.dup(sender)) as end:
                end.setblocking(False)
                for message in one.queue:
                    passed = [made[p.id] for p in message.passed if p.id in made]
                    rights = (
                        [(socket.SOL_SOCKET, _SCM_RIGHTS, struct.pack(f"<{len(passed)}i", *passed))] if passed else []
                    )
                    data = self._contents.bytes(message.spans)
                    try:
                        sent = end.sendmsg([data], rights)
                    except OSError as error:
                        raise PyrrError(
                            f"what is in flight in a socket cannot be sent again: {error.strerror}"
                        ) from None
                    if sent != len(data):
                        raise PyrrError("what is in flight in a socket does not fit into a new one")


def _subject(description: model.Socket) -> str:
    if description.state == "listening":
        return "socket.listening"
    stream = description.type & _TYPE_MASK in (socket.SOCK_STREAM, socket.SOCK_SEQPACKET)
    if description.state in ("connected", "connecting", "closed") and stream:
        return "socket.unix" if description.family == socket.AF_UNIX else "socket.connected"
    if description.state == "connected" and description.family == socket.AF_UNIX:
        return "socket.unix"
    return "socket.other"


def _new(description: model.Socket) -> socket.socket:
    return socket.socket(description.family, description.type & _TYPE_MASK, description.protocol)


def _set_options(one: socket.socket, description: model.Socket) -> None:
    for (level, option), value in description.options.items():
        try:
            one.setsockopt(level, option, value)
        except OSError:
            continue  # not for a socket in this state, or not without privilege


def _bound(description: model.Socket) -> int:
    one = _new(description)
    _set_options(one, description)
    try:
        if description.local and description.state != "new":
            if _SO_REUSEADDR not in description.options and description.family in _INTERNET:
                one.setsockopt(*_SO_REUSEADDR, 1)  # connections of before may linger
            if description.family == socket.AF_UNIX and description.local[2:3] not in (b"", b"\0"):
                _bind_path(one, description)
            else:
                one.bind(address(description.local))
        if description.state == "listening":
            one.listen(description.backlog or 0)
        elif description.state == "connected" and description.remote:
            one.connect(address(description.remote))
    except OSError as error:
        one.close()
        raise PyrrError(f"{address_text(description.local)} cannot be bound again: {error.strerror}") from None
    return one.detach()


def _bind_path(one: socket.socket, description: model.Socket) -> None:
    """Binds a Unix socket where its name was at the position. Raises OSError."""
    path, name = description.bound_path, os.fsdecode(address(description.local))
    if path is None:  # it had none any more
        with tempfile.TemporaryDirectory() as folder:
            one.bind(os.path.join(folder, "socket"))
        return
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    with suppress(FileNotFoundError):
        os.unlink(path)  # of before: nobody has it (_place)
    # By the name that it was given, which others may ask for, and which may have to be short.
    relative = not os.path.isabs(name) and path.endswith("/" + name)
    folder = path[: -len(name)] if relative else os.path.dirname(path)
    present = os.open(".", os.O_PATH)
    try:
        os.chdir(folder)
        one.bind(name if relative or path == name else os.path.basename(path))
    finally:
        os.fchdir(present)
        os.close(present)


def _place(path: str) -> tuple[str, bool]:
    """What there is to say of the place where a Unix socket is to have its name, and whether it cannot have it."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        folder = os.path.dirname(path)
        return ("" if os.path.isdir(folder) else f"{folder} is gone and is made again for it"), False
    except OSError as error:
        return f"{path} cannot be reached ({error.strerror})", True
    if not stat.S_ISSOCK(mode):
        return "there is another file now: move that away, or choose dead", True
    # Whoever has a stream there does not notice what asks for datagrams; and asking these sends nothing.
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
        try:
            one.connect(path)
        except OSError as error:
            if error.errno == errno.ECONNREFUSED:
                return "", False
            if error.errno != errno.EPROTOTYPE:
                return f"{path} cannot be reached ({error.strerror})", True
    return "another program is listening there: end that, or choose dead", True


def _connected(description: model.Socket) -> int:
    one = _new(description)
    _set_options(one, description)
    try:
        one.connect(address(description.remote))
    except OSError as error:
        one.close()
        raise PyrrError(f"{address_text(description.remote)} cannot be connected to: {error.strerror}") from None
    return one.detach()


def _dead_like(description: model.Socket) -> int:
    """A socket of the same family whose peer has closed."""
    if description.type & _TYPE_MASK != socket.SOCK_STREAM or description.family not in _INTERNET:
        return dead()
    ours, other = _pair(description)
    other.close()
    return ours.detach()


def _pair(description: model.Socket) -> tuple[socket.socket, socket.socket]:
    """Two sockets that are connected."""
    kind = description.type & _TYPE_MASK
    if description.family not in _INTERNET:
        return socket.socketpair(description.family, kind, 0)
    host = "127.0.0.1" if description.family == socket.AF_INET else "::1"
    if kind == socket.SOCK_STREAM:
        with socket.create_server((host, 0), family=description.family) as server:
            ours = socket.create_connection(server.getsockname()[:2])
            other, _ = server.accept()
    else:
        ours, other = (socket.socket(description.family, kind) for _ in range(2))
        for one in (ours, other):
            one.bind((host, 0))
        ours.connect(other.getsockname())
        other.connect(ours.getsockname())
    for one in (ours, other):
        _set_options(one, description)
    return ours, other


def address(data: bytes) -> Any:
    """A struct sockaddr as the socket module has it."""
    family = int.from_bytes(data[:2], "little")
    if family == socket.AF_INET:
        return socket.inet_ntop(family, data[4:8]), int.from_bytes(data[2:4], "big")
    if family == socket.AF_INET6:
        port, flow, scope = int.from_bytes(data[2:4], "big"), int.from_bytes(data[4:8], "big"), data[24:28]
        return socket.inet_ntop(family, data[8:24]), port, flow, int.from_bytes(scope, "little")
    if family == socket.AF_UNIX:
        path = data[2:]
        return path if path[:1] == b"\0" else path.partition(b"\0")[0]
    if family == socket.AF_NETLINK and len(data) >= 12:
        return struct.unpack_from("<4xII", data)
    raise PyrrError(f"an address of family {family} cannot be given to a socket")


def address_text(data: bytes) -> str:
    """An address in words."""
    if len(data) < 4:
        return ""
    try:
        found = address(data)
    except (PyrrError, OSError, ValueError):
        return ""
    if isinstance(found, bytes):
        return os.fsdecode(found).replace("\0", "@", 1)
    return ":".join(map(str, found[:2])) if isinstance(found, tuple) else ""


def _path(description: model.Socket) -> str | None:
    if description.bound_path is not None and description.state in ("listening", "bound"):
        return description.bound_path
    data = description.local if description.state in ("listening", "bound") else description.remote
    if int.from_bytes(data[:2], "little") != socket.AF_UNIX or len(data) < 3:
        return None
    return address_text(data)


def _port(data: bytes) -> int | None:
    family = int.from_bytes(data[:2], "little")
    return int.from_bytes(data[2:4], "big") if family in _INTERNET and len(data) >= 4 else None
