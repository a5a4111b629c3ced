import ctypes
import mmap
import os
import shutil
import subprocess
import sysconfig
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyrr_debugger import procfs
from pyrr_debugger.symbols import SymbolTable, build_id, load_bias

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")

PROGRAM = """
#include <stdio.h>
int datum = 7;
static int hidden(int x) { return x + datum; }
int shown(int x) { return hidden(x) * 2; }
int main(void)
{
    char line[512];
    FILE *maps = fopen("/proc/self/maps", "r");
    printf("%p %p %p\\n", (void *)shown, (void *)hidden, (void *)&datum);
    while (fgets(line, sizeof line, maps))
        fputs(line, stdout);
    return 0;
}
"""


def mapped_file(part):
    return next(m.name for m in procfs.read_maps(os.getpid()) if part in os.path.basename(m.name))


def libraries():
    """libc, libpython (or the interpreter itself), and a stripped program."""
    names = [mapped_file("libc.so.6"), shutil.which("bash")]
    directory, name = sysconfig.get_config_vars("LIBDIR", "LDLIBRARY")
    libpython = os.path.join(directory, name)
    names.append(libpython if os.path.exists(libpython) else os.path.realpath("/proc/self/exe"))
    return names


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """Compiles a C or assembler text with the given flags; answers the path."""
    directory = tmp_path_factory.mktemp("elf")
    count = iter(range(1000))

    def compile(text, *flags, language="c"):
        path = directory / f"program{next(count)}"
        subprocess.run(["gcc", "-x", language, "-o", path, "-", *flags], input=text.encode(), check=True, timeout=60)
        return path

    return compile


def readelf(path, *flags):
    return subprocess.run(["readelf", "-W", *flags, path], capture_output=True, text=True, check=True).stdout


def listed_functions(path):
    """(start, size, name) of the functions that readelf shows in .symtab, or without that in .dynsym."""
    text = readelf(path, "--symbols")
    table = text[text.index("'.symtab'") if "'.symtab'" in text else 0 :]
    found = []
    for row in map(str.split, table.splitlines()):
        if len(row) >= 8 and row[3] in ("FUNC", "IFUNC") and row[6] not in ("UND", "ABS", "COM"):
            found.append((int(row[1], 16), int(row[2], 0), row[7]))
    return found


