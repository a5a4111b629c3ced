import glob
import multiprocessing
import os
import random
import re
import shutil
import subprocess
import sys
import time
import zlib
from collections import Counter
from pathlib import Path

import capstone
import harness
import pytest

import pyrr_debugger
from pyrr_debugger.recorder import judgement
from pyrr_debugger.recorder.judgement import (
    ENDLESS,
    INDIRECT,
    MISREAD,
    NEIGHBOURS,
    SIGRETURN,
    TARGET,
    UNCERTAIN,
    Rejected,
)
from pyrr_debugger.recorder.sites import (
    LONGEST_REGION,
    Site,
    known_sites,
    pack,
    remember_sites,
    sites_of,
    syscall_sites,
    unpack,
)
from pyrr_debugger.store import FileCache
from pyrr_debugger.symbols import SymbolTable
from pyrr_debugger.trace_format import FilePiece, hash_of

needs_gcc = pytest.mark.skipif(not shutil.which("gcc"), reason="needs gcc")
needs_binutils = pytest.mark.skipif(not (shutil.which("objdump") and shutil.which("readelf")), reason="needs binutils")

WRAPPER = """
    mov $39, %eax
    syscall
    cmp $-4095, %rax
    jae 8f
    ret
8:  or $-1, %eax
    ret
"""
BLOCKED = "jmp 9f\n ud2\n9: ret"  # nothing that could move


def function(body, name="f", frame=True):
    start, end = (".cfi_startproc", ".cfi_endproc") if frame else ("", "")
    head = f".p2align 4\n.globl {name}\n.type {name}, @function\n{name}: {start}\n"
    return f"{head}{body}\n{end}\n.size {name}, . - {name}\n"


@pytest.fixture(scope="module")
def link(tmp_path_factory):
    """Assembles a text and links it; answers the file's bytes."""
    path = tmp_path_factory.mktemp("sites") / "sample.so"

    def run(text, *flags):
        words = ["gcc", "-nostdlib", *(flags or ["-shared"]), "-x", "assembler", "-o", path, "-"]
        subprocess.run(words, input=text.encode(), check=True, timeout=60)
        return path.read_bytes()

    return run


@pytest.fixture
def judge(link):
    """The verdicts on a text, in order: (before, after) of a site, or why it is none."""

    def run(text, *flags):
        elf = link(text, *flags)
        verdicts = judgement.verdicts(elf, 0, len(elf))
        assert [v for v in verdicts.values() if isinstance(v, Site)] == syscall_sites(elf, 0, len(elf))
        for place, verdict in verdicts.items():
            if isinstance(verdict, Site):
                assert verdict.offset == place
                assert verdict.code == elf[place - verdict.before : place + 2 + verdict.after]
        return [(v.before, v.after) if isinstance(v, Site) else v for v in verdicts.values()]

    return run


# ---- what may move ----


@needs_gcc
@pytest.mark.parametrize(
    ("after", "length"),
    [
        ("cmp $-4095, %rax", 6),
        ("test %rax, %rax", 3),
        ("mov %eax, %ebx\n neg %ebx", 4),
        ("push %rax\n pop %rbx\n ret", 3),
        ("neg %eax\n ret", 3),
        ("mov %rax, 8(%rsp)", 5),
        ("mov %fs:0x10, %rdx", 9),
        ("cmovne %rax, %rdx", 4),
        ("movabs $0x050f050f050f, %rdx", 10),
        ("ret\n nopw 0(%rax, %rax)", 6),
        ("ret\n int3\n int3", 3),
    ],
)
def test_what_follows_moves(judge, after, length):
    found = judge(function(f"xor %eax, %eax\n cmp $1, %rsi\n syscall\n {after}\n {BLOCKED}"))
    assert found[0] == (0, length)
    assert set(found[1:]) <= {MISREAD}


