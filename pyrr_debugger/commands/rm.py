"""`pyrr rm`."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import click

from .. import home
from ..errors import PyrrError, TraceError
from ..trace_place import place_of
from . import completion


@click.command()
@click.argument("traces", nargs=-1, required=True, shell_complete=completion.traces)
def command(traces: tuple[str, ...]) -> None:
    """Remove TRACES (paths or names).

    \b
    pyrr rm python3-4 python3-5
    """
    for name in traces:
        path = Path(home.find(name))
        packed = path.is_file() and _is_packed(path)
        if not packed and not ((path / "header").is_file() and (path / "events").is_file()):
            raise PyrrError(f"{path} is not a trace, so it is not removed")
        if path.is_symlink() and not packed:
            raise PyrrError(f"{path} is a link: name what it points at, {os.path.realpath(path)}")
        for folder in (path.parent,) if packed else (path.parent, path, path / "files"):
            if folder.exists() and not os.access(folder, os.W_OK | os.X_OK):
                raise PyrrError(f"{path} cannot be removed: {folder} cannot be written")
        try:
            path.unlink() if packed else shutil.rmtree(path)
        except OSError as error:
            raise PyrrError(f"{path} cannot be removed: {error.strerror or error}") from None
        home.forget_latest()


def _is_packed(path: Path) -> bool:
    try:
        place_of(str(path)).close()
    except TraceError:
        return False
    return True
