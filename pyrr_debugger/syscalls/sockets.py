"""Sockets. An address comes with its length, which is asked for and answered through one pointer."""

from __future__ import annotations

from . import socket_options
from .notation import row
from .spec import Effect, Row

ROWS: tuple[Row, ...] = (
    row(
        41,
        "socket",
        "socket_domain domain, socket_type type, socket_protocol protocol",
        effect=Effect.OPEN,
        result="fd",
    ),
    row(
        53,
        "socketpair",
        "socket_domain domain, socket_type type, socket_protocol protocol, >fd_pair sv",
        effect=Effect.OPEN_PAIR,
        effect_arg=3,
    ),
    row(49, "bind", "fd sockfd, <sockaddr[addrlen] addr, socklen addrlen", effect=Effect.SOCKET),
    row(50, "listen", "fd sockfd, int backlog", effect=Effect.SOCKET),
    row(
        42,
        "connect",
        "fd sockfd, <sockaddr[addrlen] addr, socklen addrlen",
        effect=Effect.SOCKET,
        blocks=True,
    ),
    row(
        43,
        "accept",
        "fd sockfd, >sockaddr[*addrlen] addr, <>i32 addrlen",
        effect=Effect.OPEN,
        blocks=True,
        result="fd",
    ),
    row(
        288,
        "accept4",
        "fd sockfd, >sockaddr[*addrlen] addr, <>i32 addrlen, socket_flags flags",
        effect=Effect.OPEN,
        blocks=True,
        result="fd",
        source="accept",
    ),
    row(51, "getsockname", "fd sockfd, >sockaddr[*addrlen] addr, <>i32 addrlen"),
    row(52, "getpeername", "fd sockfd, >sockaddr[*addrlen] addr, <>i32 addrlen"),
    row(
        44,
        "sendto",
        "fd sockfd, <bytes[len] buf, size len, msg_flags flags, <sockaddr[addrlen] dest_addr, socklen addrlen",
        effect=Effect.WRITE,
        blocks=True,
        result="long",
        source="send",
    ),
    # With MSG_TRUNC the result may be more than the buffer holds.
    row(
        45,
        "recvfrom",
        "fd sockfd, >bytes[result/len] buf, size len, msg_flags flags, >sockaddr[*addrlen] src_addr, <>i32 addrlen",
        blocks=True,
        result="long",
        source="recv",
    ),
    row(
        46,
        "sendmsg",
        "fd sockfd, <msghdr msg, msg_flags flags",
        effect=Effect.WRITE,
        blocks=True,
        result="long",
        source="send",
    ),
    row(47, "recvmsg", "fd sockfd, >msghdr msg, msg_flags flags", blocks=True, result="long", source="recv"),
    row(
        307,
        "sendmmsg",
        "fd sockfd, <>mmsghdr[vlen] msgvec, uint vlen, msg_flags flags",
        effect=Effect.WRITE,
        blocks=True,
    ),
    row(
        299,
        "recvmmsg",
        "fd sockfd, >mmsghdr[vlen] msgvec, uint vlen, msg_flags flags, <>!timespec timeout",
        blocks=True,
    ),
    row(48, "shutdown", "fd sockfd, shutdown_how how", effect=Effect.SOCKET),
    row(
        54,
        "setsockopt",
        "fd sockfd, sockopt_level level, sockopt_name optname, <option[optlen] optval, socklen optlen",
        effect=Effect.SOCKET,
        selector=2,
        selector_high=1,
        commands=socket_options.SET,
    ),
    # The length that would be needed is answered with some errors, too (SO_PEERSEC, SO_PEERGROUPS: ERANGE).
    row(
        55,
        "getsockopt",
        "fd sockfd, sockopt_level level, sockopt_name optname, >option[*optlen] optval, <>!i32 optlen",
        selector=2,
        selector_high=1,
        commands=socket_options.GET,
        source="getsockopt",
    ),
)
