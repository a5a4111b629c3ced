import ctypes
import mmap
import os
import struct

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyrr_debugger.cpu import CpuFeatures, compatible, features
from pyrr_debugger.errors import TraceError

EAX, EBX, ECX, EDX = range(4)
BRAND = b"Synthetic 3000 at 2 GHz".ljust(48, b"\0")

# A small Intel-like processor.
TABLE = {
    (0x0, 0): (0x16, *struct.unpack("<3I", b"GenuntelineI")),  # ebx, ecx, edx
    (0x1, 0): (0x806F8, 0x05100800, 1 << 20 | 1 << 26 | 1 << 27 | 1 << 28 | 1 << 30, 1 << 25 | 1 << 26),
    (0x2, 0): (0x00FEFF01, 0xF0, 0, 0),
    (0x4, 0): (0x7C004121, 0x01C0003F, 0x3F, 0),
    (0x4, 1): (0x7C004122, 0x01C0003F, 0x3F, 0),
    (0x7, 0): (1, 1 << 0 | 1 << 5 | 1 << 9 | 1 << 18, 1 << 9, 1 << 4),
    (0x7, 1): (1 << 4, 0, 0, 0),
    (0xB, 0): (1, 2, 0x100, 5),
    (0xB, 1): (4, 16, 0x201, 5),
    (0xB, 2): (0, 0, 2, 5),
    (0xD, 0): (7, 832, 2696, 0),
    (0xD, 1): (0xF, 832, 0x100, 0),
    (0xD, 2): (256, 576, 0, 0),
    (0xD, 8): (128, 0, 1, 0),
    (0x80000000, 0): (0x80000008, 0, 0, 0),
    (0x80000001, 0): (0, 0, 0x21, 0x2C100000),
    **{(0x80000002 + i, 0): struct.unpack_from("<4I", BRAND, 16 * i) for i in range(3)},
    (0x80000007, 0): (0, 0, 0, 0x100),
    (0x80000008, 0): (0x3034, 0, 0, 0),
}


def table(**changes):
    """The answers of the processor above, with changes as `l7_0=(register, bits to flip)`."""
    answers = dict(TABLE)
    for name, (register, flip) in changes.items():
        leaf, subleaf = (int(part, 16) for part in name[1:].split("_"))
        registers = list(answers[leaf, subleaf])
        registers[register] ^= flip
        answers[leaf, subleaf] = tuple(registers)
    return lambda leaf, subleaf: answers.get((leaf, subleaf), (0, 0, 0, 0))


def described(**changes):
    return features(table(**changes), 7)


def test_what_is_read():
    found = described()
    assert (found.vendor, found.brand, found.xcr0) == ("GenuineIntel", "Synthetic 3000 at 2 GHz", 7)
    expected = {
        *((0x4, i) for i in range(2)),
        *((0x7, i) for i in range(2)),
        *((0xB, i) for i in range(2)),
        *((0xD, i) for i in (0, 1, 2, 8)),
        *((leaf, 0) for leaf in (0x0, 0x1, 0x2, 0x14)),
        *((0x80000000 + leaf, 0) for leaf in (0, 1, 5, 6, 7, 8)),
    }
    assert set(found.leaves) == expected
    assert found.leaves[0x4, 1] == TABLE[0x4, 1]


def test_names():
    assert described().names == {
        *("sse4.2", "xsave", "osxsave", "avx", "rdrand"),
        *("fsgsbase", "avx2", "erms", "rdseed", "vaes", "fsrm", "avxvnni"),
        *("xsaveopt", "xsavec", "xgetbv1", "lahf", "lzcnt", "rdtscp"),
    }


@pytest.mark.parametrize(
    "change",
    [
        {"l1_0": (EBX, 0xFF000000)},  # the initial APIC id
        {"lb_0": (EDX, 0xFF)},  # the x2APIC id
        {"lb_1": (EDX, 0xFF)},
        {"ld_1": (EBX, 0x40)},  # what the kernel saves
        {"l80000002_0": (EAX, 0x20)},  # the brand
    ],
)
def test_what_may_differ(change):
    assert compatible(described(), described(**change)) == []


def test_the_other_core_is_described_alike():
    assert described() == described(l1_0=(EBX, 0x03000000), lb_0=(EDX, 3))


def test_lacking_and_excess_features_have_their_sentences():
    (lacking,) = compatible(described(), described(l7_0=(EBX, 1 << 5 | 1 << 9)))
    assert "lacks avx2, erms, which the recorded program may have used" in lacking
    (excess,) = compatible(described(), described(l7_0=(EBX, 1 << 16 | 1 << 29)))
    assert "has avx512f, shani, which the recorded one lacked" in excess
    assert len(compatible(described(), described(l7_0=(EBX, 1 << 5 | 1 << 16)))) == 2


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"l1_0": (EAX, 1)}, ["model", "0x1.0", "eax is 0x806f9 here, 0x806f8 there"]),
        ({"l1_0": (EBX, 0x800)}, ["0x1.0", "ebx"]),
        ({"l4_1": (ECX, 0x40)}, ["cache geometry", "0x4.1", "ecx is 0x7f here, 0x3f there"]),
        ({"ld_0": (EBX, 0x40)}, ["saved vector state", "0xd.0"]),
        ({"ld_2": (EBX, 0x40)}, ["saved vector state", "0xd.2"]),
        ({"l80000008_0": (ECX, 7)}, ["core count"]),
        ({"l0_0": (EAX, 2)}, ["highest leaf", "0x0.0"]),
        ({"l7_0": (EDX, 1 << 31)}, ["features", "0x7.0"]),
    ],
)
def test_other_differences(change, words):
    (sentence,) = compatible(described(), described(**change))
    for word in words:
        assert word in sentence


