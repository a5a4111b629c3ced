"""What people would resume: sessions, servers, pipelines, test runs, when all that was recorded has ended.

Each is resumed here, most of them where their files have changed, and elsewhere: from a packed trace, where neither the
program nor a Python is installed."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import elsewhere
import harness
import pexpect
import pytest
from harness import LONG, PYRR, Surroundings

pytestmark = [pytest.mark.skipif(not LONG, reason="takes minutes"), pytest.mark.timeout(900)]

PYTHON = Path("/usr/bin/python3")
RESTORE = '[defaults]\n"file.changed" = "restore"\n"file.gone" = "restore"\n'


@dataclass
class Place:
    """Where a program was recorded, and where it is resumed: in its folder or, from the packed trace, `elsewhere`."""

    folder: Path
    elsewhere: bool
    root: Path
    environment: dict[str, str] = field(default_factory=dict)
    shared: list[Path] = field(default_factory=list)
    """What is there elsewhere, too."""
    policy: Path | None = None

    @property
    def trace(self) -> Path:
        return self.folder / "trace"

    @property
    def around(self) -> Surroundings:
        return Surroundings(env=self.environment, cwd=self.folder, timeout=300)

    def record(self, *command: str | os.PathLike[str]) -> list[str]:
        """Records a program; the lines that it printed."""
        result = harness.record(self.trace, *command, around=self.around)
        assert result.status == 0, str(result)
        return result.stdout.decode().splitlines()

    def words(self, *options: str) -> list[str]:
        """The command that resumes the program."""
        trace, prefix = self.trace, []
        if self.elsewhere:
            trace = self.folder.parent / "packed.pyrr"
            if not trace.exists():
                packed = harness.pyrr("pack", self.trace, "-o", trace)
                assert packed.status == 0, str(packed)
                self.trace.rename(self.folder.parent / "hidden")
            policy = [self.policy] if self.policy else []
            root = self.root / str(len(list(self.root.iterdir())))
            root.mkdir()
            prefix = elsewhere.make(root, trace, *policy, *self.shared)
        chosen = ["--policy", str(self.policy)] if self.policy else []
        return [*prefix, str(PYRR), "resume", str(trace), "--yes", *chosen, *options]

    def resume(self, *options: str) -> list[str]:
        """Resumes the program; the lines that it printed."""
        result = harness.run(self.words(*options), self.around)
        assert result.status == 0, str(result)
        return result.stdout.decode().splitlines()

    def restoring(self) -> None:
        self.policy = self.folder.parent / "policy.toml"
        self.policy.write_text(RESTORE)

    def path(self, path: Path) -> Path:
        """Where a file of the resumed program is seen from here."""
        return self.root / "0" / path.relative_to("/") if self.elsewhere else path


@pytest.fixture(params=["here", "elsewhere"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    if not PYTHON.exists():
        pytest.skip("no Python of the distribution")
    folder = tmp_path / "folder"
    folder.mkdir()
    (tmp_path / "root").mkdir()
    environment = {**harness.victim_environment(folder), "TERM": "xterm", "PYTHON_BASIC_REPL": "1"}
    return Place(folder, request.param == "elsewhere", tmp_path / "root", environment)


def needs(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"no {name} here")
    return found


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where IPython and Flask are installed, for the distribution's Python."""
    target = str(tmp_path_factory.mktemp("packages"))
    words = [sys.executable, "-m", "pip", "--python", PYTHON, "install", "-q", "--target", target]
    result = subprocess.run([*words, "ipython", "flask", "gunicorn", "pytest"], capture_output=True)
    if result.returncode:
        pytest.skip(f"packages cannot be installed: {result.stderr.decode()[-200:]}")
    return target


