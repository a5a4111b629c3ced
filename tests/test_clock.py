"""The bytecode clock: what ticks in an interpreter, and signals and threads at ticks."""

from __future__ import annotations

import json
import re
import signal
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import harness
import pytest
from harness import LONG, Interpreter, Surroundings, victim
from test_seek import chance, look

from pyrr_debugger.clock import is_interpreter, pack, places_in
from pyrr_debugger.clock.check import ticks_rightly
from pyrr_debugger.clock.opcodes import VERSIONS, Version
from pyrr_debugger.clock.tables import dispatch_tables, leaves_flags_free
from pyrr_debugger.errors import PyrrError
from pyrr_debugger.events import ExitEvent, SyscallEvent, TickEvent
from pyrr_debugger.replayer.place import python_stack
from pyrr_debugger.replayer.session import ReplaySession
from pyrr_debugger.symbols import Elf
from pyrr_debugger.syscalls import name as call_name
from pyrr_debugger.trace_reader import TraceReader

NAMES = [
    "blocked_traps",
    "fast_timer",
    "interrupted_loops",
    "killed_computing",
    "killed_in_native_code",
    "late_traceback",
    "racing_threads",
    "signal_in_computation",
    "signal_in_other_thread",
    "spinning_threads",
    "traced_computation",
]
"""Victims that need a clock."""

IMAGE = """
import json, os, re, sys, sysconfig
maps = open("/proc/self/maps").read()
library = re.search(r"/\\S*libpython3\\.\\d+\\.so\\S*", maps)
print(json.dumps([library[0] if library else os.path.realpath(sys.executable), sysconfig.get_path("platinclude") or
                  sysconfig.get_path("include")]))
"""


def image_and_headers(interpreter: Interpreter) -> tuple[bytes, Path]:
    result = harness.run([interpreter.path, "-c", IMAGE])
    image, headers = json.loads(result.stdout)
    return Path(image).read_bytes(), Path(headers)


def version_of(interpreter: Interpreter) -> Version:
    return next(v for v in VERSIONS if v.name == ".".join(map(str, interpreter.version)))


def test_table_is_found(interpreter: Interpreter) -> None:
    elf, _ = image_and_headers(interpreter)
    (table,) = dispatch_tables(elf)
    assert table.version is version_of(interpreter)
    assert leaves_flags_free(elf, table)
    places = places_in(elf, 0)
    entries = [place for place in places if len(place.moved) == 4]
    assert len(entries) == (len(table.version.ticking) if interpreter.version < (3, 11) else 0), "of a switch"
    assert len(places) == len(table.version.ticking) + len(entries) + 1, "one function"
    assert len(places[-1].moved) > 4
    assert len(pack(places)) == 32 * len(places)


def test_opcodes_are_those_of_the_headers(interpreter: Interpreter) -> None:
    _, headers = image_and_headers(interpreter)
    numbers: dict[str, int] = {}
    for name in ("opcode_ids.h", "opcode.h", "internal/pycore_opcode.h"):
        if (headers / name).exists():
            text = (headers / name).read_text()
            found = re.findall(r"#define ([A-Z]\w*) +(\d+)$", text, re.MULTILINE)
            numbers.update((opcode, int(number)) for opcode, number in found)
    if not numbers:
        pytest.skip("no headers")
    version = version_of(interpreter)
    assert version.ticking == {name: numbers[name] for name in version.ticking}
    others = ("NB_", "MIN_", "MAX_", "HAVE_", "ENABLE_", "EXCEPT_HANDLER")
    opcodes = {number for name, number in numbers.items() if not name.startswith(others) and number < 256}
    assert version.undefined == set(range(256)) - opcodes


def test_no_table_in_other_files(one_interpreter: Interpreter) -> None:
    """Neither in damaged files nor in others; and no table is taken whose code reads flags."""
    assert dispatch_tables(Path("/proc/self/exe").read_bytes()[:4096]) == []
    assert not is_interpreter(b"")
    assert places_in(b"", 0) == []
    elf, _ = image_and_headers(one_interpreter)
    (table,) = dispatch_tables(elf)
    word = struct.pack("<Q", table.targets[table.version.longest_gap[0]])
    broken = elf.replace(word, struct.pack("<Q", table.targets[table.version.longest_gap[0]] + 1), 1)
    assert dispatch_tables(broken) == []
    code = bytearray(elf)
    offset = _file_offset(elf, table.targets[1])
    code[offset : offset + 2] = b"\x74\x00"  # je: reads a flag
    assert not leaves_flags_free(bytes(code), table)


def _file_offset(elf: bytes, address: int) -> int:
    segment = next(s for s in Elf.parse(elf).segments if s.kind == 1 and s.vaddr <= address < s.vaddr + s.filesz)
    return segment.offset + address - segment.vaddr


