"""The processor's random numbers: where machine code asks for them with rdrand and rdseed.

The two cannot be made to fault, so the recorder overwrites each such instruction with one that does, and
the engine emulates it: with the processor's answer while recording, with the recorded one in replay.
Intel SDM volume 2, RDRAND and RDSEED: 0F C7 /6 and /7 on a register, the operand size by 66 and REX.W.
"""

from __future__ import annotations

from ..light import NamedTuple

TYPE_CHECKING = False  # see light.py
if TYPE_CHECKING:
    import capstone

    from ..store import FileCache
    from ..trace_format import FilePiece

# A regular expression is the quickest search there is here: 4 ms for 10 MB.
_PATTERN = rb"\x0f\xc7[\xf0-\xff]"

# Decoding that begins at a wrong byte falls into step with the real instructions after a few of them. Of
# those that begin between _FAR and _NEAR bytes before the pattern and meet no invalid instruction,
# _AGREEMENT (a share) must see the same instruction there; and of all that begin, _VALID must be so, for in
# data nearly every decoding breaks off. Measured over 956 MB of code of 274 hits, 35 of them real: at those,
# 0.59 or more were valid and 0.99 agreed; elsewhere at most 0.03 of the valid ones took it for rdrand, except
# where 0.03 were valid. Of 3,000 hits in random bytes, 6 passed.
_FAR, _NEAR = 192, 16
_AGREEMENT = 0.9
_VALID = 0.5
_LONGEST_INSTRUCTION = 15

_UD2 = b"\x0f\x0b"
_NOP = b"\x90"


class RandomSite(NamedTuple):
    """A rdrand or rdseed instruction: its address and length in bytes (prefixes included), and what it does.

    `register` is the processor's number (0 rax, 1 rcx, 2 rdx, 3 rbx, 4 rsp ... 15 r15), `width` the operand
    size in bits: 16 (the rest of the register stays), 32 (the upper half is cleared) or 64. `seed` is true
    of rdseed.
    """

    address: int
    length: int
    register: int
    width: int
    seed: bool


def random_sites(code: bytes, base: int) -> list[RandomSite]:
    """The rdrand and rdseed instructions in machine code whose first byte has the address `base`, in order.

    What only looks like one, in an immediate or in data amid the code, is left out; so is, in rare cases, a
    real one less than some 100 bytes behind such data.
    """
    import re

    hits = [match.start() for match in re.finditer(_PATTERN, code)]
    if not hits:
        return []
    # Only here: its import costs more than the search of most files.
    import capstone

    decoder = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
    starts = ((beginning(decoder, code, hit, 3, ("rdrand", "rdseed")), hit) for hit in hits)
    return [_site(code, start, hit, base) for start, hit in starts if start is not None]


def known_sites(cache: FileCache, piece: FilePiece) -> list[RandomSite] | None:
    """The sites of a piece of a file, relative to its beginning, as `remember_sites` kept them."""
    text = cache.recall(_name(piece))
    if text is None:
        return None
    fields = (map(int, site.split(":")) for site in text.split(",")[1:])
    return [RandomSite(at, length, register, width, bool(seed)) for at, length, register, width, seed in fields]


def remember_sites(cache: FileCache, piece: FilePiece, sites: list[RandomSite]) -> None:
    """Keeps the sites of a piece of a file, relative to its beginning, for later recordings."""
    fields = [f"{s.address}:{s.length}:{s.register}:{s.width}:{s.seed:d}" for s in sites]
    cache.remember(_name(piece), ",".join(["sites", *fields]))


def _name(piece: FilePiece) -> str:
    return f"{piece.hash}-{piece.offset}-{piece.length}-random"


def trap_bytes(site: RandomSite) -> bytes:
    """What to write over a site: an instruction that raises SIGILL (ud2), and nops to the same length."""
    return _UD2.ljust(site.length, _NOP)


def beginning(decoder: capstone.Cs, code: bytes, hit: int, length: int, names: tuple[str, ...]) -> int | None:
    """Where the instruction of one of these names begins whose last `length` bytes are at `hit`, or None if there is
    none."""
    found = instruction_over(decoder, code, hit)
    if found is None:
        return None
    start, end, name = found
    # By name, because with the prefix F3 the bytes of rdrand are another instruction (rdpid).
    return start if end == hit + length and name in names else None


def instruction_over(decoder: capstone.Cs, code: bytes, hit: int) -> tuple[int, int, str] | None:
    """Where the instruction begins and ends that has the byte at `hit`, and its name; None if that is not certain."""
    first = max(0, hit - _FAR)
    # For each beginning, the instruction that decoding arrives at over the hit; None if decoding fails before. From the
    # last beginning to the first, because decoding goes on where the next instruction begins.
    arrivals: dict[int, tuple[int, int, str] | None] = {}
    for begin in range(hit, first - 1, -1):
        window = code[begin : begin + _LONGEST_INSTRUCTION]
        decoded = next(decoder.disasm_lite(window, begin, 1), None)
        if decoded is None:
            arrivals[begin] = None
            continue
        _, size, mnemonic, _ = decoded
        end = begin + size
        arrivals[begin] = arrivals[end] if end <= hit else (begin, end, mnemonic)
    from collections import Counter

    begins = range(first, max(first, hit - _NEAR) + 1)
    votes = Counter(arrivals[begin] for begin in begins)
    failed = votes.pop(None, 0)
    if not votes:
        return None
    ((winner, count),) = votes.most_common(1)
    valid = len(begins) - failed
    return winner if count >= _AGREEMENT * valid and valid >= _VALID * len(begins) else None


def _site(code: bytes, start: int, hit: int, base: int) -> RandomSite:
    prefixes, modrm = code[start:hit], code[hit + 2]
    # REX counts only directly before the opcode, and its W bit prevails over 66.
    rex = prefixes[-1] if prefixes and prefixes[-1] & 0xF0 == 0x40 else 0
    return RandomSite(
        address=base + start,
        length=hit + 3 - start,
        register=modrm & 7 | (rex & 1) << 3,
        width=64 if rex & 8 else 16 if 0x66 in prefixes else 32,
        seed=bool(modrm & 8),
    )
