"""Real programs: servers, package managers, test suites, shells, compilers, other languages' runtimes.

Needs pip with access to an index for what `PACKAGES` names; git, gcc, make, node, java and sqlite3 (Debian: `apt-get
install git gcc make nodejs default-jre-headless sqlite3`). A program that is not on the machine is left out, and named.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import termios
import textwrap
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import runner
from harness import Command, Result
from runner import Item, Verdicts

SUITE = "programs"
# click 8.1 parametrizes with iterators, which pytest 9 refuses.
PACKAGES = ("flask", "gunicorn", "numpy", "ipython", "pytest<9")
WHEEL, SOURCE = "six==1.17.0", "click==8.1.7"
REQUESTS, CLIENTS = 2000, 8


# ---- what runs a program and acts on it from outside ----


def load_server(place: str, command: list[str]) -> int:
    """Runs a server that listens on `place`, sends it requests, checks the answers, and asks it to end."""
    server = subprocess.Popen(command)
    deadline = time.monotonic() + 60
    while not os.path.exists(place) and time.monotonic() < deadline and server.poll() is None:
        time.sleep(0.05)
    wrong: list[bytes] = []

    def client(first: int) -> None:
        for number in range(first, REQUESTS, CLIENTS):
            answer = _request(place, number)
            if not answer.startswith(b"HTTP/1.1 200") or f"square {number * number}".encode() not in answer:
                wrong.append(answer)

    threads = [threading.Thread(target=client, args=(i,)) for i in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    server.send_signal(signal.SIGTERM)
    status = server.wait()
    for answer in wrong[:3]:
        print("wrong answer", answer)
    return status


def _request(place: str, number: int) -> bytes:
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(60)
            connection.connect(place)
            connection.sendall(f"GET /square/{number} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            while part := connection.recv(65536):
                answer += part
    except OSError as error:
        return repr(error).encode()
    return answer


def type_into(dialogue: Path, command: list[str]) -> int:
    """Runs a program on a terminal. Each line of the dialogue is what to wait for, a tab, and what to type then."""
    pid, master = pty.fork()
    if pid == 0:
        modes = termios.tcgetattr(0)
        modes[1] &= ~termios.OPOST
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(0, termios.TCSANOW, modes)
        os.execvp(command[0], command)
    steps = [tuple(line.encode().decode("unicode_escape").split("\t")) for line in dialogue.read_text().splitlines()]
    out, at = b"", 0
    while True:
        if not select.select([master], [], [], 30)[0]:
            os.write(1, b"nothing more came\n")
            os.kill(pid, signal.SIGKILL)
            break
        try:
            part = os.read(master, 65536)
        except OSError:
            break
        if not part:
            break
        os.write(1, part)
        out += part
        while at < len(steps) and (found := out.find(steps[at][0].encode())) >= 0:
            out = out[found + len(steps[at][0].encode()) :]
            with suppress(OSError):
                os.write(master, steps[at][1].encode())
            at += 1
    os.close(master)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


# ---- the programs ----


@dataclass(frozen=True)
class Place:
    """What is made once for all runs: a virtual environment, packages, sources."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / "venv" / "bin" / "python"

    def tool(self, name: str) -> Path:
        return self.root / "venv" / "bin" / name

    def write(self, name: str, text: str) -> Path:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text).lstrip())
        return path


