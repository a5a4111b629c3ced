"""Failures of the outside suites that have a name: the only place where they are written down."""

CAUSES: tuple[tuple[str, str, str, str], ...] = (
    # suite, column, item (or "item test"), cause; the last three with the wildcards of a shell
)
