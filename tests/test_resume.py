"""`pyrr resume`: programs live on, when all that was recorded is gone."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import harness
import pytest
from harness import LONG, PYRR, Interpreter, Result, Surroundings

from pyrr_debugger.errors import PyrrError
from pyrr_debugger.live import opening, policy

READER = """
import os, sys

def lengths(path):
    with open(path) as file:
        for line in file:
            yield len(line)

def main():
    total, limit = 0, 3000
    for number, length in enumerate(lengths(sys.argv[1])):
        if number == limit:
            break
        total += length
        if number == 1000:
            print("amid", total, flush=True)
    print("end", total, number)

main()
"""

POOL = """
import multiprocessing, os
from concurrent.futures import ThreadPoolExecutor

def square(number):
    return number * number

if __name__ == "__main__":
    with multiprocessing.Pool(3) as pool, ThreadPoolExecutor(3) as threads:
        print(sum(pool.map(square, range(50))), sum(threads.map(square, range(50))), flush=True)
        print("amid", flush=True)
        print(sum(pool.map(square, range(90))), sum(threads.map(square, range(90))))
"""

DATABASE = """
import os, sqlite3, sys

path = sys.argv[1]
connection = sqlite3.connect(path, isolation_level=None)
connection.execute("create table numbers(number)")
connection.execute("begin immediate")
connection.executemany("insert into numbers values(?)", ((i,) for i in range(300)))
print("amid", flush=True)
connection.executemany("insert into numbers values(?)", ((i,) for i in range(200)))
connection.execute("commit")
print(*connection.execute("select count(*) from numbers").fetchone())
print(*connection.execute("pragma integrity_check").fetchone())
"""

LOOP = """
import asyncio, sys

async def tick(log):
    for number in range(8):
        await asyncio.sleep(0.02)
        log.append(number)

async def main():
    log = []
    ticker = asyncio.create_task(tick(log))
    echo = "import sys\\nfor line in sys.stdin: print(line.strip().upper(), flush=True)"
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(sys.executable, "-S", "-c", echo, stdin=pipe, stdout=pipe)
    async def serve(reader, writer):
        while line := await reader.readline():
            writer.write(line[::-1] + b"\\n")
        writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    for number in range(4):
        child.stdin.write(b"line %d\\n" % number)
        writer.write(b"%d ecila\\n" % number)
        print((await child.stdout.readline()).decode().strip(), (await reader.readline()).decode().strip(), flush=True)
        await reader.readline()
        await asyncio.sleep(0.01)
    child.stdin.close()
    writer.close()
    print(await child.wait(), await ticker, log)

asyncio.run(main())
"""

REPEATER = """
import os, time

print("amid", flush=True)
for number in range(1000):
    time.sleep(0.01)
    if os.path.exists(os.environ["STOP"]):
        print("stopped", flush=True)
        break
"""

BROKEN_OFF = """
import os, time

for number in range(2000):
    print(number)
    if os.path.exists(os.environ["DONE"]):
        break
    time.sleep(0.02)
print("done")
"""

CLIENT = """
import socket, sys

server = socket.create_server(("127.0.0.1", 0))
print("amid", flush=True)
connection = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
print("connected", flush=True)
try:
    connection.sendall(b"question")
    print(connection.recv(100) or "the peer is gone")
except OSError as error:
    print("error", error.errno)
"""

WATCHER = """
import ctypes, os, select, signal, struct, threading

def child(stream):
    os.read(stream, 1)
    os._exit(7)

ours, others = os.pipe(), []
pid = os.fork()
if pid == 0:
    os.close(ours[1])
    child(ours[0])
