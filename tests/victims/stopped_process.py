"""A process that stops itself and looks at shared memory, without a system call before, when it is continued."""

import mmap
import os
import signal

shared = mmap.mmap(-1, mmap.PAGESIZE)
pid = os.getpid()
child = os.fork()
if child == 0:
    for _ in range(2):
        os.kill(os.getpid(), signal.SIGSTOP)
        seen = shared[:8]
        os.write(1, b"~ %s\n" % seen.hex().encode())
    os._exit(3)
for _ in range(2):
    _, status = os.waitpid(child, os.WUNTRACED)
    print(os.WIFSTOPPED(status) and os.WSTOPSIG(status) == signal.SIGSTOP, flush=True)
    shared[:8] = os.urandom(8)
    os.kill(child, signal.SIGCONT)
    _, status = os.waitpid(child, os.WCONTINUED)
    print(os.WIFCONTINUED(status), flush=True)
print(os.waitpid(child, 0)[1] >> 8)
child = os.fork()
if child == 0:
    os.kill(os.getpid(), signal.SIGSTOP)
    os._exit(4)
os.waitpid(child, os.WUNTRACED)
os.kill(child, signal.SIGKILL)
print(os.waitpid(child, 0)[1])
