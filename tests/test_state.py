"""The state of a recorded program, from its log: what it says is what /proc said, and all that /proc does not say."""

from __future__ import annotations

import copy
import json
import os
import re
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import harness
import proc_view
import pytest
from harness import Interpreter, Surroundings, victim

from pyrr_debugger.live.policy import CHOICES
from pyrr_debugger.replayer.position import parse
from pyrr_debugger.state import verdicts
from pyrr_debugger.state.contents import UNKNOWN_END, Contents
from pyrr_debugger.state.history import state_at
from pyrr_debugger.state.identity import note_namespaces
from pyrr_debugger.state.model import (
    Epoll,
    Mapping,
    MemFd,
    Namespace,
    OpenFile,
    PipeEnd,
    Process,
    ProgramState,
    PtyMaster,
    Slot,
    Socket,
    Terminal,
)
from pyrr_debugger.state.verdicts import Outcome, components
from pyrr_debugger.state.world import HANDLERS
from pyrr_debugger.syscalls import TABLE
from pyrr_debugger.syscalls.spec import Effect
from pyrr_debugger.trace_reader import TraceReader

LEFT_TO_EVENTS = {"clone", "clone3", "fork", "vfork", "execve", "execveat", "exit", "exit_group"}
NOT_FOLLOWED = {"mq_timedsend", "mq_notify", "fanotify_mark"}
"""Queues of messages and fanotify groups cannot be restored, whatever is in them."""
BLOCKED, PENDING = 1 << 11 | 1 << 0, 1 << 11
ECHO = 0o10


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of kernel_objects.py."""
    folder = tmp_path_factory.mktemp("state")
    around = Surroundings(env=harness.victim_environment(folder), cwd=folder)
    python = next(one for one in harness.interpreters() if one.runs_pytest)
    result = harness.record(folder / "trace", python.path, victim("kernel_objects"), around=around)
    assert result.status == 0, str(result)
    return folder / "trace"


@pytest.fixture(scope="module")
def state(recorded: Path) -> ProgramState:
    """The state of kernel_objects.py when it has looked at itself."""
    with TraceReader(recorded) as trace:
        return state_at(trace, parse("output:/^looked/").resolve(trace))


@pytest.fixture
def process(state: ProgramState) -> Process:
    """Its first process."""
    return next(iter(state.processes.values()))


def files(process: Process) -> Iterator[OpenFile]:
    for slot in process.descriptors.values():
        if isinstance(slot.description, OpenFile):
            yield slot.description


def sockets(process: Process) -> dict[int, Socket]:
    found = (slot.description for slot in process.descriptors.values())
    return {one.id: one for one in found if isinstance(one, Socket)}


def test_every_effect_of_the_specification_is_followed() -> None:
    with_effect = {row.name for row in TABLE.values() if row.effect is not Effect.NONE}
    assert with_effect - set(HANDLERS) == LEFT_TO_EVENTS | NOT_FOLLOWED


def test_every_handler_has_a_row() -> None:
    assert set(HANDLERS) <= {row.name for one in TABLE.values() for row in (one, *one.commands)}


def test_the_model_agrees_with_proc(recorded: Path) -> None:
    compared, differences = proc_view.compare(recorded)
    assert differences == []
    assert compared == {"cwd", "fd", "fdinfo", "limits", "maps", "status"}


def test_an_exec_finds_the_descriptors_of_the_model(
    one_interpreter: Interpreter, trace: Path, around: Surroundings
) -> None:
    harness.record(trace, one_interpreter.path, victim("subprocess_output"), around=around)
    assert proc_view.compare(trace)[1] == []


def test_descriptors_share_what_dup_made(process: Process) -> None:
    logs = [one for one in files(process) if one.file.path.endswith("/log")]
    assert len(logs) == 3
    assert len({one.id for one in logs}) == 1
    assert len(logs[0].file.spans or []) == 2


def test_deleted_files_have_their_content(process: Process) -> None:
    deleted = {one.file.path.rpartition("/")[2]: one.file for one in files(process) if one.file.deleted}
    assert set(deleted) == {"deleted", "#"}
    assert deleted["deleted"].created
    assert deleted["deleted"].size == 25
    assert [(s.offset, s.length) for s in deleted["#"].spans or []] == [(5, 22)]


def test_pipes_have_what_was_written_and_not_read(process: Process) -> None:
    ends = [s.description for s in process.descriptors.values() if isinstance(s.description, PipeEnd)]
    queues = {one.pipe.id: sum(span.length for span in one.pipe.queue) for one in ends if not one.pipe.foreign}
    assert sorted(queues.values()) == [0, 8, 275]
    assert len(next(one for one in ends if one.pipe.name).pipe.queue) == 1


def test_sockets_know_each_other_and_what_is_under_way(state: ProgramState, process: Process) -> None:
    own = sockets(process)
    pairs = {(one.type, one.family) for one in own.values() if one.peer in own}
    assert {(1, 2), (1, 1), (2, 1)} <= pairs
    server = next(one for one in own.values() if one.accepted_from)
    assert sum(span.length for message in server.queue for span in message.spans) == 13
    assert own[server.peer or 0].local == server.remote
    listening = [one for one in own.values() if one.state == "listening"]
    assert sorted(one.backlog or 0 for one in listening) == [3, 17]
    tcp = next(one for one in listening if one.family == 2)
    assert [own[number].state for number in tcp.pending] == ["connected"]
    assert tcp.options[1, 2] == struct.pack("i", 1)
    passing = [message for one in own.values() for message in one.queue if message.passed]
    assert [type(message.passed[0]) for message in passing] == [OpenFile]
    datagrams = next(one for one in own.values() if one.type == 2 and one.family == 2 and one.queue)
    assert [message.spans[0].length for message in datagrams.queue] == [3]
    assert [one.peer for one in own.values() if one.peer == -1] == [-1]


def test_epoll_keeps_what_is_in_it(process: Process) -> None:
    poll = next(s.description for s in process.descriptors.values() if isinstance(s.description, Epoll))
    assert [type(watch.description) for watch in poll.watches] == [PipeEnd, Socket]


def test_terminals_have_their_settings(process: Process) -> None:
    master = next(s.description for s in process.descriptors.values() if isinstance(s.description, PtyMaster))
    slave = next(
        s.description for s in process.descriptors.values() if isinstance(s.description, Terminal) and s.description.pty
    )
    assert slave.pty is master.pty
    assert master.pty.settings.termios is not None
    assert not struct.unpack_from("<I", master.pty.settings.termios, 12)[0] & ECHO


def test_signals_timers_and_children(state: ProgramState, process: Process) -> None:
    assert process.tasks[process.pid].mask == BLOCKED
    assert process.pending == PENDING
    assert list(process.zombies.values()) == [3 << 8]
    (timer,) = process.timers
    assert timer.which == "real"
    assert timer.interval_ns == 3_000_000_000
    assert 0 < 500_000_000_000 - timer.remaining_ns < 400_000_000_000
    assert len(process.tasks) == 2
    child = state.processes[next(pid for pid in state.processes if pid != process.pid)]
    assert child.parent == process.pid
    assert child.memory is not process.memory


def test_what_was_inherited_is_known(state: ProgramState, process: Process) -> None:
    assert state.gaps == []
    assert process.descriptors[0].description.given_as == (0,)
    assert process.group
    assert process.session
    assert state.clocks.monotonic
    assert os.path.isabs(process.directories.cwd)


def test_the_bytes_that_are_in_flight(recorded: Path, state: ProgramState, process: Process) -> None:
    with TraceReader(recorded) as trace:
        contents = Contents(trace, state)
        assert contents.needed()  # the log has 64 bytes of what was written to the pipe
        pipe = next(s.description.pipe for s in process.descriptors.values() if isinstance(s.description, PipeEnd)
                    and not s.description.pipe.foreign and s.description.pipe.queue)  # fmt: skip
        assert contents.bytes(pipe.queue) == (b"in flight " * 30)[25:]
        received = [contents.bytes(m.spans) for one in sockets(process).values() for m in one.queue]
        assert sorted(received) == [b"of the server", b"two", b"with a descriptor"]
        found = {one.file.path.rpartition("/")[2]: contents.of_file(one.file) for one in files(process)}
        assert found["deleted"] == (b"content of a deleted file", [])
        assert found["#"] == (bytes(5) + b"content without a name", [])
        assert found["text"] == (b"some text of the file\n" * 40, [])
        assert found["log"] == (b"a line\nanother line\n", [])
        assert found["locked"] == (b"", [(0, UNKNOWN_END)])
        memory = next(s.description for s in process.descriptors.values() if isinstance(s.description, MemFd))
        assert contents.of_file(memory.file)[0] == b"in memory" * 100


# ---- what cannot be restored ----


def cannot(state: ProgramState) -> dict[str, str]:
    """The components that cannot be restored: their area and text, and why."""
    found = (one for one in components(state) if one.verdict.outcome is Outcome.CANNOT)
    return {f"{one.area} {one.text}": one.verdict.text for one in found}


def reasons(state: ProgramState, pattern: str) -> list[str]:
    return [why for what, why in cannot(state).items() if re.search(pattern, what)]


@pytest.fixture(scope="module")
def hopeless_trace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trace of cannot_be_restored.py."""
    folder = tmp_path_factory.mktemp("hopeless")
    around = Surroundings(env=harness.victim_environment(folder), cwd=folder)
    python = next(one for one in harness.interpreters() if one.runs_pytest)
    result = harness.record(folder / "trace", python.path, victim("cannot_be_restored"), around=around)
    assert result.status == 0, str(result)
    return folder / "trace"


