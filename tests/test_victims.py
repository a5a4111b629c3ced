"""Every victim on every interpreter: recorded as it runs bare, replayed as recorded, memory included."""

from __future__ import annotations

import os
import re
import shutil
import stat
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import harness
import pytest
from harness import Interpreter, Result, Surroundings, victim

STATUS = {
    "ends_as_child_dies": 3,
    "exit_status": 7,
    "fault_handler": 139,
    "killed_by_signal": 143,
    "segfault": 139,
    "traceback_crash": 1,
    "fault_in_handler": 139,
    "own_group": 134,
    "exec_from_thread": 5,
    "go_calls": 6,
    "static_nolibc": 9,
}
"""How victims end that do not end well."""

CERTAIN = {
    "affinity",
    "fault_in_namespace",
    "pid_namespace",
    "unknown_ioctl",
    "exec_from_thread",
    "poll_restarted",
    "own_dispatch",
    "prctl_tsc",
}
"""Victims that may happen to print no entropy at all."""

NAMES = [
    "affinity",
    "asyncio_loopback",
    "brk_growth",
    "cannot_be_restored",
    "closed_ranges",
    "codecs_and_hashes",
    "death_writes",
    "deep_recursion",
    "denied_syscalls",
    "ends_as_child_dies",
    "entropy",
    "environment_and_cwd",
    "event_storm",
    "exit_status",
    "fault_handler",
    "fault_in_handler",
    "file_locks",
    "fault_in_namespace",
    "files_and_directories",
    "foreign_memory",
    "forks_amid_calls",
    "gc_and_weakrefs",
    "generated_code",
    "job_control",
    "greenlets",
    "handler_without_room",
    "kernel_objects",
    "killed_by_signal",
    "large_allocation",
    "late_sleep",
    "leader_ended",
    "library_swapped",
    "long_output",
    "long_directory",
    "mapped_again",
    "mapped_files",
    "names_not_utf8",
    "mapped_growth",
    "mapped_one_by_one",
    "memory_management",
    "notifications",
    "numpy_in_turn",
    "numpy_threads",
    "numpy_work",
    "output_streams",
    "own_descriptors",
    "own_filter",
    "own_group",
    "passed_descriptors",
    "pid_namespace",
    "polling",
    "priority_mutex",
    "random_bytes",
    "random_instruction",
    "refused_syscalls",
    "repeated_reads",
    "reopened_output",
    "segfault",
    "sendfile_output",
    "shared_memory",
    "signal_handler",
    "signals_amid_calls",
    "signals_of_all_kinds",
    "sparse_mapping",
    "sparse_memory",
    "sqlite_database",
    "standard_input",
    "stack_limit",
    "stdlib_imports",
    "stopped_in_native_code",
    "stopped_process",
    "subprocess_output",
    "thread_ids",
    "threads_amid_calls",
    "threads_queue",
    "exec_as_other_user",
    "exec_from_thread",
    "poll_restarted",
    "prctl_tsc",
    "time_stamp_counter",
    "traceback_crash",
    "unknown_ioctl",
    "vdso",
    "written_behind_pointer",
]

PACKAGES = {"greenlets": "greenlet", "numpy_in_turn": "numpy", "numpy_threads": "numpy", "numpy_work": "numpy"}
"""Victims that need a package."""

