"""Every choice that a policy can make, and what the program finds then.

One program holds something of each class. Where it goes live it looks at all of that, and prints a line for each.
"""

from __future__ import annotations

import os
import socket
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import harness
import pytest
from harness import LONG, PYRR, Result, Surroundings

from pyrr_debugger.live.policy import CHOICES

PROGRAM = """
import ctypes, errno, fcntl, os, select, signal, socket, struct, sys, time

signal.signal(signal.SIGPIPE, signal.SIG_IGN)
folder, outside = sys.argv[1:]

def opened(name, flags=os.O_RDWR):
    with open(f"{folder}/{name}", "w") as file:
        file.write("0123456789")
    number = os.open(f"{folder}/{name}", flags)
    os.read(number, 4)
    return number

def connected(kind, address):
    one = socket.socket(kind)
    one.connect(address)
    one.settimeout(20)
    return one

libc = ctypes.CDLL(None)
libc.mmap.restype = ctypes.c_void_p

def mapped(name):
    number = opened(name)
    os.ftruncate(number, 4096)
    memory = (ctypes.c_char * 4096).from_address(libc.mmap(None, 4096, 3, 1, number, 0))
    os.close(number)
    memory[0] = b"m"
    return memory

maps = {name: mapped(name) for name in ("mapped", "mapped.changed")}
held = {name: opened(name) for name in ("file", "changed", "gone", "deleted", "locked")}
fcntl.flock(held["locked"], fcntl.LOCK_EX | fcntl.LOCK_NB)
os.unlink(f"{folder}/deleted")
directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
device = os.open("/dev/zero", os.O_RDONLY)
os.mkfifo(f"{folder}/fifo")
fifo = os.open(f"{folder}/fifo", os.O_RDWR | os.O_NONBLOCK)
listening = socket.create_server(("127.0.0.1", 0))
other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
other.bind(("127.0.0.1", 0))
port = other.getsockname()[1]
unix = connected(socket.AF_UNIX, f"{outside}/server")
internet = connected(socket.AF_INET, ("127.0.0.1", int(open(f"{outside}/port").read())))
unknown = libc.fanotify_init(2, 0) if os.geteuid() == 0 else -1
pid, clock = os.getpid(), time.monotonic()
os.read(0, 3)
os.write(1, b"amid\\n")

def look(name, action):
    try:
        found = action()
    except OSError as error:
        found = errno.errorcode.get(error.errno, "timed out")
    os.write(2, f"{name}: {found}\\n".encode())

def rest(name):
    number = held[name]
    path = f"{folder}/{name}"
    same = os.path.exists(path) and os.path.samestat(os.stat(path), os.fstat(number))
    return os.read(number, 20).decode(), "at its path" if same else "elsewhere"

def through(name):
    before = bytes(maps[name][:4]).decode()
    maps[name][9] = b"!"
    with open(f"{folder}/{name}") as file:
        return before, file.read(10)

def is_locked():
    with open(f"{folder}/locked") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return "free"

def asked(one):
    one.sendall(b"question")
    return one.recv(20).decode()

for name in ("file", "changed", "gone", "deleted"):
    look(name, lambda: rest(name))
for name in maps:
    look(name, lambda: through(name))
look("lock", is_locked)
look("directory", lambda: "file" in os.listdir(directory))
look("device", lambda: os.read(device, 2))
look("fifo", lambda: os.read(fifo, 2))
look("listening", lambda: socket.create_connection(listening.getsockname(), 5).close())
look("other", lambda: other.getsockname()[1:2] == (port,) and other.sendto(b"x", ("127.0.0.1", port)))
look("unix", lambda: asked(unix))
look("internet", lambda: asked(internet))
look("unknown", lambda: os.read(unknown, 4096))
look("stream", lambda: os.read(0, 20).decode())
look("given", lambda: os.write(9, b"x"))
look("pid", lambda: os.getpid() == pid)
look("clock", lambda: abs(time.monotonic() - clock) < 100_000)
"""

DEFAULT = {
    "file": "('456789', 'at its path')",
    "changed": "('efgh', 'at its path')",
    "gone": "('456789', 'elsewhere')",
    "deleted": "('456789', 'elsewhere')",
    "mapped": "('m123', 'm12345678!')",
    "mapped.changed": "('m123', 'abcdefghij')",
    "lock": "EAGAIN",
    "directory": "True",
    "device": r"b'\x00\x00'",
    "fifo": "EAGAIN",
    "listening": "None",
    "other": "1",
    "unix": "EPIPE",
    "internet": "",
    "unknown": "b''",
    "stream": "ours",
    "given": "EPIPE",
    "pid": "True",
    "clock": "True",
}
"""What the program finds by default."""