@pytest.fixture(scope="module")
def hopeless(hopeless_trace: Path) -> ProgramState:
    """Its state when it has all that."""
    with TraceReader(hopeless_trace) as trace:
        return state_at(trace, parse("output:/^held/").resolve(trace))


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("ipc System V shared memory", "its content is the kernel's"),
        ("ipc System V semaphores", "its content is the kernel's"),
        ("ipc System V message queue", "its content is the kernel's"),
        ("ipc POSIX message queue", "its content is the kernel's"),
        ("descriptor .*message queue", "what is in a message queue is in no event of the trace"),
        ("memory .*/SYSV", "System V shared memory is the kernel's"),
        (r"task \d+ has ended", "a process cannot be made without its first thread"),
        ("task .*cannot_be|task .*python", "it is in seccomp's strict mode"),
        ("descriptor .*pipe", "a write to it is half done: 1000 bytes of it have been read"),
    ],
)
def test_what_cannot_be_restored_says_why(hopeless: ProgramState, what: str, why: str) -> None:
    found = reasons(hopeless, what)
    if "message queue" in what and not found and not os.path.isdir("/dev/mqueue"):
        pytest.skip("no POSIX message queues here")
    assert found
    assert all(one.startswith(why) for one in found)


def test_resume_refuses_what_cannot_be_restored(hopeless_trace: Path) -> None:
    result = harness.pyrr("resume", hopeless_trace, "--to", "output:/^held/", "--yes")
    assert result.status == 2, str(result)
    for why in (b"it is in seccomp's strict mode", b"a write to it is half done", b"without its first thread"):
        assert why in result.stderr


