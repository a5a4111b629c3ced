"""A replay needs the trace and nothing else; recording and replay work without privileges."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import harness
import pytest
from harness import NOBODY, Interpreter, Result, Surroundings, victim

HERE = Path(__file__).resolve().parent

PROGRAM = """
import os, random, sys
import neighbour, installed
print(neighbour.TEXT, installed.TEXT, sys.prefix, os.getcwd(), random.random(), id(sys))
print(open("data").read(), file=sys.stderr)
import json, sqlite3, ctypes, ssl
print(sorted(sys.modules)[-5:])
"""


@dataclass(frozen=True)
class Home:
    """A program with all it needs in one directory: script, data, working directory, virtual environment."""

    directory: Path
    result: Result

    def delete(self) -> None:
        shutil.rmtree(self.directory)

    def overwrite(self) -> None:
        """Other contents in every file of the program and its environment; links are cut."""
        for path in sorted(self.directory.rglob("*")):
            if path.is_symlink() or path.is_file():
                path.unlink()
                path.write_text("raise SystemExit('this is not what was recorded')\n")


@pytest.fixture(params=["--copies", "--symlinks"])
def home(request: pytest.FixtureRequest, interpreter: Interpreter, tmp_path: Path, trace: Path) -> Home:
    """A recorded run of a program that lives in a virtual environment."""
    directory = tmp_path / "home"
    environment = directory / "environment"
    words = [interpreter.path, "-m", "venv", request.param, "--without-pip", environment]
    made = harness.run(words)
    assert made.status == 0, str(made)
    (site,) = (environment / "lib").glob("python3.*/site-packages")
    (site / "installed.py").write_text("TEXT = 'installed'\n")
    (directory / "neighbour.py").write_text("TEXT = 'neighbour'\n")
    (directory / "program.py").write_text(PROGRAM)
    (directory / "data").write_text("data\n")
    around = Surroundings(env=harness.victim_environment(directory), cwd=directory)
    recorded = harness.record(trace, environment / "bin" / "python", directory / "program.py", around=around)
    assert recorded.status == 0, str(recorded)
    begin = f"neighbour installed {environment} {directory} 0."
    assert recorded.stdout.startswith(begin.encode()), str(recorded)
    assert recorded.stderr == b"data\n\n"
    return Home(directory, recorded)


@pytest.mark.parametrize("change", [Home.delete, Home.overwrite])
def test_replay_needs_no_file_of_the_program(home: Home, change: object, trace: Path) -> None:
    """Script, data, working directory and the whole virtual environment gone, or full of other things."""
    assert callable(change)
    change(home)
    replayed = harness.replay(trace)
    assert replayed.status == 0, str(replayed)
    harness.assert_same_output(home.result, replayed)
    harness.assert_verified(harness.verify(trace))


@pytest.fixture
def recorded(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> Result:
    """A recording of entropy.py."""
    return harness.record(trace, one_interpreter.path, victim("entropy"), around=around)


def assert_replays(trace: Path, recorded: Result, around: Surroundings) -> None:
    replayed = harness.replay(trace, around)
    assert replayed.status == 0, str(replayed)
    harness.assert_same_output(recorded, replayed)
    harness.assert_verified(harness.verify(trace, around))


def test_replay_with_empty_environment(recorded: Result, trace: Path) -> None:
    """Not one variable, as by env -i; pyrr is called by its absolute path."""
    assert_replays(trace, recorded, Surroundings(env={}))


def test_replay_from_another_directory(recorded: Result, trace: Path, tmp_path: Path) -> None:
    """From the root, and (the trace moved and named by a relative path) from beside it."""
    assert_replays(trace, recorded, Surroundings(cwd="/"))
    (tmp_path / "elsewhere").mkdir()
    trace.rename(tmp_path / "elsewhere" / "renamed")
    assert_replays(Path("renamed"), recorded, Surroundings(cwd=tmp_path / "elsewhere"))


def test_replay_without_address_randomization(recorded: Result, trace: Path) -> None:
    """Recorded with it, replayed without it: addresses come from the trace."""
    if shutil.which("setarch") is None:
        pytest.skip("no setarch")
    assert_replays(trace, recorded, Surroundings(prefix=["setarch", "x86_64", "-R"]))


def test_record_without_address_randomization(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """Recorded without it, replayed with it."""
    if shutil.which("setarch") is None:
        pytest.skip("no setarch")
    around = replace(around, prefix=["setarch", "x86_64", "-R"])
    recorded = harness.record(trace, one_interpreter.path, victim("entropy"), around=around)
    assert_replays(trace, recorded, harness.DEFAULT)


def test_replay_with_other_limits(recorded: Result, trace: Path) -> None:
    """Half as much stack and few descriptors."""
    limits = ["/bin/sh", "-c", 'ulimit -s 4096; ulimit -n 64; exec "$@"', "sh"]
    assert_replays(trace, recorded, Surroundings(prefix=limits))


# ---- another user ----


@pytest.fixture
def public() -> Iterator[Path]:
    """A directory below /tmp that belongs to nobody (pytest's own are private to this user)."""
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    path = Path(tempfile.mkdtemp(prefix="pyrr-test-"))
    os.chown(path, NOBODY, NOBODY)
    yield path
    shutil.rmtree(path)


def _runs(words: list[str], around: Surroundings) -> bool:
    try:
        return harness.run(words, around).status == 0
    except PermissionError:
        return False


@pytest.fixture
def nobody(public: Path, monkeypatch: pytest.MonkeyPatch) -> Surroundings:
    """The surroundings of an unprivileged user who can execute pyrr.

    If the interpreter of this virtual environment is in a private directory, a public interpreter of the
    same version runs pyrr from the same site-packages.
    """
    around = Surroundings(env=harness.victim_environment(public, public), cwd=public, user=NOBODY)
    if _runs([str(harness.PYRR), "--help"], around):
        return around
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for directory in ("/usr/bin", "/usr/local/bin", "/opt/python/bin"):
        launcher = public / "pyrr"
        launcher.write_text(
            f"#!{directory}/{version} -IS\n"
            f"import sys, site\n"
            f"site.addsitedir({sysconfig.get_path('purelib')!r})\n"
            "from pyrr_debugger.__main__ import main\n"
            "sys.exit(main())\n"
        )
        launcher.chmod(0o755)
        if Path(directory, version).exists() and _runs([str(launcher), "--help"], around):
            monkeypatch.setattr(harness, "PYRR", launcher)
            return around
    pytest.skip("another user can execute neither this interpreter nor a public one of its version")


def give(path: Path) -> None:
    """Hand a directory over to the unprivileged user."""
    for entry in [path, *path.rglob("*")]:
        os.chown(entry, NOBODY, NOBODY, follow_symlinks=False)


def test_replay_as_another_user(recorded: Result, nobody: Surroundings, trace: Path, public: Path) -> None:
    """Recorded by root, copied, replayed by nobody."""
    copy = public / "copy"
    shutil.copytree(trace, copy, symlinks=True)
    give(copy)
    assert_replays(copy, recorded, nobody)


@pytest.mark.parametrize("name", ["entropy", "files_and_directories", "signal_handler", "time_stamp_counter"])
def test_record_as_unprivileged_user(name: str, nobody: Surroundings, public: Path) -> None:
    """Neither recording nor replay needs a privilege; root can replay the result as well."""
    source = public / "victims"
    shutil.copytree(harness.VICTIMS, source, ignore=shutil.ignore_patterns("__pycache__"))
    give(source)
    found = [one.path for one in harness.interpreters()]
    pythons = [path for path in found if _runs([str(path), "-c", "import json"], nobody)]
    if not pythons:
        pytest.skip("another user can execute no interpreter here")
    bare = harness.run([pythons[-1], source / f"{name}.py"], nobody)
    trace = public / "trace"
    recorded = harness.record(trace, pythons[-1], source / f"{name}.py", around=nobody)
    harness.assert_same_meaning(bare, recorded)
    assert trace.stat().st_uid == NOBODY
    assert_replays(trace, recorded, nobody)
    assert_replays(trace, recorded, harness.DEFAULT)


# ---- containers ----

FILTERED = [sys.executable, str(HERE / "seccomp.py")]


def test_filter_denies_what_it_should(around: Surroundings) -> None:
    """The filter of these tests itself: it denies namespaces, and lets threads, children and ptrace be."""
    filtered = replace(around, prefix=FILTERED)
    program = (
        "import ctypes, os, subprocess, threading\n"
        "libc = ctypes.CDLL(None, use_errno=True)\n"
        "def call(*words): ctypes.set_errno(0); libc.syscall(*words); return ctypes.get_errno()\n"
        "calls = [(135, 0x40000), (135, 0), (272, 0), (298, 0, 0, -1, -1, 0), (425, 8, 0)]\n"
        "calls += [(56, 0x10000000 | 17, 0, 0, 0, 0), (435, 0, 0), (250, 99), (101, 99, 0, 0, 0)]\n"
        "print([call(*words) for words in calls])\n"
        "threading.Thread(target=print, args=('thread',)).start()\n"
        "print(subprocess.run(['/bin/echo', 'child'], stdout=subprocess.PIPE).stdout)\n"
    )
    result = harness.run([sys.executable, "-c", program], filtered)
    lines = sorted(result.stdout.decode().splitlines())
    # ptrace's own answer is ESRCH: there is no process 0.
    assert lines == ["[1, 0, 1, 1, 1, 1, 38, 1, 3]", "b'child\\n'", "thread"], str(result)


@pytest.mark.parametrize(
    "name", ["denied_syscalls", "entropy", "memory_management", "subprocess_output", "threads_queue"]
)
def test_record_in_a_container(name: str, interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """Under Docker's default filter: recorded and replayed in the container, and replayed out of it."""
    filtered = replace(around, prefix=FILTERED)
    bare = harness.run([interpreter.path, victim(name)], filtered)
    recorded = harness.record(trace, interpreter.path, victim(name), around=filtered)
    harness.assert_same_meaning(bare, recorded)
    if name == "denied_syscalls":
        assert b"unshare -1 EPERM" in recorded.stdout, str(recorded)
        assert b"perf_event_open -1 EPERM" in recorded.stdout, str(recorded)
    assert_replays(trace, recorded, Surroundings(prefix=FILTERED))
    assert_replays(trace, recorded, harness.DEFAULT)


def test_replay_in_a_container(recorded: Result, trace: Path) -> None:
    """Recorded on the host, replayed under Docker's default filter."""
    assert_replays(trace, recorded, Surroundings(prefix=FILTERED))


def test_denied_calls_on_the_host(interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """The same calls with the answers of a kernel that denies nothing, replayed where all are denied."""
    recorded = harness.record(trace, interpreter.path, victim("denied_syscalls"), around=around)
    assert recorded.status == 0, str(recorded)
    assert_replays(trace, recorded, Surroundings(prefix=FILTERED))


def test_trace_is_private_to_its_owner(recorded: Result, nobody: Surroundings, trace: Path, public: Path) -> None:
    """Another user cannot read a trace: one message, exit status 2."""
    copy = public / "copy"
    shutil.copytree(trace, copy, symlinks=True)
    assert copy.stat().st_mode & 0o077 == 0
    result = harness.replay(copy, nobody)
    assert result.status == 2, str(result)
    assert b"Traceback" not in result.stderr
    assert str(copy).encode() in result.stderr


def test_a_trace_that_is_closed_to_another_user_is_not_said_to_be_missing(nobody: Surroundings, public: Path) -> None:
    trace = public / "closed" / "trace"
    trace.parent.mkdir(0o700)
    trace.mkdir()
    (public / "latest").symlink_to(trace)
    around = replace(nobody, env={**(nobody.env or {}), "PYRR_TRACE_DIR": str(public)})
    for words in (["info", str(trace)], ["info"]):
        result = harness.pyrr(*words, around=around)
        assert result.status == 2
        assert result.stderr == f"pyrr: {trace} cannot be looked at: Permission denied\n".encode()


def test_what_another_user_may_not_do(nobody: Surroundings, public: Path) -> None:
    def message(*words: str | Path) -> tuple[int, str]:
        result = harness.pyrr(*words, around=nobody)
        return result.status, result.stderr.decode()

    trace = public / "trace"
    harness.pyrr("record", "-q", "-o", trace, "/bin/true", around=nobody)
    (public / "closed").mkdir(0o700)
    closed = public / "closed" / "program"
    assert message("record", closed) == (
        126,
        f"pyrr: {closed}: cannot be executed (permission denied, or a directory)\n",
    )
    (trace / "files").chmod(0)
    assert message("info", trace) == (2, f"pyrr: {trace} cannot be read: {trace}/files: Permission denied\n")
    (trace / "files").chmod(0o700)
    trace.chmod(0o500)
    before = sorted(trace.rglob("*"))
    assert message("rm", trace) == (2, f"pyrr: {trace} cannot be removed: {trace} cannot be written\n")
    assert sorted(trace.rglob("*")) == before
    trace.chmod(0o700)
    assert message("rm", trace) == (0, "")