PROGRAMS = {
    "assembly_sites": [],
    "attached_memory": [],
    "bad_pointers": [],
    "big_transfers": [],
    "blocked_signals": [],
    "children_end_amid_calls": [],
    "children_of_all_kinds": [],
    "code_replaced": [],
    "contexts": [],
    "code_made_anew": ["-O2"],
    "counter_waits": ["-pthread"],
    "counted_wait": ["-O2", "-pthread"],
    "counter_while_blocked": [],
    "end_of_file": ["-pthread"],
    "exits_amid_calls": [],
    "faults_half_way": [],
    "filter_by_place": [],
    "filter_traps": [],
    "forks_behind_wakeups": ["-pthread"],
    "ignored_signals": [],
    "interrupted_calls": [],
    "jump_out_of_handler": [],
    "jump_to_itself": ["-pthread"],
    "kept_registers": [],
    "killed_in_refused_call": [],
    "many_messages": [],
    "native_race": ["-O2", "-pthread"],
    "native_rounds": ["-O2", "-pthread"],
    "native_shapes": ["-O2", "-pthread"],
    "odd_stacks": [],
    "own_dispatch": [],
    "own_segments": [],
    "progress_in_memory": [],
    "red_zone": [],
    "registers_in_use": [],
    "signal_before_calls": ["-O2"],
    "signal_before_sleep": ["-O2", "-pthread"],
    "signal_blocked_by_handler": ["-O2"],
    "signal_in_libc_calls": [],
    "signal_places": [],
    "signals_at_once": [],
    "signals_behind_sites": [],
    "signals_own_process": ["-pthread"],
    "spin_waits": ["-pthread"],
    "static_nolibc": ["-static", "-nostdlib"],
    "static_program": ["-static"],
    "stopped_amid_calls": [],
    "strict_mode": [],
    "threads_in_turn": [],
    "timer_in_native_code": ["-O2"],
    "trap_flag": [],
    "upper_half_of_number": [],
    "waiting_for_all": [],
}
"""Victims in C, with the flags that they are compiled with."""

XFAIL: dict[str, str] = {}
"""Victims that the recorder does not do justice yet, and why."""

OPTIONS = {"stopped_amid_calls": ("--follow", "none")}
"""How victims are recorded that need something: here signals from outside of the recording."""

TYPED = "Guido\nfirst line\n\nthird, ünïcode\n".encode()

Prepare = Callable[[str, Interpreter], list[str]]


@pytest.fixture
def prepare(request: pytest.FixtureRequest, tmp_path: Path) -> Prepare:
    """Gives the command line of a victim."""

    def command(name: str, interpreter: Interpreter) -> list[str]:
        python, arguments = interpreter.path, []
        if name in PACKAGES:
            python = request.getfixturevalue("with_package")(interpreter, PACKAGES[name])
        elif name == "library_swapped":
            arguments = request.getfixturevalue("swapped_libraries")
        elif name == "random_instruction":
            arguments = [str(request.getfixturevalue("random_library"))]
        elif name == "event_storm":
            arguments = [str(tmp_path / "log")]
        elif name == "environment_and_cwd":
            arguments = ["an argument", "", "--json", "--", "ünïcode"]
        return [str(python), str(victim(name)), *arguments]

    return command


def surroundings_of(name: str, around: Surroundings) -> Surroundings:
    return replace(around, stdin=TYPED) if name == "standard_input" else around


@pytest.mark.parametrize("name", NAMES)
def test_victim_runs_bare(name: str, interpreter: Interpreter, prepare: Prepare, around: Surroundings) -> None:
    """The victims themselves are sound: same end and same certain lines twice, but no two outputs equal."""
    around = surroundings_of(name, around)
    command = prepare(name, interpreter)
    first, second = harness.run(command, around), harness.run(command, around)
    assert first.status == STATUS.get(name, 0), str(first)
    harness.assert_same_meaning(first, second)
    assert name in CERTAIN or first.entropy != second.entropy, str(first)


@pytest.mark.parametrize("name", NAMES)
def test_victim_is_recorded_and_replayed(
    name: str,
    interpreter: Interpreter,
    way: tuple[str, ...],
    prepare: Prepare,
    around: Surroundings,
    trace: Path,
    scratch: Path,
) -> None:
    """Recording changes nothing for the program; replay gives the same bytes out and the same memory."""
    around = surroundings_of(name, around)
    assert_recorded_and_replayed(name, prepare(name, interpreter), way, around, trace, scratch)


@pytest.mark.parametrize("name", NAMES if harness.LONG else ["stack_limit"])
def test_victim_is_recorded_where_nothing_is_known_of_its_files(
    name: str, one_interpreter: Interpreter, prepare: Prepare, around: Surroundings, trace: Path, scratch: Path
) -> None:
    """Every site is patched when the first call has come from it, which changes the event of that call."""
    home = scratch.parent / "empty"
    home.mkdir()
    around = surroundings_of(name, replace(around, env={**(around.env or {}), "HOME": str(home)}))
    assert_recorded_and_replayed(name, prepare(name, one_interpreter), (), around, trace, scratch)


