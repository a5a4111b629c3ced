"""`pyrr resume --record`: what lives on is recorded again, and its trace is one like any other."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from pathlib import Path

import harness
import pytest
from harness import LONG, PYRR, Interpreter, Result, Surroundings
from test_resume import FAMILY, LOOP, POOL, READER, WATCHER, data, lines, record, record_again

assert data  # a fixture

SIGNALS = """
import os, signal, threading, time

got, alarms = [], []
signal.signal(signal.SIGUSR1, lambda *_: got.append(len(got)))
signal.signal(signal.SIGALRM, lambda *_: alarms.append("alarm"))

def send():
    for number in range(5):
        time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGUSR1)
        while len(got) == number:
            time.sleep(0.001)

sender = threading.Thread(target=send)
sender.start()
signal.setitimer(signal.ITIMER_REAL, 0.03)
print("amid", flush=True)
while sender.is_alive() or not alarms:
    time.sleep(0.01)
print(got, alarms, os.urandom(8).hex() != "", flush=True)
os.kill(os.getpid(), signal.SIGTERM)
"""

SPINNERS = """
import threading

baton = 0

def pass_on(number):
    global baton
    for leg in range(3):
        while baton != 3 * leg + number:
            pass
        baton += 1

threads = [threading.Thread(target=pass_on, args=(number,)) for number in range(3)]
print("amid", flush=True)
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("end", baton, flush=True)
"""

COUNTER = """
import os, sys, time

for number in range(2000):
    print(number, flush=True)
    if os.path.exists(sys.argv[1]):
        break
    time.sleep(0.02)