@needs_gcc
@pytest.mark.parametrize(
    "after",
    [
        "mov here(%rip), %rdx",
        "lea 0(%rip), %rdx",
        "cmpl $5, here(%rip)",
        "call here",
        "jmp here",
        "je here",
        "loop here",
        "jrcxz here",
        "syscall",
        "rdtsc",
        "rdrand %rax",
        "cpuid",
        "ud2",
        "int3",
        "hlt",
        "mov %gs:0x10, %rdx",
        "mov %eax, %fs",
        "wrfsbase %rax",
        "lock incl (%rdi)",
        "rep movsb",
        "call *%rax",
        ".byte 0x67, 0x8b, 0x15, 0, 0, 0, 0",  # mov 0(%eip), %edx
        ".byte 0, 0, 0, 0, 0, 0",
        "ret\n push %rbp",
        "ret\n endbr64",
    ],
)
@pytest.mark.parametrize("preceding", ["mov $39, %eax", "mov (%rsi), %eax"])
def test_what_follows_stays(judge, after, preceding):
    text = function(f"{preceding}\n syscall\n {after}\n {BLOCKED}") + ".local here\nhere: .long 0\n"
    found = judge(text, "-static-pie")
    # With `mov $39` what precedes moves instead; a bare `ret` may go along, or not.
    assert found[0] == ((5, 0) if preceding == "mov $39, %eax" else NEIGHBOURS)


@needs_gcc
@pytest.mark.parametrize(
    ("before", "verdict"),
    [
        ("mov $1, %eax", (5, 0)),
        ("mov $1, %rax", (7, 0)),
        ("mov %rcx, %r10", (3, 0)),
        ("movabs $0x123456789a, %rdi", (10, 0)),
        ("xor %edi, %edi\n mov %edx, %eax", (4, 0)),
        ("mov %rbx, %rdi\n mov %edx, %eax", (5, 0)),
        ("lea 8(%rsp), %rsi", (5, 0)),
        ("movslq %ebp, %rdi", (3, 0)),
        ("mov $1, %ecx", NEIGHBOURS),
        ("mov $1, %r11", NEIGHBOURS),
        ("mov %rbp, %rsp", NEIGHBOURS),
        ("xor %ecx, %ecx\n mov %edx, %eax", NEIGHBOURS),
        ("add $1, %rax", NEIGHBOURS),
        ("lea 8(%rdi), %rdi", NEIGHBOURS),
        ("lea here(%rip), %rdi", NEIGHBOURS),
        ("mov here(%rip), %rdi", NEIGHBOURS),
        ("mov 8(%rdi), %rsi", NEIGHBOURS),
        ("mov %rsi, 8(%rdi)", NEIGHBOURS),
        ("mov %rsi, %rdi\n mov %edx, %esi", NEIGHBOURS),  # twice, and rdi is what rsi became
        ("mov %edx, %esi\n mov %ebx, %edx", NEIGHBOURS),
        ("push %rbx\n pop %rdi", NEIGHBOURS),
        ("xchg %rbx, %rdi", NEIGHBOURS),
        ("mov %dl, %al\n mov %bl, %ah", NEIGHBOURS),
    ],
)
def test_what_precedes_moves(judge, before, verdict):
    text = function(f"test %rax, %rax\n {before}\n syscall\n {BLOCKED}") + ".local here\nhere: .long 0\n"
    assert judge(text, "-static-pie") == [verdict]


@needs_gcc
def test_both_sides_move_where_one_is_too_short(judge):
    assert judge(function(f"mov (%rdi), %rbx\n xor %eax, %eax\n syscall\n pop %rbx\n {BLOCKED}")) == [(2, 1)]


@needs_gcc
def test_the_last_function_of_a_file_may_end_with_the_return(judge):
    assert judge(function("mov (%rdi), %eax\n syscall\n ret")) in ([NEIGHBOURS], [(0, 3)])
    assert judge(function("mov $3, %eax\n syscall\n ret")) in ([(5, 0)], [(0, 3)])


@needs_gcc
def test_regions_do_not_overlap(judge):
    body = "syscall\n mov %ebx, %eax\n mov $1, %edi\n syscall\n mov $2, %eax\n syscall\n mov $3, %eax\n syscall\n"
    elf = function(f"{body} {BLOCKED}")
    assert judge(elf) == [(0, 7), (0, 5), (0, 5), TARGET]


@needs_gcc
def test_what_would_take_too_long_is_left(judge, monkeypatch):
    """A file in which too much could be jump tables is not searched to the end: it has no sites then."""
    text = (
        f"{function(f'mov $3, %eax{chr(10)} syscall{chr(10)} ret')}\n lea table(%rip), %rax\n .balign 4\n"
        "table: .rept 8\n .long f - table\n .endr\n"
    )
    assert ENDLESS not in judge(text)
    monkeypatch.setattr(judgement, "_MOST_ENTRIES", 4)
    assert judge(text) == [ENDLESS]


