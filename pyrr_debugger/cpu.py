"""What a trace stores of the processor, and whether another one may replay it.

cpuid and xgetbv are not recorded: a replayed program asks the processor that it runs on. So that one
must answer as the recorded one did, to everything that libc and others choose their routines by: features,
model, geometry of the caches, size of the saved vector state. glibc's sysdeps/x86/cpu-features.c and
dl-cacheinfo.h say what it reads; Intel SDM volume 2 (CPUID) and AMD APM volume 3 (appendix E) what it means.
"""

from __future__ import annotations

import struct

from .errors import TraceError
from .light import NamedTuple

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any, TypeAlias

Registers = tuple[int, int, int, int]
Cpuid: TypeAlias = "Callable[[int, int], Registers]"
"""(leaf, subleaf) -> (eax, ebx, ecx, edx)"""

_EAX, _EBX, _ECX, _EDX = range(4)
_REGISTERS = ("eax", "ebx", "ecx", "edx")
_MOST_SUBLEAVES = 32
_EXTENDED = 0x80000000

# Leaf: what it tells, for messages. `_subleaves` says which subleaves are read.
_LEAVES = {
    0x0: "vendor and highest leaf",
    0x1: "model and layout",
    0x2: "cache descriptors",
    0x4: "cache geometry",
    0x7: "features",
    0xB: "topology",
    0xD: "saved vector state",
    0x14: "processor trace",
    0x19: "key locker",
    0x24: "AVX10",
    0x80000000: "highest extended leaf",
    0x80000001: "extended features",
    0x80000005: "first-level caches",
    0x80000006: "second- and third-level caches",
    0x80000007: "power and clock",
    0x80000008: "address sizes and core count",
    0x8000001D: "cache geometry",
}

# Leaf: is this, the answer to a subleaf, still part of the list?
_LISTS: dict[int, Callable[[Registers], bool]] = {
    0x4: lambda answer: answer[_EAX] & 0x1F != 0,  # cache type
    0xB: lambda answer: answer[_ECX] & 0xFF00 != 0,  # level type
    0x8000001D: lambda answer: answer[_EAX] & 0x1F != 0,
}

# What differs from core to core or with the kernel's doings, by (leaf, subleaf or None for all, register):
# the bits to keep.
_KEEP = {
    (0x1, None, _EBX): 0x00FFFFFF,  # above: the initial APIC id
    (0xB, None, _EDX): 0,  # the x2APIC id
    (0xD, 1, _EBX): 0,  # the size of what the kernel saves, by IA32_XSS
}

