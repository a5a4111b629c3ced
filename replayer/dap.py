"""A Debug Adapter Protocol server over a replay session: for VS Code and other editors.

https://microsoft.github.io/debug-adapter-protocol/specification. Time travel is stepBack and reverseContinue; `goto`
goes to a line the next time, or the last time, that it is come to. What a stop has shown (frames, variables) is good
until the next move.
"""

from __future__ import annotations

import json
import os
import queue
import re
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, BinaryIO

from ..errors import PyrrError
from ..pythonstack import Value
from ..pythonstack.memory import UnreadableError
from ..trace_reader import TraceReader
from . import expression
from .debugger import Breakpoint, Debugger, Stop
from .evaluation import EvaluationError, evaluate
from .opening import open_at_failure
from .place import native_location
from .session import ReplaySession
from .source import source_lines
from .stack import PythonStack

_LARGEST_MESSAGE = 16 << 20
_MOST_HEADERS = 64
_LONGEST_VALUE = 1000
_MOST_CHILDREN = 10_000
_CAPABILITIES = dict.fromkeys(
    (
        "supportsConfigurationDoneRequest",
        "supportsFunctionBreakpoints",
        "supportsConditionalBreakpoints",
        "supportsHitConditionalBreakpoints",
        "supportsLogPoints",
        "supportsStepBack",
        "supportsGotoTargetsRequest",
        "supportsExceptionInfoRequest",
        "supportsEvaluateForHovers",
        "supportsLoadedSourcesRequest",
        "supportsTerminateRequest",
        "supportsRestartRequest",
        "supportsDelayedStackTraceLoading",
    ),
    True,
)
_FILTERS = [
    {"filter": "uncaught", "label": "Uncaught exceptions", "default": True, "description": "where it was raised"},
    {"filter": "raised", "label": "Raised exceptions", "default": False, "description": "each, also if it is caught"},
]

Arguments = dict[str, Any]
Body = dict[str, Any] | None


