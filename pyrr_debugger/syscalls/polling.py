"""Waiting for descriptors: select, poll, epoll, and the descriptors that exist to be waited for."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Row

# Linux updates the time left whenever there is one, also after an error or a signal, and poll its `revents`
# likewise.
_SETS = "int nfds, <>!fd_set[nfds] readfds, <>!fd_set[nfds] writefds, <>!fd_set[nfds] exceptfds"

ROWS: tuple[Row, ...] = (
    row(23, "select", f"{_SETS}, <>!timeval timeout", blocks=True),
    row(
        270,
        "pselect6",
        f"{_SETS}, <>!timespec timeout, <sigset_argpack sigmask",
        blocks=True,
        source="select",
    ),
    row(7, "poll", "<>!pollfd[nfds] fds, uint nfds, msec timeout", blocks=True),
    row(
        271,
        "ppoll",
        "<>!pollfd[nfds] fds, uint nfds, <>!timespec tmo_p, <sigset[sigsetsize] sigmask, size sigsetsize",
        blocks=True,
        source="poll",
    ),
    row(213, "epoll_create", "int size", effect=Effect.OPEN, result="fd"),
    row(291, "epoll_create1", "epoll_flags flags", effect=Effect.OPEN, result="fd", source="epoll_create"),
    row(233, "epoll_ctl", "fd epfd, epoll_op op, fd fd, <epoll_event event", effect=Effect.WATCH),
    row(232, "epoll_wait", "fd epfd, >epoll_event[result] events, int maxevents, msec timeout", blocks=True),
    row(
        281,
        "epoll_pwait",
        "fd epfd, >epoll_event[result] events, int maxevents, msec timeout, <sigset[sigsetsize] sigmask, "
        "size sigsetsize",
        blocks=True,
        source="epoll_wait",
    ),
    row(
        441,
        "epoll_pwait2",
        "fd epfd, >epoll_event[result] events, int maxevents, <timespec timeout, "
        "<sigset[sigsetsize] sigmask, "
        "size sigsetsize",
        blocks=True,
        source="epoll_wait",
    ),
    row(214, "epoll_ctl_old"),
    row(215, "epoll_wait_old"),
    row(284, "eventfd", "uint initval", effect=Effect.OPEN, result="fd"),
    row(
        290,
        "eventfd2",
        "uint initval, eventfd_flags flags",
        effect=Effect.OPEN,
        result="fd",
        source="eventfd",
    ),
)
