"""Helper of the victims that execute a few bytes of machine code in an anonymous mapping."""

import ctypes
import mmap

_pages = []


def function(code, *argument_types):
    """The machine code as a function which returns a 64-bit number."""
    page = mmap.mmap(
        -1, mmap.PAGESIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS, mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    )
    page.write(code)
    anchor = ctypes.c_char.from_buffer(page)
    _pages.append((page, anchor))
    return ctypes.CFUNCTYPE(ctypes.c_uint64, *argument_types)(ctypes.addressof(anchor))