# Name: leaf, subleaf, register, bit.
_FEATURES = {
    "sse3": (0x1, 0, _ECX, 0),
    "pclmulqdq": (0x1, 0, _ECX, 1),
    "ssse3": (0x1, 0, _ECX, 9),
    "fma": (0x1, 0, _ECX, 12),
    "cx16": (0x1, 0, _ECX, 13),
    "sse4.1": (0x1, 0, _ECX, 19),
    "sse4.2": (0x1, 0, _ECX, 20),
    "movbe": (0x1, 0, _ECX, 22),
    "popcnt": (0x1, 0, _ECX, 23),
    "aes": (0x1, 0, _ECX, 25),
    "xsave": (0x1, 0, _ECX, 26),
    "osxsave": (0x1, 0, _ECX, 27),
    "avx": (0x1, 0, _ECX, 28),
    "f16c": (0x1, 0, _ECX, 29),
    "rdrand": (0x1, 0, _ECX, 30),
    "fsgsbase": (0x7, 0, _EBX, 0),
    "bmi1": (0x7, 0, _EBX, 3),
    "hle": (0x7, 0, _EBX, 4),
    "avx2": (0x7, 0, _EBX, 5),
    "bmi2": (0x7, 0, _EBX, 8),
    "erms": (0x7, 0, _EBX, 9),
    "rtm": (0x7, 0, _EBX, 11),
    "avx512f": (0x7, 0, _EBX, 16),
    "avx512dq": (0x7, 0, _EBX, 17),
    "rdseed": (0x7, 0, _EBX, 18),
    "adx": (0x7, 0, _EBX, 19),
    "avx512ifma": (0x7, 0, _EBX, 21),
    "clflushopt": (0x7, 0, _EBX, 23),
    "clwb": (0x7, 0, _EBX, 24),
    "avx512cd": (0x7, 0, _EBX, 28),
    "shani": (0x7, 0, _EBX, 29),
    "avx512bw": (0x7, 0, _EBX, 30),
    "avx512vl": (0x7, 0, _EBX, 31),
    "avx512vbmi": (0x7, 0, _ECX, 1),
    "pku": (0x7, 0, _ECX, 3),
    "ospke": (0x7, 0, _ECX, 4),
    "waitpkg": (0x7, 0, _ECX, 5),
    "avx512vbmi2": (0x7, 0, _ECX, 6),
    "shstk": (0x7, 0, _ECX, 7),
    "gfni": (0x7, 0, _ECX, 8),
    "vaes": (0x7, 0, _ECX, 9),
    "vpclmulqdq": (0x7, 0, _ECX, 10),
    "avx512vnni": (0x7, 0, _ECX, 11),
    "avx512bitalg": (0x7, 0, _ECX, 12),
    "avx512vpopcntdq": (0x7, 0, _ECX, 14),
    "rdpid": (0x7, 0, _ECX, 22),
    "movdiri": (0x7, 0, _ECX, 27),
    "movdir64b": (0x7, 0, _ECX, 28),
    "fsrm": (0x7, 0, _EDX, 4),
    "avx512vp2intersect": (0x7, 0, _EDX, 8),
    "serialize": (0x7, 0, _EDX, 14),
    "ibt": (0x7, 0, _EDX, 20),
    "amx-bf16": (0x7, 0, _EDX, 22),
    "avx512fp16": (0x7, 0, _EDX, 23),
    "amx-tile": (0x7, 0, _EDX, 24),
    "amx-int8": (0x7, 0, _EDX, 25),
    "avxvnni": (0x7, 1, _EAX, 4),
    "avx512bf16": (0x7, 1, _EAX, 5),
    "fzrm": (0x7, 1, _EAX, 10),
    "fsrs": (0x7, 1, _EAX, 11),
    "fsrc": (0x7, 1, _EAX, 12),
    "avxifma": (0x7, 1, _EAX, 23),
    "avxvnniint8": (0x7, 1, _EDX, 4),
    "avx10": (0x7, 1, _EDX, 19),
    "xsaveopt": (0xD, 1, _EAX, 0),
    "xsavec": (0xD, 1, _EAX, 1),
    "xgetbv1": (0xD, 1, _EAX, 2),
    "lahf": (0x80000001, 0, _ECX, 0),
    "lzcnt": (0x80000001, 0, _ECX, 5),
    "sse4a": (0x80000001, 0, _ECX, 6),
    "xop": (0x80000001, 0, _ECX, 11),
    "fma4": (0x80000001, 0, _ECX, 16),
    "tbm": (0x80000001, 0, _ECX, 21),
    "monitorx": (0x80000001, 0, _ECX, 29),
    "rdtscp": (0x80000001, 0, _EDX, 27),
    "clzero": (0x80000008, 0, _EBX, 0),
}


