"""One crash, found in each debugger: the transcripts in docs/transcripts.md are what these tests see.

With PYRR_TRANSCRIPTS=1 they are written anew.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

import harness
import pytest
import test_dap
from harness import Interpreter, Surroundings

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "examples" / "ledger.py"
DOCUMENT = ROOT / "docs" / "transcripts.md"

COMMANDS = """\
where
locals
break amount_of, not text.isdigit()
rcontinue
p text
up
locals
until 15
seek exception
rnext
p result, amount
"""


@pytest.fixture
def trace(one_interpreter: Interpreter, tmp_path: Path) -> Path:
    around = Surroundings(cwd=ROOT)
    harness.record(tmp_path / "trace", one_interpreter.path, "examples/ledger.py", around=around)
    return tmp_path / "trace"


def compare(name: str, text: str) -> None:
    """With what the document has under a name; paths, ids and the numbers of events are not the same everywhere."""
    text = text.replace(f"{ROOT}/", "")
    text = re.sub(r"^/[^ :]*/trace: .*examples", "TRACE: python examples", text, flags=re.MULTILINE)
    text = re.sub(r"\bevent \d+, task \d+", "event 2070, task 4711", text)
    text = re.sub(r", \d+ events\.", ", 2163 events.", text)
    # What is printed of a traceback, and in how many writes, differs between versions.
    text = re.sub(r"(event .*: (?:on its way to )?)write\(2, .*", r"\1write(2, ...)", text)
    text = text.rstrip() + "\n"
    document = DOCUMENT.read_text()
    block = re.compile(rf"(<!-- {name} -->\n```\n)(.*?)(```\n)", re.DOTALL)
    if os.environ.get("PYRR_TRANSCRIPTS") == "1":
        DOCUMENT.write_text(block.sub(lambda match: match[1] + text + match[3], document))
    found = block.search(DOCUMENT.read_text())
    assert found
    assert found[2] == text


def test_prompt(trace: Path) -> None:
    result = harness.pyrr("debug", trace, around=Surroundings(stdin=COMMANDS.encode(), cwd=ROOT))
    assert result.status == 0, str(result)
    compare("prompt", result.stdout.decode())


def test_editor(trace: Path) -> None:
    with test_dap.serving() as client:
        said = []

        def where(how: str) -> None:
            function, line = client.where()[0]
            said.append(f"{how:<52} stands at {function}, line {line}")

        client.launch(trace)
        where("launch")
        variables = {name: one["value"] for name, one in client.variables().items()}
        said.append(f"{'scopes, variables':<52} {variables}")
        breakpoints = [{"name": "amount_of", "condition": "not text.isdigit()"}]
        client.ask("setFunctionBreakpoints", breakpoints=breakpoints)
        said.append("setFunctionBreakpoints amount_of, if not text.isdigit()")
        client.move("reverseContinue")
        where("reverseContinue")
        said.append(f"{'evaluate text':<52} {client.evaluate('text')}")
        for command in ("next", "next", "stepBack"):
            client.move(command)
            where(command)
        client.ask("setFunctionBreakpoints", breakpoints=[])
        client.move("continue")
        where("continue")
        said.append(f"{'exceptionInfo':<52} {client.ask('exceptionInfo', threadId=client.thread)['exceptionId']}")
        client.ask("disconnect")
    compare("editor", "\n".join(said))
