"""Input and output that the kernel completes on its own: refused, so that programs fall back to plain calls.

The kernel would write results into memory shared with the program at moments which nothing marks.
"""

from __future__ import annotations

from .notation import row
from .spec import Replay, Row

ROWS: tuple[Row, ...] = (
    row(206, "io_setup", "uint nr_events, <>u64 ctx_idp", replay=Replay.REFUSE),
    row(207, "io_destroy", "hex ctx_id", replay=Replay.REFUSE),
    row(
        208,
        "io_getevents",
        "hex ctx_id, long min_nr, long nr, address events, <timespec timeout",
        replay=Replay.REFUSE,
    ),
    row(
        333,
        "io_pgetevents",
        "hex ctx_id, long min_nr, long nr, address events, <timespec timeout, address usig",
        replay=Replay.REFUSE,
    ),
    row(209, "io_submit", "hex ctx_id, long nr, address iocbpp", replay=Replay.REFUSE),
    row(210, "io_cancel", "hex ctx_id, address iocb, address result", replay=Replay.REFUSE),
    row(425, "io_uring_setup", "uint entries, address params", replay=Replay.REFUSE, result="fd"),
    row(
        426,
        "io_uring_enter",
        "fd fd, uint to_submit, uint min_complete, hex flags, address argp, size argsz",
        replay=Replay.REFUSE,
    ),
    row(427, "io_uring_register", "fd fd, uint opcode, address arg, uint nr_args", replay=Replay.REFUSE),
)
