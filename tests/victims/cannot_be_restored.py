"""Has what no trace tells enough of to let a program live on: see tests/test_state.py."""

import ctypes
import os
import signal
import threading

libc = ctypes.CDLL(None, use_errno=True)
libc.shmat.restype = ctypes.c_void_p
IPC_PRIVATE, IPC_CREAT, IPC_RMID = 0, 0o1000, 0
MQ_OPEN, MQ_UNLINK, PERF_EVENT_OPEN, EXIT = 240, 241, 298, 60

segment = libc.shmget(IPC_PRIVATE, 8192, IPC_CREAT | 0o600)
attached = libc.shmat(segment, None, 0)
semaphores = libc.semget(IPC_PRIVATE, 2, IPC_CREAT | 0o600)
messages = libc.msgget(IPC_PRIVATE, IPC_CREAT | 0o600)
name = ("pyrr%d" % os.getpid()).encode()
queue = libc.syscall(MQ_OPEN, name, os.O_RDWR | os.O_CREAT, 0o600, None)

# A child in seccomp's strict mode: nothing but read, write and exit.
go, stay = os.pipe()
child = os.fork()
if not child:
    os.close(stay)
    buffer = ctypes.create_string_buffer(1)
    libc.prctl(22, 1, 0, 0, 0)
    libc.read(go, buffer, 1)
    libc.syscall(EXIT, 0)

# A write of which a part has been read before it has ended.
reading, writing = os.pipe()


def write():
    """As much as a pipe does not hold; more than once, should a signal come in between."""
    data = bytes(1 << 20)
    while data:
        data = data[os.write(writing, data) :]


writer = threading.Thread(target=write)
writer.start()
left = (1 << 20) - len(os.read(reading, 1000))

main_is_gone = threading.Event()


def hold():
    """Waits until the first thread has ended."""
    while os.path.exists("/proc/self/task/%d/cwd" % os.getpid()):
        libc.usleep(1000)
    print("held", flush=True)
    os.close(stay)
    os.waitpid(child, 0)
    rest = left
    while rest:
        rest -= len(os.read(reading, rest))
    writer.join()
    libc.shmdt(ctypes.c_void_p(attached))
    libc.shmctl(segment, IPC_RMID, None)
    libc.semctl(semaphores, 0, IPC_RMID)
    libc.msgctl(messages, IPC_RMID, None)
    if queue >= 0:
        libc.syscall(MQ_UNLINK, name)
    print("~", os.getpid(), segment >= 0, semaphores >= 0, messages >= 0, queue >= 0, flush=True)
    os._exit(0)


signal.signal(signal.SIGALRM, signal.SIG_DFL)
signal.alarm(100)
threading.Thread(target=hold).start()
libc.syscall(EXIT, 0)
