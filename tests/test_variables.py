"""Variables that are read from memory, against what Python says of them itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from test_pythonstack import VICTIMS, each_interpreter, find, next_line, running, wait_for_read

from pyrr_debugger.pythonstack import Interpreter, PythonFrame, Value, Variables
from pyrr_debugger.pythonstack.memory import Reader, UnreadableError
from pyrr_debugger.pythonstack.variables import OBJECT_LAYOUTS


@contextmanager
def stopped(python: Path) -> Iterator[tuple[dict[str, str], Variables, dict[str, PythonFrame], Interpreter]]:
    """The victim, waiting: what it says, what reads its variables, and its frames by function."""
    with running(python, VICTIMS / "variables.py") as victim:
        said = json.loads(next_line(victim))
        wait_for_read(victim.pid)
        interpreter = find(victim.pid)
        variables = interpreter.variables()
        assert variables is not None
        (thread,) = interpreter.threads()
        yield said, variables, {frame.function.rpartition(".")[2]: frame for frame in thread.frames}, interpreter


def local(variables: Variables, frame: PythonFrame) -> dict[str, Value]:
    return variables.local_variables(frame.address, frame.code)


@each_interpreter()
def test_variables_are_what_python_says(python: Path) -> None:
    with stopped(python) as (said, variables, frames, _):
        found = local(variables, frames["values"])
        assert {name: str(value) for name, value in found.items() if name.startswith("as_")} == said
        assert len(said) > 10
        shown = {name: str(value) for name, value in found.items() if name not in said}
        arguments = variables.arguments(frames["values"].address, frames["values"].code)
        assert {name: str(value) for name, value in arguments.items()} == {
            "argument": "'given'",
            "positional": "1",
            "keyword": "'key'",
            "rest": "(2, 3)",
            "others": "{'extra': 'more'}",
        }
        assert "unassigned" not in shown
        assert shown["cycle"] == "[1, ...]"
        assert shown["plain"] == "<Plain one=1 two='two'>"
        assert shown["slotted"] == "<Slotted left=(1,) right={'a': []}>"
        assert shown["both"] == "<Both left=(1,) right={'a': []} more=3>"
        assert shown["crowded"].startswith("<Crowded name0=0 name1=1 name2=2")
        assert "name7=" not in shown["crowded"]
        assert "name49=49" in shown["crowded"]
        assert shown["text"] == "Text('of a class')"
        assert shown["items"] == "Items([1, 2])"
        assert shown["point"] == "Point((3, 4))"
        assert shown["failure"] == "Failure('message', 7)"
        assert shown["captured"] == "{'in': 'a cell'}"
        assert shown["inner"] == "<function inner>"


@each_interpreter()
def test_frames_of_every_kind(python: Path) -> None:
    """Of a closure, a generator, a class body and a module."""
    with stopped(python) as (_, variables, frames, _):
        inner = local(variables, frames["inner"])
        assert str(inner["captured"]) == "{'in': 'a cell'}"
        assert str(inner["free"]) == "1"
        assert str(local(variables, frames["generate"])["state"]) == "[1]"
        assert str(local(variables, frames["Body"])["in_class"]) == "'class body'"
        module = local(variables, frames["<module>"])
        assert str(module["__name__"]) == "'__main__'"
        assert str(module["json"]) == "<module 'json'>"
        assert str(module["Plain"]) == "<class 'Plain'>"
        assert str(variables.global_variables(frames["inner"].address)["__name__"]) == "'__main__'"
        assert str(variables.builtins(frames["inner"].address)["True"]) == "True"


@each_interpreter()
def test_paths_into_objects(python: Path) -> None:
    with stopped(python) as (_, variables, frames, _):
        found = local(variables, frames["values"])

        def text(value: Value | None) -> str:
            assert value is not None
            return str(value)

        nested: Any = found["as_dict"].item(b"k")
        assert text(nested.item("x").item("y")) == "0"
        assert text(found["as_dict"].item((3, 4))) == "None"
        assert text(found["as_lists"].item(-1)) == "[1, [2, [3]]]"
        assert text(found["both"].attribute("more")) == "3"
        assert text(found["both"].attribute("left")) == "(1,)"
        assert text(found["crowded"].attribute("name42")) == "42"
        assert found["both"].attribute("unset") is None
        assert found["as_dict"].item("missing") is None
        assert found["as_lists"].item(99) is None
        assert found["as_dict"].item(True) is None


@each_interpreter()
def test_no_traceback_where_nothing_failed(python: Path) -> None:
    with stopped(python) as (_, _, _, interpreter):
        (thread,) = interpreter.threads()
        assert interpreter.last_traceback() is None
        assert interpreter.handled(thread) is None


class Garbage:
    """Memory in which every word is the same."""

    def __init__(self, word: int) -> None:
        self._word = word

    def read(self, address: int, size: int) -> bytes:
        return (self._word.to_bytes(8, "little") * (size // 8 + 2))[address % 8 :][:size]


@pytest.mark.parametrize("word", [0, 1, 8, 0x1000, 0x7F00DEADBEE0, (1 << 64) - 1, 0x3F3F3F3F3F3F3F3F])
@pytest.mark.parametrize("version", OBJECT_LAYOUTS)
def test_garbage_takes_bounded_time(version: tuple[int, int], word: int) -> None:
    """Whatever is read, the answer is a value or `unreadable`, soon."""
    from pyrr_debugger.pythonstack.layouts import LAYOUTS

    layout = LAYOUTS.get(version, LAYOUTS[3, 12])
    variables = Variables(Reader(Garbage(word)), layout, OBJECT_LAYOUTS[version])
    assert isinstance(str(Value(0x1000, variables)), str)
    for read in (variables.local_variables, variables.arguments):
        try:
            read(0x1000, 0x2000)
        except UnreadableError:
            continue
