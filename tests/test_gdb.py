"""`pyrr gdb`: a real gdb, and packets that no gdb would send."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Surroundings, victim

from pyrr_debugger.replayer.gdb_registers import changed, description, packed, window
from pyrr_debugger.replayer.gdb_server import GdbServer
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.replayer.traps import Place, Steps
from pyrr_debugger.trace_reader import TraceReader


def record_steps(interpreter: Interpreter, tmp_path: Path) -> Path:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
    harness.record(tmp_path / "trace", interpreter.path, victim("steps"), around=around)
    return tmp_path / "trace"


@pytest.fixture
def steps(one_interpreter: Interpreter, tmp_path: Path) -> Path:
    return record_steps(one_interpreter, tmp_path)


@pytest.fixture
def session(steps: Path) -> Iterator[ReplaySession]:
    with TraceReader(steps) as reader, ReplaySession(reader) as found:
        found.seek("output:/^end 2/")
        yield found


def talk(session: ReplaySession, *packets: bytes) -> list[bytes]:
    """What the server answers."""
    incoming = b"".join(b"$" + packet + b"#%02x" % (sum(packet) & 0xFF) for packet in packets)
    out = io.BytesIO()
    GdbServer(session, io.BytesIO(incoming), out).run()
    return re.findall(rb"\$(.*?)#[0-9a-f]{2}", out.getvalue(), re.DOTALL)


COUNTED = r"""
#include <stdio.h>
#include <string.h>
#include <unistd.h>
static int total, last;
static char line[64];
double weight = 0.5;
static int add(int n) { total += n; last = n; return total; }
static double scaled(double x) { return x * weight; }
static void show(int n)
{
    snprintf(line, sizeof line, "total %d at %d\n", total, n);
    write(1, line, strlen(line));
}
int main(void)
{
    for (int i = 1; i <= 10; i++) {
        add(i * i);
        if (i % 2) show(i);
        if (i == 7) total = -1;
    }
    weight = scaled(4.0);
    printf("%g %d\n", weight, last);
    return total < 0;
}
"""


@pytest.fixture
def counted(tmp_path: Path) -> Path:
    """The trace of a program in C, with symbols."""
    (tmp_path / "counted.c").write_text(COUNTED)
    if shutil.which("gcc") is None:
        pytest.skip("no gcc")
    result = harness.run(["gcc", "-g", "-O0", "-w", "-o", tmp_path / "counted", tmp_path / "counted.c"])
    assert result.status == 0, str(result)
    harness.record(tmp_path / "trace", tmp_path / "counted", around=Surroundings(cwd=tmp_path))
    return tmp_path / "trace"


SESSION = [
    ("info registers rip", r"rip +0x"),
    ("break add", r"Breakpoint 1 at"),
    ("reverse-continue", r"Breakpoint 1, add \(n=100\)"),
    ("bt", r"#1 .* in main \(\)"),
    ("info args", r"^n = 100"),
    ("print total", r"= 144$"),
    ("reverse-continue", r"Breakpoint 1, add \(n=81\)"),
    ("continue", r"Breakpoint 1, add \(n=100\)"),
    ("reverse-continue", r"Breakpoint 1, add \(n=81\)"),
    ("watch total", r"Hardware watchpoint 2: total"),
    ("reverse-continue", r"Old value = 63\nNew value = -1\n.*add \(n=64\)"),
    ("reverse-continue", r"Breakpoint 1, add \(n=64\)"),
    ("reverse-continue", r"Old value = -1\nNew value = 140\n"),
    ("print i", r"= 7$"),
    ("continue", r"Old value = 140\nNew value = -1\n"),
    ("delete 1", r""),
    ("reverse-continue", r"Old value = -1\nNew value = 140\n"),
    ("reverse-continue", r"Old value = 140\nNew value = 91\n.*add \(n=49\)"),
    ("info watchpoints", r"already hit 5 times"),
    ("delete 2", r""),
    ("finish", r"Value returned is \$\d+ = 140"),
    ("step", r"show \(n=7\)"),
    ("next", r"write\(1, line"),
    ("x/s line", r'"total 140 at 7\\n"'),
    ("reverse-next", r"snprintf"),
    ("x/s line", r'"total 55 at 5\\n"'),
    ("reverse-step", r""),
    ("reverse-finish", r""),
    ("tbreak show", r"Temporary breakpoint 3"),
    ("continue", r"Temporary breakpoint 3, show \(n=\d\)"),
    ("reverse-finish", r"show\(i\)"),
    ("stepi", r""),
    ("reverse-stepi", r"show\(i\)"),
    ("catch syscall write", r"Catchpoint 4"),
    ("continue", r"Catchpoint 4 \(call to syscall write\)"),
    ("info registers orig_rax rdi", r"orig_rax +0x1 "),
    ("monitor when", r"event \d+, task \d+: write\(1, "),
    ("stepi", r""),
    ("reverse-stepi", r""),
    ("x/i $rip", r"=> .*syscall"),
    ("reverse-continue", r"Catchpoint 4 \(call to syscall write\)"),
    ("delete 4", r""),
    ("print add(5)", r"= \d+$"),
    ("print scaled(3.0)", r"= 1.5$"),
    ("set var weight = 2", r""),
    ("print scaled(3.0)", r"= 6$"),
    ("stepi", r""),
    ("print scaled(3.0)", r"= 1.5$"),
    ("hbreak scaled", r"Hardware assisted breakpoint 5"),
    ("continue", r"Breakpoint 5, scaled \(x=4\)"),
    ("stepi 4", r""),
    ("print $xmm0", r"v2_double"),
    ("print $ymm0", r"v4_double|v8_float"),
    ("rwatch weight", r"Hardware read watchpoint 6"),
    ("monitor checkpoint", r"checkpoint 1: behind event"),
    ("monitor seek 50%", r"event \d+"),
    ("monitor restore 1", r"behind event"),
    ("maintenance flush register-cache", r""),
    ("info auxv", r"AT_ENTRY"),
    ("info sharedlibrary", r"libc"),
    ("info threads", r"\* 1 +Thread"),
    ("delete", r""),
    ("continue", r"No more reverse-execution history|end|exit"),
    ("reverse-continue", r"No more reverse-execution history|begin|start"),
]


@pytest.mark.timeout(600)
def test_a_session_of_gdb(counted: Path) -> None:
    """Breakpoints, watchpoints, steps and calls of a real gdb, in both directions."""
    if shutil.which("gdb") is None:
        pytest.skip("no gdb")
    words = ["--ex", "set width 0", "--ex", "set confirm off"]
    for number, (command, _) in enumerate(SESSION):
        words += ["--ex", rf"echo \n@{number}\n", "--ex", command]
    result = harness.pyrr(
        "gdb", counted, "--to", "exit", "--batch", *words, around=Surroundings(timeout=500), merge=True
    )
    text = result.stdout.decode(errors="replace")
    answers = re.split(r"^@\d+\n", text, flags=re.MULTILINE)[1:]
    assert len(answers) == len(SESSION), text
    for (command, expected), answer in zip(SESSION, answers, strict=True):
        assert re.search(expected, answer.strip(), re.MULTILINE | re.DOTALL), f"{command}: {answer}\n{text}"


@pytest.mark.skipif(not LONG, reason="gdb reads the symbols of an interpreter")
@pytest.mark.timeout(900)
def test_py_bt(interpreter: Interpreter, tmp_path: Path) -> None:
    """CPython's own extension of gdb."""
    found = sorted(Path(os.path.realpath(interpreter.path)).parent.glob("python*-gdb.py"))
    if shutil.which("gdb") is None or not found:
        pytest.skip("no gdb, or an interpreter without python-gdb.py")
    words = ["--ex", f"source {found[0]}", "--ex", "py-bt"]
    if interpreter.version < (3, 11):
        words += ["--ex", "py-up"]  # from the built-in function, which is a frame there and has no locals
    words += ["--ex", "py-locals"]
    around = Surroundings(timeout=800)
    steps = record_steps(interpreter, tmp_path)
    result = harness.pyrr("gdb", steps, "--to", "output:/^end 2/", "--batch", *words, around=around, merge=True)
    text = result.stdout.decode(errors="replace")
    assert "os.write(1, text.encode())" in text, text
    assert "text = 'end 2\\n'" in text, text


