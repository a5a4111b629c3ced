"""What becomes of the components of a program's state when it goes live: the user's choice.

A policy is a small TOML file:

    preset = "reopen"            # or strict, sandbox

    [defaults]                   # by class
    "file.changed" = "refuse"
    "socket.connected" = "reconnect"

    [[override]]                 # the last that fits prevails
    path = "/var/log/*"          # or port = 8080, or descriptor = 5
    choice = "dead"
"""

from __future__ import annotations

import fnmatch
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import PyrrError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

CHOICES: dict[str, tuple[str, ...]] = {
    "file": ("reopen", "copy", "restore", "dead", "refuse"),
    "file.changed": ("reopen", "copy", "restore", "dead", "refuse"),
    "file.gone": ("copy", "restore", "dead", "refuse"),
    "file.deleted": ("copy", "dead", "refuse"),
    "directory": ("reopen", "dead", "refuse"),
    "device": ("reopen", "dead", "refuse"),
    "terminal": ("present", "dead", "refuse"),
    "stream": ("present", "reopen", "dead", "refuse"),
    "pipe.foreign": ("dead", "refuse"),
    "fifo": ("reopen", "dead", "refuse"),
    "socket.listening": ("bind", "dead", "refuse"),
    "socket.connected": ("dead", "reconnect", "refuse"),
    "socket.unix": ("dead", "reconnect", "refuse"),
    "socket.other": ("rebuild", "dead", "refuse"),
    "mapped": ("reopen", "copy", "refuse"),
    "mapped.changed": ("copy", "reopen", "restore", "refuse"),
    "lock": ("retake", "drop", "refuse"),
    "pid": ("keep", "new"),
    "clock": ("continue", "present"),
    "unknown": ("dead", "refuse"),
}
"""By class: what can be chosen. The first is what `reopen` does."""

_STRICT = {
    name: "refuse"
    for name in CHOICES
    if name not in ("directory", "device", "terminal", "stream", "file", "mapped", "lock")
}
_STRICT |= {
    "socket.other": "rebuild",
    "socket.listening": "bind",
    "file.deleted": "copy",
    "pid": "keep",
    "clock": "continue",
}
_SANDBOX = {
    "file": "copy",
    "file.changed": "copy",
    "file.gone": "copy",
    "mapped": "copy",
    "mapped.changed": "copy",
    "socket.listening": "dead",
    "socket.connected": "dead",
    "socket.unix": "dead",
    "fifo": "dead",
    "lock": "drop",
}
PRESETS: dict[str, dict[str, str]] = {"reopen": {}, "strict": _STRICT, "sandbox": _SANDBOX}


@dataclass(frozen=True)
class Override:
    """A choice for what has this path (a pattern as in shells), port or descriptor."""

    choice: str
    path: str | None = None
    port: int | None = None
    descriptor: int | None = None

    def fits(self, path: str | None, port: int | None, descriptors: tuple[int, ...]) -> bool:
        return not (
            (self.path is not None and not (path is not None and fnmatch.fnmatch(path, self.path)))
            or (self.port is not None and self.port != port)
            or (self.descriptor is not None and self.descriptor not in descriptors)
        )


@dataclass(frozen=True)
class Policy:
    """What to do with each class, and exceptions."""

    preset: str = "reopen"
    defaults: dict[str, str] = field(default_factory=dict)
    overrides: tuple[Override, ...] = ()

    def choice(
        self, subject: str, path: str | None = None, port: int | None = None, descriptors: tuple[int, ...] = ()
    ) -> str:
        """What becomes of a component of a class. Raises PyrrError where an override makes no sense for it."""
        chosen = self.defaults.get(subject) or PRESETS[self.preset].get(subject) or CHOICES[subject][0]
        for override in self.overrides:
            if override.fits(path, port, descriptors):
                chosen = override.choice
        if chosen not in CHOICES[subject]:
            raise PyrrError(f"a policy cannot choose {chosen} for {path or subject}: {_alternatives(subject)}")
        return chosen


def load(name: str | None) -> Policy:
    """A preset by its name, or a policy file. Raises PyrrError."""
    if name is None or name in PRESETS:
        return Policy(name or "reopen")
    try:
        return parse(Path(name).read_text())
    except (OSError, UnicodeDecodeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or error
        raise PyrrError(f"{name} is no policy ({reason}): give a file, or one of {', '.join(PRESETS)}") from None


def parse(text: str) -> Policy:
    """A policy from TOML. Raises PyrrError for one that says what cannot be done."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PyrrError(f"the policy is no TOML: {error}") from None
    _only(data, "preset", "defaults", "override")
    preset, defaults, overrides = data.get("preset", "reopen"), data.get("defaults", {}), data.get("override", [])
    if not (isinstance(preset, str) and isinstance(defaults, dict) and isinstance(overrides, list)):
        raise PyrrError('a policy has preset = "NAME", a table [defaults], and tables [[override]]')
    if preset not in PRESETS:
        raise PyrrError(f"the policy has no preset {preset!r}: {', '.join(PRESETS)}")
    for subject, choice in defaults.items():
        if subject not in CHOICES:
            raise PyrrError(f"the policy knows no class {subject!r}: {', '.join(CHOICES)}")
        if choice not in CHOICES[subject]:
            raise PyrrError(f"the policy cannot choose {choice!r} for {subject}: {_alternatives(subject)}")
    return Policy(preset, defaults, tuple(_override(one) for one in overrides))


def _override(data: Any) -> Override:
    if not isinstance(data, dict):
        raise PyrrError("an override of a policy is a table: [[override]]")
    _only(data, "choice", "path", "port", "descriptor")
    if not isinstance(data.get("choice"), str) or len(data) < 2:
        raise PyrrError("an override of a policy has a choice, and a path, port or descriptor")
    for name, kind in (("path", str), ("port", int), ("descriptor", int)):
        if name in data and type(data[name]) is not kind:
            raise PyrrError(f"an override of a policy has {name} = {data[name]!r}: that is no {kind.__name__}")
    return Override(**data)


def _only(data: dict[str, Any], *known: str) -> None:
    for name in data:
        if name not in known:
            raise PyrrError(f"the policy has {name!r}, which means nothing: {', '.join(known)}")


def _alternatives(subject: str) -> str:
    return "it can be " + ", ".join(CHOICES[subject])
