"""Signals: dispositions, masks, sending, waiting."""

from __future__ import annotations

from .notation import row
from .spec import Effect, Replay, Row

ROWS: tuple[Row, ...] = (
    row(
        13,
        "rt_sigaction",
        "signal signum, <sigaction act, >sigaction oldact, size sigsetsize",
        effect=Effect.SIGNAL,
        source="sigaction",
    ),
    row(
        14,
        "rt_sigprocmask",
        "sigprocmask_how how, <sigset[sigsetsize] set, >sigset[sigsetsize] oldset, size sigsetsize",
        effect=Effect.SIGNAL,
        source="sigprocmask",
    ),
    row(15, "rt_sigreturn", replay=Replay.SPECIAL, result="none", source="sigreturn"),
    row(127, "rt_sigpending", ">sigset[sigsetsize] set, size sigsetsize", source="sigpending"),
    row(
        128,
        "rt_sigtimedwait",
        "<sigset[sigsetsize] set, >siginfo info, <timespec timeout, size sigsetsize",
        blocks=True,
        result="signal",
        source="sigwaitinfo",
    ),
    row(130, "rt_sigsuspend", "<sigset[sigsetsize] mask, size sigsetsize", blocks=True, source="sigsuspend"),
    row(34, "pause", blocks=True),
    row(131, "sigaltstack", "<sigaltstack ss, >sigaltstack old_ss", effect=Effect.SIGNAL),
    row(62, "kill", "pid pid, signal sig"),
    row(200, "tkill", "pid tid, signal sig"),
    row(234, "tgkill", "pid tgid, pid tid, signal sig", source="tkill"),
    row(129, "rt_sigqueueinfo", "pid tgid, signal sig, <siginfo info"),
    row(297, "rt_tgsigqueueinfo", "pid tgid, pid tid, signal sig, <siginfo info", source="rt_sigqueueinfo"),
    row(424, "pidfd_send_signal", "fd pidfd, signal sig, <siginfo info, pidfd_signal_flags flags"),
    row(
        282,
        "signalfd",
        "fd fd, <sigset[sizemask] mask, size sizemask",
        effect=Effect.OPEN,
        result="fd",
    ),
    row(
        289,
        "signalfd4",
        "fd fd, <sigset[sizemask] mask, size sizemask, signalfd_flags flags",
        effect=Effect.OPEN,
        result="fd",
        source="signalfd",
    ),
)