watched = os.pidfd_open(pid)
others = select.epoll()
others.register(watched, select.EPOLLIN)
libc = ctypes.CDLL(None)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
event = struct.pack("Qiii44x", 0, signal.SIGUSR1, 4, threading.get_native_id())  # SIGEV_THREAD_ID
timer = ctypes.c_void_p()
assert libc.timer_create(1, event, ctypes.byref(timer)) == 0
assert libc.timer_settime(timer, 0, struct.pack("4q", 0, 0, 0, 200_000_000), None) == 0
print("amid", flush=True)
print(signal.sigwait([signal.SIGUSR1]))
os.close(ours[1])
print(others.poll(20) == [(watched, select.EPOLLIN)], os.waitid(os.P_PIDFD, watched, os.WEXITED).si_status)
"""


FAMILY = """
import os, signal, sys, threading, time

entered, leave = threading.Event(), threading.Event()
def run():
    ids.append(threading.get_native_id())
    entered.set()
    leave.wait()
    ids.append(threading.get_native_id())
ids = []
thread = threading.Thread(target=run)
thread.start()
entered.wait()
ours, others = os.pipe(), os.pipe()
pid = os.fork()
if pid == 0:
    os.close(ours[1])
    os.setpgid(0, 0)
    os.write(others[1], b"x")
    os.read(ours[0], 1)
    print(os.getpid(), os.getppid(), os.getpgrp(), flush=True)
    if os.fork() == 0:
        time.sleep(0.5)  # its parent ends before
        print("late", os.getppid() != own, flush=True)
        os._exit(0)
    os._exit(7)
own = os.getpid()
os.read(others[0], 1)
print("amid", flush=True)
os.write(ours[1], b"x")
print(os.waitpid(pid, 0) == (pid, 7 << 8), os.getpid() == own)
leave.set()
thread.join()
print(ids[0] == ids[1], str(own) in os.listdir("/proc"), os.readlink("/proc/self") == str(own), flush=True)
time.sleep(1)
"""


def write(directory: Path, text: str) -> Path:
    path = directory / "program.py"
    path.write_text(text)
    return path


def resume(trace: Path, *words: str | Path, around: Surroundings | None = None) -> Result:
    return harness.pyrr("resume", trace, *words, around=around or Surroundings())


def record_again(trace: Path, *words: str | Path) -> Result:
    """`resume --record`, which needs the program's ids: on a busy machine somebody else may have one for a while."""
    for _ in range(5):
        result = resume(trace, "--yes", "--record", *words)
        if b"ids, which are taken" not in result.stderr:
            return result
        time.sleep(1)
    pytest.skip("somebody has the program's ids")


def record(interpreter: Interpreter, tmp_path: Path, text: str, *words: str | Path) -> tuple[Path, list[str]]:
    """A trace, and the lines that the program has printed."""
    trace = tmp_path / "trace"
    result = harness.record(trace, interpreter.path, write(tmp_path, text), *words)
    assert result.status == 0, str(result)
    return trace, result.stdout.decode().splitlines()


def lines(result: Result, status: int = 0) -> list[str]:
    assert result.status == status, str(result)
    return result.stdout.decode().splitlines()


@pytest.fixture
def data(tmp_path: Path) -> Path:
    path = tmp_path / "data.txt"
    path.write_text("".join(f"row {number}\n" for number in range(3050)))
    return path


def test_generator_amid_a_file(interpreter: Interpreter, tmp_path: Path, data: Path) -> None:
    trace, printed = record(interpreter, tmp_path, READER, data)
    assert lines(resume(trace, "--to", "output:/^amid/")) == printed


def test_file_changed_and_gone(one_interpreter: Interpreter, tmp_path: Path, data: Path) -> None:
    trace, printed = record(one_interpreter, tmp_path, READER, data)
    words = ("--to", "output:/^amid/")
    content = data.read_text()
    data.write_text(content.replace("row", "new"))
    asked = resume(trace, *words)
    assert asked.status == 2
    assert b"written since" in asked.stderr
    assert not asked.stdout
    assert lines(resume(trace, *words, "--yes")) == printed
    assert lines(resume(trace, *words, "--policy", "strict"), 2) == []
    data.unlink()
    gone = resume(trace, *words, "--yes")
    assert b"it is gone" in gone.stderr
    assert lines(gone) == printed
    assert not data.exists()
    assert lines(resume(trace, *words, "--policy", "strict"), 2) == []