"""


def branch(trace: Path, to: str, output: Path, *words: str | Path, status: int = 0) -> list[str]:
    """Makes a branch of a trace: the lines that the program printed behind the position."""
    result = record_again(trace, "-o", output, "--to", to, *words)
    assert b"events," in result.stderr, str(result)
    return lines(result, status)


def replayed(trace: Path) -> list[str]:
    """What a replay of a trace prints, which is verified."""
    verified = harness.pyrr("verify", trace)
    assert b" 0 differing bytes" in verified.stdout, str(verified)
    return lines(harness.pyrr("replay", trace))


def test_branches(one_interpreter: Interpreter, tmp_path: Path, data: Path) -> None:
    """A branch, one of that, each with another value, packed where nothing of the first is left."""
    home = tmp_path / "home"
    home.mkdir()
    trace, printed = record(one_interpreter, tmp_path, READER, data)
    trace = trace.rename(home / "first")
    amid = "output:/^amid/"
    assert branch(trace, amid, home / "plain") == printed
    assert replayed(home / "plain") == printed
    row = len("row 1001\n")
    found = branch(trace, amid, home / "one", "--set", "limit = 1005; many = list(range(300_000))")
    assert found[-1] == f"end {sum(len(f'row {n}') + 1 for n in range(1005))} 1005"
    assert replayed(home / "one") == found
    again = branch(home / "one", amid, home / "two", "--set", "limit = 1002; total = 0")
    assert again[-1] == f"end {row} 1002"
    assert replayed(home / "two") == again
    tree = harness.pyrr(
        "ls", "--tree", around=Surroundings(env={**os.environ, "PYRR_TRACE_DIR": str(home), "COLUMNS": "200"})
    )
    names = [
        line.split("  ")[0].rstrip() if "─" not in line else line[: line.index("20")].rstrip() for line in lines(tree)
    ]
    assert names[1:] == ["first", "└─ plain", "└─ one", "   └─ two"], tree.stdout.decode()
    assert b"--set 'limit = 1002; total = 0'" in tree.stdout
    packed = tmp_path / "two.pyrr"
    assert harness.pyrr("pack", home / "two", "-o", packed).status == 0
    trace.rename(tmp_path / "away")
    assert replayed(packed) == again
    assert lines(harness.pyrr("resume", packed, "--yes", "--to", amid, "--set", "limit = 1001")) == [
        printed[0],
        "end 0 1001",
    ]


@pytest.mark.parametrize(
    ("text", "to", "status"),
    [
        (POOL, "output:/^amid/", 0),
        (POOL, "70%", 0),
        (LOOP, "output:/^LINE 1/", 0),
        (WATCHER, "output:/^amid/", 0),
        (FAMILY, "output:/^amid/", 0),
        (SIGNALS, "output:/^amid/", 128 + signal.SIGTERM),
        (SPINNERS, "output:/^amid/", 0),
    ],
    ids=["pool", "pool-late", "loop", "watcher", "family", "signals", "spinners"],
)
def test_programs(one_interpreter: Interpreter, tmp_path: Path, text: str, to: str, status: int) -> None:
    (tmp_path / "program.py").write_text(text)
    words = harness.record_words(tmp_path / "trace", one_interpreter.path, tmp_path / "program.py")
    result = harness.run(words)
    assert result.status == status, str(result)
    printed = branch(tmp_path / "trace", to, tmp_path / "branch", status=status)
    assert printed
    recorded = result.stdout.decode().splitlines()
    assert all(any(line.endswith(end) for line in recorded) for end in printed)  # it may begin amid a line
    shown = replayed(tmp_path / "branch")
    before = "\n".join(shown).removesuffix("\n".join(printed))
    assert len(before) == len("\n".join(shown)) - len("\n".join(printed))
    assert "\n".join(recorded).startswith(before)


def test_any_position(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """Threads and processes at work."""
    chance = random.Random(os.environ.get("PYRR_SEED", "branch"))
    trace, _ = record(one_interpreter, tmp_path, POOL)
    for number in range(12 if LONG else 2):
        output = tmp_path / f"branch{number}"
        share = f"{chance.randrange(20, 95)}%"
        result = record_again(trace, "-o", output, "--to", share)
        assert result.status == 0, f"{share} {result}"
        assert b" 0 differing bytes" in harness.pyrr("verify", output).stdout, share


def test_recording_that_broke_off(one_interpreter: Interpreter, tmp_path: Path) -> None:
    trace, done = tmp_path / "trace", tmp_path / "done"
    (tmp_path / "program.py").write_text(COUNTER)
    words = harness.record_words(trace, one_interpreter.path, tmp_path / "program.py", done)
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while process.stdout.readline() != b"20\n":
            pass
        time.sleep(1)
        process.kill()
    done.touch()
    result = record_again(trace, "-o", tmp_path / "branch")
    printed = lines(result)
    assert len(printed) <= 3
    assert replayed(tmp_path / "branch")[-1:] == printed[-1:]


def test_session(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """Typed on a terminal, in two parts."""
    around = Surroundings(env={**os.environ, "TERM": "dumb", "PYTHON_BASIC_REPL": "1"}, cwd=tmp_path)
    words = harness.record_words(tmp_path / "trace", one_interpreter.path, "-q", "-i", "-c", "")
    assert harness.run_on_terminal(words, b"squares = [n * n for n in range(1000)]\nexit()\n", around).status == 0
    words = [str(PYRR), "resume", str(tmp_path / "trace"), "--record", "-o", str(tmp_path / "branch")]
    result = harness.run_on_terminal(words, b"print(squares[31])\nexit(7)\n", around)
    assert b"961" in result.stdout
    assert result.status == 7
    shown = harness.pyrr("replay", tmp_path / "branch")
    assert shown.status == 0
    assert b"961" in shown.stdout


def refused(result: Result, text: bytes) -> None:
    assert result.status == 2, str(result)
    assert text in result.stderr
    assert not result.stdout


def test_refusals(one_interpreter: Interpreter, tmp_path: Path) -> None:
    """Nothing of a branch is left then."""
    trace, _ = record(one_interpreter, tmp_path, "import time\nprint('amid', flush=True)\ntime.sleep(8)\n")
    words = ("resume", trace, "--yes", "--to", "output:/^amid/")
    with subprocess.Popen([str(PYRR), *map(str, words)], stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == b"amid\n"
        refused(harness.pyrr(*words, "--record", "-o", tmp_path / "branch"), b"ids, which are taken")
    (tmp_path / "policy.toml").write_text('[defaults]\npid = "new"\n')
    refused(harness.pyrr(*words, "--record", "-o", tmp_path / "branch", "--policy", tmp_path / "policy.toml"), b"ids")
    assert not (tmp_path / "branch").exists()
    refused(harness.pyrr(*words, "--record", "-o", trace), b"exists already")
    assert harness.pyrr(*words, "-o", tmp_path / "branch").status == 2