def talk(words: Sequence[str], place: Place, steps: Sequence[tuple[str, str]], status: int = 0) -> str:
    """Runs a command on a terminal: waits for each text, then types. What it has shown."""
    shown = []
    with pexpect.spawn(
        words[0],
        list(words[1:]),
        env=dict(place.environment),
        cwd=str(place.folder),
        dimensions=(43, 132),
        timeout=30,
        encoding="utf-8",
        codec_errors="replace",
    ) as terminal:
        for expected, typed in steps:
            terminal.expect(expected)
            shown += [terminal.before, terminal.after]
            terminal.send(typed)
        terminal.expect(pexpect.EOF)
        shown.append(terminal.before)
        terminal.wait()
        assert terminal.exitstatus == status, "".join(shown)
    return "".join(shown)


def typed(prompt: str, *lines: str) -> list[tuple[str, str]]:
    return [(prompt, f"{line}\r") for line in lines]


# ---- interactive sessions ----


def test_python(place: Place) -> None:
    """An open file, a pool of threads, a transaction, a dictionary of 100 MB."""
    data = place.folder / "data.txt"
    data.write_text("".join(f"row {number}\n" for number in range(3)))
    place.restoring()
    talk(
        harness.record_words(place.trace, PYTHON, "-q"),
        place,
        typed(
            ">>> ",
            "import sqlite3; from concurrent.futures import ThreadPoolExecutor",
            f"file = open({str(data)!r}); first = file.readline()",
            "pool = ThreadPoolExecutor(4); squares = list(pool.map(lambda n: n * n, range(20)))",
            f"base = sqlite3.connect({str(place.folder / 'base')!r})",
            "base.execute('create table numbers(number)') and None",
            "base.executemany('insert into numbers values(?)', ((n,) for n in range(300))) and None",
            "big = {n: str(n) * 8 for n in range(800_000)}",
            "exit()",
        ),
    )
    if not place.elsewhere:
        data.write_text("row 0\nother\n")
        (place.folder / "base").unlink()
    shown = talk(
        place.words(),
        place,
        typed(
            ">>> ",
            "print(first, file.readline())",
            "print(squares[19], sum(pool.map(lambda n: n + 1, range(100))))",
            "print(base.in_transaction, base.executemany('insert into numbers values(?)', [(1,), (2,)]) and None)",
            "base.commit(); print(base.execute('select count(*), sum(number) from numbers').fetchone())",
            "import sys; print(sum(map(sys.getsizeof, big.values())) + sys.getsizeof(big) > 95e6, big[799_999])",
            "exit(7)",
        ),
        7,
    )
    for line in (r"row 0\r\n row 1\r\n", r"361 5050\r\n", r"True None\r\n", r"\(302, 44853\)", f"True {'799999' * 8}"):
        assert re.search(line, shown), (line, shown)
    with sqlite3.connect(place.path(place.folder / "base")) as base:
        assert base.execute("select count(*) from numbers").fetchone() == (302,)


def test_ipython(place: Place, packages: str) -> None:
    """With its own prompt, history and highlighting."""
    place.environment |= {"PYTHONPATH": packages, "IPYTHONDIR": str(place.folder / "ipython")}
    talk(
        harness.record_words(place.trace, PYTHON, "-m", "IPython", "--no-banner", "--no-confirm-exit"),
        place,
        [
            (r"In .*\[.*1.*\]: ", "import math; words = ['first', 'second']\r"),
            (r"In .*\[.*2.*\]: ", "def area(radius): return round(math.pi * radius ** 2, 3)\r\r"),
            (r"In .*\[.*3.*\]: ", "area(2)\r"),
            (r"In .*\[.*4.*\]: ", "exit()\r"),
        ],
    )
    if not place.elsewhere:
        shutil.rmtree(place.folder / "ipython")
    shown = talk(
        place.words(),
        place,
        [
            (r"In .*\[.*4.*\]: ", "area(3), words[1] * 2, _3\r"),
            (r"(?s)secondsecond.*In .*\[.*5.*\]: ", "1 / 0\r"),
            (r"(?s)ZeroDivisionError.*In .*\[.*6.*\]: ", "exit()\r"),
        ],
    )
    assert "28.274" in shown
    assert "12.566" in shown


