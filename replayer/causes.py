"""The Python lines that caused events: `pyrr dump --stack`."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..events import Event
    from ..pythonstack import PythonFrame
    from ..trace_reader import TraceReader
    from .session import ReplaySession


class Stacks:
    """One replay of a trace, which stops before each event that is asked for: in rising order. A context manager."""

    def __init__(self, trace: TraceReader) -> None:
        self._trace = trace
        self._session: ReplaySession | None = None

    def __enter__(self) -> Stacks:
        from .session import ReplaySession

        self._session = ReplaySession(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        if self._session is not None:
            self._session.close()

    def of(self, event: Event) -> tuple[PythonFrame, ...]:
        """The Python frames of an event's task when it comes to the event, innermost first."""
        from .place import python_stack

        session = self._session
        assert session is not None
        session.run(event.number)
        return python_stack(session, event.task) if event.task in session.tasks else ()