class CpuFeatures(NamedTuple):
    """What a processor answers to cpuid, as far as it is the same on all its cores and at all times.

    `vendor` ("GenuineIntel") and `brand` (the commercial name) are for people. `xcr0` is what xgetbv(0)
    answers: the vector state that the kernel lets programs use; 0 without OSXSAVE. `leaves` maps (leaf,
    subleaf) to (eax, ebx, ecx, edx); those that the processor does not have are absent.
    """

    vendor: str
    brand: str
    xcr0: int
    leaves: Mapping[tuple[int, int], Registers]

    @property
    def names(self) -> frozenset[str]:
        """The features by name."""
        return frozenset(
            name
            for name, (leaf, subleaf, register, bit) in _FEATURES.items()
            if (leaf, subleaf) in self.leaves and self.leaves[leaf, subleaf][register] >> bit & 1
        )

    def to_wire(self) -> dict[str, Any]:
        """As a map of msgpack: vendor, brand, xcr0, and leaves, which maps a name as "0x7.0" to 16 bytes:
        eax, ebx, ecx, edx, each little-endian."""
        leaves = {
            f"{leaf:#x}.{subleaf}": struct.pack("<4I", *registers) for (leaf, subleaf), registers in self.leaves.items()
        }
        return {"vendor": self.vendor, "brand": self.brand, "xcr0": self.xcr0, "leaves": leaves}

    @classmethod
    def from_wire(cls, wire: object) -> CpuFeatures:
        """The inverse of `to_wire`; TraceError if `wire` is not what that makes."""
        if not isinstance(wire, dict):
            raise TraceError("The trace's description of the processor is not a map.")
        vendor, brand, xcr0, packed = (wire.get(key) for key in ("vendor", "brand", "xcr0", "leaves"))
        if not isinstance(vendor, str) or not isinstance(brand, str) or not isinstance(packed, dict):
            raise TraceError("The trace's description of the processor lacks its vendor, brand or leaves.")
        if not isinstance(xcr0, int) or isinstance(xcr0, bool) or not 0 <= xcr0 < 1 << 64:
            raise TraceError(f"The trace's description of the processor has an impossible xcr0: {xcr0!r}.")
        leaves: dict[tuple[int, int], Registers] = {}
        for name, answer in packed.items():
            place = _leaf_of(name) if isinstance(name, str) else None
            if place is None or not isinstance(answer, bytes) or len(answer) != 16:
                raise TraceError(f"The trace's description of the processor has a malformed leaf: {name!r}.")
            leaves[place] = struct.unpack("<4I", answer)
        return cls(vendor, brand, xcr0, leaves)


def _leaf_of(name: str) -> tuple[int, int] | None:
    """The leaf and subleaf that are named, as "0x7.0"; None where they are not."""
    prefix, _, rest = name.partition("x")
    leaf, _, subleaf = rest.partition(".")
    hexadecimal = 0 < len(leaf) <= 8 and not set(leaf) - set("0123456789abcdef")
    decimal = 0 < len(subleaf) <= 9 and not set(subleaf) - set("0123456789")
    return (int(leaf, 16), int(subleaf)) if prefix == "0" and hexadecimal and decimal else None


def features(cpuid: Cpuid, xcr0: int) -> CpuFeatures:
    """Asks the processor. On one with unlike cores, for the core that runs this."""
    highest = {0: cpuid(0, 0)[_EAX], _EXTENDED: cpuid(_EXTENDED, 0)[_EAX]}
    # Older processors answer to a leaf that they do not have as to the highest basic one.
    if highest[_EXTENDED] < _EXTENDED:
        highest[_EXTENDED] = 0
    leaves: dict[tuple[int, int], Registers] = {}
    for leaf in _LEAVES:
        if leaf > highest[leaf & _EXTENDED]:
            continue
        for subleaf in _subleaves(cpuid, leaf):
            leaves[leaf, subleaf] = _masked(leaf, subleaf, cpuid(leaf, subleaf))
    _, ebx, ecx, edx = leaves[0, 0]
    brand = b""
    if highest[_EXTENDED] >= 0x80000004:
        brand = b"".join(struct.pack("<4I", *cpuid(leaf, 0)) for leaf in range(0x80000002, 0x80000005))
    return CpuFeatures(
        vendor=struct.pack("<3I", ebx, edx, ecx).decode("latin-1"),
        brand=brand.partition(b"\0")[0].decode("latin-1").strip(),
        xcr0=xcr0,
        leaves=leaves,
    )


