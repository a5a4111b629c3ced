"""The version of a CPython, from the file that contains it."""

from __future__ import annotations

import os
import re

from .image import Image, Module
from .memory import Reader, UnreadableError

# Include/patchlevel.h, PY_RELEASE_LEVEL_*
_RELEASE_LEVELS = {0xA: "a", 0xB: "b", 0xC: "rc"}

_NAME = re.compile(rb"python([23]\.[0-9]{1,2})(?![0-9])")
_REST_OF_VERSION = rb"\.[0-9]{1,2}(?:(?:a|b|rc)[0-9]{1,2})?\+?(?=\0)"


def version_from_hex(version: int) -> str:
    """Write PY_VERSION_HEX as PY_VERSION: 0x030b07f0 is "3.11.7", 0x030e00c2 is "3.14.0rc2"."""
    text = f"{version >> 24 & 0xFF}.{version >> 16 & 0xFF}.{version >> 8 & 0xFF}"
    level = _RELEASE_LEVELS.get(version >> 4 & 0xF)
    return text if level is None else f"{text}{level}{version & 0xF}"


def image_version(image: Image, path: str) -> str | None:
    """Return the version of the CPython in an image, or None if it holds none or one that does not tell.

    From 3.11 on it is exported as `Py_Version`. Before, it is the string that Py_GetVersion() begins with
    (Python/getversion.c), which must agree with the name of the file ("libpython3.8.so.1.0") if that has a
    version, and otherwise with a name that the interpreter has in itself to find its library ("python3.8").
    """
    if image.symbol("Py_GetVersion") is None:
        return None
    address = image.symbol("Py_Version")
    if address is not None:
        try:
            return version_from_hex(int.from_bytes(image.read(address, 4), "little"))
        except UnreadableError:
            return None
    constants = list(image.constants())
    names = set(_NAME.findall(os.fsencode(os.path.basename(path))))
    if not names:
        names = {name for part in constants for name in _NAME.findall(part)}
    found = None
    for name in sorted(names):
        pattern = re.compile(re.escape(name) + _REST_OF_VERSION)
        for part in constants:
            for match in pattern.finditer(part):
                before = part[match.start() - 1 : match.start()]
                if before in (b"", b"\0"):
                    return match[0].decode()
                # The linker may have merged it with the end of another string ("/opt/python-3.8.18").
                if not before.isdigit() and before != b".":
                    found = match[0].decode()
    return found


def interpreter_version(elf: bytes | memoryview, path: str) -> str | None:
    """Return the version ("3.11.7") of the CPython that an ELF file holds, or None.

    An executable that only loads a libpython holds none. `path` is not opened; its last component may help.
    """
    try:
        image = Image(Reader(_NoMemory()), Module(path, 0, 0, elf))
    except UnreadableError:
        return None
    return image_version(image, path)


class _NoMemory:
    def read(self, address: int, size: int) -> bytes:
        raise OSError(f"not in the file: {address:#x}")
