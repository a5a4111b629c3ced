"""`pyrr state`."""

from __future__ import annotations

import json

import click

from .. import home
from ..errors import PyrrError
from ..replayer.position import Position, parse
from ..trace_reader import TraceReader
from . import completion
from .options import print_table, warn_if_cut

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from ..state.verdicts import Component


@click.command()
@click.argument("trace", required=False, shell_complete=completion.traces)
@click.option(
    "--to", "position", type=parse, metavar="POSITION", help="Where; by default 'exit', or the end of a cut trace."
)
@click.option("--process", "pid", type=int, metavar="PID", help="Only this process; see 'pyrr ps'.")
@click.option("--memory", is_flag=True, help="List every mapping, not only what cannot be restored as it was.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with all that is known.")
def command(trace: str | None, position: Position | None, pid: int | None, memory: bool, as_json: bool) -> None:
    """Show the state of TRACE at a position, from the log: each component, and what going live would do with it.

    A component is restored exactly, rebuilt, needs a choice (by class; the first is what 'pyrr resume' does without a
    policy), or cannot be restored. Positions are those of 'pyrr replay --to'.

    \b
    pyrr state
    pyrr state python3-4 --to 'output:/^ready/' --json
    """
    from ..live.policy import CHOICES
    from ..state.data import as_data
    from ..state.history import state_at
    from ..state.verdicts import components

    with TraceReader(home.find(trace)) as reader:
        reader.check()
        if position is None:
            position = parse("exit" if reader.end else "end")
        state = state_at(reader, position.resolve(reader))
        warn_if_cut(reader)
    if pid is not None and pid not in state.processes:
        raise PyrrError(f"no process {pid} lives at event {state.position}: 'pyrr ps' lists the processes")
    found = [one for one in components(state) if pid is None or one.process == pid]
    if as_json:
        verdicts = [
            {
                "process": one.process or None,
                "area": one.area,
                "text": one.text,
                "outcome": one.verdict.outcome.value,
                "how": one.verdict.text,
                "class": one.verdict.subject or None,
                "choices": list(CHOICES.get(one.verdict.subject, ())),
            }
            for one in found
        ]
        print(json.dumps({"state": as_data(state), "components": verdicts}))
        return
    _print(state.position, found, memory)


def _print(position: int, found: list[Component], memory: bool) -> None:
    from rich.table import Table

    from ..live.policy import CHOICES
    from ..state.verdicts import Outcome

    print(f"before event {position}")
    styles = {Outcome.EXACT: "green", Outcome.REBUILT: "green", Outcome.CHOICE: "yellow", Outcome.CANNOT: "red"}
    table = Table(box=None, pad_edge=False)
    for column in ("process", "component", "state", "going live"):
        table.add_column(column, overflow="fold")
    exact = 0
    for one in found:
        verdict = one.verdict
        if one.area == "memory" and verdict.outcome is Outcome.EXACT and not memory:
            exact += 1
            continue
        words = verdict.outcome.value + (f": {verdict.text}" if verdict.text else "")
        if verdict.outcome is Outcome.CHOICE:
            words += f" ({verdict.subject}: {', '.join(CHOICES[verdict.subject])})"
        style = styles[verdict.outcome]
        table.add_row(str(one.process or ""), one.area, _plain(one.text), f"[{style}]{_plain(words)}[/{style}]")
    print_table(table)
    if exact:
        print(f"{exact} mappings are restored exactly (--memory lists them)")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