def test_sqlite3(place: Place) -> None:
    """The shell, amid a transaction."""
    base = place.folder / "base"
    steps = ["create table t(n);", "begin;", "insert into t values(1), (2);", ".quit"]
    place.restoring()
    talk(harness.record_words(place.trace, needs("sqlite3"), base), place, typed("sqlite> ", *steps))
    steps = ["insert into t values(39);", "commit;", "select 'sum', sum(n) from t;", ".quit"]
    shown = talk(place.words(), place, typed("sqlite> ", *steps))
    assert re.search(r"sum\|42\r\n", shown), shown
    with sqlite3.connect(place.path(base)) as connection:
        assert connection.execute("select sum(n) from t").fetchone() == (42,)


def test_node(place: Place) -> None:
    steps = ["const squares = Array.from({length: 50}, (_, n) => n * n)", "let total = 0", "process.exit()"]
    place.environment["NODE_REPL_HISTORY"] = ""
    talk(harness.record_words(place.trace, needs("node")), place, typed("> ", *steps))
    steps = [
        "for (const one of squares) total += one",
        "'total ' + total",
        "setTimeout(() => console.log('later ' + squares[7]), 50) && 1",
    ]
    shown = talk(place.words(), place, [*typed("> ", *steps), ("later 49", "process.exit(3)\r")], 3)
    assert "total 40425" in shown


def test_r(place: Place) -> None:
    """R, as an example of other languages' sessions."""
    talk(
        harness.record_words(place.trace, needs("R"), "--vanilla", "--quiet"),
        place,
        typed("> ", "squares <- (1:50)^2; set.seed(7); drawn <- runif(3)", "model <- lm(squares ~ I(1:50))", "q()"),
    )
    shown = talk(
        place.words(),
        place,
        typed(
            "> ",
            "cat('sum', sum(squares), '\\n')",
            "cat(signif(coef(model), 4), '\\n')",
            "cat(length(drawn), '\\n'); q(status = 5)",
        ),
        5,
    )
    assert "sum 42925 " in shown
    assert re.search(r"\r-442 51 ", shown), shown


# ---- full screens ----


def test_vim(place: Place) -> None:
    """Amid an edit that was not written."""
    text = place.folder / "text"
    text.write_text("".join(f"line {number}\n" for number in range(100)))
    words = [needs("vim"), "--clean", text]
    talk(
        harness.record_words(place.trace, *words),
        place,
        [("line 7", ":5\r"), ("", "Oinserted amid"), ("inserted amid", "\x1b"), ("", ":100\r"), ("100,1", ":q!\r")],
    )
    if place.elsewhere:
        place.shared.append(text)
    shown = talk(place.words(), place, [("100,1", "Olast line\x1b"), ("100,9", ":4\r"), ("inserted amid", ":wq\r")])
    assert "inserted amid" in shown
    written = text.read_text().splitlines()
    assert (written[4], written[99], len(written)) == ("inserted amid", "last line", 102), written


def test_htop(place: Place) -> None:
    talk(
        harness.record_words(place.trace, needs("htop"), "-d", "5"),
        place,
        [("Load average", "t"), ("Uptime", "M"), ("PID", ""), *[("[0-9]", "")] * 300, ("", "q")],
    )
    shown = talk(
        place.words("--to", "90%"), place, [("Load average", "t"), ("PID", ""), *[("[0-9]", "")] * 300, ("", "q")]
    )
    assert "CPU" in shown


# ---- programs ----

FLASK = """
from flask import Flask, request

app = Flask(__name__)
visits = []

@app.get("/visit/<name>")
def visit(name):
    visits.append(name)
    return {"name": name, "visits": len(visits), "agent": request.headers["User-Agent"]}
"""