@pytest.mark.skipif(not Path("/usr/bin/python3.11").exists(), reason="no python3.11 of Debian's")
def test_interpreter_without_clock(around: Surroundings, trace: Path, tmp_path: Path) -> None:
    """Of one that is built in a way that is not known, `info` says so; a signal then waits for a call."""
    elf, _ = image_and_headers(Interpreter("debian", Path("/usr/bin/python3.11"), (3, 11)))
    (table,) = dispatch_tables(elf)
    broken = tmp_path / "python3.11"
    undefined = table.address + 8 * table.version.longest_gap[0]
    offset = _file_offset(elf, undefined)
    broken.write_bytes(elf[:offset] + struct.pack("<Q", table.targets[1]) + elf[offset + 8 :])
    broken.chmod(0o700)
    assert places_in(broken.read_bytes(), 0) == []
    command = ("-s", "-S", "-c", "print('ran')")
    recorded = harness.record(trace, broken, *command, around=around)
    assert recorded.stdout == b"ran\n", str(recorded)
    assert b"has no bytecode clock" in harness.pyrr("info", trace).stdout
    harness.assert_verified(harness.verify(trace))


def words_of(interpreter: Interpreter) -> tuple[str, int, list[tuple[int, int]]]:
    file, offset = json.loads(harness.run([interpreter.path, "-c", MAPPED]).stdout)
    places = places_in(Path(file).read_bytes(), offset)
    return file, offset, [(place.place, place.target) for place in places if not place.moved]


MAPPED = """
import json, re
maps = open("/proc/self/maps").read()
code = re.findall(r"^\\S+ r-xp (\\S+) \\S+ \\d+ +(/\\S*python3\\S*)$", maps, re.MULTILINE)
offset, file = max((row for row in code if "lib-dynload" not in row[1]), key=lambda row: "libpython" in row[1])
print(json.dumps([file, int(offset, 16)]))
"""


def test_known_ticks_are_counted(interpreter: Interpreter) -> None:
    """On its own interpreter; not where a loop, or a call, does not tick."""
    file, offset, words = words_of(interpreter)
    with harness.started([str(interpreter.path), "-c", "input()"], stdin=subprocess.PIPE) as process:
        assert ticks_rightly(process.pid, file, offset, words)
        assert ticks_rightly(process.pid, file, offset, words[:1]) is False
        assert ticks_rightly(process.pid, file, offset + 4096, words) is None
        process.communicate(b"\n")
    with harness.started(["/bin/cat"], stdin=subprocess.PIPE) as process:
        assert ticks_rightly(process.pid, file, offset, words) is None, "which is no Python"
        process.communicate(b"")


def test_build_that_counts_wrong(one_interpreter: Interpreter, around: Surroundings, tmp_path: Path) -> None:
    """What has been tried is remembered; of one that has failed, `info` says that there is no clock."""
    around = replace(around, env={**(around.env or {}), "XDG_CACHE_HOME": str(tmp_path)})
    harness.record(tmp_path / "first", one_interpreter.path, "-c", "pass", around=around)
    (fact,) = tmp_path.glob("pyrr/files/*-ticks")
    assert fact.readlink() == Path("right")
    fact.unlink()
    fact.symlink_to("wrong")
    harness.record(tmp_path / "second", one_interpreter.path, "-c", "pass", around=around)
    said = [b"has no bytecode clock" in harness.pyrr("info", tmp_path / name).stdout for name in ("first", "second")]
    assert said == [False, True]
    harness.assert_verified(harness.verify(tmp_path / "second"))


COMPUTING = """
import os
numbers = []
for turn in range(3):
    os.getppid()
    numbers.append(sum(number * number % 7 for number in range(20000)))
os.getppid()
print(numbers)
"""