class DapServer:
    """Serves one client, until it disconnects."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO, find: Callable[[str | None], str]) -> None:
        """`find` is how a trace is found by its name, as on the command line."""
        self._in, self._out, self._find = incoming, outgoing, find
        self._sequence = 0
        self._requests: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader: TraceReader | None = None
        self._session: ReplaySession | None = None
        self._debugger: Debugger | None = None
        self._moving = False
        self._done = False
        self._first_line, self._first_column = 1, 1
        self._opened = ""
        self._stacks: dict[int, PythonStack] = {}
        self._frames: list[tuple[int, int]] = []
        self._containers: list[Callable[[], list[tuple[str, Value]]] | Value] = []
        self._gotos: list[tuple[str, int, bool]] = []
        self._lines: dict[str, list[Breakpoint]] = {}
        self._functions: list[Breakpoint] = []
        self._after: list[Callable[[], None]] = []

    def run(self) -> None:
        """Answers requests until the client goes."""
        threading.Thread(target=self._listen, daemon=True).start()
        try:
            while not self._done and (request := self._requests.get()) is not None:
                self._answer(request)
        finally:
            if self._session is not None:
                self._session.close()
            if self._reader is not None:
                self._reader.__exit__()

    # Messages

    def _listen(self) -> None:
        """Reads requests; a `pause` interrupts the move that is under way."""
        while (message := self._receive()) is not None:
            if message.get("type") != "request" or not isinstance(message.get("command"), str):
                continue
            if message["command"] in ("pause", "disconnect", "terminate") and self._moving and self._session:
                self._session.interrupt()
            self._requests.put(message)
        if self._session and self._moving:
            self._session.interrupt()
        self._requests.put(None)

    def _receive(self) -> dict[str, Any] | None:
        while True:
            length = -1
            for _ in range(_MOST_HEADERS):
                line = self._in.readline(4096)
                if not line:
                    return None
                if not line.strip():
                    break
                if match := re.match(rb"(?i)content-length:\s*(\d{1,9})\s*$", line):
                    length = int(match[1])
            if not 0 <= length <= _LARGEST_MESSAGE:
                continue
            data = self._in.read(length)
            if len(data) < length:
                return None
            with suppress(ValueError, RecursionError):
                message = json.loads(data)
                if isinstance(message, dict):
                    return message

    def _send(self, message: dict[str, Any]) -> None:
        self._sequence += 1
        data = json.dumps({"seq": self._sequence, **message}).encode("utf-8", "backslashreplace")
        with suppress(OSError, ValueError):
            self._out.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
            self._out.flush()

    def _event(self, name: str, body: Arguments) -> None:
        self._send({"type": "event", "event": name, "body": body})

    def _answer(self, request: dict[str, Any]) -> None:
        command, arguments = request["command"], request.get("arguments")
        sequence = request.get("seq")
        head = {
            "type": "response",
            "request_seq": sequence if isinstance(sequence, int) else 0,
            "command": command,
        }
        handler = _HANDLERS.get(command)
        try:
            if handler is None:
                raise PyrrError(f"there is no request {command!r} here")
            body = handler(self, arguments if isinstance(arguments, dict) else {})
        except (PyrrError, UnreadableError) as error:
            text = str(error) or type(error).__name__
            message = {"id": 1, "format": text.replace("{", "(").replace("}", ")"), "showUser": True}
            self._send({**head, "success": False, "message": text, "body": {"error": message}})
        except KeyboardInterrupt:
            self._send({**head, "success": False, "message": "interrupted"})
        else:
            self._send({**head, "success": True, **({} if body is None else {"body": body})})
        after, self._after = self._after, []
        for one in after:
            one()

    # Arguments

    @staticmethod
    def _number(arguments: Arguments, name: str, default: int | None = None) -> int:
        value = arguments.get(name, default)
        if not isinstance(value, int) or isinstance(value, bool):
            raise PyrrError(f"{name} must be a number")
        return value

    @staticmethod
    def _text(arguments: Arguments, name: str, default: str | None = None) -> str:
        value = arguments.get(name, default)
        if not isinstance(value, str):
            raise PyrrError(f"{name} must be a string")
        return value

    @staticmethod
    def _list(arguments: Arguments, name: str) -> list[Arguments]:
        value = arguments.get(name, [])
        if not isinstance(value, list):
            raise PyrrError(f"{name} must be a list")
        return [one for one in value if isinstance(one, dict)]

    def _path(self, arguments: Arguments) -> str:
        source = arguments.get("source")
        return self._text(source if isinstance(source, dict) else {}, "path")

    @property
    def _open(self) -> Debugger:
        if self._debugger is None:
            raise PyrrError("no trace is open yet: launch first")
        return self._debugger

    # Beginning and end

    def _initialize(self, arguments: Arguments) -> Body:
        self._first_line = 1 if arguments.get("linesStartAt1", True) else 0
        self._first_column = 1 if arguments.get("columnsStartAt1", True) else 0
        return {**_CAPABILITIES, "exceptionBreakpointFilters": _FILTERS}

    def _launch(self, arguments: Arguments) -> Body:
        if self._debugger is not None:
            raise PyrrError("a trace is open already")
        trace = arguments.get("trace")
        position = arguments.get("position")
        self._reader = TraceReader(self._find(trace if isinstance(trace, str) else None))
        self._session = ReplaySession(self._reader)
        if position is None:
            self._opened = open_at_failure(self._session).text
        else:
            self._session.seek(position if isinstance(position, int) else str(position))
            self._opened = str(position)
        self._debugger = Debugger(self._session)
        self._debugger.complaint = self._tell
        self._past()
        self._after.append(lambda: self._event("initialized", {}))
        return None

    def _tell(self, text: str) -> None:
        self._event("output", {"category": "console", "output": text + "\n"})

    def _configuration_done(self, _: Arguments) -> Body:
        debugger = self._open
        reason = "exception" if debugger.past is not None or debugger.raising() is not None else "entry"
        self._after.append(lambda: self._stopped(reason, self._opened))
        return None

    def _restart(self, _: Arguments) -> Body:
        self._open.seek(0)
        self._forget()
        self._after.append(lambda: self._stopped("entry", "the start"))
        return None

    def _disconnect(self, _: Arguments) -> Body:
        self._done = True
        return None

    def _terminate(self, _: Arguments) -> Body:
        self._after.append(lambda: self._event("terminated", {}))
        return None

    # Breakpoints

    def _forget(self) -> None:
        """What was shown of the last stop is gone."""
        self._stacks.clear()
        self._frames.clear()
        self._containers.clear()

    def _past(self) -> None:
        """An exception that is over is looked at through its traceback."""
        debugger = self._open
        stack = debugger.stack()
        if stack.exception is None and self._opened and not debugger.session.midway:
            stack = debugger.handled() or stack
        debugger.past = stack if stack.exception is not None else None

    def _set_breakpoints(self, arguments: Arguments) -> Body:
        debugger, path = self._open, self._path(arguments)
        for one in self._lines.pop(path, []):
            debugger.breakpoints.remove(one)
        self._lines[path] = []
        answers = []
        for wanted in self._list(arguments, "breakpoints"):
            line = self._number(wanted, "line") - self._first_line + 1
            answers.append(self._add(f"{path}:{line}", wanted, self._lines[path], {"path": path}))
        return {"breakpoints": answers}

    def _set_function_breakpoints(self, arguments: Arguments) -> Body:
        for one in self._functions:
            self._open.breakpoints.remove(one)
        self._functions = []
        wanted = self._list(arguments, "breakpoints")
        return {"breakpoints": [self._add(self._text(one, "name"), one, self._functions, None) for one in wanted]}

    def _add(self, text: str, wanted: Arguments, kept: list[Breakpoint], source: Arguments | None) -> Arguments:
        debugger = self._open
        try:
            count = self._count(wanted.get("hitCondition"))
            stack = self._stack_of(debugger.task)
            one = debugger.add(text, self._text(wanted, "condition", ""), near=stack if stack.frames else None)
        except PyrrError as error:
            return {"verified": False, "message": str(error), **({"source": source} if source else {})}
        one.ignore, one.log = count - 1, self._text(wanted, "logMessage", "")
        kept.append(one)
        line = one.targets[0].line - 1 + self._first_line if one.targets else self._first_line
        of = source or ({"path": one.targets[0].file} if one.targets else None)
        return {"verified": True, "id": one.number, "line": line, **({"source": of} if of else {})}

    @staticmethod
    def _count(condition: object) -> int:
        if condition is None or condition == "":
            return 1
        match = re.fullmatch(r"\s*(>=|>|==)?\s*(\d{1,9})\s*", str(condition))
        if not match:
            raise PyrrError(f"{condition!r}: give the number of the hit at which to stop first")
        return max(1, int(match[2]) + (match[1] == ">"))

    def _set_exception_breakpoints(self, arguments: Arguments) -> Body:
        filters = arguments.get("filters", [])
        names = filters if isinstance(filters, list) else []
        self._open.raised, self._open.uncaught = "raised" in names, "uncaught" in names
        return {"breakpoints": [{"verified": True} for _ in names]}

    # Looking

    def _stack_of(self, task: int) -> PythonStack:
        debugger = self._open
        if task not in self._stacks:
            past = debugger.past
            if past is not None and past.task == task:
                self._stacks[task] = past
            else:
                here, debugger.task = debugger.task, task
                self._stacks[task] = debugger.stack()
                debugger.task = here
        return self._stacks[task]

    def _threads(self, _: Arguments) -> Body:
        session = self._open.session
        tasks = session.tasks or [self._open.task]
        names = {task: f"{task} of process {session.process_of(task)}" for task in session.tasks}
        return {"threads": [{"id": task, "name": names.get(task, "ended")} for task in tasks]}

    def _stack_trace(self, arguments: Arguments) -> Body:
        task = self._number(arguments, "threadId")
        start, levels = self._number(arguments, "startFrame", 0), self._number(arguments, "levels", 0)
        stack = self._stack_of(task)
        frames: list[Arguments] = []
        for index in range(max(start, 0), len(stack.frames)):
            if levels > 0 and len(frames) == levels:
                break
            frames.append(self._frame(task, index, stack))
        total = len(stack.frames)
        if not stack.frames and task in self._open.session.tasks:
            name = native_location(self._open.session, task)
            frames, total = [{"id": self._frame_id(task, 0), "name": name, "line": 0, "column": 0}], 1
        return {"stackFrames": frames, "totalFrames": total}

    def _frame_id(self, task: int, index: int) -> int:
        self._frames.append((task, index))
        return len(self._frames)

    def _frame(self, task: int, index: int, stack: PythonStack) -> Arguments:
        frame = stack.frames[index]
        line = max(frame.line - 1 + self._first_line, 0)
        found: Arguments = {"id": self._frame_id(task, index), "name": frame.function, "line": line}
        found["column"] = self._first_column
        found["source"] = self._source_of(frame.file)
        if frame.file.startswith("<"):
            found["presentationHint"] = "subtle"
        return found

    @staticmethod
    def _source_of(file: str) -> Arguments:
        return {"name": os.path.basename(file), "path": file}

    def _picked(self, arguments: Arguments, name: str) -> tuple[PythonStack, int]:
        number = self._number(arguments, name)
        if not 1 <= number <= len(self._frames):
            raise PyrrError("this frame is gone: the program stands elsewhere now")
        task, index = self._frames[number - 1]
        return self._stack_of(task), index

    def _scopes(self, arguments: Arguments) -> Body:
        stack, index = self._picked(arguments, "frameId")
        if not stack.frames:
            return {"scopes": []}
        scopes = []
        for name, hint, content in (
            ("Locals", "locals", lambda: list(stack.locals(index).items())),
            ("Globals", "globals", lambda: list(stack.globals(index).items())),
        ):
            reference = self._reference(content)
            scopes.append(
                {
                    "name": name,
                    "presentationHint": hint,
                    "variablesReference": reference,
                    "expensive": hint == "globals",
                }
            )
        if stack.exception is not None and index == 0:
            exception = stack.exception
            reference = self._reference(lambda: [(exception.type_name, exception)])
            scopes.append({"name": "Exception", "variablesReference": reference, "expensive": False})
        return {"scopes": scopes}

    def _reference(self, container: Callable[[], list[tuple[str, Value]]] | Value) -> int:
        self._containers.append(container)
        return len(self._containers)

    def _variables(self, arguments: Arguments) -> Body:
        number = self._number(arguments, "variablesReference")
        if not 1 <= number <= len(self._containers):
            raise PyrrError("these variables are gone: the program stands elsewhere now")
        start, count = self._number(arguments, "start", 0), self._number(arguments, "count", 0)
        container = self._containers[number - 1]
        children = container.variables.children(container.address) if isinstance(container, Value) else container()
        wanted = arguments.get("filter")
        if wanted in ("indexed", "named"):
            children = [child for child in children if (child[0][:1] == "[") == (wanted == "indexed")]
        last = max(start, 0) + (count if count > 0 else _MOST_CHILDREN)
        return {"variables": [self._variable(*child) for child in children[max(start, 0) : last]]}

    def _variable(self, name: str, value: Value) -> Arguments:
        found: Arguments = {"name": name, "variablesReference": 0}
        try:
            found["type"] = value.type_name
            indexed, named = value.variables.child_counts(value.address)
            if indexed or named:
                found["variablesReference"] = self._reference(value)
                found.update({"indexedVariables": indexed} if indexed else {})
                found.update({"namedVariables": named} if named else {})
        except (UnreadableError, RecursionError):
            pass
        found["value"] = str(value)[:_LONGEST_VALUE]
        return found

    def _evaluate(self, arguments: Arguments) -> Body:
        text = self._text(arguments, "expression")
        context = arguments.get("context")
        debugger = self._open
        if "frameId" in arguments:
            stack, index = self._picked(arguments, "frameId")
        else:
            stack, index = self._stack_of(debugger.task), 0
        with suppress(PyrrError, UnreadableError):
            found = self._variable("", expression.evaluate(stack, index, text))
            return {"result": found.pop("value"), **{k: v for k, v in found.items() if k != "name"}}
        if context == "hover" and not re.fullmatch(r"[\w.\[\]'\"]+", text):
            raise PyrrError("only names, attributes and items are looked up")
        try:
            result = evaluate(debugger.session, stack, index, text, "run" if context == "repl" else "show")
        except EvaluationError:
            raise
        return {"result": result.rstrip("\n"), "variablesReference": 0}

    def _exception_info(self, arguments: Arguments) -> Body:
        stack = self._stack_of(self._number(arguments, "threadId"))
        if stack.exception is None:
            raised = self._open.raised_here(stack.task)
            if raised is None:
                raise PyrrError("no exception is raised here")
            return {"exceptionId": raised[0], "description": raised[1], "breakMode": "always"}
        text = str(stack.exception)
        return {"exceptionId": stack.exception.type_name, "description": text, "breakMode": "unhandled"}

    def _loaded_sources(self, _: Arguments) -> Body:
        debugger = self._open
        files: dict[str, None] = {}
        for task in debugger.session.tasks:
            for frame in self._stack_of(task).frames:
                files.setdefault(frame.file)
            for file in debugger.module_files(task):
                files.setdefault(file)
        return {"sources": [self._source_of(file) for file in files if not file.startswith("<")]}

    def _source(self, arguments: Arguments) -> Body:
        lines = source_lines(self._open.session.trace, self._path(arguments))
        if not lines:
            raise PyrrError(f"{self._path(arguments)} is not here: the source is looked up where it was recorded")
        return {"content": "".join(lines), "mimeType": "text/x-python"}

    # Moving

    def _move(self, arguments: Arguments, how: Callable[[Debugger], Stop], body: Body = None) -> Body:
        debugger = self._open
        task = arguments.get("threadId")
        if isinstance(task, int) and task in debugger.session.tasks:
            if task != debugger.task:
                debugger.past = None
            debugger.task = task

        def go() -> None:
            self._forget()
            self._moving = True
            try:
                stop = how(debugger)
            except KeyboardInterrupt:
                debugger.look()
                stop = Stop("pause")
            except PyrrError as error:
                self._tell(str(error))
                debugger.look()
                stop = Stop("pause")
            finally:
                self._moving = False
            debugger.past = None
            self._past()
            self._stopped(*self._reason(stop), stop.breakpoint)

        self._after.append(go)
        return body

    @staticmethod
    def _reason(stop: Stop) -> tuple[str, str]:
        if stop.breakpoint is not None:
            function = stop.breakpoint.text.rpartition(":")[2].isdigit() is False and stop.breakpoint.targets
            return ("function breakpoint" if function else "breakpoint"), stop.breakpoint.text
        described = {"line": "", "start": "the start of the recording", "end": "the end of the recording"}
        if stop.reason == "exception":
            return "exception", "an exception is raised"
        return ("pause" if stop.reason == "pause" else "step"), described.get(stop.reason, "")

    def _stopped(self, reason: str, description: str, one: Breakpoint | None = None) -> None:
        body: Arguments = {"reason": reason, "threadId": self._open.task, "allThreadsStopped": True}
        if description:
            body["description"] = description
        if one is not None:
            body["hitBreakpointIds"] = [one.number]
        self._event("stopped", body)

    def _continue(self, arguments: Arguments) -> Body:
        return self._move(arguments, lambda debugger: debugger.resume(), {"allThreadsContinued": True})

    def _reverse_continue(self, arguments: Arguments) -> Body:
        return self._move(arguments, lambda debugger: debugger.resume(backward=True))

    def _next(self, arguments: Arguments) -> Body:
        return self._move(arguments, lambda debugger: debugger.next())

    def _step_in(self, arguments: Arguments) -> Body:
        return self._move(arguments, lambda debugger: debugger.step())

    def _step_out(self, arguments: Arguments) -> Body:
        return self._move(arguments, lambda debugger: debugger.leave())

    def _step_back(self, arguments: Arguments) -> Body:
        return self._move(arguments, lambda debugger: debugger.next(backward=True))

    def _pause(self, _: Arguments) -> Body:
        """A move that was under way has been interrupted already; else nothing runs."""
        self._open.session.clear_interrupt()
        return None

    def _goto_targets(self, arguments: Arguments) -> Body:
        path, line = self._path(arguments), self._number(arguments, "line") - self._first_line + 1
        self._open.line_targets(path, line)
        targets = []
        for backward, label in ((False, "the next time"), (True, "the last time")):
            self._gotos.append((path, line, backward))
            targets.append(
                {"id": len(self._gotos), "label": f"line {line}, {label}", "line": line - 1 + self._first_line}
            )
        return {"targets": targets}

    def _goto(self, arguments: Arguments) -> Body:
        number = self._number(arguments, "targetId")
        if not 1 <= number <= len(self._gotos):
            raise PyrrError("there is no such target")
        path, line, backward = self._gotos[number - 1]
        return self._move(arguments, lambda debugger: debugger.to_line(path, line, backward))


_HANDLERS: dict[str, Callable[[DapServer, Arguments], Body]] = {
    "initialize": DapServer._initialize,
    "launch": DapServer._launch,
    "attach": DapServer._launch,
    "configurationDone": DapServer._configuration_done,
    "restart": DapServer._restart,
    "disconnect": DapServer._disconnect,
    "terminate": DapServer._terminate,
    "setBreakpoints": DapServer._set_breakpoints,
    "setFunctionBreakpoints": DapServer._set_function_breakpoints,
    "setExceptionBreakpoints": DapServer._set_exception_breakpoints,
    "threads": DapServer._threads,
    "stackTrace": DapServer._stack_trace,
    "scopes": DapServer._scopes,
    "variables": DapServer._variables,
    "evaluate": DapServer._evaluate,
    "exceptionInfo": DapServer._exception_info,
    "loadedSources": DapServer._loaded_sources,
    "source": DapServer._source,
    "continue": DapServer._continue,
    "reverseContinue": DapServer._reverse_continue,
    "next": DapServer._next,
    "stepIn": DapServer._step_in,
    "stepOut": DapServer._step_out,
    "stepBack": DapServer._step_back,
    "pause": DapServer._pause,
    "gotoTargets": DapServer._goto_targets,
    "goto": DapServer._goto,
}
