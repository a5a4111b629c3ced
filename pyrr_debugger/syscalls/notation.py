"""The notation in which rows are written: a C-like argument list that says what is read and what is written.

    row(0, "read", "fd fd, >bytes[result] buf, size count", blocks=True)
    row(4, "stat", "<path pathname, >stat statbuf")
    row(7, "poll", "<>!pollfd[nfds] fds, uint nfds, msec timeout", blocks=True)
    row(43, "accept", "fd sockfd, >sockaddr[*addrlen] addr, <>i32 addrlen", ...)

Each argument is MARKS TYPE NAME. The marks say which way the memory behind a pointer goes; an argument
without marks is a plain number.

    <     the kernel reads it
    >     the kernel writes it when the call succeeds
    >!    the kernel may write it whatever the result
    >?    the kernel writes it when the call fails

The type says how much: the size of one element from `structures.SIZES`, times what stands in brackets.

    stat                 one of it
    pollfd[nfds]         as many as argument `nfds` says
    bytes[result]        as many as the result says
    bytes[result/size]   the same, but never more than argument `size`
    sockaddr[*addrlen]   value-result: argument `addrlen` points at the 32-bit size (`**`: 64-bit)
    i32[2]               two

and some types are sized in their own way: `path` and `string` (to the NUL), `strings` (execve),
`iovec[count]`, `msghdr`, `mmsghdr[count]`, `fd_set[bits]`, `ioctl` (by the size in the request),
`msgbuf[size]`, `pages[length]`, `changed[N]` (whatever changed within N bytes). What cannot be said so is
added as a `Transfer`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from .spec import Effect, Kind, Replay, Row, Transfer, When
from .structures import SIZES

_ARGUMENT = re.compile(r"(<?)(>[!?]?)?(\w+)(?:\[([^]]*)\])? (\w+)$")
_WHEN = {">": When.SUCCESS, ">!": When.ALWAYS, ">?": When.ERROR}
_STRINGS = {"path": Kind.STRING, "string": Kind.STRING, "strings": Kind.STRINGS}

Arguments = tuple[tuple[tuple[str, str], ...], tuple[Transfer, ...], tuple[Transfer, ...]]


def row(
    number: int,
    name: str,
    args: str = "",
    *,
    replay: Replay = Replay.EMULATE,
    effect: Effect = Effect.NONE,
    effect_arg: int = 0,
    blocks: bool = False,
    result: str = "int",
    ins: Sequence[Transfer] = (),
    outs: Sequence[Transfer] = (),
    selector: int | None = None,
    selector_mask: int = 0xFFFFFFFF,
    selector_high: int | None = None,
    commands: tuple[Row, ...] = (),
    source: str = "",
) -> Row:
    """A `Row` from an argument list in the notation of this module; the rest are fields of `Row`."""
    pairs, marked_ins, marked_outs = parse(args)
    return Row(
        name,
        number,
        pairs,
        marked_ins + tuple(ins),
        marked_outs + tuple(outs),
        replay=replay,
        effect=effect,
        effect_arg=effect_arg,
        blocks=blocks,
        result=result,
        selector=selector,
        selector_mask=selector_mask,
        selector_high=selector_high,
        commands=commands,
        source=source,
    )


@cache
def parse(args: str) -> Arguments:
    """The (type, name) pairs, the inputs and the outputs of an argument list."""
    matches = []
    for text in filter(None, (part.strip() for part in args.split(","))):
        match = _ARGUMENT.match(text)
        if match is None:
            raise ValueError(f"not an argument: {text!r}")
        matches.append(match)
    positions = {match[5]: position for position, match in enumerate(matches)}
    pairs: list[tuple[str, str]] = []
    ins: list[Transfer] = []
    outs: list[Transfer] = []
    for position, (reads, writes, kind, extent, name) in enumerate(match.groups() for match in matches):
        pairs.append((kind if extent is None else f"{kind}[{extent}]", name))
        if reads and kind == "sock_fprog":
            ins.append(Transfer(position, Kind.FILTER))
        elif reads:
            ins.append(_transfer(position, kind, extent, positions, When.SUCCESS))
        if writes:
            outs.append(_transfer(position, kind, extent, positions, _WHEN[writes]))
            # To find the buffers the kernel reads these descriptions of them, and so does whoever prints the
            # call.
            if kind == "iovec" and not reads:
                ins.append(Transfer(position, Kind.ARGUMENT, SIZES["iovec"], positions[extent]))
            elif kind == "msghdr" and not reads:
                ins.append(Transfer(position, Kind.FIXED, SIZES["msghdr"]))
            elif kind == "mmsghdr" and not reads:
                ins.append(Transfer(position, Kind.ARGUMENT, SIZES["mmsghdr"], positions[extent]))
    return tuple(pairs), tuple(ins), tuple(outs)


def _transfer(position: int, kind: str, extent: str | None, positions: dict[str, int], when: When) -> Transfer:
    if kind in _STRINGS:
        return Transfer(position, _STRINGS[kind], when=when)
    if kind == "msghdr":
        return Transfer(position, Kind.MSGHDR, when=when)
    if kind == "ioctl":
        return Transfer(position, Kind.IOCTL, when=when)
    if kind == "changed":
        return Transfer(position, Kind.CONSERVATIVE, int(extent or ""), when=when)
    counted = {
        "iovec": Kind.IOVEC,
        "mmsghdr": Kind.MMSGHDR,
        "fd_set": Kind.FDSET,
        "msgbuf": Kind.MSGBUF,
        "pages": Kind.PAGES,
    }
    if kind in counted:
        return Transfer(position, counted[kind], 1, positions[extent or ""], when)
    if extent is None:
        return Transfer(position, Kind.FIXED, SIZES[kind], 0, when)
    unit = SIZES[kind]
    if extent == "result":
        return Transfer(position, Kind.RESULT, unit, 0, when)
    if extent.startswith("result/"):
        return Transfer(position, Kind.RESULT_UP_TO, unit, positions[extent[7:]], when)
    if extent.startswith("**"):
        return Transfer(position, Kind.POINTEE64, unit, positions[extent[2:]], when)
    if extent.startswith("*"):
        return Transfer(position, Kind.POINTEE, unit, positions[extent[1:]], when)
    if extent.isdigit():
        return Transfer(position, Kind.FIXED, unit * int(extent), 0, when)
    return Transfer(position, Kind.ARGUMENT, unit, positions[extent], when)