def test_registers_are_those_of_the_session(session: ReplaySession) -> None:
    (task,) = session.tasks
    (answer,) = talk(session, b"g")
    data = bytes.fromhex(answer.decode())
    present = session.registers(task)
    assert int.from_bytes(data[:8], "little") == present["rax"]
    assert int.from_bytes(data[56:64], "little") == present["rsp"]
    sizes = [int(bits) for bits in re.findall(rb'bitsize="(\d+)"', description())]
    names = re.findall(rb'reg name="(\w+)"', description())
    assert 8 * len(data) == sum(sizes) == 8 * len(packed(present, session.xstate(task)))
    number = names.index(b"orig_rax")
    assert sum(sizes[:number]) // 8 == window(number)[0]
    assert talk(session, b"p%x" % number) == [b"%016x" % int.from_bytes((1).to_bytes(8, "big"), "little")]
    general, xstate = changed(data, present, session.xstate(task))
    assert packed(general, xstate) == data


def test_memory_and_moves(session: ReplaySession) -> None:
    (task,) = session.tasks
    position, address = session.position, session.registers(task)["rsi"]
    answers = talk(session, b"m%x,6" % address, b"bs", b"s", b"m%x,6" % address, b"m0,8")
    assert bytes.fromhex(answers[0].decode()) == b"end 2\n" == bytes.fromhex(answers[3].decode())
    assert answers[1:3] == [b"T05thread:%x;" % task] * 2
    assert answers[4] == b"E0e"
    assert session.place == Place(position + 1, (Steps(0),))
    answers = talk(session, b"QCatchSyscalls:1;1", b"bc", b"bc", b"qRcmd," + b"when".hex().encode())
    assert answers[:2] == [b"OK", b"T05thread:%x;syscall_entry:1;" % task]
    assert b'write(1, "begin 2' in bytes.fromhex(answers[3].decode())
    assert talk(session, b"bc")[0].endswith(b"replaylog:begin;")
    assert talk(session, b"c")[0].endswith(b"replaylog:end;")
    # No kernel has such a call: once a table was made as long as the number.
    assert talk(session, b"QCatchSyscalls:1;1;6a64f5931", b"bc")[1].endswith(b"syscall_entry:1;")
    assert talk(session, b"QCatchSyscalls:1;6a64f5931", b"bc")[1].endswith(b"replaylog:begin;")


