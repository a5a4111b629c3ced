"""Sockets: their states, whom they are connected to, and what is on its way between those of the program itself."""

from __future__ import annotations

import os
import struct

from .call import Call
from .model import Description, Message, Socket, Span, Unknown
from .world import O_CLOEXEC, O_NONBLOCK, World, handles, take

_AF_UNIX, _AF_INET, _AF_INET6 = 1, 2, 10
_SOCK_STREAM = 1
_TYPE_MASK = 0xF
_MSG_PEEK, _MSG_CMSG_CLOEXEC, _MSG_ERRQUEUE = 2, 0x40000000, 0x2000
_SOL_SOCKET, _SO_ERROR, _SCM_RIGHTS = 1, 4, 1
_MSGHDR = "<QIxxxxQQQQi"  # name, its length, iovecs, their count, control, its length, flags


def _new(world: World, call: Call, family: int, type_: int, protocol: int) -> Socket:
    flags = os.O_RDWR | type_ & O_NONBLOCK
    return Socket(
        id=world.new_id(), flags=flags, event=call.number, family=family, type=type_ & _TYPE_MASK, protocol=protocol
    )


@handles("socket")
def _socket(world: World, call: Call) -> None:
    made = _new(world, call, call.signed(0), call.args[1], call.signed(2))
    world.install(call.process, call.result, made, bool(call.args[1] & O_CLOEXEC))


@handles("socketpair")
def _pair(world: World, call: Call) -> None:
    numbers = call.numbers("<ii", call.answered_argument(3, 8))
    if not numbers:
        return
    one, other = (_new(world, call, call.signed(0), call.args[1], call.signed(2)) for _ in range(2))
    one.peer, other.peer = other.id, one.id
    for number, socket in zip(numbers, (one, other), strict=True):
        socket.state = "connected"
        world.install(call.process, number, socket, bool(call.args[1] & O_CLOEXEC))


