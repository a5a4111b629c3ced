"""What a program keeps when it lives on: who it is, what it is denied, what waits for it, who has its terminal."""

from __future__ import annotations

import os
import re
from pathlib import Path

import harness
import pytest
from harness import PYRR, Interpreter, Surroundings
from test_resume import lines, record, resume

AMID = ("--yes", "--to", "output:/^amid/")

CREDENTIALS = """
import ctypes, os

libc = ctypes.CDLL(None)
libc.prctl(8, 1, 0, 0, 0)  # PR_SET_KEEPCAPS
libc.prctl(24, 25, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_SYS_TIME
os.setgroups([4711, 12])
os.setresgid(101, 102, 103)
os.setresuid(201, 202, 203)
header = (ctypes.c_uint * 2)(0x20080522, 0)
sets = (ctypes.c_uint * 6)(1 << 10, 1 << 10 | 1 << 5, 0, 0, 0, 0)  # CAP_NET_BIND_SERVICE; CAP_KILL as well
assert libc.capset(header, sets) == 0
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS

def look():
    names = ("Uid", "Gid", "Groups", "CapInh", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs")
    with open("/proc/self/status") as status:
        return [line.split() for line in status if line.split(":")[0] in names]

before = look()
print("amid", flush=True)
print(before == look(), os.getresuid(), os.getresgid(), sorted(os.getgroups()), flush=True)
try:
    os.setresuid(0, 0, 0)
    print("root again")
except PermissionError:
    print("denied")
"""

FILTER = """
import ctypes, errno, os, struct, threading

libc = ctypes.CDLL(None, use_errno=True)

def deny(call, error):
    program = b"".join(struct.pack("<HBBI", *one) for one in (
        (0x20, 0, 0, 0),  # load the number
        (0x15, 0, 1, call),  # equal?
        (0x06, 0, 0, 0x50000 | error),  # SECCOMP_RET_ERRNO
        (0x06, 0, 0, 0x7FFF0000),  # SECCOMP_RET_ALLOW
    ))
    memory = ctypes.create_string_buffer(program)
    head = struct.pack("<H6xQ", len(program) // 8, ctypes.addressof(memory))
    assert libc.prctl(22, 2, ctypes.create_string_buffer(head), 0, 0) == 0  # PR_SET_SECCOMP

def ask():
    return [
        -1 if libc.syscall(number, 0, 0, 0) != -1 else ctypes.get_errno()
        for number in (99, 160)  # sysinfo, setrlimit
    ]

libc.prctl(38, 1, 0, 0, 0)
deny(99, errno.EXDEV)
go, done = threading.Event(), []
thread = threading.Thread(target=lambda: (go.wait(), done.extend(ask())))
thread.start()
deny(160, errno.EDOM)
print("amid", flush=True)
print(ask() == [errno.EXDEV, errno.EDOM], flush=True)
go.set()
thread.join()
print(done[0] == errno.EXDEV, done[1] != errno.EDOM)
"""

PENDING = """
import os, signal, threading

signals = {signal.SIGUSR1, signal.SIGUSR2, signal.SIGRTMIN, signal.SIGRTMIN + 3}
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
go, found = threading.Event(), []

def wait():
    go.wait()
    found.append(int(signal.sigwait({signal.SIGUSR2})))

thread = threading.Thread(target=wait)
thread.start()
signal.pthread_kill(thread.ident, signal.SIGUSR2)
os.kill(os.getpid(), signal.SIGUSR1)
os.kill(os.getpid(), signal.SIGRTMIN + 3)
print("amid", flush=True)
print(sorted(map(int, signal.sigpending())), flush=True)
print(sorted(int(signal.sigwait(signals)) for _ in range(2)), sorted(map(int, signal.sigpending())), flush=True)
go.set()
thread.join()
print(found)
"""

FOREGROUND = """
import os, signal

signal.signal(signal.SIGTTOU, signal.SIG_IGN)
ours, others = os.pipe(), os.pipe()
child = os.fork()
if not child:
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    os.write(others[1], b"x")
    os.read(ours[0], 1)
    print("child", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
    os.tcsetpgrp(0, os.getpgid(os.getppid()))
    os._exit(0)
os.read(others[0], 1)
print("amid", flush=True)
print("parent", os.tcgetpgrp(0) == child, os.getpgrp() != child, flush=True)
os.write(ours[1], b"x")
os.waitpid(child, 0)
print("end", os.tcgetpgrp(0) == os.getpgrp(), flush=True)
"""