def prepare(root: Path) -> Place:
    """Makes what is not there yet."""
    place = Place(root)
    root.mkdir(parents=True, exist_ok=True)
    pip = [place.python, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    if not (root / "ready").exists():
        _do(sys.executable, "-m", "venv", "--clear", root / "venv")
        _do(*pip, "install", *PACKAGES)
        _do(*pip, "download", "--no-deps", "--only-binary=:all:", "-d", root / "wheels", WHEEL)
        _do(*pip, "download", "--no-deps", "--no-binary=:all:", "-d", root, SOURCE)
        with tarfile.open(root / f"{SOURCE.replace('==', '-')}.tar.gz") as archive:
            archive.extractall(root, filter="data")
        (root / "ready").touch()
    return place


def _do(*words: object) -> None:
    subprocess.run([str(word) for word in words], check=True, stdout=subprocess.DEVNULL)


Program = tuple[Item, runner.ReadVerdicts]


def _item(name: str, command: Command, **options: object) -> Item:
    return Item(SUITE, "verdict", name, name, [os.fspath(word) for word in command], **options)  # type: ignore[arg-type]


def _launcher(kind: str, argument: str | Path) -> list[str]:
    return [sys.executable, os.path.abspath(__file__), f"--{kind}", str(argument), "--"]


def _seen(*facts: str) -> Verdicts:
    """What a run has shown: another run must show the same."""
    return dict.fromkeys(facts, "seen")


def _output(pattern: bytes = b"", by: bytes = b"") -> runner.ReadVerdicts:
    """Status and output, without what differs from run to run."""

    def read(result: Result, scratch: Path) -> Verdicts:
        text = result.stdout + b"\0" + result.stderr
        text = text.replace(os.fsencode(scratch), b"{scratch}")
        text = re.sub(pattern, by, text) if pattern else text
        return _seen(f"status {result.status}", "output " + hashlib.sha256(text).hexdigest()[:16])

    return read


def _files(read: runner.ReadVerdicts, *patterns: str) -> runner.ReadVerdicts:
    """And the content of files that the program made, each a verdict."""

    def read_all(result: Result, scratch: Path) -> Verdicts:
        verdicts = read(result, scratch)
        for pattern in patterns:
            for path in sorted(scratch.glob(pattern)):
                if path.is_file():
                    content = path.read_bytes().replace(os.fsencode(scratch), b"{scratch}")
                    verdicts |= _seen(f"{path.relative_to(scratch)} {hashlib.sha256(content).hexdigest()[:16]}")
        for path in scratch.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        return verdicts

    return read_all


def gunicorn(place: Place) -> Program:
    """A Flask application under four worker processes; the clients are not recorded."""
    place.write(
        "application.py",
        """
        import os
        from flask import Flask, request

        app = Flask(__name__)

        @app.route("/square/<int:number>")
        def square(number):
            return {"answer": f"square {number * number}", "worker": os.getpid(), "agent": request.user_agent.string}
        """,
    )
    words = [place.tool("gunicorn"), "-w", "4", "--chdir", place.root, "-b", "unix:{scratch}/socket"]
    access = ["--access-logfile", "-", "--no-control-socket", "application:app"]

    def read(result: Result, scratch: Path) -> Verdicts:
        answered = len(re.findall(rb'"GET /square/\d+ HTTP/1.1" 200', result.stdout))
        workers = len(set(re.findall(rb"Booting worker with pid: (\d+)", result.stderr)))
        wrong = result.stdout.count(b"wrong answer")
        return _seen(f"status {result.status}", f"{answered} answers, {wrong} wrong", f"{workers} workers")

    return _item("gunicorn", [*words, *access], launcher=_launcher("load", "{scratch}/socket")), read


def pip_install(place: Place) -> Program:
    """A new virtual environment, and a wheel from a folder installed into it."""
    script = place.write(
        "install.sh",
        f"""
        set -e
        {place.python} -m venv "$TMPDIR/venv"
        "$TMPDIR/venv/bin/python" -m pip install --no-index --find-links {place.root}/wheels {WHEEL} >/dev/null
        "$TMPDIR/venv/bin/python" -c 'import six; print(six.__version__, six.__file__)'
        """,
    )
    return _item("pip install", ["sh", script]), _files(_output(), "venv/lib/*/site-packages/six*", "venv/pyvenv.cfg")


def pytest_click(place: Place) -> Program:
    """click's own tests, from its sdist."""
    folder = place.root / SOURCE.replace("==", "-")
    options = ["-p", "no:cacheprovider", "-rA", "-q", "--rootdir", folder, "--basetemp", "{scratch}/base"]
    words = [place.python, "-B", "-m", "pytest", *options, folder / "tests"]

    def read(result: Result, scratch: Path) -> Verdicts:
        shutil.rmtree(scratch / "base", ignore_errors=True)
        for backup in scratch.glob("editor-*"):  # which click's tests leave
            backup.unlink()
        found = re.findall(
            rb"^(PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS) (\S.*?)(?: - .*)?$", result.stdout, re.MULTILINE
        )
        return {name.decode(): verdict.decode() for verdict, name in found} | {"(status)": str(result.status)}

    return _item("pytest of click", words, env={"PYTHONPATH": str(folder / "src"), "PYTHONHASHSEED": "0"}), read


def ipython(place: Place) -> Program:
    """IPython typed into on a terminal: completion, a traceback, a shell command."""
    steps = [
        r"In [1]:\timport math, threading\r",
        r"In [2]:\tmath.factorial(30)\r",
        r"Out[2]:\t1/0\r",
        r"ZeroDivisionError:\t!echo from the shell\r",
        r"from the shell\tsum(i*i for i in range(1000))\r",
        r"332833500\texit\r",
    ]
    dialogue = place.write("ipython.txt", "\n".join(steps) + "\n")
    words = [place.tool("ipython"), "--no-banner", "--simple-prompt", "--colors=NoColor", "--no-confirm-exit"]
    environment = {"IPYTHONDIR": "{scratch}/ipython"}
    item = _item("ipython", words, env=environment, launcher=_launcher("type", dialogue), terminal=True)
    return item, _files(_output(rb"IPython: [^\x07]*", b""))  # the title, with the working directory


def terminal_shell(place: Place) -> Program:
    """An interactive bash with job control: a job is stopped by Ctrl-Z, put to the background, waited for."""
    steps = [
        r"ready>\tsleep 0.5 & wait; echo waited\r",
        r"waited\tcat\r",
        r"ready> \tone line\r",
        r"one line\t\x1a",
        r"Stopped\tjobs\r",
        r"ready>\tfg\r",
        r"cat\tanother line\r",
        r"another line\t\x04",
        r"ready>\texit 7\r",
    ]
    dialogue = place.write("shell.txt", "\n".join(steps) + "\n")
    words = ["bash", "--norc", "--noprofile", "--noediting", "-i"]
    item = _item(
        "bash on a terminal", words, env={"PS1": "ready> "}, launcher=_launcher("type", dialogue), terminal=True
    )
    return item, _output(rb"\b\d{3,}\b", b"N")


def git_clone(place: Place) -> Program:
    """A clone of this repository by path, through the wire protocol."""
    source = Path(__file__).resolve().parents[2]
    words = ["git", "clone", "--no-local", "--quiet", source, "{scratch}/clone"]
    return _item("git clone", words), _files(_output(), "clone/*", "clone/native/engine/*", "clone/.git/HEAD")


def make_gcc(place: Place) -> Program:
    """Twenty files compiled and linked under make, two jobs at a time."""
    for i in range(20):
        place.write(
            f"make/part{i}.c",
            f"""
            #include <stdio.h>
            int part{i}(int x) {{ char text[32]; return snprintf(text, sizeof text, "%d", x + {i}); }}
            """,
        )
    calls = " + ".join(f"part{i}({10 ** (i % 9)})" for i in range(20))
    declarations = " ".join(f"int part{i}(int);" for i in range(20))
    place.write("make/main.c", f'#include <stdio.h>\n{declarations}\nint main(void) {{ printf("%d\\n", {calls}); }}\n')
    place.write(
        "make/Makefile",
        """
        OBJECTS = main.o $(foreach i,0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19,part$(i).o)
        all: program
        \t@./program
        program: $(OBJECTS)
        \t@gcc -o $@ $^
        %.o: %.c
        \t@gcc -O1 -Wall -c -o $@ $<
        """,
    )
    script = place.write("make.sh", f'cp {place.root}/make/* "$TMPDIR" && make -s -j2\n')
    return _item("gcc under make", ["sh", script]), _files(_output(), "*.o", "program")


def node(place: Place) -> Program:
    """Timers, a worker thread, files and a child process."""
    script = place.write(
        "script.js",
        """
        const { Worker } = require("worker_threads");
        const fs = require("fs"), crypto = require("crypto"), { execFileSync } = require("child_process");
        let ticks = 0;
        const tick = () => { if (++ticks === 20) { clearInterval(timer); console.log("ticks", ticks); } };
        const timer = setInterval(tick, 5);
        const worker = new Worker(`
          const { parentPort } = require("worker_threads");
          parentPort.on("message", n => { if (n < 0) process.exit(0); parentPort.postMessage(n * n); });
        `, { eval: true });
        let sum = 0, got = 0;
        const end = () => { console.log("sum", sum); worker.postMessage(-1); };
        worker.on("message", n => { sum += n; if (++got === 200) end(); });
        worker.on("exit", code => console.log("worker", code));
        for (let i = 0; i < 200; i++) worker.postMessage(i);
        fs.readFile(__filename, (_, data) => console.log("file", data.length));
        crypto.pbkdf2("a", "b", 1000, 16, "sha256", (_, key) => console.log("key", key.toString("hex")));
        console.log(execFileSync("echo", ["child"]).toString().trim());
        """,
    )

    def read(result: Result, scratch: Path) -> Verdicts:
        lines = result.stdout.decode().split("\n")  # the order of callbacks is chance
        return _seen(f"status {result.status}", *lines, f"stderr {result.stderr!r}")

    return _item("node", ["node", script]), read


def sqlite(place: Place) -> Program:
    """The shell of sqlite3: a write-ahead log, an index, a backup."""
    script = place.write(
        "script.sql",
        """
        PRAGMA journal_mode=WAL;
        CREATE TABLE t(i INTEGER PRIMARY KEY, x INTEGER, s TEXT);
        WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 20000)
          INSERT INTO t SELECT i, i*7919%10007, hex(i*i) FROM n;
        CREATE INDEX ix ON t(x);
        SELECT count(*), sum(x), max(s) FROM t WHERE x BETWEEN 100 AND 5000;
        .backup copy.db
        PRAGMA integrity_check;
        """,
    )
    return _item("sqlite3", ["sqlite3", "data.db", f".read {script}"]), _files(_output(), "copy.db")


def pool(place: Place) -> Program:
    """numpy in a pool of processes."""
    script = place.write(
        "pool.py",
        """
        import multiprocessing
        import numpy as np

        def work(seed):
            matrix = np.random.default_rng(seed).random((120, 120))
            return float(np.round(np.linalg.eigvals(matrix @ matrix.T).real.sum(), 6))

        if __name__ == "__main__":
            with multiprocessing.Pool(4) as pool:
                print(pool.map(work, range(24)))
        """,
    )
    # OpenBLAS's own threads wait for each other by spinning without a system call: architecture.md, "unsupported".
    environment = {"OPENBLAS_NUM_THREADS": "1"}
    return _item("multiprocessing pool of numpy", [place.python, script], env=environment), _output()


def java(place: Place) -> Program:
    return _item("java -version", ["java", "-version"]), _output()


PROGRAMS: tuple[Callable[[Place], Program], ...] = (
    gunicorn, pip_install, pytest_click, ipython, terminal_shell, git_clone, make_gcc, node, sqlite, pool, java,
)  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """Reads the verdicts of one program; can be sent to the process that runs it."""

    index: int
    place: Place

    def __call__(self, result: Result, scratch: Path) -> Verdicts:
        return PROGRAMS[self.index](self.place)[1](result, scratch)


def programs(place: Place, match: str) -> Iterator[Program]:
    for index, make in enumerate(PROGRAMS):
        item, _ = make(place)
        if match not in item.name:
            continue
        if shutil.which(item.command[0]) is None:
            print(f"n/a  {item.name}: {item.command[0]} is not on this machine")
            continue
        yield item, Reader(index, place)


def main(words: Sequence[str]) -> int:
    parser = runner.arguments(__doc__ or "", SUITE)
    parser.add_argument("--match", default="", help="only programs with this in their name")
    parser.add_argument("--load", help=argparse.SUPPRESS)
    parser.add_argument("--type", type=Path, help=argparse.SUPPRESS)
    cut = words.index("--") if "--" in words else len(words)
    options = parser.parse_args(words[:cut])
    if options.load:
        return load_server(options.load, list(words[cut + 1 :]))
    if options.type:
        return type_into(options.type, list(words[cut + 1 :]))
    if options.render:
        runner.render(options.results, SUITE)
        return 0
    place = prepare(options.results / f"{SUITE}-place")
    failures = sum(runner.run_suite([item], read, options) for item, read in programs(place, options.match))
    return min(1, failures)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