@handles("bind")
def _bind(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        socket.local = call.asked_argument(1, call.args[2] & 0xFFFFFFFF)
        socket.state = "bound"
        path = unix_path(socket.local)
        if path:
            socket.bound_path = world.resolve(call, None, path)


@handles("listen")
def _listen(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        socket.state, socket.backlog = "listening", call.signed(1)


def begin_connecting(world: World, call: Call) -> None:
    """A call to connect that succeeded, or goes on in the background."""
    socket = call.description(0)
    if not isinstance(socket, Socket):
        return
    address = call.asked_argument(1, call.args[2] & 0xFFFFFFFF)
    if address[:2] in (b"\0\0", b"") and socket.type != _SOCK_STREAM:
        socket.remote, socket.peer, socket.state = b"", None, "bound" if socket.local else "new"
        return
    socket.remote = address
    socket.state = "connected" if call.result == 0 else "connecting"
    other = _bound_to(world, call, socket, address)
    if other is None:
        return
    if other.state != "listening":
        socket.peer = other.id  # of datagrams: in one direction only
        return
    waiting = [s for s in world.sockets.values() if s.accepted_from == other.id and s.peer is None]
    for accepted in waiting:
        if socket.local and accepted.remote and not _same_address(socket.local, accepted.remote):
            continue
        _join(socket, accepted)
        return
    other.pending.append(socket.id)
    socket.listener = other.id


handles("connect")(begin_connecting)


def _bound_to(world: World, call: Call, socket: Socket, address: bytes) -> Socket | None:
    """The program's own socket that has an address."""
    path = unix_path(address)
    full = world.resolve(call, None, path) if path else None
    for other in world.sockets.values():
        if other.family != socket.family and {other.family, socket.family} != {_AF_INET, _AF_INET6}:
            continue
        if other is socket or other.type != socket.type or other.accepted_from is not None or other.remote:
            continue
        if full is not None:
            if other.bound_path == full and other.state in ("bound", "listening"):
                return other
        elif other.local and other.state in ("bound", "listening") and _reaches(address, other.local):
            return other
    return None


def _reaches(address: bytes, local: bytes) -> bool:
    """Whether what is sent to an address comes to a socket that is bound to another: the same, or any of the
    machine."""
    if address == local:
        return True
    if address[:2] == struct.pack("=H", _AF_UNIX) or address[2:4] != local[2:4] or local[2:4] == b"\0\0":
        return False
    host = _host(local)
    return not any(host) or _host(address) == host or (not any(_host(address)) and _is_loopback(host))


def _host(address: bytes) -> bytes:
    return address[4:8] if address[:2] == struct.pack("=H", _AF_INET) else address[8:24]


def _is_loopback(host: bytes) -> bool:
    return host[:1] == b"\x7f" or host == bytes(15) + b"\1"


def _same_address(one: bytes, other: bytes) -> bool:
    return one[2:4] == other[2:4] and _host(one) == _host(other)


def _join(client: Socket, accepted: Socket) -> None:
    client.peer, accepted.peer = accepted.id, client.id
    client.state = "connected"
    if not client.local and accepted.family != _AF_UNIX:
        client.local = accepted.remote
    # What the client has sent before anybody accepted lies with it.
    accepted.queue, client.early = client.early, []
    if client.remote and not accepted.local and accepted.family != _AF_UNIX:
        accepted.local = client.remote


@handles("accept", "accept4")
def _accept(world: World, call: Call) -> None:
    listening = call.description(0)
    if not isinstance(listening, Socket):
        return
    flags = call.args[3] if call.event.nr == 288 else 0
    made = _new(world, call, listening.family, listening.type | flags & O_NONBLOCK, listening.protocol)
    made.state, made.accepted_from = "connected", listening.id
    made.local = listening.local if listening.family == _AF_UNIX else b""
    size = call.numbers("<i", call.answered_argument(2, 4))
    made.remote = call.answered_argument(1, size[0]) if size else b""
    made.options = dict(listening.options)
    world.install(call.process, call.result, made, bool(flags & O_CLOEXEC))
    for number in listening.pending:
        client = world.sockets.get(number)
        if client is None:
            continue
        if client.local and made.remote and client.family != _AF_UNIX and not _same_address(client.local, made.remote):
            continue
        listening.pending.remove(number)
        _join(client, made)
        return


@handles("getsockname")
def _local_name(world: World, call: Call) -> None:
    size = call.numbers("<i", call.answered_argument(2, 4))
    if isinstance(socket := call.description(0), Socket) and size:
        local = call.answered_argument(1, size[0])
        if len(local) > 2:
            socket.local = local


@handles("getpeername")
def _peer_name(world: World, call: Call) -> None:
    size = call.numbers("<i", call.answered_argument(2, 4))
    if isinstance(socket := call.description(0), Socket) and size:
        socket.remote = call.answered_argument(1, size[0]) or socket.remote
        if socket.state == "connecting":
            socket.state = "connected"


@handles("shutdown")
def _shutdown(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        socket.shut |= call.signed(1) + 1


@handles("setsockopt")
def _set_option(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        socket.options[call.signed(1), call.signed(2)] = call.asked_argument(3, call.args[4] & 0xFFFFFFFF)


@handles("getsockopt")
def _get_option(world: World, call: Call) -> None:
    socket = call.description(0)
    if not isinstance(socket, Socket) or (call.signed(1), call.signed(2)) != (_SOL_SOCKET, _SO_ERROR):
        return
    error = call.numbers("<i", call.answered_argument(3, 4))
    if error and socket.state == "connecting":
        socket.state = "connected" if error[0] == 0 else "new"
        if error[0] and socket.listener in world.sockets:
            listening = world.sockets[socket.listener]
            listening.pending = [n for n in listening.pending if n != socket.id]


# ---- what is sent and received ----


def sent(world: World, call: Call, socket: Socket, length: int, part: int = 0, message: bytes = b"") -> None:
    """Bytes have left through a socket; `message` is the struct msghdr that said how, if one did."""
    socket.sent += length
    header = call.numbers(_MSGHDR, message)
    target: Socket | None = world.sockets.get(socket.peer) if socket.peer else None
    address = b""
    if header:
        address = call.asked(header[0], header[1]) if header[0] else b""
    elif call.event.nr == 44 and call.args[4]:
        address = call.asked_argument(4, call.args[5] & 0xFFFFFFFF)
    if address and socket.type != _SOCK_STREAM:
        target = _bound_to(world, call, socket, address)
    passed = _rights(call, header) if header else []
    descriptions = [call.process.descriptors[n].description for n in passed if n in call.process.descriptors]
    if target is None:
        if socket.listener in world.sockets and socket.peer is None:
            socket.early.append(Message([Span(0, length, call.number, part)], descriptions, socket.id))
        return
    if target.shut & 1:
        return
    early = 0
    if target.type == _SOCK_STREAM:
        early = min(target.ahead, length)
        target.ahead -= early
        if length == early and not descriptions:
            return
    spans = [Span(0, length - early, call.number, part + early)]
    target.queue.append(Message(spans, descriptions, socket.id))


def received(world: World, call: Call, socket: Socket, length: int, message: bytes = b"", flags: int = 0) -> None:
    """Bytes have come in through a socket."""
    if flags & (_MSG_PEEK | _MSG_ERRQUEUE):
        return
    socket.received += length
    header = call.numbers(_MSGHDR, message)
    passed: list[Description] = []
    if socket.type == _SOCK_STREAM:
        left = length
        while socket.queue and (left > 0 or (socket.queue[0].passed and header)):
            first = socket.queue[0]
            passed += first.passed
            first.passed = []
            left = take(first.spans, left)
            if not first.spans:
                del socket.queue[0]
        if socket.peer is not None:
            socket.ahead += left
        if length == 0 and not (header and passed):
            socket.ended = True
    elif socket.queue:
        passed = socket.queue.pop(0).passed
    if header:
        for at, number in enumerate(_rights(call, header, received=True)):
            description = passed[at] if at < len(passed) else _from_outside(world, call)
            world.install(call.process, number, description, bool(flags & _MSG_CMSG_CLOEXEC))


def _from_outside(world: World, call: Call) -> Unknown:
    return Unknown(id=world.new_id(), flags=os.O_RDWR, event=call.number, what="received from outside of the recording")


def _rights(call: Call, header: tuple[int, ...], received: bool = False) -> list[int]:
    """The descriptors in the control messages of a struct msghdr."""
    address, size = header[4], min(header[5], 65536)
    if not address or not size:
        return []
    data = call.answered(address, size) if received else call.asked(address, size)
    found: list[int] = []
    at = 0
    while at + 16 <= len(data):
        length, level, kind = struct.unpack_from("<Qii", data, at)
        if length < 16 or at + length > len(data):
            break
        if (level, kind) == (_SOL_SOCKET, _SCM_RIGHTS):
            found += struct.unpack_from(f"<{(length - 16) // 4}i", data, at + 16)
        at += -(-length // 8) * 8
    return found


@handles("sendto")
def _sendto(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        sent(world, call, socket, call.result)


@handles("sendmsg")
def _sendmsg(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        sent(world, call, socket, call.result, 0, call.asked_argument(1, 56))


@handles("sendmmsg")
def _sendmmsg(world: World, call: Call) -> None:
    socket, part = call.description(0), 0
    if isinstance(socket, Socket):
        for index in range(call.result):
            entry = call.args[1] + 64 * index
            length = int.from_bytes(call.answered(entry + 56, 4), "little")
            sent(world, call, socket, length, part, call.asked(entry, 56))
            part += length


@handles("recvfrom")
def _recvfrom(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        received(world, call, socket, min(call.result, call.args[2]), flags=call.args[3])


@handles("recvmsg")
def _recvmsg(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        received(world, call, socket, call.result, call.answered_argument(1, 56), call.args[2])


@handles("recvmmsg")
def _recvmmsg(world: World, call: Call) -> None:
    if isinstance(socket := call.description(0), Socket):
        for index in range(call.result):
            entry = call.args[1] + 64 * index
            length = int.from_bytes(call.answered(entry + 56, 4), "little")
            received(world, call, socket, length, call.answered(entry, 56), call.args[3])


# ---- addresses ----


def unix_path(address: bytes) -> str | None:
    """The path in a struct sockaddr_un; None of an abstract or unnamed one, and of other families."""
    if address[:2] != struct.pack("=H", _AF_UNIX) or address[2:3] in (b"", b"\0"):
        return None
    return os.fsdecode(address[2:].partition(b"\0")[0])