class Client(threading.Thread):
    """Asks a server again and again over one connection, and over a new one when that has gone."""

    def __init__(self, port: int, name: str, count: int) -> None:
        super().__init__()
        self._port, self._name_, self._left = port, name, count
        self.answers: list[bytes] = []
        self.retries = 0
        self.first = threading.Event()
        self.half = threading.Event()
        self.go_on = threading.Event()

    def run(self) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        deadline = time.monotonic() + 120
        while self._left and time.monotonic() < deadline:
            try:
                connection.request("GET", f"/visit/{self._name_}", headers={"User-Agent": "client"})
                answer = connection.getresponse().read()
            except (OSError, http.client.HTTPException):
                connection.close()
                self.retries += 1
                time.sleep(0.05)
                continue
            self.answers.append(answer)
            self._left -= 1
            if len(self.answers) == 3:
                self.half.set()
                self.go_on.wait(120)
        connection.close()


def test_flask(place: Place, packages: str) -> None:
    """Clients with keep-alive find their connections gone, try again and succeed."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    place.environment["PYTHONPATH"] = packages
    program = place.folder / "server.py"
    program.write_text(FLASK)
    clients = [Client(port, f"client{number}", 6) for number in range(3)]
    server = ("-m", "gunicorn", "-k", "gthread", "--threads", "3", "--keep-alive", "60", "-b", f"127.0.0.1:{port}")
    words = harness.record_words(place.trace, PYTHON, *server, "server:app")
    with harness.started(words, stderr=subprocess.DEVNULL, env=place.environment, cwd=place.folder) as recorded:
        for client in clients:
            client.start()
        for client in clients:
            assert client.half.wait(60)
        time.sleep(1)  # what has not been written yet is lost
        recorded.kill()
    retried = [client.retries for client in clients]
    if not place.elsewhere:
        program.unlink()
    with harness.started(place.words(), stderr=subprocess.PIPE, env=place.environment) as resumed:
        for client in clients:
            client.go_on.set()
        for client in clients:
            client.join(120)
        resumed.terminate()
        _, err = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, err
    answers = [json.loads(answer) for client in clients for answer in client.answers]
    assert sorted(answer["visits"] for answer in answers) == list(range(1, 19))
    assert all(client.retries > before for client, before in zip(clients, retried, strict=True))
    assert err.count(b"its other side is gone") >= 3, err


ASYNCIO = """
import asyncio, os, sys

async def tick(log):
    for number in range(12):
        await asyncio.sleep(0.05)
        log.append(number)

async def main():
    log, loop = [], asyncio.get_running_loop()
    later = loop.create_future()
    loop.call_later(0.4, later.set_result, "later")
    ticker = asyncio.create_task(tick(log))
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec("cat", stdin=pipe, stdout=pipe)
    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line[::-1])
        writer.close()
    server = await asyncio.start_unix_server(serve, sys.argv[1])
    connections = [await asyncio.open_unix_connection(sys.argv[1]) for _ in range(3)]
    for number in range(6):
        child.stdin.write(b"line %d\\n" % number)
        answers = []
        for reader, writer in connections:
            writer.write(b"%d ecila\\n" % number)
            answers.append((await reader.readexactly(8)).decode().strip())
        print((await child.stdout.readline()).decode().strip(), *answers, flush=True)
        await asyncio.sleep(0.02)
    reader, writer = await asyncio.open_unix_connection(sys.argv[1])
    writer.write(b"new\\n")
    print((await reader.readexactly(4)).decode().strip(), await later, flush=True)
    child.stdin.close()
    for _, writer in connections:
        writer.close()
    print(await child.wait(), await ticker, log)

asyncio.run(main())
"""


def test_asyncio(place: Place) -> None:
    """Amid timers, a child process and connections of Unix sockets."""
    program = place.folder / "program.py"
    program.write_text(ASYNCIO)
    printed = place.record(PYTHON, program, place.folder / "socket")
    if not place.elsewhere:
        program.unlink()
    assert place.resume("--to", "output:/^line 2/") == printed[2:]


PIPELINE = """
import sys, zlib

def blocks(path):
    with open(path, "rb", buffering=0) as file:
        while block := file.read(1 << 20):
            yield block