@needs_gcc
@pytest.mark.parametrize("number", ["mov $15, %eax", "mov $15, %rax"])
def test_the_signal_return_stays_as_it_is(judge, number):
    assert judge(function(f"nop\n {number}\n syscall\n nopl 0(%rax, %rax)")) == [SIGRETURN]


# ---- who jumps there ----

LABELLED = "mov (%rsi), %eax\n syscall\n mov %eax, %ebx\n .Linside: neg %rbx\n ret\n"


@needs_gcc
def test_nobody_jumps(judge):
    assert judge(function(LABELLED)) == [(0, 5)]


@needs_gcc
@pytest.mark.parametrize(
    "who",
    [
        function("nop\n jmp .Linside", "g"),
        function("nop\n jne .Linside", "g"),
        function(".nops 200\n jne .Linside", "g"),
        function(".nops 200\n call .Linside", "g"),
        function("loop .Linside", "g"),
        function("jrcxz .Linside", "g"),
        function("xbegin .Linside", "g"),
        function("lea .Linside(%rip), %rax\n jmp *%rax", "g"),
        function("jmp .Linside", "g", frame=False),  # a short jump of code that nobody describes
        ".data\n .p2align 3\n .quad .Linside",
        '.section .data.rel.ro, "aw"\n .p2align 3\n .quad 0, .Linside',
        ".globl known\n known = .Linside\n",
        # A switch: distances from the table.
        ".hidden table\n"
        + function("lea table(%rip), %rdx\n movslq (%rdx, %rdi, 4), %rax\n add %rdx, %rax\n jmp *%rax\n here: ret", "g")
        + ".section .rodata\n .p2align 2\n table: .long here - table, here - table, .Linside - table\n",
    ],
)
def test_somebody_jumps(judge, who):
    assert judge(function(LABELLED) + who) == [TARGET]


@needs_gcc
def test_what_jumps_in_the_function_itself(judge):
    assert judge(function(f"test %edi, %edi\n jne .Linside\n {LABELLED}")) == [TARGET]
    assert judge(function(f"test %edi, %edi\n {LABELLED}\n jmp *%rdi")) == [INDIRECT]
    assert judge(function(f"test %edi, %edi\n {LABELLED}\n jmp *(%rdi, %rax, 8)")) == [INDIRECT]
    assert judge(function(f"test %edi, %edi\n {LABELLED}\n jmp *got@GOTPCREL(%rip)")) == [(0, 5)]
    # The beginning of a region may be jumped to.
    assert judge(function("7: mov (%rsi), %eax\n 6: syscall\n test %rax, %rax\n je 6b\n jmp 7b")) == [(0, 3)]
    assert judge(function(f"mov $1, %eax\n 6: syscall\n {BLOCKED}\n jmp 6b")) == [TARGET]
    assert judge(function(f"6: mov $1, %eax\n syscall\n {BLOCKED}\n jmp 6b")) == [(5, 0)]


@needs_gcc
@pytest.mark.parametrize("pad", [".Linside", "begin"])
def test_the_unwinder_jumps(judge, pad):
    table = f"""
    .section .gcc_except_table, "a"
    table: .byte 0xff, 0xff, 1
    .uleb128 2f - 1f
    1: .uleb128 0, 4, {pad} - begin, 0
    2:
    """
    body = f".cfi_lsda 0x1b, table\n begin: nop\n {LABELLED}"
    assert judge(function(body) + table) == [TARGET if pad == ".Linside" else (0, 5)]


@needs_gcc
@pytest.mark.parametrize("reference", ["mov $.Linside, %edi", "pushq $.Linside", "cmpq $.Linside, (%rdi)"])
def test_a_program_at_a_fixed_address_has_addresses_as_immediates(judge, reference):
    text = function(LABELLED) + function(reference, "_start")
    assert judge(text, "-static", "-no-pie") == [TARGET]


@needs_gcc
@pytest.mark.parametrize("size", [4, 8])
def test_a_program_at_a_fixed_address_has_tables_of_addresses(judge, size):
    table = f".section .rodata\n .p2align 3\n .{'long' if size == 4 else 'quad'} .Linside\n"
    assert judge(function(LABELLED) + function("ret", "_start") + table, "-static", "-no-pie") == [TARGET]