@pytest.fixture
def program(request: pytest.FixtureRequest, compiled: Callable[..., Path]) -> Path:
    """A victim in C, compiled."""
    return compiled(request.param, *PROGRAMS[request.param], "-pthread")


def each_program(but: Mapping[str, str]) -> pytest.MarkDecorator:
    def marks(name: str) -> list[pytest.MarkDecorator]:
        return [pytest.mark.xfail(reason=but[name], strict=True)] if name in but else []

    cases = [pytest.param(name, id=name, marks=marks(name)) for name in PROGRAMS]
    return pytest.mark.parametrize("program", cases, indirect=True)


@each_program(but={})
def test_program_runs_bare(program: Path, around: Surroundings) -> None:
    """As for the others: same end and same certain lines twice, but no two outputs equal."""
    first, second = harness.run([program], around), harness.run([program], around)
    assert first.status == STATUS.get(program.name, 0), str(first)
    harness.assert_same_meaning(first, second)
    assert program.name in CERTAIN or first.entropy != second.entropy, str(first)


@pytest.mark.parametrize(("sanitizer", "library"), [("thread", "libtsan.so"), ("address", "libasan.so")])
def test_sanitized_program_is_recorded_and_replayed(
    sanitizer: str,
    library: str,
    compiled: Callable[..., Path],
    way: tuple[str, ...],
    around: Surroundings,
    trace: Path,
    scratch: Path,
) -> None:
    """Neither the agent nor the gate lies where a sanitizer has its shadow memory."""
    if not shutil.which("gcc") or b"/" not in harness.run(["gcc", f"-print-file-name={library}"]).stdout:
        pytest.skip(f"no gcc with {library}")
    program = compiled("sanitized", f"-fsanitize={sanitizer}", "-pthread")
    # The search for leaks traces the program itself.
    around = replace(around, env={**(around.env or {}), "ASAN_OPTIONS": "detect_leaks=0"})
    assert_recorded_and_replayed("sanitized", [str(program)], way, around, trace, scratch)


@pytest.fixture
def go_program(tmp_path: Path) -> Path:
    if not shutil.which("go"):
        pytest.skip("no go")
    program = tmp_path / "go_calls"
    environment = {**os.environ, "CGO_ENABLED": "0", "GOCACHE": str(tmp_path / "cache")}
    result = harness.run(
        ["go", "build", "-o", program, victim("go_calls").with_suffix(".go")], Surroundings(environment)
    )
    assert result.status == 0, str(result)
    return program


def test_go_program_is_recorded_and_replayed(
    go_program: Path, way: tuple[str, ...], around: Surroundings, trace: Path, scratch: Path
) -> None:
    assert_recorded_and_replayed("go_calls", [str(go_program)], way, around, trace, scratch)


@each_program(but=XFAIL)
def test_program_is_recorded_and_replayed(
    program: Path, way: tuple[str, ...], around: Surroundings, trace: Path, scratch: Path
) -> None:
    assert_recorded_and_replayed(program.name, [str(program)], way, around, trace, scratch)


def assert_recorded_and_replayed(
    name: str, command: list[str], way: tuple[str, ...], around: Surroundings, trace: Path, scratch: Path
) -> None:
    bare = harness.run(command, around)
    recorded = harness.record(trace, *command, around=around, options=(*way, *OPTIONS.get(name, ())))
    assert recorded.status == STATUS.get(name, 0), str(recorded)
    if name == "refused_syscalls":
        assert_refused(recorded)
    harness.assert_same_meaning(bare, recorded)
    files = contents(scratch.parent)
    replayed = harness.replay(trace)
    assert replayed.status == 0, str(replayed)
    harness.assert_same_output(recorded, replayed)
    harness.assert_verified(harness.verify(trace))
    assert contents(scratch.parent) == files, "a replay touched files"