REFUSED = "refused"
COPIED, DEAD = "('456789', 'elsewhere')", "('', 'elsewhere')"
FOUND: dict[tuple[str, str], tuple[str, str]] = {
    ("file", "reopen"): ("file", "('456789', 'at its path')"),
    ("file", "copy"): ("file", COPIED),
    ("file", "restore"): ("file", "('456789', 'at its path')"),
    ("file", "dead"): ("file", DEAD),
    ("file.changed", "reopen"): ("changed", "('efgh', 'at its path')"),
    ("file.changed", "copy"): ("changed", COPIED),
    ("file.changed", "restore"): ("changed", "('456789', 'at its path')"),
    ("file.changed", "dead"): ("changed", DEAD),
    ("file.gone", "copy"): ("gone", COPIED),
    ("file.gone", "restore"): ("gone", "('456789', 'at its path')"),
    ("file.gone", "dead"): ("gone", DEAD),
    ("file.deleted", "copy"): ("deleted", COPIED),
    ("file.deleted", "dead"): ("deleted", DEAD),
    ("directory", "reopen"): ("directory", "True"),
    ("directory", "dead"): ("directory", "ENOTDIR"),
    ("device", "reopen"): ("device", r"b'\x00\x00'"),
    ("device", "dead"): ("device", "b''"),
    ("stream", "present"): ("stream", "ours"),
    ("stream", "reopen"): ("stream", "the rest"),
    ("stream", "dead"): ("stream", ""),
    ("pipe.foreign", "dead"): ("given", "EPIPE"),
    ("fifo", "reopen"): ("fifo", "EAGAIN"),
    ("fifo", "dead"): ("fifo", "b''"),
    ("socket.listening", "bind"): ("listening", "None"),
    ("socket.listening", "dead"): ("listening", "ECONNREFUSED"),
    ("socket.connected", "dead"): ("internet", ""),
    ("socket.connected", "reconnect"): ("internet", "answer"),
    ("socket.unix", "dead"): ("unix", "EPIPE"),
    ("socket.unix", "reconnect"): ("unix", "answer"),
    ("socket.other", "rebuild"): ("other", "1"),
    ("socket.other", "dead"): ("other", "False"),
    ("mapped", "reopen"): ("mapped", "('m123', 'm12345678!')"),
    ("mapped", "copy"): ("mapped", "('m123', 'm123456789')"),
    ("mapped.changed", "copy"): ("mapped.changed", "('m123', 'abcdefghij')"),
    ("mapped.changed", "reopen"): ("mapped.changed", "('abcd', 'abcdefghi!')"),
    ("mapped.changed", "restore"): ("mapped.changed", "('m123', 'm12345678!')"),
    ("lock", "retake"): ("lock", "EAGAIN"),
    ("lock", "drop"): ("lock", "free"),
    ("pid", "keep"): ("pid", "True"),
    ("pid", "new"): ("pid", "False"),
    ("clock", "continue"): ("clock", "True"),
    ("clock", "present"): ("clock", "False"),
    ("unknown", "dead"): ("unknown", "b''"),
}
"""By class and choice: the program's line of which it is about, and what it says. The others are those of DEFAULT."""

ON_A_TERMINAL = {("terminal", choice) for choice in CHOICES["terminal"]}
EVERY = [(subject, choice) for subject, choices in CHOICES.items() for choice in choices]
BRIEFLY = [
    ("file.changed", "copy"),
    ("lock", "refuse"),
    ("pipe.foreign", "dead"),
    ("mapped.changed", "reopen"),
    ("unknown", "refuse"),
]


@dataclass
class Recorded:
    folder: Path
    trace: Path

    def resume(self, policy: str) -> Result:
        chosen = self.folder.parent / "policy.toml"
        chosen.write_text(policy)
        (self.folder / "changed").write_text("abcdefgh")
        (self.folder / "gone").unlink(missing_ok=True)
        (self.folder / "mapped").write_bytes(b"m123456789".ljust(4096, b"\0"))
        (self.folder / "mapped.changed").write_bytes(b"abcdefghij".ljust(4096, b"\0"))
        around = Surroundings(stdin=b"ours", cwd=self.folder)
        return harness.pyrr("resume", self.trace, "--yes", "--to", "output:/^amid/", "--policy", chosen, around=around)


