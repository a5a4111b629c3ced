"""The command line of `pyrr`. Each subcommand is a file of its own in `commands`, imported when it is called."""

from __future__ import annotations

import sys
from importlib import import_module

import click

from .errors import PyrrError

_COMMANDS = {
    "record": "Record a program and its children.",
    "hunt": "Record under chaos until the program fails; find the order that does it.",
    "replay": "Replay a trace, to its end or to an event.",
    "dap": "Serve an editor (VS Code): look at a program, step backward.",
    "debug": "Look at a program at any position; step backward.",
    "gdb": "Look at a program at any position with gdb.",
    "dump": "Print the events of a trace, like strace.",
    "info": "Describe a trace.",
    "verify": "Replay a trace and compare all of its memory.",
    "ps": "Show the processes of a trace.",
    "checkpoint": "Have a long trace opened anywhere at once.",
    "pack": "Make one file of a trace, to be kept or sent.",
    "state": "Show the kernel objects of a program at any position.",
    "ls": "List the traces.",
    "resume": "Let a program live on from any position.",
    "rm": "Remove traces.",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in _COMMANDS:
            return None
        command = import_module(f".commands.{cmd_name}", __package__).command
        assert isinstance(command, click.Command)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))


@click.command(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog='Completion: eval "$(_PYRR_COMPLETE=bash_source pyrr)" (or zsh_source, fish_source).',
)
@click.version_option(package_name="pyrr-debugger", prog_name="pyrr")
def cli() -> None:
    """Record a Python program; replay it to any point, exactly, as often as you like.

    \b
    pyrr record python app.py     record
    pyrr dump                     see what it did
    pyrr replay --to 1200         stand before event 1200
    pyrr debug                    look around where it failed, and go back from there
    """


def run() -> None:
    """Runs the command line. Raises PyrrError for what it should not have said, KeyboardInterrupt where it is
    interrupted."""
    try:
        cli(prog_name="pyrr", standalone_mode=False)
    except click.Abort:
        raise KeyboardInterrupt from None
    except click.ClickException as error:
        if isinstance(error, getattr(click.exceptions, "NoArgsIsHelpError", ())):
            error.show()
            sys.exit(PyrrError.status)
        context = getattr(error, "ctx", None)
        words = " ".join(error.format_message().split()).removesuffix(".")
        named = next((word for word in sys.argv[1:2] if word in _COMMANDS), None)
        where = context.command_path if context else f"pyrr {named}" if named else "pyrr"
        raise PyrrError(f"{words[:1].lower()}{words[1:]}; see '{where} --help'") from None