def test_what_is_written_goes_when_the_program_moves(session: ReplaySession) -> None:
    (task,) = session.tasks
    address, before = session.registers(task)["rsi"], session.memory_checksum(task)
    answers = talk(session, b"M%x,1:41" % address, b"m%x,2" % address, b"P0=0100000000000000", b"g", b"bs", b"s")
    assert answers[:3] == [b"OK", b"416e", b"OK"]
    assert answers[3].startswith(b"0100000000000000")
    assert session.memory_checksum(task) == before
    assert talk(session, b"m%x,2" % address) == [b"656e"]


def test_a_request_sent_again_is_answered_once(session: ReplaySession) -> None:
    """gdb repeats its first packet every two seconds while nobody acknowledges it."""
    assert len(talk(session, b"qSupported:x", b"qSupported:x", b"qSupported:x", b"?")) == 2


def test_backward_to_the_first_instruction(session: ReplaySession) -> None:
    """With a watchpoint that is never hit, too; from a place before the first event behind the program's start."""
    (task,) = session.tasks
    session.hold(1)
    first = session.registers(task)
    for packets in ((b"bc",), (b"Z2,ee,2", b"bc"), (b"Z2,ee,2", b"bs", b"bc"), (b"bc", b"Z1,9,1", b"s", b"s", b"bc")):
        session.seek(1)
        assert talk(session, *packets)[-1].endswith(b"replaylog:begin;"), packets
        assert session.registers(task) == first