def _subleaves(cpuid: Cpuid, leaf: int) -> list[int]:
    if leaf == 0xD:
        # Subleaf i is of the state component i: those that the processor has, in XCR0 or IA32_XSS.
        eax, _, _, edx = cpuid(leaf, 0)
        _, _, ecx, high = cpuid(leaf, 1)
        components = eax | ecx | (edx | high) << 32
        return [0, 1, *(i for i in range(2, 63) if components >> i & 1)]
    if leaf == 0x7:
        return list(range(min(cpuid(leaf, 0)[_EAX] + 1, _MOST_SUBLEAVES)))
    if leaf in _LISTS:
        count = 0
        while count < _MOST_SUBLEAVES and _LISTS[leaf](cpuid(leaf, count)):
            count += 1
        return list(range(count))
    return [0]


def _masked(leaf: int, subleaf: int, answer: Registers) -> Registers:
    eax, ebx, ecx, edx = (
        value & _KEEP.get((leaf, None, register), _KEEP.get((leaf, subleaf, register), 0xFFFFFFFF))
        for register, value in enumerate(answer)
    )
    return eax, ebx, ecx, edx


def compatible(recorded: CpuFeatures, present: CpuFeatures) -> list[str]:
    """What forbids to replay on the `present` processor a program recorded on `recorded`, a sentence each.

    An empty list: nothing does. The brand may differ, as may all that `features` leaves out.
    """
    problems = []
    if present.vendor != recorded.vendor:
        problems.append(f"This processor is of {present.vendor}, the recorded one of {recorded.vendor}.")
    lacking = sorted(recorded.names - present.names)
    if lacking:
        problems.append(f"This processor lacks {', '.join(lacking)}, which the recorded program may have used.")
    excess = sorted(present.names - recorded.names)
    if excess:
        problems.append(
            f"This processor has {', '.join(excess)}, which the recorded one lacked: libc and others "
            "choose their routines by cpuid and would choose others than in the recording."
        )
    if present.xcr0 != recorded.xcr0:
        problems.append(
            f"The kernel here enables other vector state: XCR0 is {present.xcr0:#x}, "
            f"in the recording {recorded.xcr0:#x}."
        )
    for leaf, subleaf in sorted(recorded.leaves.keys() | present.leaves.keys()):
        ours, theirs = (_unnamed(cpu, leaf, subleaf) for cpu in (present, recorded))
        if ours != theirs:
            problems.append(
                f"The processors differ in {_LEAVES.get(leaf, 'an unknown leaf')} "
                f"(cpuid {leaf:#x}.{subleaf}): {_difference(ours, theirs)}."
            )
    return problems


def _unnamed(cpu: CpuFeatures, leaf: int, subleaf: int) -> Registers | None:
    """A leaf without what has its own sentence: the named features and the vendor. None if it is absent."""
    if (leaf, subleaf) not in cpu.leaves:
        return None
    eax, *others = cpu.leaves[leaf, subleaf]
    if leaf in (0, _EXTENDED):  # the vendor, spelt in the other three
        return eax, 0, 0, 0
    values = [eax, *others]
    for at_leaf, at_subleaf, register, bit in _FEATURES.values():
        if (at_leaf, at_subleaf) == (leaf, subleaf):
            values[register] &= ~(1 << bit)
    return values[0], values[1], values[2], values[3]


def _difference(ours: Registers | None, theirs: Registers | None) -> str:
    if ours is None:
        return "this one does not have it"
    if theirs is None:
        return "the recorded one did not have it"
    return "; ".join(
        f"{name} is {our:#x} here, {their:#x} there"
        for name, our, their in zip(_REGISTERS, ours, theirs, strict=True)
        if our != their
    )
