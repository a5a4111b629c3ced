"""`pyrr debug`."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator

import click

from .. import home
from ..replayer.position import Position, parse
from ..replayer.prompt import Prompt
from ..trace_reader import TraceReader
from . import completion

_PROMPT = "(pyrr) "


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option(
    "--to", "to", type=parse, metavar="POSITION", help="Open there; positions are those of 'pyrr replay --to'."
)
def command(trace: str | None, to: Position | None) -> None:
    """Look at a program of TRACE at any position, and move forward and backward.

    Opens at the failure: where the traceback of an uncaught exception is about to be printed, with the frames and the
    variables that it left; where a failed test of pytest or unittest raised its exception; at sys.exit(); or where a
    signal ends the program. Else where the program's Python code begins. The commands are pdb's, and their reverse
    (rs, rn, rc, ...); 'help' lists them.

    \b
    pyrr debug
    pyrr debug app-3 --to 'output:/^listening/'
    printf 'where\\nlocals\\nrstep\\n' | pyrr debug
    """
    from ..replayer.opening import Opening, open_at_failure
    from ..replayer.session import ReplaySession

    with TraceReader(home.find(trace)) as reader, ReplaySession(reader) as session:
        if sys.stdin.isatty():
            signal.signal(signal.SIGINT, lambda *_: session.interrupt())
        else:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
        if to is None:
            opening = open_at_failure(session)
        else:
            opening = Opening("the position asked for")
            session.seek(to)
        prompt = Prompt(session, sys.stdout)
        prompt.greet(opening.text, opening.frame)
        prompt.run(_typed(prompt) if sys.stdin.isatty() else _read())


def _read() -> Iterator[str]:
    """Commands from a file or a pipe, shown with the prompt, so that what is printed reads like a session."""
    for line in sys.stdin:
        print(_PROMPT + line.rstrip("\n"), flush=True)
        yield line


def _typed(prompt: Prompt) -> Iterator[str]:
    """Commands of a person at a terminal: with history, search and completion."""
    from prompt_toolkit import PromptSession
    from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
    from prompt_toolkit.completion import WordCompleter
    from prompt_toolkit.history import FileHistory

    history = home.history()
    terminal: PromptSession[str] = PromptSession(
        history=FileHistory(history) if history else None, auto_suggest=AutoSuggestFromHistory()
    )
    while True:
        try:
            yield terminal.prompt(_PROMPT, completer=WordCompleter(prompt.words))
        except KeyboardInterrupt:
            continue
        except EOFError:
            return
