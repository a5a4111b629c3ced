"""`pyrr dap`: a client that goes through a crash, and checks each message against the specification."""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import harness
import pytest
from harness import LONG, PYRR, Interpreter, Surroundings, victim

SOURCE = str(victim("steps"))
Message = dict[str, Any]

# What the specification (https://microsoft.github.io/debug-adapter-protocol/specification) says of what is sent here:
# names and types, those with * must be there. A name alone is one of the other types.
TYPES = {
    "Source": "name:str path:str sourceReference:int presentationHint:str origin:str",
    "Message": "id*:int format*:str showUser:bool",
    "Breakpoint": "id:int verified*:bool message:str source:Source line:int column:int",
    "Thread": "id*:int name*:str",
    "StackFrame": "id*:int name*:str source:Source line*:int column*:int presentationHint:str",
    "Scope": "name*:str presentationHint:str variablesReference*:int expensive*:bool indexedVariables:int",
    "Variable": "name*:str value*:str type:str variablesReference*:int namedVariables:int indexedVariables:int",
    "GotoTarget": "id*:int label*:str line*:int",
    "Filter": "filter*:str label*:str default:bool description:str",
    "initialize": "exceptionBreakpointFilters:[Filter] supports*",
    "setBreakpoints": "breakpoints*:[Breakpoint]",
    "setFunctionBreakpoints": "breakpoints*:[Breakpoint]",
    "setExceptionBreakpoints": "breakpoints:[Breakpoint]",
    "threads": "threads*:[Thread]",
    "stackTrace": "stackFrames*:[StackFrame] totalFrames:int",
    "scopes": "scopes*:[Scope]",
    "variables": "variables*:[Variable]",
    "evaluate": "result*:str type:str variablesReference*:int namedVariables:int indexedVariables:int",
    "continue": "allThreadsContinued:bool",
    "exceptionInfo": "exceptionId*:str description:str breakMode*:str",
    "loadedSources": "sources*:[Source]",
    "source": "content*:str mimeType:str",
    "gotoTargets": "targets*:[GotoTarget]",
    "error": "error:Message",
    "event initialized": "",
    "event stopped": "reason*:str description:str threadId:int allThreadsStopped:bool hitBreakpointIds:[int] text:str",
    "event terminated": "",
    "event output": "category:str output*:str",
}
BUILT_IN = {"int": int, "str": str, "bool": bool}


def check(kind: str, value: Any) -> None:
    """That a value is one of a type of the specification."""
    if kind.startswith("["):
        assert isinstance(value, list), (kind, value)
        for one in value:
            check(kind[1:-1], one)
    elif kind in BUILT_IN:
        assert type(value) is BUILT_IN[kind], (kind, value)
    else:
        assert isinstance(value, dict), (kind, value)
        known = dict((*word.split(":"), "bool")[:2] for word in TYPES[kind].split())
        for name, of in known.items():
            assert name in value or not name.endswith("*") or name[:-1] in value or name == "supports*", (kind, name)
            if name.rstrip("*") in value:
                check(of, value[name.rstrip("*")])
        for name in value:
            capability = "supports*" in known and re.fullmatch("supports?[A-Z][A-Za-z]+", name)
            assert name in known or f"{name}*" in known or capability, (kind, name)


