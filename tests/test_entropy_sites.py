import glob
import os
import random
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from pyrr_debugger.recorder.entropy import RandomSite, random_sites, trap_bytes

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")

OLD = ["ax", "cx", "dx", "bx", "sp", "bp", "si", "di"]
NEW = [f"r{number}" for number in range(8, 16)]
NAMES = {
    64: [f"r{name}" for name in OLD] + NEW,
    32: [f"e{name}" for name in OLD] + [f"{name}d" for name in NEW],
    16: OLD + [f"{name}w" for name in NEW],
}

# Ordinary code to stand around the samples: what a compiler writes for a small loop.
FILLER = """
    push %rbp
    mov %rsp, %rbp
    mov 0x18(%rdi), %rax
    test %rax, %rax
    je 1f
    lea 8(%rax,%rcx,4), %rdx
    movl $1000, -4(%rbp)
    addsd %xmm1, %xmm0
    call 1f
1:  pop %rbp
    ret
"""


@pytest.fixture(scope="module")
def assemble(tmp_path_factory):
    """Assembles a text; answers the bytes of its .text."""
    path = tmp_path_factory.mktemp("entropy") / "sample"

    def run(text):
        subprocess.run(["gcc", "-c", "-x", "assembler", "-o", path, "-"], input=text.encode(), check=True, timeout=60)
        subprocess.run(["objcopy", "-O", "binary", "--only-section=.text", path], check=True, timeout=60)
        return path.read_bytes()

    return run


def segments(elf):
    """(address, bytes) of the executable segments of an ELF file."""
    offset, count = struct.unpack_from("<Q", elf, 32)[0], struct.unpack_from("<H", elf, 56)[0]
    for row in range(count):
        kind, flags, start, address, _, size, _, _ = struct.unpack_from("<IIQQQQQQ", elf, offset + 56 * row)
        if kind == 1 and flags & 1:
            yield address, elf[start : start + size]


@needs_gcc
@pytest.mark.parametrize("name", ["rdrand", "rdseed"])
def test_every_register_and_width(assemble, name):
    cases = [(register, width) for width in (16, 32, 64) for register in range(16)]
    code = assemble("".join(f"{FILLER} {name} %{NAMES[width][register]}\n jnc .\n" for register, width in cases))
    sites = random_sites(code, 0x400000)
    assert [(site.register, site.width) for site in sites] == cases
    assert {site.seed for site in sites} == {name == "rdseed"}
    for site in sites:
        start = site.address - 0x400000
        assert site.length == 3 + (site.width == 16) + (site.width == 64 or site.register > 7)
        # jnc to itself follows: the length is right.
        assert code[start + site.length :].startswith(b"\x73\xfe")


@needs_gcc
def test_odd_prefixes(assemble):
    text = f"""
    {FILLER} .byte 0x66, 0x48, 0x0f, 0xc7, 0xf1   # 66 and REX.W: 64 bits
    {FILLER} .byte 0x40, 0x0f, 0xc7, 0xf9         # an empty REX
    {FILLER} .byte 0xf3, 0x0f, 0xc7, 0xf8         # rdpid
    """
    sites = random_sites(assemble(text), 0)
    assert [(s.length, s.register, s.width, s.seed) for s in sites] == [(5, 1, 64, False), (4, 1, 32, True)]


@needs_gcc
def test_at_the_edges_of_the_segment(assemble):
    assert random_sites(assemble("rdrand %rax"), 0) == [RandomSite(0, 4, 0, 64, False)]
    code = assemble(f"rdrand %r9d\n{FILLER * 10}\nrdseed %bx")
    assert [s.address for s in random_sites(code, 0)] == [0, len(code) - 4]


@needs_gcc
def test_close_together(assemble):
    code = assemble(FILLER + "rdrand %rax\n" * 20)
    assert len(random_sites(code, 0)) == 20


@needs_gcc
@pytest.mark.parametrize(
    "disguise",
    [
        "movabs $0xaabbf0c70f112233, %rax",
        "movl $0xf0c70f48, 8(%rdi)",
        "mov $0x00f8c70f, %ecx",
        "lea -0x38f1(%rip), %rdx",
        ".byte 0xe8, 0x00, 0x0f, 0xc7, 0xff",
        "mov 0xf0c70f(%rbx), %rax",
    ],
)
def test_immediates_and_displacements_are_no_sites(assemble, disguise):
    code = assemble(f"{FILLER * 8} {disguise}\n {FILLER * 2}")
    assert re.search(rb"\x0f\xc7[\xf0-\xff]", code)
    assert random_sites(code, 0) == []


@needs_gcc
def test_data_amid_code_is_no_site(assemble):
    generator = random.Random(1)
    code = assemble(FILLER * 10)
    for _ in range(60):
        low = bytes([generator.randrange(0xF0, 0x100)])
        data = generator.randbytes(400) + b"\x0f\xc7" + low + generator.randbytes(100)
        assert random_sites(code + data + code, 0) == []


def test_without_the_pattern_capstone_stays_away():
    code = "from pyrr_debugger.recorder import entropy; import sys; "
    code += "assert entropy.random_sites(bytes(10**7), 0) == []; assert 'capstone' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_traps_fill_the_site():
    assert [trap_bytes(RandomSite(0, length, 0, 32, False)).hex() for length in (3, 4, 5)] == [
        "0f0b90",
        "0f0b9090",
        "0f0b909090",
    ]


def installed(*names):
    directories = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib/x86_64-linux-gnu")
    found = {os.path.realpath(p) for n in names for d in directories for p in glob.glob(f"{d}/{n}.so.*")}
    return sorted(p for p in found if not p.endswith(".py"))


@pytest.mark.skipif(not shutil.which("objdump"), reason="needs binutils")
@pytest.mark.parametrize(
    "path",
    installed("libcrypto", "libstdc++", "libgcrypt", "libsodium", "libc", "libm", "libgssapi_krb5", "libxml2"),
    ids=os.path.basename,
)
def test_real_libraries_have_the_sites_of_objdump(path):
    listing = subprocess.run(
        ["objdump", "-d", "--no-show-raw-insn", path], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    rows = re.findall(r"^ *([0-9a-f]+):\t(rdrand|rdseed) +%(\w+)", listing, re.MULTILINE)
    expected = set()
    for address, name, register in rows:
        width = next(width for width, names in NAMES.items() if register in names)
        expected.add((int(address, 16), NAMES[width].index(register), width, name == "rdseed"))
    sites = [s for base, code in segments(Path(path).read_bytes()) for s in random_sites(code, base)]
    assert {(s.address, s.register, s.width, s.seed) for s in sites} == expected
    assert expected or not re.search(r"libcrypto|libstdc\+\+", path)
