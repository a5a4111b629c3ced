"""Failures of the outside suites that have a name: the only place where they are written down."""

SPIN = "a thread spins on memory which another one writes, without a system call (no bytecode clock yet)"

CAUSES: tuple[tuple[str, str, str, str], ...] = (
    # suite, column, item (or "item test"), cause; the last three with the wildcards of a shell
    ("cpython", "*", "test_threading.InterruptMainTests*", SPIN),
)
