"""Runs programs bare and under the installed `pyrr`, with time-outs, and leaves no process behind."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

VICTIMS = Path(__file__).resolve().parent / "victims"
LONG = os.environ.get("PYRR_LONG") == "1"
PYRR = Path(sys.executable).parent / "pyrr"
NOBODY = 65534
ENTROPY = b"~ "
"""Begins the lines of a victim that differ from run to run (tests/victims/README.md)."""
TIMEOUT = 120.0

Command = Sequence["str | os.PathLike[str]"]


# ---- interpreters ----


@dataclass(frozen=True)
class Interpreter:
    """A CPython to run victims with. `name` is its version and its source: "3.11-pyenv"."""

    name: str
    path: Path
    version: tuple[int, int]

    @property
    def runs_pytest(self) -> bool:
        return self.path == Path(sys.executable).resolve()


def interpreters(every: bool = LONG) -> list[Interpreter]:
    """CPython 3.8 to 3.14: real files, each of them once. `every` gives those of PATH, pyenv and the distribution,
    else only the distribution's and the one that runs the tests."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    directories = [Path(entry) for entry in os.environ.get("PATH", "").split(":") if entry.startswith("/")]
    with suppress(OSError):
        directories += sorted(path / "bin" for path in (pyenv / "versions").glob("3.*"))
    directories.append(Path("/usr/bin"))
    found: dict[str, Interpreter] = {}
    for directory in directories:
        for minor in range(8, 15):
            path = directory / f"python3.{minor}"
            try:
                path = path.resolve(strict=True)
                with path.open("rb") as file:
                    is_program = file.read(4) == b"\x7fELF"
            except OSError:
                continue
            if is_program:
                name = f"3.{minor}-{_source(path, pyenv)}"
                found[name] = Interpreter(name, path, (3, minor))
    unique = {interpreter.path: interpreter for interpreter in found.values()}
    if not every:
        own = Path(sys.executable).resolve()
        unique = {path: it for path, it in unique.items() if path == own or path.is_relative_to("/usr/bin")}
    return sorted(unique.values(), key=lambda interpreter: (interpreter.version, interpreter.name))


def _source(path: Path, pyenv: Path) -> str:
    if path.is_relative_to(pyenv.resolve()):
        return "pyenv"
    if not path.is_relative_to("/usr/bin"):
        return "path"
    with suppress(OSError):
        match = re.search(r"^ID=\"?([a-z]+)", Path("/etc/os-release").read_text(), re.MULTILINE)
        if match:
            return match[1]
    return "system"


# ---- results ----


@dataclass(frozen=True)
class Result:
    """What a command wrote, and how it ended: its exit status as a shell gives it, 128+n for signal n."""

    command: list[str]
    stdout: bytes
    stderr: bytes
    status: int

    @property
    def certain(self) -> list[bytes]:
        """The lines of stdout that are the same in every run; entropy by its place only."""
        return _mask(self.stdout)

    @property
    def certain_stderr(self) -> list[bytes]:
        return _mask(re.sub(rb"\b0x[0-9a-f]+", b"0x", self.stderr))

    @property
    def entropy(self) -> list[bytes]:
        return [line for line in self.stdout.split(b"\n") if line.startswith(ENTROPY)]

    def __str__(self) -> str:
        def end(data: bytes) -> str:
            return data[-3000:].decode(errors="backslashreplace")

        return f"{self.command}\nstatus {self.status}\n{end(self.stdout)}\nstderr:\n{end(self.stderr)}"


def _mask(data: bytes) -> list[bytes]:
    return [ENTROPY if line.startswith(ENTROPY) else line for line in data.split(b"\n")]


def difference(left: bytes, right: bytes) -> str:
    """Where two outputs first differ, for the message of an assertion. Empty when they do not."""
    if left == right:
        return ""
    pairs = zip(left.split(b"\n"), right.split(b"\n"), strict=False)
    for number, (one, other) in enumerate(pairs):
        if one != other:
            return f"line {number} of {len(left)}/{len(right)} bytes: {one[:200]!r} != {other[:200]!r}"
    return f"{len(left)} != {len(right)} bytes, one is the beginning of the other"


def assert_same_output(recorded: Result, replayed: Result) -> None:
    """A replay writes, byte for byte, what was written in the recording."""
    _assert_equal("stdout: recorded, replayed", recorded.stdout, replayed.stdout, replayed)
    _assert_equal("stderr: recorded, replayed", recorded.stderr, replayed.stderr, replayed)


def assert_same_meaning(bare: Result, recorded: Result) -> None:
    """A program ends and writes under the recorder as it does bare, entropy apart."""
    assert recorded.status == bare.status, f"bare status {bare.status}\n{recorded}"
    _assert_equal("stdout: bare, recorded", b"\n".join(bare.certain), b"\n".join(recorded.certain), recorded)
    left, right = b"\n".join(bare.certain_stderr), b"\n".join(recorded.certain_stderr)
    _assert_equal("stderr: bare, recorded", left, right, recorded)


