"""Futexes and what threads leave to the kernel.

In replay no thread ever waits in the kernel: `futex` is fed its result, and the word that the operations on
priority-inheriting locks change is fed too.
"""

from __future__ import annotations

from .notation import row
from .spec import Replay, Row


def _operation(number: int, name: str, args: str, *, blocks: bool = False) -> Row:
    return row(number, name, args, blocks=blocks, source="futex")


_WAIT = "<u32 uaddr, futex_op op, uint val, <timespec timeout"
_PI = "<>!u32 uaddr, futex_op op, uint val, <timespec timeout"

_OPERATIONS: tuple[Row, ...] = (
    _operation(0, "FUTEX_WAIT", _WAIT, blocks=True),
    _operation(1, "FUTEX_WAKE", "address uaddr, futex_op op, uint val"),
    _operation(2, "FUTEX_FD", "address uaddr, futex_op op, uint val"),
    _operation(3, "FUTEX_REQUEUE", "<u32 uaddr, futex_op op, uint val, ulong val2, <u32 uaddr2"),
    _operation(4, "FUTEX_CMP_REQUEUE", "<u32 uaddr, futex_op op, uint val, ulong val2, <u32 uaddr2, uint val3"),
    _operation(5, "FUTEX_WAKE_OP", "<u32 uaddr, futex_op op, uint val, ulong val2, <>!u32 uaddr2, futex_wake_op val3"),
    _operation(6, "FUTEX_LOCK_PI", _PI, blocks=True),
    _operation(7, "FUTEX_UNLOCK_PI", "<>!u32 uaddr, futex_op op"),
    _operation(8, "FUTEX_TRYLOCK_PI", "<>!u32 uaddr, futex_op op"),
    _operation(9, "FUTEX_WAIT_BITSET", f"{_WAIT}, address uaddr2, hex val3", blocks=True),
    _operation(10, "FUTEX_WAKE_BITSET", "address uaddr, futex_op op, uint val, ulong val2, address uaddr2, hex val3"),
    _operation(11, "FUTEX_WAIT_REQUEUE_PI", f"{_WAIT}, <>!u32 uaddr2", blocks=True),
    _operation(12, "FUTEX_CMP_REQUEUE_PI", "<u32 uaddr, futex_op op, uint val, ulong val2, <>!u32 uaddr2, uint val3"),
    _operation(13, "FUTEX_LOCK_PI2", _PI, blocks=True),
)

ROWS: tuple[Row, ...] = (
    row(
        202,
        "futex",
        "<>!u32 uaddr, futex_op op, uint val, hex timeout, <>!u32 uaddr2, uint val3",
        selector=1,
        selector_mask=0x7F,
        commands=_OPERATIONS,
        blocks=True,
    ),
    row(
        449,
        "futex_waitv",
        "<futex_waitv[nr_futexes] waiters, uint nr_futexes, uint flags, <timespec timeout, clockid clockid",
        blocks=True,
    ),
    row(454, "futex_wake", "address uaddr, hex mask, int nr, futex2_flags flags", source="futex"),
    row(
        455,
        "futex_wait",
        "<u32 uaddr, ulong val, hex mask, futex2_flags flags, <timespec timeout, clockid clockid",
        blocks=True,
        source="futex",
    ),
    row(
        456,
        "futex_requeue",
        "<futex_waitv[2] waiters, uint flags, int nr_wake, int nr_requeue",
        source="futex",
    ),
    row(273, "set_robust_list", "address head, size len"),
    row(274, "get_robust_list", "pid pid, >pointer head_ptr, >u64 len_ptr", source="set_robust_list"),
    # The kernel would write into the structure whenever it switches tasks.
    row(334, "rseq", "address rseq, uint rseq_len, hex flags, hex sig", replay=Replay.REFUSE),
    # Takes up a sleep that a stop had interrupted; what it writes is said by the call which it goes on with.
    row(219, "restart_syscall", replay=Replay.SPECIAL, blocks=True),
)