def test_absent_leaves():
    fewer = described(l7_0=(EAX, 1))
    assert any("0x7.1): this one does not have it" in s for s in compatible(described(), fewer))
    assert any("0x7.1): the recorded one did not have it" in s for s in compatible(fewer, described()))


def test_another_vendor_and_another_xcr0():
    other = dict(TABLE)
    other[0x0, 0] = (0x16, *struct.unpack("<3I", b"AuthcAMDenti"))
    (sentence,) = compatible(described(), features(lambda *at: other.get(at, (0,) * 4), 7))
    assert "AuthenticAMD" in sentence
    assert "GenuineIntel" in sentence
    (sentence,) = compatible(described(), features(table(), 3))
    assert "XCR0 is 0x3, in the recording 0x7" in sentence


def test_cache_geometry_of_amd():
    other = dict(TABLE)
    other[0x80000000, 0] = (0x80000020, 0, 0, 0)
    other[0x8000001D, 0] = (0x121, 0x01C0003F, 0x3F, 0)
    other[0x8000001D, 1] = (0x143, 0x01C0003F, 0x3FF, 0)
    found = features(lambda *at: other.get(at, (0,) * 4), 7)
    assert [at for at in found.leaves if at[0] == 0x8000001D] == [(0x8000001D, 0), (0x8000001D, 1)]
    other[0x8000001D, 1] = (0x143, 0x01C0003F, 0x7FF, 0)
    (sentence,) = compatible(found, features(lambda *at: other.get(at, (0,) * 4), 7))
    assert "cache geometry (cpuid 0x8000001d.1)" in sentence


def test_endless_and_empty_answers_end():
    assert len(features(lambda leaf, subleaf: (0xFFFFFFFF,) * 4, 0).leaves) < 250
    assert features(lambda leaf, subleaf: (0,) * 4, 0).names == frozenset()


def test_wire():
    found = described()
    wire = msgpack.unpackb(msgpack.packb(found.to_wire()))
    assert wire["leaves"]["0x7.0"] == struct.pack("<4I", *TABLE[0x7, 0])
    assert CpuFeatures.from_wire(wire) == found


@pytest.mark.parametrize(
    "change",
    [
        {"vendor": b"x"},
        {"brand": None},
        {"xcr0": -1},
        {"xcr0": 1 << 64},
        {"xcr0": True},
        {"xcr0": "7"},
        {"leaves": []},
        {"leaves": {"0x1.0": bytes(15)}},
        {"leaves": {"0x1.0": "x" * 16}},
        {"leaves": {"1.0": bytes(16)}},
        {"leaves": {"0x1.0\n": bytes(16)}},
        {"leaves": {"0x123456789.0": bytes(16)}},
        {"leaves": {7: bytes(16)}},
    ],
)
def test_malformed_wire(change):
    with pytest.raises(TraceError):
        CpuFeatures.from_wire({**described().to_wire(), **change})


trees = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["vendor", "xcr0", "leaves", "0x1.0"]), inner),
)


@given(trees)
def test_any_other_wire_is_a_trace_error(wire):
    with pytest.raises(TraceError):
        CpuFeatures.from_wire(wire)


def machine_code(code, result, *arguments):
    """A Python function that runs the code; and the memory that must outlive it."""
    memory = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    memory.write(code)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    return ctypes.CFUNCTYPE(result, *arguments)(address), memory


def test_this_processor_is_as_linux_says():
    # push rbx; mov r8,rdx; mov eax,edi; mov ecx,esi; cpuid;
    # mov [r8],eax; mov [r8+4],ebx; mov [r8+8],ecx; mov [r8+12],edx; pop rbx; ret
    code = "53 4989d0 89f8 89f1 0fa2 418900 41895804 41894808 4189500c 5b c3"
    call, _memory = machine_code(
        bytes.fromhex(code), None, ctypes.c_uint32, ctypes.c_uint32, ctypes.POINTER(ctypes.c_uint32)
    )

    def cpuid(leaf, subleaf):
        registers = (ctypes.c_uint32 * 4)()
        call(leaf, subleaf, registers)
        return tuple(registers)

    # xor ecx,ecx; xgetbv; shl rdx,32; or rax,rdx; ret
    xgetbv, _more = machine_code(bytes.fromhex("31c9 0f01d0 48c1e220 4809d0 c3"), ctypes.c_uint64)
    found = features(cpuid, xgetbv())
    with open("/proc/cpuinfo") as file:
        info = dict(map(str.strip, line.split(":", 1)) for line in file if ":" in line)
    assert found.vendor == info["vendor_id"]
    assert found.brand == info["model name"].strip()
    flags = set(info["flags"].split())
    for name, linux in [("sse4.2", "sse4_2"), ("shani", "sha_ni"), ("cx16", "cx16"), ("lzcnt", "abm")] + [
        (name, name)
        for name in ("avx", "fma", "avx2", "bmi2", "erms", "fsrm", "rdrand", "rdseed", "vaes", "fsgsbase",
                     "avx512f", "avx512vl", "xsavec", "rdtscp", "sse4a", "clzero", "rdpid", "adx", "f16c")
    ]:  # fmt: skip
        assert (name in found.names) == (linux in flags), name
    assert compatible(found, features(cpuid, xgetbv())) == []
    # The same on every core that we may run on.
    allowed = os.sched_getaffinity(0)
    try:
        for core in allowed:
            os.sched_setaffinity(0, {core})
            assert features(cpuid, xgetbv()) == found
    finally:
        os.sched_setaffinity(0, allowed)
    assert CpuFeatures.from_wire(found.to_wire()) == found
