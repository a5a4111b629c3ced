"""The state of a recorded program at any position: its processes and their kernel objects, from the log alone.

`history.state_at` walks the events of a trace and gives a `model.ProgramState`; `verdicts` says of each component
what going live would do with it; `contents` finds the bytes that are in flight.
"""

from __future__ import annotations
