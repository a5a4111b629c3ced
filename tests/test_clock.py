"""The bytecode clock: what ticks in an interpreter, and signals and threads at ticks."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import harness
import pytest
from harness import Interpreter, Surroundings, victim

from pyrr_debugger.clock import pack, places_in
from pyrr_debugger.clock.opcodes import VERSIONS, Version
from pyrr_debugger.clock.tables import dispatch_tables, leaves_flags_free
from pyrr_debugger.symbols import Elf

NAMES = [
    "fast_timer",
    "interrupted_loops",
    "killed_computing",
    "killed_in_native_code",
    "late_traceback",
    "racing_threads",
    "signal_in_computation",
    "spinning_threads",
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
    assert len(places) == len(table.version.ticking) + 1, "one function"
    assert places[-1].moved
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


@pytest.mark.parametrize("name", NAMES)
def test_victim_is_recorded_and_replayed(
    name: str, interpreter: Interpreter, around: Surroundings, trace: Path
) -> None:
    command = [str(interpreter.path), str(victim(name))]
    bare = harness.run(command, around)
    recorded = harness.record(trace, *command, around=around)
    harness.assert_same_meaning(bare, recorded)
    replayed = harness.replay(trace)
    assert replayed.status == 0, str(replayed)
    harness.assert_same_output(recorded, replayed)
    harness.assert_verified(harness.verify(trace))
