"""The registers as gdb has them: their order, sizes and description (gdb's features/i386/64bit-*.xml)."""

from __future__ import annotations

_GENERAL = ("rax", "rbx", "rcx", "rdx", "rsi", "rdi", "rbp", "rsp", *(f"r{n}" for n in range(8, 16)), "rip")
_SEGMENTS = ("cs", "ss", "ds", "es", "fs", "gs")
_FLOATING = ("fctrl", "fstat", "ftag", "fiseg", "fioff", "foseg", "fooff", "fop")
_ST, _XMM, _MXCSR = 32, 160, 24  # in the FXSAVE area, with which an XSAVE area begins (Intel SDM 1, 10.5.1)
_YMM_HIGH = 576  # in the standard form of an XSAVE area (Intel SDM 1, 13.4.2), which is ptrace's
_XSTATE_BV, _AVX = 512, 1 << 2

_VECTORS = """
<vector id="v4f" type="ieee_single" count="4"/><vector id="v2d" type="ieee_double" count="2"/>
<vector id="v16i8" type="int8" count="16"/><vector id="v8i16" type="int16" count="8"/>
<vector id="v4i32" type="int32" count="4"/><vector id="v2i64" type="int64" count="2"/>
<union id="vec128"><field name="v4_float" type="v4f"/><field name="v2_double" type="v2d"/>
<field name="v16_int8" type="v16i8"/><field name="v8_int16" type="v8i16"/><field name="v4_int32" type="v4i32"/>
<field name="v2_int64" type="v2i64"/><field name="uint128" type="uint128"/></union>
"""


def _rows() -> list[tuple[str, str, int, str]]:
    """Feature, name, bits and type of each register, in order."""
    pointers = {"rip": "code_ptr", "rsp": "data_ptr", "rbp": "data_ptr"}
    rows = [("core", name, 64, pointers.get(name, "int64")) for name in _GENERAL]
    rows += [("core", name, 32, "int") for name in ("eflags", *_SEGMENTS)]
    rows += [("core", f"st{n}", 80, "i387_ext") for n in range(8)]
    rows += [("core", name, 32, "int") for name in _FLOATING]
    rows += [("sse", f"xmm{n}", 128, "vec128") for n in range(16)] + [("sse", "mxcsr", 32, "int")]
    rows += [("linux", "orig_rax", 64, "int")]
    rows += [("segments", name, 64, "int") for name in ("fs_base", "gs_base")]
    return rows + [("avx", f"ymm{n}h", 128, "uint128") for n in range(16)]


_ROWS = _rows()


def description() -> bytes:
    """The target description."""
    features = {"core": "", "sse": _VECTORS, "linux": "", "segments": "", "avx": ""}
    for feature, name, bits, type_ in _ROWS:
        features[feature] += f'<reg name="{name}" bitsize="{bits}" type="{type_}"/>'
    parts = "".join(f'<feature name="org.gnu.gdb.i386.{name}">{text}</feature>' for name, text in features.items())
    head = '<?xml version="1.0"?><!DOCTYPE target SYSTEM "gdb-target.dtd">'
    return f"{head}<target><architecture>i386:x86-64</architecture><osabi>GNU/Linux</osabi>{parts}</target>".encode()


def changed(data: bytes, general: dict[str, int], xstate: bytes) -> tuple[dict[str, int], bytes]:
    """What `packed` made, back: general registers and XSAVE area, where those of the x87 unit stay as they were."""
    general, area, at = dict(general), bytearray(xstate), 0
    for _, name, bits, _ in _ROWS:
        value = data[at : at + bits // 8]
        at += bits // 8
        if len(value) != bits // 8:
            raise ValueError("too few registers")
        if name in general:
            general[name] = int.from_bytes(value, "little")
        elif name.startswith("xmm") and len(area) >= _XMM + 256:
            start = _XMM + 16 * int(name[3:])
            area[start : start + 16] = value
        elif name.startswith("ymm") and len(area) >= _YMM_HIGH + 256:
            start = _YMM_HIGH + 16 * int(name[3:-1])
            if area[start : start + 16] != value:
                area[_XSTATE_BV] |= _AVX
            area[start : start + 16] = value
    return general, bytes(area)


def window(number: int) -> tuple[int, int]:
    """Where register `number` lies in what `packed` makes. Raises IndexError where there is no such register."""
    start = sum(bits for _, _, bits, _ in _ROWS[:number]) // 8
    return start, start + _ROWS[number][2] // 8


def packed(general: dict[str, int], xstate: bytes) -> bytes:
    """The registers of a task, in the order of the description."""

    def word(name: str, size: int) -> bytes:
        return (general[name] & (1 << 8 * size) - 1).to_bytes(size, "little")

    area = xstate.ljust(512, b"\0")
    control, status, tag = area[0:2], area[2:4], area[4:6]
    parts = [word(name, 8) for name in _GENERAL] + [word(name, 4) for name in ("eflags", *_SEGMENTS)]
    parts += [area[_ST + 16 * n : _ST + 16 * n + 10] for n in range(8)]
    opcode, instruction, data = area[6:8], area[8:16], area[16:24]
    for part in (control, status, tag, instruction[4:6], instruction[:4], data[4:6], data[:4], opcode):
        parts.append(part.ljust(4, b"\0"))
    parts += [area[_XMM + 16 * n : _XMM + 16 * n + 16] for n in range(16)] + [area[_MXCSR : _MXCSR + 4]]
    parts += [word(name, 8) for name in ("orig_rax", "fs_base", "gs_base")]
    parts += [area[_YMM_HIGH + 16 * n : _YMM_HIGH + 16 * n + 16].ljust(16, b"\0") for n in range(16)]
    return b"".join(parts)