# ---- what is a site at all ----


@needs_gcc
@pytest.mark.parametrize(
    "disguise",
    [
        "movabs $0xaabb050f33445566, %rax",
        "movl $0x050f, 8(%rdi)",
        "mov $0x11050f22, %ecx",
        "lea 0x50f(%rax), %rdx",
        "lea 0x050f(%rip), %rdx",
        "mov 0x50f00(%rbx), %rax",
        "mov (%rdi), %rcx\n .byte 0x48, 0x0f, 0x05",  # REX.W: not what is looked for
    ],
)
@pytest.mark.parametrize("frame", [True, False])
def test_what_only_looks_like_one(judge, disguise, frame):
    text = function(f"{WRAPPER} {disguise}\n test %rax, %rax\n mov %rax, %rbx\n ret", frame=frame)
    assert judge(text) == [(0, 6), MISREAD]


@needs_gcc
def test_data_in_a_function_makes_it_uncertain(judge):
    assert judge(function(WRAPPER * 8 + ".byte 0x06, 0x06")) == [UNCERTAIN] * 8


@needs_gcc
def test_without_unwinding_information_symbols_tell(judge):
    # What precedes is known only where the function's beginning is.
    body = f"mov $39, %eax\n syscall\n {BLOCKED}"
    assert judge(function(body, frame=False)) == [(5, 0)]
    assert judge(function("nop\n" * 70 + body, frame=False), "-shared", "-s") == [(5, 0)]  # .dynsym
    text = function("nop\n" * 70 + body, frame=False).replace(".globl", ".local")
    assert judge(text, "-shared", "-s") == [NEIGHBOURS]
    text = function("xor %ebx, %ebx\n" * 70 + WRAPPER, frame=False).replace(".globl", ".local")
    assert judge(text, "-shared", "-s") == [(0, 6)]


@needs_gcc
def test_pieces(link):
    elf = link(function(WRAPPER * 5))
    sites = syscall_sites(elf, 0, len(elf))
    assert len(sites) == 5
    first, last = sites[0].offset, sites[-1].offset
    assert syscall_sites(elf, 4096, len(elf)) == [site._replace(offset=site.offset - 4096) for site in sites]
    for length, count in ((last + 8, 5), (last + 7, 5), (last + 2, 5), (last + 1, 4)):
        found = syscall_sites(elf, 0, length)  # what follows the last one is cut: what precedes it moves instead
        assert [site.offset for site in found] == [site.offset for site in sites[:count]]
        assert found[-1].offset + 2 + found[-1].after <= length
    assert syscall_sites(elf, first + 1, 10**9) == [s._replace(offset=s.offset - first - 1) for s in sites[1:]]
    assert syscall_sites(elf, 1 << 20, 4096) == []


def test_other_files_have_none():
    assert syscall_sites(b"", 0, 0) == []
    assert syscall_sites(b"\x0f\x05" * 1000, 0, 2000) == []
    assert syscall_sites(b"\x7fELF\2\1" + b"\x0f\x05" * 1000, 0, 2000) == []


@needs_gcc
def test_damaged_files(link):
    """Whatever the file's tables say: no exception, and each site is the bytes of the file."""
    whole = link(function(LABELLED.replace("ret", f"jmp *%rax\n {WRAPPER}")) + function(WRAPPER, "g"))
    generator = random.Random(os.environ.get("PYRR_SEED", "1"))
    headers = [at for at in range(len(whole)) if whole[at : at + 64].strip(b"\0")]
    for _ in range(5000 if harness.LONG else 300):
        elf = bytearray(whole)
        for _ in range(generator.choice([1, 4, 30])):
            elf[generator.choice(headers)] = generator.choice([0, 1, 0x7F, 0x80, 0xFF, generator.randrange(256)])
        data = bytes(elf[: generator.choice([len(elf), len(elf), generator.randrange(len(elf))])])
        for site in syscall_sites(data, 0, len(data)):
            assert site.code == data[site.offset - site.before : site.offset + 2 + site.after]


# ---- the cache ----