@pytest.mark.timeout(3600 if LONG else 300)
def test_any_packet(session: ReplaySession) -> None:
    """Whatever comes in, there is an answer to each packet, and no exception."""
    seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"PYRR_SEED={seed}")
    choice = random.Random(seed)
    heads = [b"g", b"m", b"H", b"T", b"c", b"bs", b"bc", b"s", b"?", b"qC", b"qRcmd,", b"vFile:open:", b"vFile:pread:"]
    heads += [b"QCatchSyscalls:", b"qXfer:auxv:read:", b"qXfer:libraries-svr4:read:", b"vFile:fstat:", b"Z0,", b"x"]
    heads += [b"z0,", b"Z1,", b"Z2,", b"Z3,", b"M", b"X", b"P", b"p", b"vCont;", b"vCont;s:", b"vCont;r", b"vRun", b"!"]
    packets = []
    for _ in range(10_000 if LONG else 60):
        rest = bytes(choice.choice(b"0123456789abcdef,;:-g\xff") for _ in range(choice.randrange(12)))
        packets.append(choice.choice(heads) + rest)
    assert len(talk(session, *packets)) == len(packets)
    assert talk(session, b"?")


def test_served_at_an_address(steps: Path, tmp_path: Path) -> None:
    """`replay --to --serve`: for this machine only; ends when the client goes."""
    path = str(tmp_path / "socket")
    words = [harness.PYRR, "replay", steps, "--to", "exit", "--serve", path]
    server = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE)
    try:
        assert server.stdout is not None
        while f"target extended-remote {path}".encode() not in (line := server.stdout.readline()):
            assert line
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(b"$?#3f")
            answer = b""
            while b"#" not in answer:
                answer += client.recv(100)
            assert answer.startswith(b"+$T05thread:")
        assert server.wait(60) == 0
    finally:
        server.kill()
        server.communicate()
    result = harness.pyrr("replay", steps, "--to", "exit", "--serve", "0.0.0.0:0")
    assert result.status == 2
    assert b"not this machine" in result.stderr


def test_left_stopped(steps: Path) -> None:
    """`replay --to --stop`: the process can be looked at, nobody traces it, and it ends with the command."""
    words = [harness.PYRR, "replay", steps, "--to", "output:/^end 2/", "--stop"]
    command = subprocess.Popen([str(word) for word in words], stdout=subprocess.PIPE)
    try:
        assert command.stdout is not None
        while not (found := re.match(rb"task \d+ of process \d+: (\d+)", line := command.stdout.readline())):
            assert line
        pid = int(found[1])
        while b"stopped" not in command.stdout.readline():
            pass
        status = Path(f"/proc/{pid}/status").read_text()
        assert re.search(r"^State:\tT \(stopped\)", status, re.MULTILINE), status
        assert re.search(r"^TracerPid:\t0$", status, re.MULTILINE), status
        assert len(Path(f"/proc/{pid}/maps").read_text().splitlines()) > 10
        if shutil.which("gdb") is not None:
            around = Surroundings(timeout=120)
            looked = harness.run(["gdb", "-p", str(pid), "--batch", "-ex", "x/s $rsi", "-ex", "bt 3"], around)
            assert rb'"end 2\n' in looked.stdout, str(looked)
            assert b"#2" in looked.stdout, str(looked)
            assert re.search(r"^State:\tT \(stopped\)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
        command.send_signal(signal.SIGINT)
        assert command.wait(60) == 0
        with suppress(ChildProcessError):
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL  # an orphan comes to us
        assert not Path(f"/proc/{pid}").exists()
    finally:
        command.kill()
        command.communicate()


def test_noise_ends_it(session: ReplaySession) -> None:
    for noise in (b"", b"$", b"$g", b"$g#", b"+++", b"\x03", b"$" + b"a" * 100):
        GdbServer(session, io.BytesIO(noise), io.BytesIO()).run()