class Client:
    """An editor: sends requests, checks what comes back."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._in, self._out = incoming, outgoing
        self._sent = self._received = 0
        self.events: list[Message] = []
        self.transcript: list[str] = []

    def send(self, command: str, arguments: object) -> int:
        self._sent += 1
        message = {"seq": self._sent, "type": "request", "command": command, "arguments": arguments}
        data = json.dumps(message).encode()
        self._out.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        self._out.flush()
        return self._sent

    def _receive(self) -> Message:
        head = self._in.readline()
        assert head.startswith(b"Content-Length: "), head
        assert self._in.readline() == b"\r\n"
        message: Message = json.loads(self._in.read(int(head.split()[1])))
        self._received += 1
        assert message["seq"] == self._received
        if message["type"] == "event":
            check(f"event {message['event']}", message.get("body", {}))
        else:
            assert message["type"] == "response"
            assert type(message["success"]) is bool
            assert type(message["request_seq"]) is int
            kind = message["command"] if message["success"] else "error"
            if kind in TYPES or "body" in message:
                check(kind, message.get("body", {}))
            assert message["success"] or isinstance(message["message"], str)
        return message

    def answer(self, command: str, arguments: object) -> Message:
        number = self.send(command, arguments)
        while (message := self._receive())["type"] == "event":
            self.events.append(message)
        assert (message["request_seq"], message["command"]) == (number, command)
        return message

    def ask(self, command: str, **arguments: object) -> Any:
        message = self.answer(command, arguments)
        assert message["success"], message
        return message.get("body")

    def event(self, name: str) -> Message:
        while True:
            for message in self.events:
                if message["event"] == name:
                    self.events.remove(message)
                    return message.get("body", {})
            self.events.append(self._receive())

    def move(self, command: str, **arguments: object) -> tuple[str, str, int]:
        """Why it stopped, function and line."""
        self.ask(command, threadId=self.thread, **arguments)
        reason = self.event("stopped")["reason"]
        function, line = self.where()[0]
        self.transcript.append(f"{command:<16} {reason:<20} {function}, line {line}")
        return reason, function, line

    def launch(self, trace: Path, **arguments: object) -> Message:
        self.ask("initialize", adapterID="pyrr", linesStartAt1=True)
        self.ask("launch", trace=str(trace), **arguments)
        self.event("initialized")
        self.ask("setExceptionBreakpoints", filters=["uncaught"])
        self.ask("configurationDone")
        stopped = self.event("stopped")
        self.thread = stopped["threadId"]
        return stopped

    def frames(self, **window: int) -> list[Message]:
        found: list[Message] = self.ask("stackTrace", threadId=self.thread, **window)["stackFrames"]
        return found

    def where(self) -> list[tuple[str, int]]:
        return [(frame["name"].rpartition(".")[2], frame["line"]) for frame in self.frames()]

    def variables(self, scope: int = 0) -> dict[str, Message]:
        scopes = self.ask("scopes", frameId=self.frames()[0]["id"])["scopes"]
        found = self.ask("variables", variablesReference=scopes[scope]["variablesReference"])
        return {one["name"]: one for one in found["variables"]}

    def evaluate(self, text: str, context: str = "watch") -> str:
        return str(self.ask("evaluate", expression=text, frameId=self.frames()[0]["id"], context=context)["result"])


@contextmanager
def serving() -> Iterator[Client]:
    process = subprocess.Popen([PYRR, "dap"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin
    assert process.stdout
    assert process.stderr
    try:
        yield Client(process.stdout, process.stdin)  # type: ignore[arg-type]
        process.stdin.close()
        assert process.wait(harness.TIMEOUT) == 0
        assert process.stderr.read() == b""
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def trace(one_interpreter: Interpreter, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("dap")
    (directory / "scratch").mkdir()
    around = Surroundings(env=harness.victim_environment(directory / "scratch"), cwd=directory)
    harness.record(directory / "trace", one_interpreter.path, SOURCE, around=around)
    return directory / "trace"


def test_a_crash_is_found(trace: Path) -> None:
    """From the traceback back to the call that is to blame: breakpoints of all kinds, both ways, variables."""
    with serving() as client:
        stopped = client.launch(trace)
        assert stopped["reason"] == "exception"
        assert client.where() == [("main", 26), ("<module>", 30)]
        info = client.ask("exceptionInfo", threadId=client.thread)
        assert info["exceptionId"] == "ZeroDivisionError"
        assert client.frames(startFrame=1, levels=1)[0]["line"] == 30
        variables = client.variables()
        assert variables["limit"]["value"] == "0"
        done = variables["done"]
        assert (done["type"], done["indexedVariables"]) == ("dict", 5)
        page = client.ask("variables", variablesReference=done["variablesReference"], start=1, count=2)["variables"]
        assert [one["name"] for one in page] == ["[1]", "[2]"]
        inner = client.ask("variables", variablesReference=page[1]["variablesReference"], filter="indexed")
        assert [one["value"] for one in inner["variables"]] == ["2", "4"]
        assert client.evaluate("len(done) - limit") == "5"
        assert client.evaluate("done[3]", "hover") == "[3, 6]"
        assert client.evaluate("limit = 3", "repl") == ""
        assert not client.answer("evaluate", {"expression": "1 / 0"})["success"]
        assert client.move("stepBack") == ("step", "main", 25)
        assert client.move("stepBack") == ("step", "main", 24)
        lines = [{"line": 14, "condition": "number == 3"}, {"line": 17}, {"line": 22, "logMessage": "at {number}!"}]
        set_ = client.ask("setBreakpoints", source={"path": SOURCE}, breakpoints=lines)["breakpoints"]
        assert [one["verified"] for one in set_] == [True, False, True]
        assert client.move("reverseContinue") == ("breakpoint", "work", 14)
        assert client.evaluate("before") == "[3]"
        assert client.event("output")["output"] == "at 4!\n"
        client.ask("setBreakpoints", source={"path": SOURCE}, breakpoints=[])
        names = [{"name": "report", "hitCondition": "2"}, {"name": "nothing"}]
        set_ = client.ask("setFunctionBreakpoints", breakpoints=names)["breakpoints"]
        assert [one["verified"] for one in set_] == [True, False]
        assert client.move("continue") == ("function breakpoint", "report", 8)
        assert client.move("stepOut") == ("step", "main", 23)
        client.ask("setFunctionBreakpoints", breakpoints=[])
        assert client.move("stepIn") == ("step", "main", 21)
        assert client.move("next") == ("step", "main", 22)
        assert client.move("stepIn") == ("step", "work", 12)
        assert client.move("continue") == ("exception", "main", 26)
        targets = client.ask("gotoTargets", source={"path": SOURCE}, line=12)["targets"]
        assert len(targets) == 2
        assert client.move("goto", targetId=targets[1]["id"]) == ("step", "work", 12)
        assert client.evaluate("number") == "4"
        assert client.ask("source", source={"path": SOURCE}, sourceReference=0)["content"].startswith('"""A loop')
        assert SOURCE in [one["path"] for one in client.ask("loadedSources")["sources"]]
        assert len(client.ask("threads")["threads"]) == 1
        client.ask("pause", threadId=client.thread)
        client.ask("restart")
        assert client.event("stopped")["reason"] == "entry"
        client.ask("terminate")
        client.event("terminated")
        client.ask("disconnect")


