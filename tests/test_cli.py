"""The command line as a user meets it: where traces go, what is completed, and one message for what goes wrong."""

from __future__ import annotations

import fcntl
import os
import shlex
import signal
import socket
import subprocess
import sys
import termios
import time
from pathlib import Path

import harness
import pytest
from harness import Interpreter, Result, Surroundings, victim

FEW = 24  # descriptors
PIPE_IS_FULL = 50_000  # of 65,536 bytes: the next write does not fit


@pytest.fixture
def named(tmp_path: Path, scratch: Path) -> Surroundings:
    """Surroundings with a folder of their own for named traces."""
    return Surroundings(
        env={**harness.victim_environment(scratch), "PYRR_TRACE_DIR": str(tmp_path / "traces")}, cwd=scratch
    )


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The trace of a program that writes a line."""
    trace = tmp_path_factory.mktemp("recorded") / "trace"
    harness.record(trace, "/bin/echo", "a line")
    return trace


def in_shell(script: str, around: Surroundings) -> Surroundings:
    """Surroundings in which a shell has done something before it executes the command."""
    return Surroundings(env=around.env, cwd=around.cwd, prefix=["bash", "-c", f'{script}; exec "$@"', "-"])


def assert_one_message(result: Result, words: bytes) -> None:
    assert result.status == 2, str(result)
    assert result.stderr.startswith(b"pyrr: "), str(result)
    assert result.stderr.count(b"\n") == 1, str(result)
    assert words in result.stderr, str(result)


# ---- named traces ----


def test_traces_are_named_numbered_private_and_listed(named: Surroundings, tmp_path: Path) -> None:
    for _ in range(2):
        assert harness.pyrr("record", "/bin/echo", "one", around=named).status == 0
    assert harness.pyrr("record", "-q", "/bin/true", around=named).status == 0
    folder = tmp_path / "traces"
    assert sorted(path.name for path in folder.iterdir()) == ["echo-1", "echo-2", "latest", "true-1"]
    assert {path.stat().st_mode & 0o777 for path in (folder, folder / "echo-1")} == {0o700}
    listed = harness.pyrr("ls", around=named).stdout.split(b"\n")[1:]
    assert [line.split()[0] for line in listed if line] == [b"echo-1", b"echo-2", b"true-1"]
    assert harness.pyrr("replay", "echo-2", around=named).stdout == b"one\n"
    assert harness.pyrr("replay", around=named).stdout == b""


def test_recordings_side_by_side_have_names_of_their_own(named: Surroundings, tmp_path: Path) -> None:
    words = [str(harness.PYRR), "record", "-q", "/bin/echo"]
    started = [subprocess.Popen([*words, str(n)], env=named.env, stdout=subprocess.PIPE) for n in range(8)]
    assert sorted(process.communicate()[0] for process in started) == [b"%d\n" % n for n in range(8)]
    assert [process.returncode for process in started] == [0] * 8
    assert len(list((tmp_path / "traces").glob("echo-?"))) == 8


def test_latest_is_the_newest_that_is_left(named: Surroundings, tmp_path: Path) -> None:
    for word in ("one", "two"):
        harness.pyrr("record", "/bin/echo", word, around=named)
    assert harness.pyrr("rm", "echo-2", around=named).status == 0
    assert harness.pyrr("replay", around=named).stdout == b"one\n"
    assert harness.pyrr("rm", "echo-1", around=named).status == 0
    assert not list((tmp_path / "traces").iterdir())
    assert_one_message(harness.pyrr("replay", around=named), b"no trace yet")


def test_a_latest_that_is_gone_is_named(named: Surroundings, tmp_path: Path) -> None:
    harness.pyrr("record", "-q", "-o", tmp_path / "elsewhere", "/bin/true", around=named)
    (tmp_path / "elsewhere").rename(tmp_path / "moved")
    assert_one_message(harness.pyrr("info", around=named), b"elsewhere, is gone")


def test_a_folder_that_is_none(named: Surroundings) -> None:
    around = Surroundings(env={**(named.env or {}), "PYRR_TRACE_DIR": "/dev/null"}, cwd=named.cwd)
    assert_one_message(harness.pyrr("ls", around=around), b"/dev/null cannot be read")
    assert_one_message(harness.pyrr("record", "true", around=around), b"cannot make a trace at /dev/null/true-1")


# ---- what is asked for ----


@pytest.mark.parametrize("command", ["record", "hunt"])
def test_an_option_that_does_not_exist_is_no_program(command: str, named: Surroundings) -> None:
    result = harness.pyrr(command, "--outptu", "x", "true", around=named)
    assert result.status == 2
    assert b"no such option" in result.stderr


def test_a_system_call_that_does_not_exist(recorded: Path) -> None:
    assert_one_message(harness.pyrr("dump", recorded, "--syscall", "opena"), b"did you mean openat?")
    assert harness.pyrr("dump", recorded, "--syscall", "syscall_0x1f4").status == 0


def complete(words: str, around: Surroundings) -> list[str]:
    """What bash is told for a line that ends in the last word."""
    count = str(len(words.split(" ")) - 1)
    environment = {**(around.env or {}), "COMP_WORDS": words, "COMP_CWORD": count, "_PYRR_COMPLETE": "bash_complete"}
    return harness.pyrr(around=Surroundings(env=environment, cwd=around.cwd)).stdout.decode().split()


def test_completion(named: Surroundings) -> None:
    harness.pyrr("record", "-q", "/bin/echo", around=named)
    assert complete("pyrr re", named) == ["plain,record", "plain,replay", "plain,resume"]
    assert complete("pyrr verify ech", named) == ["file,ech", "plain,echo-1"]
    assert complete("pyrr rm ./x", named) == ["file,./x"]
    assert "plain,bash" in complete("pyrr record -q bas", named)
    assert complete("pyrr record bash bas", named) == ["file,bas"]
    assert complete("pyrr dump --syscall openat", named) == ["plain,openat", "plain,openat2"]


def test_where_it_stands_before_the_first_task_and_behind_the_last(recorded: Path) -> None:
    task = harness.dump(recorded)[0]["task"]
    first = harness.pyrr("replay", recorded, "--to", "start").stdout.decode()
    assert first.startswith(f"event 0, task {task}: execve('/"), first
    last = harness.pyrr("replay", recorded, "--to", "end").stdout.decode()
    assert last == f"event {len(harness.dump(recorded))}: behind the last event\n"


# ---- streams and limits ----


@pytest.mark.parametrize("closed", ["2>&-", "<&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams(closed: str, named: Surroundings, trace: Path) -> None:
    """They are closed in the program, too, and nothing of ours gets their numbers."""
    script = "import os, sys; os.write(1, b'out') if sys.stdout else 0; os._exit(3 if sys.stderr is None else 4)"
    around = in_shell(f"exec {closed}", named)
    recorded = harness.run([str(harness.PYRR), "record", "-o", trace, "/usr/bin/python3", "-c", script], around)
    assert recorded.status == 3, str(recorded)
    assert recorded.stdout == (b"" if ">&- 2" in closed else b"out"), str(recorded)
    harness.assert_verified(harness.verify(trace))
    replayed = harness.replay(trace, around)
    assert (replayed.status, replayed.stdout) == (0, recorded.stdout), str(replayed)


@pytest.mark.parametrize("words", ["replay", "replay --to 5", "dump", "info --json", "verify", "ps", "--help"])
def test_output_that_cannot_be_written(words: str, recorded: Path) -> None:
    name, *options = words.split()
    trace = [] if name == "--help" else [recorded]
    result = harness.pyrr(name, *trace, *options, around=in_shell("exec >/dev/full", Surroundings()))
    assert_one_message(result, b"No space left on device")


def available(descriptor: int) -> int:
    """Bytes that can be read at once (ioctl_tty(2), FIONREAD)."""
    return int.from_bytes(fcntl.ioctl(descriptor, termios.FIONREAD, bytes(4)), sys.byteorder)


def test_output_to_a_pipe_that_does_not_block(one_interpreter: Interpreter, trace: Path) -> None:
    program = "for number in range(20): print(str(number) * 20000)"
    recorded = harness.record(trace, one_interpreter.path, "-c", program)
    reading, writing = os.pipe()
    fcntl.fcntl(writing, fcntl.F_SETFL, os.O_NONBLOCK)
    with subprocess.Popen([harness.PYRR, "replay", trace], stdout=writing) as process:
        os.close(writing)
        while process.poll() is None and available(reading) < PIPE_IS_FULL:
            time.sleep(0.01)
        with open(reading, "rb") as file:
            assert file.read() == recorded.stdout
    assert process.returncode == 0


def test_more_files_than_descriptors(one_interpreter: Interpreter, named: Surroundings, trace: Path) -> None:
    recorded = harness.record(trace, one_interpreter.path, victim("mapped_one_by_one"), str(2 * FEW), around=named)
    few = in_shell(f"ulimit -n {FEW}", named)
    replayed = harness.replay(trace, few)
    assert replayed.status == 0, str(replayed)
    assert replayed.stdout == recorded.stdout
    harness.assert_verified(harness.verify(trace, few))


def test_a_trace_of_which_nothing_was_written_is_not_kept(named: Surroundings, tmp_path: Path) -> None:
    around = in_shell("ulimit -f 1", named)
    result = harness.pyrr("record", "/bin/echo", "still here", around=around)
    assert (result.status, result.stdout) == (0, b"still here\n"), str(result)
    assert b"nothing was recorded" in result.stderr, str(result)
    assert b"File too large" in result.stderr, str(result)
    assert not list((tmp_path / "traces").iterdir())


# ---- what a newcomer does wrong ----


@pytest.mark.parametrize(
    "words",
    [
        "replay --bogus", "replay --to", "replay one two", "replay --json", "replay --serve", "bogus", "--bogus", "rm",
        "record", "record --checksum-every -1 true", "record --follow some true", "record --seed 1 true", "ls more",
        "hunt --runs 0 true", "hunt --until never true", "dap --port 99999", "dap --port -1", "state --process x",
        "checkpoint --every -1", "resume -o x", "replay --to 1 --serve 1 --stop",
    ],
)  # fmt: skip
def test_words_that_mean_nothing(words: str, named: Surroundings) -> None:
    assert_one_message(harness.pyrr(*words.split(), around=named), b" --help'")


def test_the_message_names_the_help_of_the_command(named: Surroundings) -> None:
    assert_one_message(harness.pyrr("replay", "--to", around=named), b"see 'pyrr replay --help'")
    assert_one_message(harness.pyrr("replay", "--bogus", around=named), b"no such option")


def test_no_words_at_all_are_answered_with_the_help(named: Surroundings) -> None:
    assert b"Commands:" in (result := harness.pyrr(around=named)).stdout + result.stderr


@pytest.mark.parametrize("command", ["rm", "info", "replay", "verify", "debug", "resume", "gdb"])
def test_an_empty_name_is_not_the_latest(command: str, named: Surroundings, tmp_path: Path) -> None:
    harness.pyrr("record", "-q", "/bin/true", around=named)
    assert_one_message(harness.pyrr(command, "", around=named), b"the name of the trace is empty")
    assert (tmp_path / "traces" / "true-1").is_dir()


@pytest.mark.parametrize("words", ["record -o", "hunt --keep", "pack -o"])
def test_an_empty_path_is_none(words: str, named: Surroundings, recorded: Path, tmp_path: Path) -> None:
    command, option = words.split()
    result = harness.pyrr(command, option, "", recorded if command == "pack" else "/bin/true", around=named)
    assert_one_message(result, b"the path to write to is empty")
    assert not (tmp_path / "traces").exists()


def test_a_link_to_a_trace_is_not_removed(recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(recorded)
    assert_one_message(harness.pyrr("rm", tmp_path / "link"), b"is a link: name what it points at, " + bytes(recorded))
    assert recorded.is_dir()


def test_a_folder_that_is_none_is_not_said_to_be_empty(named: Surroundings) -> None:
    around = Surroundings(env={**(named.env or {}), "PYRR_TRACE_DIR": "/dev/null"}, cwd=named.cwd)
    assert_one_message(harness.pyrr("info", around=around), b"/dev/null cannot be read: Not a directory")


def test_what_is_no_trace(recorded: Path, tmp_path: Path) -> None:
    assert_one_message(harness.pyrr("info", "/dev/null"), b"/dev/null is not a trace: it has no header")
    (tmp_path / "header").write_bytes((recorded / "header").read_bytes())
    assert_one_message(harness.pyrr("info", tmp_path), b"is not a trace: it has no events")


def test_processes_that_are_not_there(recorded: Path) -> None:
    for options in ([], ["--json"]):
        result = harness.pyrr("state", recorded, "--process", "1", *options)
        assert_one_message(result, b"no process 1 lives at event")


@pytest.mark.parametrize("seconds", ["nan", "inf", "1e300"])
def test_seconds_that_are_none(seconds: str, recorded: Path, named: Surroundings) -> None:
    assert_one_message(harness.pyrr("checkpoint", recorded, "--every", seconds), b"seconds are none to wait")
    assert_one_message(harness.pyrr("hunt", "--hang", seconds, "true", around=named), b"seconds are none to wait")


def test_a_hunt_for_nothing_is_trouble(named: Surroundings, tmp_path: Path) -> None:
    assert_one_message(harness.pyrr("hunt", "no-such-program", around=named), b"no-such-program: command not found")
    assert_one_message(
        harness.pyrr("hunt", "--keep", "/proc/x", "true", around=named), b"cannot make a trace at /proc/x"
    )
    assert harness.pyrr("hunt", "--runs", "3", "--seed", str(2**32 - 1), "true", around=named).status == 1


def test_a_port_that_is_taken(named: Surroundings, recorded: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert_one_message(harness.pyrr("dap", "--port", port, around=named), b"Address already in use; --port 0")
    serve = ("replay", recorded, "--to", "1", "--serve")
    assert_one_message(harness.pyrr(*serve, tmp_path), b"it exists already")
    assert_one_message(harness.pyrr(*serve, "nowhere"), b"give a port, 127.0.0.1:PORT, or the path of a socket")


NINES = "9" * 5000


@pytest.mark.parametrize(
    "position",
    [NINES, f"-{NINES}", f"1:{NINES}", f"{NINES}%", f"+{NINES}s", f"syscall:read#{NINES}", f"output:/a/#-{NINES}",
     "syscall:read#99999999999999999999", f"a.py:{NINES}", f"exception:{NINES}", "1:99999999999999999999"],
)  # fmt: skip
def test_positions_with_too_many_digits(position: str, recorded: Path) -> None:
    assert_one_message(harness.pyrr("replay", recorded, "--to", position), b"no position has a number of more than 18")


def test_a_tick_that_is_not_there_is_named_as_it_was_given(one_interpreter: Interpreter, trace: Path) -> None:
    harness.record(trace, one_interpreter.path, "-c", "print()")
    position = f"{harness.dump(trace)[-3]['event']}:99999999999"
    assert_one_message(harness.pyrr("replay", trace, "--to", position), position.encode() + b" is not there")


@pytest.mark.parametrize("position", ["start", "end"])
def test_where_nothing_lives_nothing_goes_live(position: str, recorded: Path) -> None:
    """The advice was to leave out --to, which found nothing either."""
    assert_one_message(harness.pyrr("resume", recorded, "--to", position), b"choose another position with --to")


@pytest.mark.parametrize(
    "policy",
    ["preset = []", "defaults = 3", "override = 3", "override = [3]", '[[override]]\nchoice = "dead"\npath = 3',
     '[[override]]\nchoice = "dead"\nport = "x"', '[[override]]\nchoice = "dead"\ndescriptor = true'],
)  # fmt: skip
def test_a_policy_of_wrong_types(policy: str, recorded: Path, tmp_path: Path) -> None:
    (tmp_path / "policy.toml").write_text(policy)
    assert_one_message(harness.pyrr("resume", recorded, "--policy", tmp_path / "policy.toml"), b"polic")


@pytest.mark.parametrize("words", ["dap", "dap --port 0", "hunt --runs 100000 true"])
def test_an_interrupted_command(words: str, named: Surroundings) -> None:
    around = {**(named.env or {}), "PYTHONUNBUFFERED": "1"}
    # The tests may run in the background of a shell, where SIGINT is ignored.
    command = ["env", "--default-signal=INT", str(harness.PYRR), *words.split()]
    with subprocess.Popen(
        command, env=around, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        time.sleep(1.5)
        os.killpg(process.pid, signal.SIGINT)
        try:
            message = process.communicate(timeout=60)[1]
        finally:
            process.kill()
    assert process.returncode in (130, -signal.SIGINT)
    assert message.strip() in (b"pyrr: interrupted", b"")


# ---- names that are not ASCII ----

COMPUTES = "def f():\n    x = 1\n    return x\nf()\n"


@pytest.mark.parametrize("folder", ["plain", "caf\u00e9", "\u65e5\u672c", "\U0001f600", "not-utf-8-\udcff"])
def test_lines_of_files_below_any_name(folder: str, one_interpreter: Interpreter, trace: Path, tmp_path: Path) -> None:
    (tmp_path / folder).mkdir()
    (tmp_path / folder / "computes.py").write_text(COMPUTES)
    harness.record(trace, one_interpreter.path, tmp_path / folder / "computes.py")
    for name in ("computes.py", f"{folder}/computes.py"):
        found = harness.pyrr("replay", trace, "--to", f"{name}:3")
        assert found.status == 0, str(found)
        assert b"line 3, in f" in found.stdout, str(found)


def test_a_program_without_an_event_of_its_own_is_opened_at_its_first_line(
    one_interpreter: Interpreter, trace: Path, tmp_path: Path
) -> None:
    (tmp_path / "computes.py").write_text(COMPUTES)
    harness.record(trace, one_interpreter.path, tmp_path / "computes.py")
    shown = harness.pyrr("debug", trace, around=Surroundings(stdin=b"next\n")).stdout.decode()
    assert "at the beginning of the Python program" in shown, shown
    assert "computes.py(1)<module>()" in shown, shown
    assert "computes.py(4)<module>()" in shown, shown


def test_a_program_without_python_is_opened_at_its_end(recorded: Path) -> None:
    shown = harness.pyrr("debug", recorded, around=Surroundings(stdin=b"")).stdout.decode()
    assert "at the end: no event is in Python code of the program's own" in shown, shown


# ---- the list, and what is removed ----


def test_a_trace_does_not_become_newer_by_its_checkpoints(named: Surroundings, tmp_path: Path) -> None:
    for word in ("one", "two", "three"):
        harness.pyrr("record", "-q", "/bin/echo", word, around=named)
    assert harness.pyrr("checkpoint", "-q", "echo-1", around=named).status == 0
    listed = harness.pyrr("ls", around=named).stdout.split(b"\n")[1:]
    assert [line.split()[0] for line in listed if line] == [b"echo-1", b"echo-2", b"echo-3"]
    assert harness.pyrr("rm", "echo-3", around=named).status == 0
    assert harness.pyrr("replay", around=named).stdout == b"two\n"


def test_the_name_of_a_pack_for_a_path_with_a_slash_at_its_end(recorded: Path, tmp_path: Path) -> None:
    around = Surroundings(cwd=tmp_path)
    assert harness.pyrr("pack", "-q", f"{recorded}/", around=around).status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["trace.pyrr"]


def test_the_prompt_names_the_command_as_a_shell_takes_it(one_interpreter: Interpreter, trace: Path) -> None:
    harness.record(trace, one_interpreter.path, "-c", "print('a b')")
    shown = harness.pyrr("debug", trace, around=Surroundings(stdin=b"")).stdout.decode()
    assert shlex.join([str(one_interpreter.path), "-c", "print('a b')"]) in shown, shown
