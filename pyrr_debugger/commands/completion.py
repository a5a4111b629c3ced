"""What a shell completes beside subcommands and options: traces, programs, system calls."""

from __future__ import annotations

import os
from contextlib import suppress

import click
from click.shell_completion import CompletionItem

from .. import home
from ..errors import PyrrError


def traces(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """The named traces; where none of them fits, the files."""
    names: list[str] = []
    with suppress(PyrrError):
        names = [os.path.basename(path) for path in home.traces()]
    return _or_files(names, incomplete)


def command(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """A program in PATH as the first word, else files."""
    names: set[str] = set()
    if not ctx.params.get("command"):
        for folder in os.environ.get("PATH", "").split(":"):
            with suppress(OSError), os.scandir(folder) as entries:
                names.update(e.name for e in entries if e.name.startswith(incomplete) and os.access(e, os.X_OK))
    return _or_files(sorted(names), incomplete)


def system_calls(_: click.Context, __: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Names of system calls."""
    from ..syscalls import BY_NAME

    return [CompletionItem(name) for name in sorted(BY_NAME) if name.startswith(incomplete)]


def _or_files(names: list[str], incomplete: str) -> list[CompletionItem]:
    # The shell completes files by itself where it is told so and given nothing else.
    return [CompletionItem(incomplete, type="file"), *(CompletionItem(n) for n in names if n.startswith(incomplete))]
