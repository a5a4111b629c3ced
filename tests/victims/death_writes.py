"""What the kernel writes for the dead: the word of a robust lock whose owner ended, the thread id that a child process clears
in memory it shares, and how long a killed process would have slept on."""

import ctypes
import mmap
import os
import signal
import threading
import time
import warnings

warnings.simplefilter("ignore", DeprecationWarning)
EOWNERDEAD, PTHREAD_MUTEX_ROBUST, PTHREAD_PROCESS_SHARED = 130, 1, 1
CLONE_VM, CLONE_CHILD_CLEARTID, CLONE_CHILD_SETTID = 0x100, 0x200000, 0x1000000
libc = ctypes.CDLL(None, use_errno=True)
shared = mmap.mmap(-1, mmap.PAGESIZE)
base = ctypes.addressof(ctypes.c_char.from_buffer(shared))


def robust_lock(address):
    attributes = (ctypes.c_char * 64)()
    libc.pthread_mutexattr_init(attributes)
    libc.pthread_mutexattr_setrobust(attributes, PTHREAD_MUTEX_ROBUST)
    libc.pthread_mutexattr_setpshared(attributes, PTHREAD_PROCESS_SHARED)
    libc.pthread_mutex_init(ctypes.c_void_p(address), attributes)
    return ctypes.c_void_p(address)


of_thread, of_process = robust_lock(base), robust_lock(base + 64)
holder = threading.Thread(target=libc.pthread_mutex_lock, args=(of_thread,))
holder.start()
holder.join()
print("lock of a dead thread:", libc.pthread_mutex_lock(of_thread) == EOWNERDEAD)
child = os.fork()
if child == 0:
    libc.pthread_mutex_lock(of_process)
    os.kill(os.getpid(), signal.SIGKILL)
print("killed:", os.waitpid(child, 0)[1])
print("lock of a dead process:", libc.pthread_mutex_lock(of_process) == EOWNERDEAD)

word = ctypes.c_int.from_buffer(shared, 256)
word.value = 1
stack = ctypes.create_string_buffer(65536)
main = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(ctypes.cast(libc.getpid, ctypes.c_void_p).value)
top = (ctypes.addressof(stack) + 65536) & ~15
child = libc.clone(main, ctypes.c_void_p(top), CLONE_VM | CLONE_CHILD_CLEARTID | signal.SIGCHLD, None, None, None,
                   ctypes.byref(word))  # fmt: skip
os.waitpid(child, 0)
print("thread id:", word.value)

libc.mmap.restype = ctypes.c_void_p
read_only = libc.mmap(None, ctypes.c_size_t(4096), mmap.PROT_READ, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS, -1, None)
careless = threading.Thread(target=libc.syscall, args=(218, ctypes.c_void_p(read_only)))  # set_tid_address
careless.start()
while len(os.listdir("/proc/self/task")) > 1:
    time.sleep(0.01)

child = os.fork()
if child == 0:
    wanted = (ctypes.c_long * 2)(1000, 0)
    libc.nanosleep(wanted, ctypes.c_void_p(base + 512))
    os._exit(1)
time.sleep(0.05)
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
print("~", list((ctypes.c_long * 2).from_buffer(shared, 512)), flush=True)
os._exit(0)  # CPython 3.14 joins the careless thread as it ends: for ever, since the kernel cannot clear its word