@pytest.mark.skipif(not shutil.which("readelf"), reason="needs binutils")
@pytest.mark.parametrize("path", libraries(), ids=os.path.basename)
def test_functions_are_those_of_readelf(path):
    listed = listed_functions(path)
    assert len(listed) > 100
    names = defaultdict(set)
    for start, _, name in listed:
        names[start].add(name.partition("@@")[0].partition("@")[0])
    table = SymbolTable.from_elf(Path(path).read_bytes())
    for start, size, _ in listed:
        for offset in {0, size // 2, max(size - 1, 0)}:
            name, distance = table.find(start + offset)
            # Another function may start inside this one; then that is the better answer.
            assert 0 <= distance <= offset
            assert name.partition("@")[0] in names[start + offset - distance]


@pytest.mark.skipif(not shutil.which("nm"), reason="needs binutils")
@pytest.mark.parametrize("path", libraries(), ids=os.path.basename)
def test_addresses_are_those_of_nm(path):
    data = Path(path).read_bytes()
    table = SymbolTable.from_elf(data)
    command = ["nm", "--defined-only", "--extern-only", path]
    text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if not text:
        text = subprocess.run([*command, "--dynamic"], capture_output=True, text=True, check=True).stdout
    checked = 0
    for row in map(str.split, text.splitlines()):
        name, at, version = row[2].partition("@")
        hidden = at and not version.startswith("@")
        if not hidden and row[1] in "TWi":
            assert table.address(name) == int(row[0], 16), name
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("path", libraries(), ids=os.path.basename)
def test_build_id_is_that_of_readelf(path):
    notes = readelf(path, "--notes")
    expected = notes.partition("Build ID: ")[2].split("\n")[0].strip() or None
    assert build_id(Path(path).read_bytes()) == expected


def test_load_bias_of_the_libc_in_this_process():
    name = mapped_file("libc.so.6")
    data = Path(name).read_bytes()
    getpid = ctypes.cast(ctypes.CDLL(None).getpid, ctypes.c_void_p).value
    every = [m for m in procfs.read_maps(os.getpid()) if m.name == name]
    # Other tests may have mapped the file too: the loader's mappings are those around the code that runs.
    code = next(i for i, m in enumerate(every) if m.start <= getpid < m.end)
    mappings = every[code - 1 : code + 1]
    biases = {load_bias(data, m.start, m.offset, bool(m.prot & mmap.PROT_EXEC)) for m in mappings}
    assert biases == {mappings[0].start}
    table = SymbolTable.from_elf(data)
    assert table.address("getpid") == getpid - mappings[0].start
    assert table.find(getpid - mappings[0].start) == ("getpid", 0)


@needs_gcc
@pytest.mark.parametrize(
    "flags", [("-pie", "-fPIE"), ("-no-pie",), ("-static",), ("-pie", "-fPIE", "-Wl,-z,noseparate-code")]
)
def test_a_running_program(build, flags):
    path = build(PROGRAM, *flags)
    output = subprocess.run([path], capture_output=True, check=True, timeout=60).stdout
    addresses, _, maps = output.partition(b"\n")
    shown, hidden, datum = (int(word, 16) for word in addresses.split())
    data = path.read_bytes()
    mappings = [m for m in procfs.parse_maps(maps) if m.name == str(path)]
    code = next(m for m in mappings if m.prot & mmap.PROT_EXEC)
    biases = {
        load_bias(data, mappings[0].start, mappings[0].offset),
        load_bias(data, code.start, code.offset, True),
    }
    assert len(biases) == 1
    (bias,) = biases
    assert bias == 0 or "-pie" in flags
    table = SymbolTable.from_elf(data)
    assert table.address("shown") + bias == shown
    assert table.address("hidden") + bias == hidden
    assert table.address("datum") + bias == datum
    assert table.find(hidden - bias + 3) == ("hidden", 3)
    assert table.find(datum - bias) is None


@needs_gcc
def test_stripped_program_keeps_what_is_dynamic(build):
    path = build(PROGRAM, "-pie", "-fPIE", "-rdynamic", "-Wl,--build-id=0x00ff10")
    whole = SymbolTable.from_elf(path.read_bytes())
    subprocess.run(["strip", path], check=True)
    data = path.read_bytes()
    table = SymbolTable.from_elf(data)
    assert table.address("shown") == whole.address("shown")
    assert table.address("hidden") is None
    assert whole.address("hidden") is not None
    assert table.find(whole.address("hidden")) is None
    assert build_id(data) == "00ff10"


ASSEMBLY = """
    .text
    .globl outer, inner, unsized, _last
    .type outer, @function
    .type inner, @function
    .type unsized, @function
    .type after, @function
    .type __last, @function
    .type _last, @function
outer: .skip 16
inner: .skip 16
    .size inner, 16
    .skip 16
    .size outer, 48
    .skip 16
unsized: .skip 32
after: .skip 16
    .size after, 16
__last:
_last: .skip 32
"""


@needs_gcc
def test_nested_unsized_and_aliased_functions(build):
    table = SymbolTable.from_elf(build(ASSEMBLY, "-shared", "-nostdlib", language="assembler").read_bytes())
    start = table.address("outer")
    expected = {
        0: ("outer", 0),
        15: ("outer", 15),
        16: ("inner", 0),
        31: ("inner", 15),
        32: ("outer", 32),
        47: ("outer", 47),
        48: None,
        64: ("unsized", 0),
        95: ("unsized", 31),
        96: ("after", 0),
        112: ("_last", 0),
        143: ("_last", 31),
        144: None,
    }
    assert {offset: table.find(start + offset) for offset in expected} == expected
    assert table.find(start - 1) is None
    assert table.address("__last") == start + 112


@needs_gcc
def test_of_several_versions_the_default_one(build, tmp_path):
    script = tmp_path / "versions"
    script.write_text("ONE {}; TWO {};")
    path = build(
        'void a(void) {} void b(void) {} __asm__(".symver a, f@ONE\\n.symver b, f@@TWO");',
        "-shared",
        "-fPIC",
        f"-Wl,--version-script={script}",
    )
    whole = SymbolTable.from_elf(path.read_bytes())
    assert whole.address("f") == whole.address("b") != whole.address("a")
    expected = whole.address("b")
    subprocess.run(["strip", path], check=True)
    assert SymbolTable.from_elf(path.read_bytes()).address("f") == expected


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"#!/bin/sh\n", bytes(4096), b"\x7fELF\2\1" + bytes(58)])
def test_no_elf_at_all(data):
    table = SymbolTable.from_elf(data)
    assert table.find(0) is None
    assert table.address("main") is None
    assert load_bias(data, 0x1000, 0) is None
    assert build_id(data) is None


@pytest.mark.parametrize("name", ["", "\0", "no such name", "\udcff"])
def test_names_that_no_symbol_has(name):
    assert SymbolTable.from_elf(Path(mapped_file("libc.so.6")).read_bytes()).address(name) is None


@pytest.fixture(scope="module")
def small_elf(build):
    return build(ASSEMBLY, "-shared", "-nostdlib", "-Wl,--build-id", language="assembler").read_bytes()


@needs_gcc
@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_damaged_files_raise_nothing(small_elf, data):
    damaged = bytearray(small_elf)
    # Where the damage tells: the file header, program headers, the symbols and section headers at the end.
    place = st.one_of(st.integers(0, 600), st.integers(len(damaged) - 2400, len(damaged) - 1))
    value = st.one_of(st.sampled_from([0, 1, 0x7F, 0x80, 0xFF]), st.integers(0, 255))
    for where, what in data.draw(st.lists(st.tuples(place, value), max_size=12)):
        damaged[where] = what
    elf = bytes(damaged[: data.draw(st.integers(0, len(damaged))) or None])
    table = SymbolTable.from_elf(elf)
    for address in (0, 0x1000, 0x1010, 2**64 - 1):
        found = table.find(address)
        assert found is None or 0 <= found[1] <= address
    table.address("outer")
    assert build_id(elf) is None or len(build_id(elf)) % 2 == 0
    load_bias(elf, 0x7F0000000000, 0x1000, True)