def marks(stream):
    for number, block in enumerate(stream):
        at = block.find(b"mark")
        if at >= 0:
            yield number, block[at : block.index(b"\\n", at)].decode()
        yield number, zlib.crc32(block)

def main():
    total = 0
    for number, what in marks(blocks(sys.argv[1])):
        if isinstance(what, str):
            print(number, what, flush=True)
        else:
            total = (total * 31 + what) % 1_000_000_007
    print("total", total)

main()
"""


def test_pipeline(place: Place) -> None:
    """Generators, amid a file of 1 GB."""
    program, data = place.folder / "program.py", place.folder.parent / "data"
    program.write_text(PIPELINE)
    with data.open("wb") as file:
        file.truncate(1_000_000_000)
        for number in range(20):
            file.seek(number * 50_000_000)
            file.write(b"mark of %d\n" % number)
    printed = place.record(PYTHON, program, data)
    assert len(printed) == 21
    if not place.elsewhere:  # there the file is made from what the program read of it
        program.unlink()
    assert place.resume("--to", "output:/mark of 11/") == printed[11:]


SUITE = """
import pytest

@pytest.fixture(scope="module")
def numbers():
    return [n * n for n in range(1000)]

@pytest.mark.parametrize("number", range(1000))
def test_square(number, numbers, tmp_path):
    if number % 97 == 5:
        pytest.skip("not this one")
    (tmp_path / "written").write_text(str(number))
    if number % 211 == 7:
        pytest.xfail("expected")
    assert numbers[number] == number * number
    assert number % 83 != 11, "this one fails"
"""


def test_pytest(place: Place, packages: str) -> None:
    """Paused at test 500 of 1,000, and gone on with three times."""
    place.environment["PYTHONPATH"] = packages
    (place.folder / "test_suite.py").write_text(SUITE)
    words = [PYTHON, "-m", "pytest", "-v", "--tb=line", "-p", "no:cacheprovider", "test_suite.py"]

    def verdicts(result: harness.Result) -> dict[str, str]:
        assert result.status == 1, str(result)
        found = dict(re.findall(r"^(test_suite\S+) ([A-Z]+)", result.stdout.decode(), re.MULTILINE))
        *_, summary = result.stdout.decode().splitlines()
        return {**found, "": re.sub(r" in .*", "", summary)}

    bare = verdicts(harness.run(words, place.around))
    assert len(bare) == 1001
    assert "failed" in bare[""]
    recorded = verdicts(harness.record(place.trace, *words, around=place.around))
    assert recorded == bare
    if place.elsewhere:
        place.shared.append(next(place.folder.glob("pytest-of-*")))  # in which it has begun a folder for its tests
    else:
        (place.folder / "test_suite.py").unlink()
    for _ in range(3):
        resumed = verdicts(harness.run(place.words("--to", "output:/test_square.499/"), place.around))
        assert 500 <= len(resumed) <= 503
        assert {name: bare[name] for name in resumed} == resumed


WORKERS = """
import multiprocessing, os, sys

def crunch(words):
    start, salt = words
    total = salt
    for number in range(start, start + 2000):
        total = (total * 31 + number) % 1_000_000_007
    return os.getpid(), start, total

if __name__ == "__main__":
    with multiprocessing.Pool(4) as pool:
        workers, results = set(), []
        for salt in range(40):
            for pid, start, total in pool.imap_unordered(crunch, [(n * 1000, salt) for n in range(8)]):
                workers.add(pid)
                results.append((salt, start, total))
            print(salt, sorted(results)[-1], flush=True)
        print(len(results), sum(total for *_, total in results), workers <= {worker.pid for worker in pool._pool})
"""


def test_workers(place: Place) -> None:
    """A parent and four processes that work for it."""
    program = place.folder / "program.py"
    program.write_text(WORKERS)
    printed = place.record(PYTHON, program)
    if not place.elsewhere:
        program.unlink()
    assert place.resume("--to", "output:/^20 /") == printed[20:]