EPOLL = """
import os, select

poll = select.epoll()
ours, others, more = os.pipe(), os.pipe(), os.pipe()
poll.register(ours[0], select.EPOLLIN)
child = os.fork()
if not child:
    poll.register(more[0], select.EPOLLIN | select.EPOLLONESHOT)
    os.write(others[1], b"x")
    os.read(ours[0], 1)
    print("child", sorted(number for number, _ in poll.poll(10)) == [more[0]], flush=True)
    os._exit(0)
os.read(others[0], 1)
print("amid", flush=True)
os.write(more[1], b"x")
print("parent", [number for number, _ in poll.poll(10)] == [more[0]], flush=True)
poll.modify(more[0], select.EPOLLIN)
os.write(ours[1], b"x")
os.waitpid(child, 0)
print("end", [number for number, _ in poll.poll(10)] == [more[0]])
"""

ROOT = """
import os, sys

os.mkdir(sys.argv[1])
os.chroot(sys.argv[1])
print("amid", flush=True)
"""


def as_root() -> None:
    if os.geteuid():
        pytest.skip("needs root")


def test_credentials(one_interpreter: Interpreter, tmp_path: Path) -> None:
    as_root()
    tmp_path.chmod(0o755)
    trace, printed = record(one_interpreter, tmp_path, CREDENTIALS)
    assert printed[1:] == ["True (201, 202, 203) (101, 102, 103) [12, 4711]", "denied"]
    assert lines(resume(trace, *AMID)) == printed


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FILTER, ["True", "True True"]),
        (PENDING, ["[10, 37]", "[10, 37] []", "[12]"]),
        (EPOLL, ["parent True", "child True", "end True"]),
    ],
    ids=["filter", "pending", "epoll"],
)
def test_program(one_interpreter: Interpreter, tmp_path: Path, text: str, expected: list[str]) -> None:
    trace, printed = record(one_interpreter, tmp_path, text)
    assert printed[1:] == expected
    assert lines(resume(trace, *AMID)) == printed


def test_foreground(one_interpreter: Interpreter, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(FOREGROUND)
    expected = ["amid", "parent True True", "child True", "end True"]
    around = Surroundings(env={**os.environ, "TERM": "dumb"}, cwd=tmp_path)
    words = harness.record_words(tmp_path / "trace", one_interpreter.path, program)
    for command in (words, [str(PYRR), "resume", str(tmp_path / "trace"), *AMID]):
        result = harness.run_on_terminal(command, b"", around)
        found = [
            line for line in result.stdout.decode().replace("\r", "").splitlines() if re.match("[a-z]+( |$)", line)
        ]
        assert [line for line in found if line.split()[0] in ("amid", "parent", "child", "end")] == expected, str(
            result
        )


def test_another_root(one_interpreter: Interpreter, tmp_path: Path) -> None:
    as_root()
    trace, _ = record(one_interpreter, tmp_path, ROOT, tmp_path / "root")
    refused = resume(trace, *AMID)
    assert refused.status == 2
    assert b"paths are looked up below another root directory" in refused.stderr
    assert not refused.stdout


THREAD = """
import os, sys, threading

if len(sys.argv) > 1:
    os.write(1, b"amid\\n")
    print("executed", os.getpid() == int(sys.argv[1]), threading.active_count())
    raise SystemExit(0)
arguments = [sys.executable, __file__, str(os.getpid())]
threading.Thread(target=os.execv, args=(sys.executable, arguments)).start()
"""

STACK = """
import ctypes, os, resource

libc = ctypes.CDLL(None)
compare = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

def recurse(left):
    if left:
        libc.qsort(ctypes.create_string_buffer(2), 2, 1, compare(lambda a, b: recurse(left - 1) or 0))

def child(limit):
    process = os.fork()
    if not process:
        resource.setrlimit(resource.RLIMIT_STACK, (limit, resource.getrlimit(resource.RLIMIT_STACK)[1]))
        recurse(700)
        os._exit(0)
    return os.waitpid(process, 0)[1]

print("amid", flush=True)
print(child(256 << 10), child(64 << 20))
"""


@pytest.mark.parametrize(("text", "expected"), [(THREAD, "executed True 1"), (STACK, "11 0")], ids=["thread", "stack"])
def test_beginnings(one_interpreter: Interpreter, tmp_path: Path, text: str, expected: str) -> None:
    """A program that a thread has executed; and a stack, which grows as far as its limit says."""
    trace, printed = record(one_interpreter, tmp_path, text)
    assert printed == ["amid", expected]
    assert lines(resume(trace, *AMID)) == printed