def test_a_child_that_was_not_recorded(one_interpreter: Interpreter, trace: Path, around: Surroundings) -> None:
    program = "import os; pid = os.fork(); pid or os._exit(0); print('forked', flush=True); os.waitpid(pid, 0)"
    harness.record(trace, one_interpreter.path, "-c", program, around=around, options=["--follow", "none"])
    with TraceReader(trace) as reader:
        before = state_at(reader, parse("output:/^forked/").resolve(reader))
        after = state_at(reader, parse("exit").resolve(reader))
    assert reasons(before, "child") == ["it was not recorded: waiting for it gives ECHILD"]
    assert reasons(after, "child") == []


def test_a_unix_socket_of_a_long_name(one_interpreter: Interpreter, trace: Path, tmp_path: Path) -> None:
    """Up to 108 bytes. Of what a program writes the trace keeps less."""
    name = str(tmp_path / "socket").ljust(107, "x")
    program = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1]); s.listen(); print('up')"
    harness.record(trace, one_interpreter.path, "-c", program, name)
    with TraceReader(trace) as reader:
        held = components(state_at(reader, parse("output:/^up/").resolve(reader)))
    assert any(f"listening at {name}, " in one.text for one in held)


def test_memory_of_a_device_and_namespaces(state: ProgramState) -> None:
    changed = copy.deepcopy(state)
    process = next(iter(changed.processes.values()))
    task = process.tasks[process.pid]
    process.memory.mappings.append(Mapping(0x1000, 0x2000, 3, True, "device", "/dev/dri/card0"))
    note_namespaces(task, 0x20000000, "new")
    process.descriptors[99] = Slot(Namespace(id=-1, flags=0, event=1, name="net:[1]"))
    assert reasons(changed, "memory .*card0") == ["memory of a device is in no event of the trace"]
    assert reasons(changed, "namespace pid") == [
        "the program made or entered it: going live happens in the present one"
    ]
    assert reasons(changed, "descriptor 99") == ["a namespace cannot be made anew as it was"]


