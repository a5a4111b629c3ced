"""Where exceptions are raised: where CPython notes the first frame that one leaves (PyTraceBack_Here).

An exception that C code raises and clears without a Python frame seeing it is none here, as it is none for a tracing
function. A hardware stop on the function's first instruction shows each frame that an exception comes through; the
first one of an exception is that for which it has no traceback yet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice

from ..errors import PyrrError
from .backward import hits_of, spans
from .breakpoints import is_raised
from .lines import Thread
from .place import interpreter_of, python_functions
from .session import ReplaySession
from .stack import stack_of
from .traps import Trap

_FUNCTION = "PyTraceBack_Here"
_SAMPLES = 8


class Raises:
    """Moves of a session to exceptions that are raised."""

    def __init__(self, session: ReplaySession) -> None:
        self._session = session
        self._trap: Trap | None = None

    def trap(self) -> Trap:
        """The function's first instruction. The session stays where it is. Raises PyrrError where no Python runs."""
        if self._trap is None:
            here = self._session.place
            self._trap = self._find()
            self._session.go(here)
        return self._trap

    def _find(self) -> Trap:
        session, count = self._session, self._session.trace.count
        for position in [session.position, *(count * part // _SAMPLES for part in range(1, _SAMPLES))]:
            session.seek(position)
            for task in session.tasks:
                if interpreter_of(session, task) is not None:
                    return Trap(python_functions(session, task, (_FUNCTION,))[_FUNCTION], 1, "execute")
        raise PyrrError("no Python runs in this trace, so that it has no exceptions")

    def is_raised(self) -> bool:
        """Whether the session stands where an exception leaves its first frame."""
        return is_raised(Thread(self._session, self._session.midway))

    def forward(self, until: int, accept: Callable[[], bool] = lambda: True, most: int | None = None) -> bool:
        """To the next exception that is raised and accepted; False where event `until` comes first, or none of the next
        `most` is: it stands at the last of these."""
        return any(accept() for _ in islice(self._behind(until), most))

    def backward(self, least: int, accept: Callable[[], bool] = lambda: True, most: int | None = None) -> bool:
        """To the last one before this place; False if there is none from event `least` on, or among the last `most`:
        it stands at that event."""
        if any(accept() for _ in islice(self._before(least), most)):
            return True
        self._session.seek(least)
        return False

    def _behind(self, until: int) -> Iterator[None]:
        """Goes to each exception that is raised behind this place."""
        trap = self.trap()
        while self._session.run_to([trap], until):
            if self.is_raised():
                yield

    def _before(self, least: int) -> Iterator[None]:
        """Goes to each exception that was raised before this place, the last one first."""
        trap, session = self.trap(), self._session
        for start, end in spans(session, session.simplified(session.place), least):
            for _, hits in hits_of(session, [trap], start, end):
                for hit in reversed(hits):
                    session.go(hit.place)
                    if self.is_raised():
                        yield

    def uncaught(self) -> bool:
        """To where the exception of the failure was raised, which nobody caught or which is reported; False if there is
        none."""
        from .debugger import Debugger
        from .opening import open_at_failure

        session = self._session
        open_at_failure(session)
        debugger = Debugger(session)
        if debugger.raising() is not None:
            return True
        stack = stack_of(session, debugger.task) if debugger.task in session.tasks else None
        if stack is not None and stack.exception is None:
            stack = debugger.handled()
        place = debugger.raise_of(stack) if stack is not None and stack.exception is not None else None
        if place is None:
            return False
        session.go(place)
        return self.forward(session.trace.count, lambda: session.midway == debugger.task)