def _assert_equal(what: str, left: bytes, right: bytes, result: Result) -> None:
    found = difference(left, right)
    assert not found, f"{what}: {found}\n{result}"


# ---- processes ----


class LeftBehindError(AssertionError):
    """A command ended, and processes that it had started lived on. `result` is what it came to all the same."""

    result: Result | None = None


def adopt_orphans() -> None:
    """Make this process the parent of every orphan below it, so that none can be left behind unseen."""
    PR_SET_CHILD_SUBREAPER = 36
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _processes(session: int, known: set[int]) -> set[int]:
    """The living processes of a session, and this process's children which are not among `known`."""
    found = set()
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        with suppress(OSError, ValueError):
            stat = Path("/proc", entry, "stat").read_text()
            state, parent, _, sid = stat.rpartition(")")[2].split()[:4]
            ours = int(parent) == os.getpid() and int(entry) not in known
            if ours and state == "Z" and int(entry) != session:
                os.waitpid(int(entry), os.WNOHANG)
            elif state not in "ZX" and (ours or int(sid) == session):
                found.add(int(entry))
    return found


def _states(session: int) -> str:
    """What each task of a session does: the report of one that hangs."""
    lines = []
    for pid in sorted(_processes(session, {*_processes(-1, set())})):
        for task in Path(f"/proc/{pid}/task").glob("*"):
            with suppress(OSError):
                status = dict(
                    line.split(":\t", 1) for line in (task / "status").read_text().splitlines() if ":\t" in line
                )
                told = {
                    key: status[key].strip()
                    for key in ("Name", "State", "TracerPid", "SigPnd", "ShdPnd", "SigBlk", "SigIgn", "SigCgt")
                }
                lines.append(f"task {task.name} of {pid}: {told} {(task / 'syscall').read_text().strip()}")
                lines.append((task / "stack").read_text())
    return "\n".join(lines)


@contextmanager
def started(command: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """A started command in a session of its own. On the way out all of its processes are gone, or are
    killed by their ids and reported."""
    known = _processes(-1, set())
    process = subprocess.Popen(command, start_new_session=True, **options)
    failed = True
    try:
        yield process
        failed = False
    finally:
        if failed and process.poll() is None:
            print(_states(process.pid), file=sys.stderr)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                with suppress(OSError):
                    stream.close()
        deadline = time.monotonic() + 3
        while (left := _processes(process.pid, known)) and time.monotonic() < deadline:
            time.sleep(0.01)
        names = {}
        for pid in left:
            with suppress(OSError):
                names[pid] = Path(f"/proc/{pid}/comm").read_text().strip()
                os.kill(pid, signal.SIGKILL)
        while left and (left := _processes(process.pid, known)) and time.monotonic() < deadline + 3:
            time.sleep(0.01)
        if names and not failed:
            raise LeftBehindError(f"{command} left {names} behind")


@dataclass(frozen=True)
class Surroundings:
    """What a command is started with."""

    env: Mapping[str, str] | None = None
    cwd: str | os.PathLike[str] | None = None
    user: int | None = None
    stdin: bytes | None = None
    timeout: float = TIMEOUT
    prefix: list[str] = field(default_factory=list)
    """Words before the command: a launcher which executes it."""

    def popen_options(self) -> dict[str, Any]:
        options: dict[str, Any] = {"cwd": self.cwd, "env": None if self.env is None else dict(self.env)}
        if self.user is not None:
            options |= {"user": self.user, "group": self.user, "extra_groups": []}
        return options


DEFAULT = Surroundings()


def _words(surroundings: Surroundings, command: Command) -> list[str]:
    return [*surroundings.prefix, *(os.fspath(word) for word in command)]


def _status(code: int) -> int:
    return 128 - code if code < 0 else code


def run(command: Command, around: Surroundings = DEFAULT, merge: bool = False) -> Result:
    """Run a command to its end. `merge` sends its stderr to its stdout."""
    words = _words(around, command)
    stdin = subprocess.DEVNULL if around.stdin is None else subprocess.PIPE
    stderr = subprocess.STDOUT if merge else subprocess.PIPE
    options = around.popen_options()
    result = None
    try:
        with started(words, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr, **options) as process:
            out, err = process.communicate(around.stdin, around.timeout)
            result = Result(words, out, err or b"", _status(process.returncode))
    except LeftBehindError as error:
        error.result = result
        raise
    return result


def run_on_terminal(command: Command, typed: bytes, around: Surroundings = DEFAULT) -> Result:
    """Run a command whose stdin, stdout and stderr are a terminal of 43 lines by 132, and type `typed`.

    The terminal neither echoes nor turns newlines into pairs: what is read from it is what was written.
    """
    words = _words(around, command)
    master, slave = pty.openpty()
    try:
        modes = termios.tcgetattr(slave)
        modes[1] &= ~termios.OPOST
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(slave, termios.TCSANOW, modes)
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("4H", 43, 132, 0, 0))

        def control() -> None:
            fcntl.ioctl(0, termios.TIOCSCTTY, 0)

        streams = {"stdin": slave, "stdout": slave, "stderr": slave}
        options = around.popen_options()
        with started(words, preexec_fn=control, **streams, **options) as process:
            os.close(slave)
            slave = -1
            os.write(master, typed)
            out = _read_terminal(master, around.timeout, words)
            process.wait(10)
    finally:
        os.close(master)
        if slave >= 0:
            os.close(slave)
    return Result(words, out, b"", _status(process.returncode))