def test_filters_that_are_not_known_and_a_half_done_message(state: ProgramState) -> None:
    changed = copy.deepcopy(state)
    process = next(iter(changed.processes.values()))
    process.tasks[process.pid].filters = [b""]
    end = next(s.description for s in process.descriptors.values() if isinstance(s.description, Socket))
    end.ahead, end.given_as = 5, ()
    assert reasons(changed, f"task {process.pid}") == [
        "the trace does not have its seccomp filters, without which it would be let do more"
    ]
    assert "a write to it is half done: 5 bytes of it have been read" in reasons(changed, "descriptor .*socket")


def test_another_user(state: ProgramState, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4711)
    assert set(reasons(state, "credentials")) == {"user 4711 may not become another one"}


def test_the_state_of_an_old_trace() -> None:
    with TraceReader(Path(__file__).parent.parent / "traces" / "format-2") as trace:
        state = state_at(trace, trace.count // 2)
    assert reasons(state, "^trace") == ["it was not recorded"]
    assert reasons(state, "umask") == ["the trace is of an older pyrr and does not tell"]
    assert reasons(state, "credentials") == ["the trace is of an older pyrr and does not tell"]


# ---- the command ----


def test_the_command_prints_components_and_verdicts(recorded: Path) -> None:
    result = harness.pyrr("state", recorded, "--to", "output:/^looked/")
    assert result.status == 0, str(result)
    assert re.search(rb"\d+ +descriptor +\d+: INET stream socket listening at .* rebuilt: bound again", result.stdout)
    assert b"mappings are restored exactly" in result.stdout
    listed = harness.pyrr("state", recorded, "--memory")
    assert re.search(rb"memory +[0-9a-f]+-[0-9a-f]+ rw-p \[stack\] +restored exactly", listed.stdout)


def test_the_command_gives_all_of_it_as_json(recorded: Path) -> None:
    data = json.loads(harness.pyrr("state", recorded, "--to", "output:/^looked/", "--json").stdout)
    counts = [one["count"] for one in data["state"]["descriptions"].values() if one["kind"] == "eventfd"]
    assert sorted(counts) == [2, 42]
    process = next(iter(data["state"]["processes"].values()))
    assert {str(slot["description"]) for slot in process["descriptors"].values()} <= set(data["state"]["descriptions"])
    gone = next(one for one in data["components"] if one["class"] == "file.gone")
    assert gone["outcome"] == "needs a choice"
    assert gone["choices"][0] == "copy"
    assert {one["outcome"] for one in data["components"]} <= {outcome.value for outcome in Outcome}


def test_every_class_is_one_of_a_policy() -> None:
    text = Path(verdicts.__file__).read_text()
    found = set(re.findall(r'_(?:choice|rebuilt)\([^()]*?"([a-z.]+)"\)', text))
    found |= set(re.findall(r'_choice\("([a-z.]+)"', text))
    assert found
    assert {one for one in found if " " not in one} <= set(CHOICES)


def test_the_terminal_it_was_started_on(one_interpreter: Interpreter, trace: Path, around: Surroundings) -> None:
    program = "input(); print('typed', flush=True)"
    words = harness.record_words(trace, one_interpreter.path, "-c", program)
    harness.run_on_terminal(words, b"words\n", around)
    with TraceReader(trace) as reader:
        state = state_at(reader, parse("output:/^typed/").resolve(reader))
    process = next(iter(state.processes.values()))
    terminal = process.descriptors[0].description
    assert isinstance(terminal, Terminal)
    assert terminal is process.descriptors[2].description
    assert terminal.given_as == (0, 1, 2)
    assert process.terminal == terminal.path
    assert (terminal.settings.rows, terminal.settings.columns) == (43, 132)
    assert terminal.settings.termios is not None
    assert not struct.unpack_from("<I", terminal.settings.termios, 12)[0] & ECHO


def test_a_cut_trace_has_a_state_at_its_end(recorded: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(recorded, cut)
    os.truncate(cut / "events", (cut / "events").stat().st_size - 1)
    result = harness.pyrr("state", cut)
    assert result.status == 0, str(result)
    assert b"is cut" in result.stderr


def test_a_position_that_is_not_there(recorded: Path) -> None:
    result = harness.pyrr("state", recorded, "--to", "99999999")
    assert result.status == 2
    assert len(result.stderr.splitlines()) == 1