def test_raised_exceptions_and_positions(trace: Path) -> None:
    with serving() as client:
        assert client.launch(trace, position="steps.py:21")["reason"] == "entry"
        assert client.where()[0] == ("main", 21)
        client.ask("setExceptionBreakpoints", filters=["raised"])
        assert client.move("continue") == ("exception", "main", 26)
        assert client.ask("exceptionInfo", threadId=client.thread)["exceptionId"]
        client.ask("disconnect")


def test_on_a_port(trace: Path) -> None:
    """Of this machine alone."""
    process = subprocess.Popen([PYRR, "dap", "--port", "0"], stdout=subprocess.PIPE)
    assert process.stdout
    try:
        port = int(process.stdout.readline().rpartition(b":")[2])
        with socket.create_connection(("127.0.0.1", port), harness.TIMEOUT) as link:
            client = Client(link.makefile("rb"), link.makefile("wb"))
            assert client.launch(trace)["reason"] == "exception"
            client.ask("disconnect")
        assert process.wait(harness.TIMEOUT) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.timeout(7200 if LONG else 600)
def test_any_requests(trace: Path) -> None:
    """Whatever is sent, there is one answer to each request, and no end."""
    seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"PYRR_SEED={seed}")
    choice = random.Random(seed)
    commands = [
        "setBreakpoints",
        "setFunctionBreakpoints",
        "setExceptionBreakpoints",
        "threads",
        "stackTrace",
        "scopes",
    ]
    commands += ["variables", "evaluate", "exceptionInfo", "loadedSources", "source", "continue", "reverseContinue"]
    commands += [
        "next",
        "stepIn",
        "stepOut",
        "stepBack",
        "pause",
        "gotoTargets",
        "goto",
        "initialize",
        "launch",
        "x",
        "",
    ]
    commands += ["configurationDone", "restart"]

    def value(client: Client, name: str) -> object:
        good: dict[str, Callable[[], object]] = {
            "threadId": lambda: client.thread,
            "source": lambda: {"path": choice.choice([SOURCE, "x.py"])},
            "breakpoints": lambda: [
                {"line": choice.randrange(35), "name": "work", "condition": choice.choice(["", "1", "x"])}
            ],
            "filters": lambda: choice.sample(["uncaught", "raised", "x"], 1),
            "expression": lambda: choice.choice(["done", "1+", "number", "len", "x" * 50, "()"]),
            "context": lambda: choice.choice(["repl", "hover", "watch"]),
        }
        bad: list[object] = [None, -1, 0, 10**20, "", "\udcff", [], {}, [1], {"path": 3}, True, 1.5]
        if choice.random() < 0.2:
            return choice.choice(bad)
        return good[name]() if name in good else choice.randrange(20)

    names = ["threadId", "source", "breakpoints", "filters", "expression", "context", "frameId", "variablesReference"]
    names += ["line", "targetId", "startFrame", "levels", "start", "count"]
    with serving() as client:
        client.launch(trace)
        for _ in range(10_000 if LONG else 25):
            arguments: object = {name: value(client, name) for name in names if choice.random() < 0.8}
            client.answer(choice.choice(commands), choice.choice([arguments] * 9 + [choice.choice([None, 3, []])]))
            client.events.clear()
        client.ask("threads")
        client.ask("disconnect")