def test_positions_between_events(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """EVENT:TICKS is the same state, come to from before, from behind, and by the command; there is none too far."""
    harness.record(trace, one_interpreter.path, "-c", COMPUTING, around=around)
    with TraceReader(trace) as reader, ReplaySession(reader) as session:
        calls = [e.number for e in reader.events() if isinstance(e, SyscallEvent) and call_name(e.nr) == "getppid"]
        first, second = calls[-4:-2]
        ticks = sorted(chance().sample(range(1, 20000), 200 if LONG else 4))
        looks = []
        for count in ticks:
            session.seek(f"{first}:{count}")
            assert (session.ticks, session.place.position, session.midway) == (count, first + 1, session.tasks[0])
            looks.append(look(session))
        session.seek(second)
        at_second = look(session)
        for count, seen in reversed(list(zip(ticks, looks, strict=True))):
            session.seek(f"{first}:{count}")
            assert look(session) == seen
        session.seek(second)
        assert look(session) == at_second
        session.seek(f"{first}:0")
        assert session.ticks == 0
        with pytest.raises(PyrrError, match="is not there"):
            session.seek(f"{second}:1000000")
    result = harness.pyrr("replay", "--to", f"{first}:{ticks[0]}", "--json", trace)
    where = json.loads(result.stdout)
    ((registers, _, memory),) = looks[0].values()
    assert (where["position"], where["ticks"]) == (first, ticks[0])
    assert (where["registers"], where["memory_checksum"]) == (registers, memory)
    result = harness.pyrr("replay", "--to", f"{first}:{ticks[0]}", trace)
    assert f"event {first}:{ticks[0]}, ".encode() in result.stdout, str(result)


def test_many_stops(interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """Replay has the same registers after the same number of ticks, wherever a timer has stopped the recording."""
    code = (victim("fast_timer").read_text()).replace("+ 0.2", f"+ {3 if LONG else 0.05}").replace("0.001", "0.0005")
    recorded = harness.record(trace, interpreter.path, "-c", code, around=around)
    with TraceReader(trace) as reader:
        stops = sum(isinstance(event, TickEvent) for event in reader.events())
    assert stops >= (1000 if LONG else 5), str(recorded)
    harness.assert_same_output(recorded, harness.replay(trace))


KILLED = """
import resource
resource.setrlimit(resource.RLIMIT_CPU, (1, 1))
turns = 0
while True:
    turns += 1
"""


def test_death_amid_computation(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """A task that the kernel kills while it computes dies behind as many ticks as it made."""
    harness.record(trace, one_interpreter.path, "-c", KILLED, around=around)
    with TraceReader(trace) as reader, ReplaySession(reader) as session:
        (death,) = (e for e in reader.events() if isinstance(e, ExitEvent))
        assert (death.status & 0x7F, death.arrived) == (signal.SIGKILL, False)
        assert death.ticks > 1000
        session.seek(death.number)
        assert session.stop(death.task) == "tick"
        assert [frame.line for frame in python_stack(session, death.task)] == [6]
        session.seek(f"{death.number - 1}:{death.ticks - 1}")
    assert f"{death.ticks} ticks behind" in harness.pyrr("dump", trace).stdout.decode()
    assert harness.replay(trace).status == 0


def test_death_amid_native_code(one_interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    """Where nothing ticks a signal that kills has waited for a second; dump and replay say where it found the task."""
    harness.record(trace, one_interpreter.path, victim("killed_in_native_code"), around=around)
    with TraceReader(trace) as reader:
        death = next(e for e in reader.events() if isinstance(e, ExitEvent) and e.status == signal.SIGALRM)
    assert not death.arrived
    said = rf"killed by SIGALRM, ({death.ticks} ticks )?behind its last event"
    assert re.search(said, harness.pyrr("dump", "--from", str(death.number), trace).stdout.decode())
    assert re.search(said, harness.pyrr("replay", "--to", str(death.number), trace).stdout.decode())


def assert_recorded_and_replayed(
    name: str, interpreter: Interpreter, around: Surroundings, trace: Path, options: tuple[str, ...] = ()
) -> None:
    command = [str(interpreter.path), str(victim(name))]
    bare = harness.run(command, around)
    recorded = harness.record(trace, *command, around=around, options=options)
    harness.assert_same_meaning(bare, recorded)
    replayed = harness.replay(trace)
    assert replayed.status == 0, str(replayed)
    harness.assert_same_output(recorded, replayed)
    harness.assert_verified(harness.verify(trace))


@pytest.mark.parametrize("name", NAMES)
def test_victim_is_recorded_and_replayed(
    name: str, one_interpreter: Interpreter, around: Surroundings, trace: Path
) -> None:
    assert_recorded_and_replayed(name, one_interpreter, around, trace)


@pytest.mark.parametrize("seed", range(40 if LONG else 1))
@pytest.mark.parametrize("name", ["fast_timer", "killed_computing", "signal_in_computation", "signal_in_other_thread"])
def test_signals_whose_moments_are_drawn(
    name: str, seed: int, one_interpreter: Interpreter, around: Surroundings, trace: Path
) -> None:
    options = ("--chaos", "--seed", str(seed))
    assert_recorded_and_replayed(name, one_interpreter, around, trace, options)


@pytest.mark.parametrize("name", NAMES if LONG else ["interrupted_loops"])
def test_on_every_interpreter(name: str, interpreter: Interpreter, around: Surroundings, trace: Path) -> None:
    if interpreter.runs_pytest:
        pytest.skip("done")
    assert_recorded_and_replayed(name, interpreter, around, trace)
