"""`pyrr gdb`: a real gdb, and packets that no gdb would send."""

from __future__ import annotations

import io
import os
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Surroundings, victim

from pyrr_debugger.replayer.gdb_registers import description, packed
from pyrr_debugger.replayer.gdb_server import GdbServer
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.trace_reader import TraceReader


@pytest.fixture
def steps(one_interpreter: Interpreter, tmp_path: Path) -> Path:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    around = Surroundings(env=harness.victim_environment(scratch), cwd=scratch)
    harness.record(tmp_path / "trace", one_interpreter.path, victim("steps"), around=around)
    return tmp_path / "trace"


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


@pytest.mark.timeout(600)
def test_a_session_of_gdb(steps: Path) -> None:
    """Looks around at a write, goes back to an earlier one, and forward again."""
    if shutil.which("gdb") is None:
        pytest.skip("no gdb")
    commands = [
        "bt 3",
        "info registers orig_rax rdi",
        "x/s $rsi",
        "catch syscall write",
        "reverse-continue",
        "x/s $rsi",
        "monitor when",
        "continue",
        "x/s $rsi",
        "delete 1",
        "reverse-stepi",
        "x/s $rsi",
        "continue",
    ]
    words = [word for command in commands for word in ("--ex", command)]
    result = harness.pyrr(
        "gdb", steps, "--to", "output:/^end 2/", "--batch", *words, around=Surroundings(timeout=500), merge=True
    )
    text = result.stdout.decode(errors="replace")
    assert re.search(r"^#0 .* in (__libc_|__GI___libc_|_*)write", text, re.MULTILINE), text
    assert re.search(r"orig_rax +0x1 ", text), text
    assert re.findall(r'^0x\w+:\t"(begin|end) (\d)\\n"', text, re.MULTILINE) == [
        ("end", "2"),
        ("begin", "2"),
        ("end", "2"),
        ("begin", "2"),
    ], text
    assert "write(1, " in text
    assert "No more reverse-execution history" in text or "replay" in text.lower(), text


def test_registers_are_those_of_the_session(session: ReplaySession) -> None:
    (task,) = session.tasks
    (answer,) = talk(session, b"g")
    data = bytes.fromhex(answer.decode())
    present = session.registers(task)
    assert int.from_bytes(data[:8], "little") == present["rax"]
    assert int.from_bytes(data[56:64], "little") == present["rsp"]
    assert int.from_bytes(data[-24:-16], "little") == present["orig_rax"] == 1
    assert int.from_bytes(data[-16:-8], "little") == present["fs_base"]
    sizes = [int(bits) for bits in re.findall(rb'bitsize="(\d+)"', description())]
    assert 8 * len(data) == sum(sizes) == 8 * len(packed(present, session.xstate(task)))


def test_memory_and_moves(session: ReplaySession) -> None:
    (task,) = session.tasks
    position, address = session.position, session.registers(task)["rsi"]
    answers = talk(session, b"m%x,6" % address, b"bs", b"s", b"m%x,6" % address, b"m0,8", b"M%x,1:00" % address)
    assert bytes.fromhex(answers[0].decode()) == b"end 2\n" == bytes.fromhex(answers[3].decode())
    assert answers[1:3] == [b"T05thread:%x;" % task] * 2
    assert answers[4:] == [b"E0e", b"E01"]
    assert session.position == position
    answers = talk(session, b"QCatchSyscalls:1;1", b"bc", b"qRcmd," + b"when".hex().encode())
    assert answers[:2] == [b"OK", b"T05thread:%x;syscall_entry:1;" % task]
    assert b'write(1, "begin 2' in bytes.fromhex(answers[2].decode())
    assert talk(session, b"bc")[0].endswith(b"replaylog:begin;")
    assert talk(session, b"c")[0].endswith(b"replaylog:end;")


def test_any_packet(session: ReplaySession) -> None:
    """Whatever comes in, there is an answer to each packet, and no exception."""
    seed = os.environ.get("PYRR_SEED") or str(random.SystemRandom().getrandbits(32))
    print(f"PYRR_SEED={seed}")
    choice = random.Random(seed)
    heads = [b"g", b"m", b"H", b"T", b"c", b"bs", b"bc", b"s", b"?", b"qC", b"qRcmd,", b"vFile:open:", b"vFile:pread:"]
    heads += [b"QCatchSyscalls:", b"qXfer:auxv:read:", b"qXfer:libraries-svr4:read:", b"vFile:fstat:", b"Z0,", b"x"]
    packets = []
    for _ in range(1000 if LONG else 200):
        rest = bytes(choice.choice(b"0123456789abcdef,;:-g\xff") for _ in range(choice.randrange(12)))
        packets.append(choice.choice(heads) + rest)
    assert len(talk(session, *packets)) == len(packets)
    assert talk(session, b"?")


def test_noise_ends_it(session: ReplaySession) -> None:
    for noise in (b"", b"$", b"$g", b"$g#", b"+++", b"\x03", b"$" + b"a" * 100):
        GdbServer(session, io.BytesIO(noise), io.BytesIO()).run()