SITES = [
    Site(5, 0, 3, b"\x0f\x05\x48\x85\xc0"),
    Site(900, 5, 0, b"\xb8\x01\0\0\0\x0f\x05"),
    Site(1 << 31, 2, 12, b"x" * 16),
]
PIECE = FilePiece("0123456789abcdef", 4096, 8192, "/lib/x.so")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return FileCache()


def stored(tmp_path):
    (path,) = [path for path in tmp_path.rglob("*") if path.is_file()]
    return path


def test_packed():
    packed = pack(SITES[::-1])
    assert packed[:24] == b"\5\0\0\0\0\3\x0f\x05\x48\x85\xc0" + bytes(13)
    assert len(packed) == 24 * 3
    assert unpack(packed) == SITES
    assert pack([]) == b""


@pytest.mark.parametrize("sites", [SITES, []])
def test_remembered(cache, sites):
    assert known_sites(cache, PIECE) is None
    remember_sites(cache, PIECE, pack(sites))
    assert known_sites(cache, PIECE) == pack(sites)
    assert known_sites(cache, PIECE._replace(offset=0)) is None
    assert known_sites(cache, PIECE._replace(length=4096)) is None


def test_a_damaged_entry_is_made_anew(cache, tmp_path):
    elf = Path("/proc/self/exe").read_bytes()
    piece = FilePiece(hash_of(elf), 0, len(elf), "exe")
    right = sites_of(cache, piece, lambda: elf)
    path = stored(tmp_path)
    whole = path.read_bytes()
    damages = [b"", b"\0", whole[:-1], whole[: len(whole) // 2], whole + b"\0", bytes(len(whole))]
    damages += [whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :] for at in range(len(whole))]
    for damage in damages:
        path.write_bytes(damage)
        assert known_sites(cache, piece) is None
    assert sites_of(cache, piece, lambda: elf) == right
    assert path.read_bytes() == whole


def test_every_bit_counts(cache, tmp_path):
    remember_sites(cache, PIECE, pack(SITES))
    path = stored(tmp_path)
    whole = path.read_bytes()
    for at in range(len(whole) * 8):
        path.write_bytes(whole[: at // 8] + bytes([whole[at // 8] ^ 1 << at % 8]) + whole[at // 8 + 1 :])
        assert known_sites(cache, PIECE) is None


def test_a_file_that_is_gone_has_none_and_leaves_no_trace(cache, tmp_path):
    assert sites_of(cache, PIECE, lambda: None) == b""
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def _hammer(seconds):
    cache = FileCache()
    wrong = 0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        remember_sites(cache, PIECE, pack(SITES))
        wrong += known_sites(cache, PIECE) != pack(SITES)
    return wrong


def test_used_by_several_at_once(cache, tmp_path):
    with multiprocessing.get_context("fork").Pool(4) as pool:
        assert pool.map(_hammer, [0.5] * 4) == [0] * 4
    assert stored(tmp_path)


def test_no_room(cache, tmp_path):
    """Neither a missing cache nor a full disk stops anybody."""
    (tmp_path / "pyrr").write_bytes(b"")
    remember_sites(cache, PIECE, b"")
    assert known_sites(cache, PIECE) is None


def test_what_is_remembered_costs_nearly_nothing(cache):
    remember_sites(cache, PIECE, pack(SITES * 200))
    root = Path(pyrr_debugger.__file__).parents[1]
    code = f"""if True:
    import sys
    sys.path.insert(0, {str(root)!r})
    from pyrr_debugger.recorder.sites import sites_of
    from pyrr_debugger.store import FileCache
    from pyrr_debugger.trace_format import FilePiece
    piece = FilePiece(*{tuple(PIECE)!r})
    assert len(sites_of(FileCache(), piece, None)) == 24 * 600
    assert not {{"capstone", "re", "typing", "ctypes"}} & set(sys.modules), sys.modules.keys()
    import time
    start = time.process_time()
    for _ in range(100):
        sites_of(FileCache(), piece, None)
    assert time.process_time() - start < 0.1
    """
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, timeout=60)


# ---- the machine's libraries ----


def installed(*names):
    directories = ("/usr/lib/x86_64-linux-gnu", "/usr/lib64", "/lib/x86_64-linux-gnu", "/lib64")
    found = {os.path.realpath(p) for name in names for d in directories for p in glob.glob(f"{d}/{name}.so.*")}
    return sorted(p for p in found if not p.endswith(".py"))


DIRECT = re.compile(r"(?:0x)?([0-9a-f]+)\b")
RELATIVE = re.compile(r"# (?:0x)?([0-9a-f]+)")


def instructions(path):
    """(address, name, operands) of all that objdump sees."""
    words = ["objdump", "-d", "--no-show-raw-insn", "-M", "intel", path]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, errors="replace") as process:
        for line in process.stdout:
            place, tab, text = line.partition(":\t")
            if tab:
                name, _, operands = text.partition(" ")
                while name in ("bnd", "notrack", "lock", "rep", "repz", "repnz", "data16", "cs"):
                    name, _, operands = operands.strip().partition(" ")
                yield int(place, 16), name.strip(), operands.strip()


def assert_consistent(path, elf):
    """What objdump and readelf see of a file agrees with its sites. Returns how many system calls it sees."""
    sites = syscall_sites(elf, 0, len(elf))
    segments = judgement.Image(elf).segments
    regions = {}
    for site in sites:
        begin = site.offset - site.before
        bias = next(s.vaddr - s.offset for s in segments if s.offset <= begin < s.offset + s.filesz and s.flags & 1)
        regions[begin + bias] = site
    inner = {a + at for a, site in regions.items() for at in range(1, len(site.code))}
    assert sum(len(site.code) - 1 for site in sites) == len(inner)
    assert not inner & set(regions)
    starts = set()
    count = 0
    for address, name, operands in instructions(path):
        starts.add(address)
        count += name == "syscall"
        if name.startswith(("j", "call", "loop", "xbegin")) or "rip" in operands:
            match = DIRECT.match(operands) or RELATIVE.search(operands)
            assert not match or int(match[1], 16) not in inner, f"{path}: {address:#x} {name} {operands}"
    symbols = subprocess.run(["readelf", "-sW", path], capture_output=True, text=True, check=True, errors="replace")
    values = {int(value, 16) for value in re.findall(r"^ *\d+: ([0-9a-f]{16}) ", symbols.stdout, re.MULTILINE)}
    assert not inner & values
    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    for address, site in regions.items():
        assert 5 <= len(site.code) <= LONGEST_REGION
        assert address + site.before in starts, f"{path}: {address:#x}"
        assert site.before == 0 or address in starts
        moved = list(decoder.disasm_lite(site.code, address))
        assert sum(size for _, size, _, _ in moved) == len(site.code)
        assert (address + site.before, 2, "syscall", "") in moved
    return count


@needs_binutils
@pytest.mark.parametrize("path", installed("libc", "ld-linux-x86-64"), ids=os.path.basename)
def test_real_libraries_agree_with_objdump(path):
    elf = Path(path).read_bytes()
    start = time.process_time()
    sites = syscall_sites(elf, 0, len(elf))
    assert time.process_time() - start < 2  # alone, libc takes 0.4 s
    count = assert_consistent(path, elf)
    assert len(sites) >= 0.9 * count, f"{len(sites)} of {count}"
    after_only = sum(site.before == 0 for site in sites)
    assert after_only >= 0.7 * len(sites)


@pytest.mark.skipif(not os.path.exists("/usr/lib/x86_64-linux-gnu/libcrypto.so.3"), reason="needs Debian's OpenSSL")
def test_tables_in_the_code_are_no_sites():
    # objdump takes some of the constants of its elliptic curves for a system call.
    elf = Path("/usr/lib/x86_64-linux-gnu/libcrypto.so.3").read_bytes()
    assert syscall_sites(elf, 0, len(elf)) == []


# ---- sites in use ----

UNSAFE = {
    *("kill", "tgkill", "reboot", "vhangup", "sync", "acct", "sethostname", "setdomainname"),
    *("msgget", "semget", "shmget", "msgctl", "semctl", "shmctl", "clone", "vfork", "_Fork"),
}
"""Functions that must not be called with nonsense."""


UNLIKE = re.compile(rb"(?:clock_gettime|getcpu|pkey_alloc|ptrace|remap_file_pages) .*\n")
"""What is to differ under the recorder: calls in place of the vDSO, which reports a bad address where the vDSO
faults, and calls that are refused."""


@pytest.fixture(scope="module")
def wrappers(tmp_path_factory):
    """A file with the names of libc's functions that have a site, those left out that nobody may call so."""
    (path,) = installed("libc")
    elf = Path(path).read_bytes()
    symbols = SymbolTable.from_elf(elf)
    segments = judgement.Image(elf).segments
    names = set()
    for site in syscall_sites(elf, 0, len(elf)):
        bias = next(s.vaddr - s.offset for s in segments if s.offset <= site.offset < s.offset + s.filesz)
        found = symbols.find(site.offset + bias)
        names |= {found[0]} if found else set()
    assert len(names) > 250
    file = tmp_path_factory.mktemp("wrappers") / "names"
    file.write_text("\n".join(sorted(names - UNSAFE)))
    return file


@pytest.fixture(scope="module")
def bare(wrappers):
    return harness.run([sys.executable, Path(__file__).parent / "wrappers.py", wrappers])


@pytest.mark.skipif(not installed("libc"), reason="needs glibc")
def test_overwritten_wrappers_do_what_they_did(wrappers, bare):
    """Each site of the process is overwritten, with a stub that only has the instructions that are to move."""
    patched = harness.run([sys.executable, Path(__file__).parent / "wrappers.py", wrappers, "patch"])
    assert re.search(rb"\d{3} sites are patched", patched.stderr), str(patched)
    harness._assert_equal("stdout: bare, patched", bare.stdout, patched.stdout, patched)
    assert (bare.status, patched.status) == (0, 0)


@pytest.mark.skipif(not installed("libc"), reason="needs glibc")
@pytest.mark.skipif(not harness.LONG, reason="PYRR_LONG=1: 640 processes are recorded")
@pytest.mark.timeout(900)
def test_recorded_wrappers_do_what_they_did(wrappers, bare, trace):
    around = harness.Surroundings(timeout=280)
    recorded = harness.record(trace, sys.executable, Path(__file__).parent / "wrappers.py", wrappers, around=around)
    alike = [UNLIKE.sub(b"", result.stdout) for result in (bare, recorded)]
    harness._assert_equal("stdout: bare, recorded", *alike, recorded)
    assert recorded.status == 0
    harness.assert_same_output(recorded, harness.replay(trace, around))


@needs_binutils
@pytest.mark.skipif(not harness.LONG, reason="PYRR_LONG=1: every ELF file of the machine")
@pytest.mark.timeout(7200)
def test_every_file_of_the_machine(capsys):
    """All 64-bit ELF files under PYRR_SITES (default /usr, /opt, /root): judged in bounded time, and those with sites
    checked against objdump if they are below 16 MB."""
    seen = set()
    verdicts = Counter()
    files = checked = size = 0
    seconds = slowest = 0.0
    for top in os.environ.get("PYRR_SITES", "/usr:/opt:/root").split(":"):
        for path in (Path(folder, name) for folder, _, names in os.walk(top) for name in names):
            elf = _executable(path)
            if elf is None or zlib.crc32(elf) in seen:
                continue
            seen.add(zlib.crc32(elf))
            start = time.process_time()
            found = judgement.verdicts(elf, 0, len(elf))
            took = time.process_time() - start
            files, size, seconds = files + 1, size + len(elf), seconds + took
            slowest = max(slowest, took)
            assert took < 1 + len(elf) / 5e6, f"{path}: {took:.1f} s for {len(elf)} bytes"
            verdicts.update(
                verdict.reason if isinstance(verdict, Rejected) else "before" if verdict.before else "after"
                for verdict in found.values()
            )
            # objdump takes minutes for a large Go program.
            if len(elf) < 16 << 20 and any(isinstance(verdict, Site) for verdict in found.values()):
                assert_consistent(path, elf)
                checked += 1
    with capsys.disabled():
        print(f"\n{files} files, {size >> 20} MB, {seconds:.0f} s, at most {slowest:.1f} s; {checked} checked")
        for verdict, count in verdicts.most_common():
            print(f"{count:8} {verdict}")


def _executable(path):
    """The content of a program or library for this processor; None of other files."""
    try:
        if path.is_symlink() or not path.is_file():
            return None
        with path.open("rb") as file:
            head = file.read(20)
            # 64-bit; ET_EXEC or ET_DYN; EM_X86_64
            if head[:5] != b"\x7fELF\2" or head[16] not in (2, 3) or head[18] != 62:
                return None
            return head + file.read()
    except OSError:
        return None
