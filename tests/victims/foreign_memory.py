"""Memory that is written by calls of others: through /proc/PID/mem and process_vm_writev, its own and a child's."""

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
place = ctypes.create_string_buffer(64)
address = ctypes.addressof(place)
with open("/proc/self/mem", "r+b", buffering=0) as memory:
    os.pwrite(memory.fileno(), os.urandom(8), address)
    memory.seek(address + 8)
    memory.write(os.urandom(8))
print("~", place.raw[:16].hex(), flush=True)

ready, told = os.pipe()
child = os.fork()
if child == 0:
    os.read(ready, 1)
    os.write(1, b"~ %s\n" % place.raw.hex().encode())
    os._exit(0)
with open(f"/proc/{child}/mem", "r+b", buffering=0) as memory:
    os.pwrite(memory.fileno(), os.urandom(8), address + 16)
data = ctypes.create_string_buffer(os.urandom(16), 16)
mine = (ctypes.c_size_t * 2)(ctypes.addressof(data), 16)
theirs = (ctypes.c_size_t * 4)(address + 32, 8, address + 48, 8)
print(libc.process_vm_writev(child, mine, 1, theirs, 2, 0), flush=True)
os.write(told, b"x")
print(os.waitpid(child, 0)[1])