def _read_terminal(master: int, timeout: float, words: list[str]) -> bytes:
    out = b""
    deadline = time.monotonic() + timeout
    while True:
        if not select.select([master], [], [], max(0, deadline - time.monotonic()))[0]:
            raise subprocess.TimeoutExpired(words, timeout, out)
        try:
            part = os.read(master, 65536)
        except OSError:  # EIO: nobody has the terminal open any more
            return out
        if not part:
            return out
        out += part


def run_and_kill(command: Command, seconds: float, output: Path, around: Surroundings = DEFAULT) -> None:
    """Start a command with its stdout in a file, and SIGKILL it (not what it started) after a while."""
    words = _words(around, command)
    options = around.popen_options()
    options |= {"stdin": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with output.open("wb") as file, started(words, stdout=file, **options) as process:
        with suppress(subprocess.TimeoutExpired):
            process.wait(seconds)
        process.kill()


# ---- victims and pyrr ----


def victim(name: str) -> Path:
    return VICTIMS / f"{name}.py"


def victim_environment(scratch: Path, home: Path | None = None) -> dict[str, str]:
    """A small environment, the same for a bare run and a recorded one. No hash seed.

    `home` is where pyrr keeps what it keeps for a user: by default a directory of the test session.
    """
    return {
        "HOME": str(home or os.environ["PYRR_TEST_HOME"]),
        "LANG": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
        "PYTHONDONTWRITEBYTECODE": "1",
        "TERM": "xterm",
        "TMPDIR": str(scratch),
    }


def pyrr(*words: str | os.PathLike[str], around: Surroundings = DEFAULT, merge: bool = False) -> Result:
    assert PYRR.exists(), f"{PYRR} does not exist: install the project into this environment"
    return run([PYRR, *words], around, merge)


def record_words(
    trace: Path, *command: str | os.PathLike[str], quiet: bool = True, options: Sequence[str] = ()
) -> list[str]:
    """The command line that records a command, without a word of its own on stderr if `quiet`."""
    words = [*(["-q"] if quiet else []), *options]
    return [str(PYRR), "record", "-o", str(trace), *words, "--", *(os.fspath(word) for word in command)]


def record(
    trace: Path,
    *command: str | os.PathLike[str],
    around: Surroundings = DEFAULT,
    quiet: bool = True,
    options: Sequence[str] = (),
) -> Result:
    result = run(record_words(trace, *command, quiet=quiet, options=options), around)
    assert trace.is_dir(), f"no trace\n{result}"
    return result


def replay(trace: Path, around: Surroundings = DEFAULT, merge: bool = False) -> Result:
    return pyrr("replay", trace, around=around, merge=merge)


def verify(trace: Path, around: Surroundings = DEFAULT) -> Result:
    return pyrr("verify", trace, around=around)


def assert_verified(result: Result) -> None:
    """`verify` compared all writable memory, and found no difference."""
    assert result.status == 0, str(result)
    assert re.search(rb"(?<![\d,._])0 differing bytes", result.stdout + result.stderr), str(result)


def position(trace: Path, number: int) -> dict[str, Any]:
    """What `pyrr replay --to` prints of a position."""
    result = pyrr("replay", trace, "--to", str(number), "--json")
    assert result.status == 0, str(result)
    found = json.loads(result.stdout)
    assert isinstance(found, dict), str(result)
    return found


def info(trace: Path) -> dict[str, Any]:
    result = pyrr("info", "--json", trace)
    assert result.status == 0, str(result)
    found = json.loads(result.stdout)
    assert isinstance(found, dict), str(result)
    return found


def dump(trace: Path) -> list[dict[str, Any]]:
    """The events, in order."""
    result = pyrr("dump", "--json", trace)
    assert result.status == 0, str(result)
    return [json.loads(line) for line in result.stdout.splitlines()]
