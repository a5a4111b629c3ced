"""The one class of errors that a user meets."""


class PyrrError(Exception):
    """Something went wrong that the user should read as one message, never as a traceback.

    The message says what happened, where, and what to do. `status` is the exit status of the command:
    2 for a trace or a request that cannot be used, 3 for a divergence.
    """

    status = 2


class TakenError(PyrrError):
    """Something is already where a new trace is to be."""


class TraceError(PyrrError):
    """A trace that is damaged, of an unknown version, or not a trace at all."""