def assert_refused(recorded: Result) -> None:
    """Calls by which the kernel writes to memory later do not exist for a recorded program."""
    found = dict(re.findall(rb"^~ (\w+) (\w+)", recorded.stdout, re.MULTILINE))
    assert found == dict.fromkeys((b"io_setup", b"io_uring_setup", b"rseq"), b"ENOSYS")


def contents(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, but for the trace."""
    return {
        str(path): path.read_bytes() if path.is_file() else b""
        for path in sorted(directory.rglob("*"))
        if "trace" not in path.relative_to(directory).parts
    }


def test_standard_input_from_terminal(interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """A program keeps its terminal under the recorder, and its replay needs none."""
    command = [str(interpreter.path), str(victim("standard_input"))]
    typed = TYPED + b"\x04\x04"
    bare = harness.run_on_terminal(command, typed, around)
    assert b"<stdin> True" in bare.stdout, str(bare)
    assert b"os.terminal_size(columns=132, lines=43)" in bare.stdout, str(bare)
    recorded = harness.run_on_terminal(harness.record_words(trace, *command), typed, around)
    harness.assert_same_meaning(bare, recorded)
    replayed = harness.replay(trace, merge=True)
    assert replayed.status == 0, str(replayed)
    assert not harness.difference(recorded.stdout, replayed.stdout)
    harness.assert_verified(harness.verify(trace))


def test_empty_standard_input(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """The end of a closed pipe is an input like any other: here it is an uncaught EOFError."""
    command = [str(one_interpreter.path), str(victim("standard_input"))]
    around = replace(around, stdin=b"")
    bare = harness.run(command, around)
    assert bare.status == 1
    assert b"EOFError" in bare.stderr
    recorded = harness.record(trace, *command, around=around)
    harness.assert_same_meaning(bare, recorded)
    harness.assert_same_output(recorded, harness.replay(trace))


def test_record_says_where_the_trace_is(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """Without -q the program's stderr is followed by one line: the trace, its events, its size."""
    command = [str(one_interpreter.path), "-c", "import sys; print('out'); print('err', file=sys.stderr)"]
    recorded = harness.record(trace, *command, around=around, quiet=False)
    lines = recorded.stderr.decode().splitlines()
    assert recorded.stdout == b"out\n"
    assert len(lines) == 2, lines
    assert lines[0] == "err"
    assert str(trace) in lines[1] or trace.name in lines[1]
    assert re.search(r"\d[\d,_]* events", lines[1]), lines[1]
    assert stat.S_IMODE(trace.stat().st_mode) == 0o700


def test_info_and_dump(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """`info` sums up the trace; `dump` lists its events in order, decoded, with what the program wrote."""
    command = [str(one_interpreter.path), "-c", "import os; os.write(1, b'a quite special text')"]
    harness.record(trace, *command, around=around)
    about = harness.info(trace)
    keys = {"format", "command", "interpreter", "events", "tasks", "seconds", "bytes", "warnings"}
    assert keys <= set(about), about
    assert about["command"] == command
    size = sum(path.stat().st_size for path in trace.rglob("*") if path.is_file())
    assert about["bytes"] == pytest.approx(size, rel=0.1)
    events = harness.dump(trace)
    assert len(events) == about["events"] > 100
    for event in events:
        assert {"event", "time", "task", "kind", "name", "arguments", "result"} <= set(event), event
    numbers = [event["event"] for event in events]
    assert numbers == sorted(set(numbers))
    times = [event["time"] for event in events]
    assert times == sorted(times)
    writes = [event for event in events if event["name"] == "write"]
    assert [event["result"] for event in writes if "quite special" in str(event["arguments"])] == [20]


def test_command_that_does_not_exist(around: Surroundings, trace: Path) -> None:
    """One message, the shell's status, no traceback."""
    result = harness.run(harness.record_words(trace, "/nonexistent/program"), around)
    assert result.status in (2, 127), str(result)
    assert b"/nonexistent/program" in result.stderr
    assert b"Traceback" not in result.stderr