def serve(server: socket.socket) -> None:
    while True:
        try:
            connection, _ = server.accept()
        except OSError:
            return
        with connection:
            while connection.recv(100):
                connection.sendall(b"answer")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    """A trace of the program, recorded where the monotonic clock is another one; servers to which it was connected."""
    root = tmp_path_factory.mktemp("policy")
    folder, outside = root / "folder", root / "outside"
    folder.mkdir()
    outside.mkdir()
    (root / "program.py").write_text(PROGRAM)
    (root / "stdin").write_text("thethe rest")
    python = next(one for one in harness.interpreters() if one.runs_pytest)
    servers = [
        socket.create_server(("127.0.0.1", 0)),
        socket.create_server(str(outside / "server"), family=socket.AF_UNIX),
    ]
    (outside / "port").write_text(str(servers[0].getsockname()[1]))
    threads = [threading.Thread(target=serve, args=(server,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    words = harness.record_words(root / "trace", python.path, root / "program.py", folder, outside)
    other_time = ["unshare", "--time", "--monotonic", "500000", "--fork"]
    if subprocess.run([*other_time, "true"], capture_output=True).returncode:
        pytest.skip("a time namespace needs privilege")
    script = f'exec 9> >(cat >/dev/null); exec "$@" <{root / "stdin"}'
    result = harness.run([*other_time, "bash", "-c", script, "bash", *words])
    assert b"amid" in result.stdout, str(result)
    yield Recorded(folder, root / "trace")
    for server in servers:
        server.shutdown(socket.SHUT_RDWR)
        server.close()


def test_every_choice_has_its_line() -> None:
    assert set(FOUND) | ON_A_TERMINAL == {(subject, choice) for subject, choice in EVERY if choice != "refuse"} | {
        ("terminal", "refuse")
    }


@pytest.mark.parametrize(
    ("subject", "choice"), [one for one in (EVERY if LONG else BRIEFLY) if one not in ON_A_TERMINAL]
)
def test_choice(recorded: Recorded, subject: str, choice: str) -> None:
    policy = f'[defaults]\n"{subject}" = "{choice}"\n'
    if subject == "stream":
        policy = f'[[override]]\ndescriptor = 0\nchoice = "{choice}"\n'
    if subject == "unknown" and os.geteuid():
        pytest.skip("the program holds such a descriptor as root only")
    result = recorded.resume(policy)
    if choice == "refuse":
        assert result.status == 2, str(result)
        assert b"the policy refuses:" in result.stderr
        assert not result.stdout
        return
    assert result.status == 0, str(result)
    told = [line for line in result.stderr.decode().splitlines() if not line.startswith("pyrr:")]
    found = dict(line.split(": ", 1) for line in told)
    name, line = FOUND[subject, choice]
    expected = {**DEFAULT, name: line}
    if subject == "file" and choice in ("copy", "dead"):
        expected["lock"] = "free"  # the file that is locked is one of these
    assert found == expected


@pytest.mark.parametrize("choice", CHOICES["terminal"] if LONG else ["dead"])
def test_terminal(tmp_path: Path, choice: str) -> None:
    """What was typed is there, or the end of input."""
    python = next(one for one in harness.interpreters() if one.runs_pytest)
    program = "import os; os.read(0, 9); os.write(1, b'amid\\n'); os.write(2, b'found %r' % os.read(0, 9))"
    words = harness.record_words(tmp_path / "trace", python.path, "-c", program)
    assert harness.run_on_terminal(words, b"one\ntwo\n").status == 0
    (tmp_path / "policy.toml").write_text(f'[[override]]\ndescriptor = 0\nchoice = "{choice}"\n')
    around = Surroundings(stdin=b"ours\n")
    words = [str(PYRR), "resume", str(tmp_path / "trace"), "--yes", "--to", "output:/^amid/", "--policy"]
    if choice == "refuse":
        result = harness.run([*words, tmp_path / "policy.toml"], around)
        assert result.status == 2
        assert b"the policy refuses:" in result.stderr
        return
    result = harness.run_on_terminal([*words, str(tmp_path / "policy.toml")], b"again\n")
    assert result.status == (choice != "present"), str(result)
    # One description has all three numbers: where it is dead nothing can be seen.
    assert (b"found b'again\\n'" in result.stdout) == (choice == "present"), str(result)