def test_file_written_again(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """Where its folder is gone as well, and where it cannot be."""
    folder = tmp_path / "folder"
    folder.mkdir()
    text = "import sys\nfile = open(sys.argv[1], 'w+')\nfile.write('one')\nfile.flush()\nprint('amid', flush=True)\n"
    trace, printed = record(one_interpreter, tmp_path, text + "file.write('two')\n", folder / "written")
    chosen = tmp_path / "policy.toml"
    chosen.write_text("[defaults]\n'file.gone' = 'restore'\n")
    words = ("--yes", "--to", "output:/^amid/", "--policy", chosen)
    (folder / "written").unlink()
    folder.rmdir()
    assert lines(resume(trace, *words)) == printed
    assert (folder / "written").read_text() == "onetwo"
    (folder / "written").unlink()
    folder.rmdir()
    folder.touch()
    cannot = resume(trace, *words)
    assert cannot.status == 2
    assert b"written cannot be made again: " in cannot.stderr


def test_statement(one_interpreter: Interpreter, tmp_path: Path, data: Path) -> None:
    """One position, gone on from several times at once, each with another value of a local variable."""
    trace, _ = record(one_interpreter, tmp_path, READER, data)
    total = sum(len(f"row {number}\n") for number in range(1001))
    limits = range(1001, 1021 if LONG else 1004)

    words = [PYRR, "resume", trace, "--to", "output:/^amid/", "--set"]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # All at once: what one leaves behind cannot be told from what another one still runs.
    running = [subprocess.Popen([*words, f"limit = {limit}; total = {limit}"], **streams) for limit in limits]
    results = [Result([], *one.communicate(timeout=200), one.returncode) for one in running]
    found = [lines(result) for result in results]
    row = len("row 1001\n")
    assert found == [[f"amid {total}", f"end {limit + (limit - 1001) * row} {limit}"] for limit in limits]
    wrong = resume(trace, "--to", "output:/^amid/", "--set", "limit = nothing")
    assert wrong.status == 2
    assert b"NameError" in wrong.stderr
    assert not wrong.stdout


def test_workers_and_threads(one_interpreter: Interpreter, tmp_path: Path) -> None:
    trace, printed = record(one_interpreter, tmp_path, POOL)
    assert lines(resume(trace, "--to", "output:/^amid/")) == printed[1:]
    for share in ("60%", "70%") if LONG else ("60%",):
        assert lines(resume(trace, "--yes", "--to", share))[-1] == printed[-1]


def test_loop_with_timers_and_child(one_interpreter: Interpreter, tmp_path: Path) -> None:
    trace, printed = record(one_interpreter, tmp_path, LOOP)
    assert lines(resume(trace, "--yes", "--to", "output:/^LINE 1/")) == printed[1:]


@pytest.mark.parametrize("ids", ["keep", "new"])
def test_what_names_processes_and_threads(one_interpreter: Interpreter, tmp_path: Path, ids: str) -> None:
    trace, printed = record(one_interpreter, tmp_path, WATCHER)
    chosen = tmp_path / "policy.toml"
    chosen.write_text(f'[defaults]\npid = "{ids}"\n')
    assert lines(resume(trace, "--yes", "--to", "output:/^amid/", "--policy", chosen)) == printed


def test_ids_that_are_taken(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """Programs of one position live at once: each has its ids, and keeps those that it leaves behind."""
    trace, printed = record(one_interpreter, tmp_path, FAMILY)
    with ThreadPoolExecutor(3) as threads:
        results = list(threads.map(lambda _: resume(trace, "--yes", "--to", "output:/^amid/"), range(3)))
    assert [sorted(lines(result)) for result in results] == [sorted(printed)] * 3
    assert sum(b"a namespace of its own" in result.stderr for result in results) >= 2


def test_transaction(one_interpreter: Interpreter, tmp_path: Path) -> None:
    database = tmp_path / "base.sqlite"
    trace, printed = record(one_interpreter, tmp_path, DATABASE, database)
    chosen = tmp_path / "policy.toml"
    chosen.write_text('[defaults]\n"file.changed" = "restore"\n"file.gone" = "restore"\n')
    for _ in range(2):
        assert lines(resume(trace, "--yes", "--to", "output:/^amid/", "--policy", chosen)) == printed
        database.unlink()


def test_interactive_session(one_interpreter: Interpreter, tmp_path: Path, data: Path) -> None:
    """An interactive session that has ended: its prompt is there again, with what was defined and the open file."""
    around = Surroundings(env={**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}, cwd=tmp_path)
    words = harness.record_words(tmp_path / "trace", one_interpreter.path, "-q", "-i", "-c", "")
    typed = f"squares = [n * n for n in range(1000)]; file = open({str(data)!r}); line = file.readline()\nexit()\n"
    assert harness.run_on_terminal(words, typed.encode(), around).status == 0
    typed_again = b"print(squares[31], line, file.readline())\nexit(7)\n"
    result = harness.run_on_terminal([str(PYRR), "resume", str(tmp_path / "trace")], typed_again, around)
    assert b"961 row 0\n row 1\n" in result.stdout, str(result)
    assert result.status == 7


@pytest.mark.parametrize("choice", ["dead", "reconnect", "refuse"])
def test_connection(one_interpreter: Interpreter, tmp_path: Path, choice: str) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            for _ in range(2 if choice == "reconnect" else 1):
                connection, _ = server.accept()
                with connection:
                    if connection.recv(100):
                        connection.sendall(b"answer")

        thread = threading.Thread(target=answer)
        thread.start()
        trace, printed = record(one_interpreter, tmp_path, CLIENT, str(server.getsockname()[1]))
        assert printed[-1] == "b'answer'"
        chosen = tmp_path / "policy.toml"
        chosen.write_text(f'[[override]]\nport = {server.getsockname()[1]}\nchoice = "{choice}"\n')
        result = resume(trace, "--yes", "--to", "output:/^connected/", "--policy", chosen)
        thread.join(20)
    if choice == "refuse":
        assert result.status == 2
        assert b"would have to be connected anew" in result.stderr
    else:
        assert lines(result) == ["connected", "b'answer'" if choice == "reconnect" else "the peer is gone"]


def test_outlives_pyrr(one_interpreter: Interpreter, tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    environment = {**os.environ, "STOP": str(stop)}
    stop.touch()
    around = Surroundings(env=environment)
    trace = tmp_path / "trace"
    harness.record(trace, one_interpreter.path, write(tmp_path, REPEATER), around=around)
    stop.unlink()
    with subprocess.Popen(
        [PYRR, "resume", str(trace), "--to", "output:/^amid/"], stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"amid\n"
        os.kill(process.pid, signal.SIGKILL)
        process.wait(20)
        stop.touch()
        assert process.stdout.read() == b"stopped\n"


def test_status(one_interpreter: Interpreter, tmp_path: Path) -> None:
    text = "import os, sys\nprint('amid', flush=True)\nhow = 5\nif how > 6: os.kill(os.getpid(), 15)\nsys.exit(how)\n"
    trace = tmp_path / "trace"
    harness.record(trace, one_interpreter.path, write(tmp_path, text))
    assert resume(trace, "--to", "output:/^amid/").status == 5
    nobody = resume(trace, "--to", "end")
    assert nobody.status == 2
    assert re.search(rb"no process of the program lives", nobody.stderr)
    assert b"never waited for input" in resume(trace).stderr


def test_recording_that_broke_off(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """It goes on where it broke off."""
    trace = tmp_path / "trace"
    words = harness.record_words(trace, one_interpreter.path, "-u", write(tmp_path, BROKEN_OFF))
    with subprocess.Popen(words, stdout=subprocess.PIPE, env={**os.environ, "DONE": str(tmp_path / "done")}) as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"20\n":
            pass
        time.sleep(1)  # what is not written yet is lost
        process.kill()
    (tmp_path / "done").touch()
    printed = lines(resume(trace, "--yes"))
    assert 18 < int(printed[0]) < 100
    assert printed[-1] == "done"
    assert len(printed) <= 3


@pytest.mark.parametrize(
    ("output", "drawn"),
    [
        (b"old\n>>> ", b">>> "),
        (b"old\n\x1b[?2004h\x1b[32m>>> \x1b[0m", b"\x1b[?2004h\x1b[32m>>> \x1b[0m"),
        (b"old\n", b""),
        (b"a\n" + b"x" * 1000, b""),
        (b"a\n\x1b[2;5Hmoved", b""),
        (b"$ vim\n\x1b[?1049h\x1b[2Jone\ntwo", b"\x1b[?1049h\x1b[2Jone\ntwo"),
        (b"\x1b[?1049hscreen\x1b[?1049l\n$ ", b"$ "),
    ],
)
def test_what_is_drawn_again(output: bytes, drawn: bytes) -> None:
    assert opening.screen(output) == drawn


def test_policy_files() -> None:
    found = policy.parse('preset = "strict"\n[[override]]\npath = "/var/*"\nchoice = "dead"\n')
    assert found.choice("file.gone", path="/var/log") == "dead"
    assert found.choice("file.gone", path="/etc/passwd") == "refuse"
    assert policy.load(None).choice("file.gone") == "copy"
    assert policy.load("sandbox").choice("file") == "copy"
    for text in (
        "preset = 'nothing'",
        "[defaults]\n'file.gone' = 'bind'",
        "[defaults]\nfiles = 'copy'",
        "[[override]]\nchoice = 'dead'",
        "other = 1",
        "= 1",
    ):
        with pytest.raises(PyrrError, match="policy"):
            policy.parse(text)


LISTENER = """
import os, socket, sys, threading

os.chdir(sys.argv[1])
os.umask(0o77)
server = socket.socket(socket.AF_UNIX)
server.bind("socket")
server.listen()
gone = socket.socket(socket.AF_UNIX)
gone.bind("other")
gone.listen()
os.unlink("other")
print("amid", flush=True)

def answer():
    connection, _ = server.accept()
    connection.sendall(b"answer to " + connection.recv(100))

thread = threading.Thread(target=answer)
thread.start()
client = socket.socket(socket.AF_UNIX)
client.connect(sys.argv[1] + "/socket")
client.sendall(b"question")
print(client.recv(100), server.getsockname(), oct(os.stat("socket").st_mode), os.listdir("."), flush=True)
thread.join()
"""


def test_name_of_a_unix_socket(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """It is where the program had it, whatever the directory of whoever resumes; or it is said why not."""
    import socket

    folder = tmp_path / "folder"
    folder.mkdir()
    trace, printed = record(one_interpreter, tmp_path, LISTENER, folder)
    assert printed[1].startswith("b'answer to question' socket 0o140700 ['socket']")
    words = ("--yes", "--to", "output:/^amid/")
    again = resume(trace, *words, around=Surroundings(cwd=tmp_path))
    assert lines(again) == printed
    (folder / "socket").unlink()
    folder.rmdir()
    anew = resume(trace, *words)
    assert lines(anew) == printed
    assert b"folder is gone and is made again for it" in anew.stderr
    (folder / "socket").unlink()
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_UNIX, kind) as other:
            other.bind(str(folder / "socket"))
            if kind == socket.SOCK_STREAM:
                other.listen()
            taken = resume(trace, *words)
        assert taken.status == 2
        assert b"another program is listening there: end that, or choose dead" in taken.stderr
        (folder / "socket").unlink()
    (folder / "socket").write_text("precious")
    other_file = resume(trace, *words)
    assert other_file.status == 2
    assert b"there is another file now" in other_file.stderr
    assert (folder / "socket").read_text() == "precious"


MAPPED = """
import mmap, os, sys

descriptor = os.memfd_create("shared")
os.truncate(descriptor, 4096)
memory = mmap.mmap(descriptor, 4096)
memory[:6] = b"memory"
with open(sys.argv[1], "w+b") as file:
    file.write(bytes(8192))
    file.flush()
    pages = mmap.mmap(file.fileno(), 8192)
    pages[4096:4102] = b"second"
    ours, others = os.pipe()
    child = os.fork()
    if not child:
        os.close(others)
        os.read(ours, 1)
        pages[:5] = memory[:6].upper()[:5]
        memory[:5] = b"child"
        os._exit(0)
    print("amid", flush=True)
    os.close(others)
    os.waitpid(child, 0)
    print(pages[:5], os.pread(file.fileno(), 5, 0), os.pread(file.fileno(), 6, 4096), os.pread(descriptor, 6, 0))
    os.pwrite(file.fileno(), b"PW", 4097)
    print(pages[4096:4102], flush=True)
"""


@pytest.mark.parametrize("how", ["same", "changed", "gone", "restore"])
def test_mapped_files(one_interpreter: Interpreter, tmp_path: Path, how: str) -> None:
    """Descriptors, memory and processes see the same file, whichever that is; and so does a branch."""
    path = tmp_path / "mapped"
    trace, printed = record(one_interpreter, tmp_path, MAPPED, path)
    assert printed[1:] == ["b'MEMOR' b'MEMOR' b'second' b'childy'", "b'sPWond'"]
    before = bytearray(8192)
    before[4096:4102] = b"second"
    words: list[str | Path] = ["--to", "output:/^amid/"]
    choices = {"restore": ("file.gone", "restore"), "changed": ("mapped.changed", "reopen")}
    if how in choices:
        chosen = tmp_path / "policy.toml"
        chosen.write_text('[defaults]\n"{}" = "{}"\n'.format(*choices[how]))
        words += ["--policy", chosen]
    for recorded in (False, True):
        path.write_bytes(before.replace(b"second", b"2econd") if how == "changed" else before)
        if how in ("gone", "restore"):
            path.unlink()
        again = (trace, "-o", tmp_path / "branch", *words)
        result = record_again(*again) if recorded else resume(trace, "--yes", *words)
        expected = printed[1:]  # what comes first is amid a fork
        if how == "changed":
            expected = ["b'MEMOR' b'MEMOR' b'2econd' b'childy'", "b'2PWond'"]
        assert lines(result) == expected, str(result)
        assert path.exists() == (how != "gone")
        if path.exists():
            assert path.read_bytes()[:5] == b"MEMOR"
    verified = harness.pyrr("verify", tmp_path / "branch")
    assert b" 0 differing bytes" in verified.stdout, str(verified)


SLEEPERS = """
import ctypes, os, select, sys, threading, time

libc = ctypes.CDLL(None)
spec = (ctypes.c_long * 2)(4, 0)
def poll():
    poller = select.poll()
    poller.register(ours[0], select.POLLIN)
    poller.poll(4000)
def epoll():
    select.epoll().poll(4)
def sleep():
    libc.nanosleep(ctypes.byref(spec), None)
def run(wait):
    began = time.monotonic()
    wait()
    took[wait.__name__] = time.monotonic() - began
def selects():
    select.select([], [], [], 4)
took, ours = {}, os.pipe()
threads = [threading.Thread(target=run, args=(wait,)) for wait in (poll, epoll, sleep, selects)]
for thread in threads:
    thread.start()
time.sleep(3)
print("amid", flush=True)
for thread in threads:
    thread.join()
print(sorted(name for name, passed in took.items() if 3.9 < passed < 5.9), len(took), flush=True)
"""


def test_time_that_was_left(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """Of sleeps and time-outs that count from when they began."""
    trace, printed = record(one_interpreter, tmp_path, SLEEPERS)
    assert printed[-1] == "['epoll', 'poll', 'selects', 'sleep'] 4"
    assert lines(resume(trace, "--yes", "--to", "output:/^amid/")) == printed
