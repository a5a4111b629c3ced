"""Holds one kernel object of each kind, and looks at itself through /proc: tests/test_state.py compares what it reads with
the model of the same position."""

import array
import ctypes
import fcntl
import mmap
import os
import resource
import select
import shutil
import signal
import socket
import struct
import tempfile
import termios
import threading
import warnings

warnings.simplefilter("ignore", DeprecationWarning)
libc = ctypes.CDLL(None, use_errno=True)
folder = os.path.realpath(tempfile.mkdtemp())
kept = []


def made(result):
    assert result >= 0, os.strerror(ctypes.get_errno())
    kept.append(result)
    return result


def path(name):
    return os.path.join(folder, name)


# Files: read up to an offset, appended to, deleted, without a name, a directory half read, locked, renamed.
with open(path("text"), "w") as file:
    file.write("some text of the file\n" * 40)
text = made(os.open(path("text"), os.O_RDWR))
os.read(text, 100)
os.lseek(text, 7, os.SEEK_CUR)
log = made(os.open(path("log"), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600))
os.fstat(log)  # as open() does: the model learns how long it is
os.write(log, b"a line\n")
os.write(log, b"another line\n")
again = made(os.dup(log))
os.set_inheritable(again, True)
deleted = made(os.open(path("deleted"), os.O_RDWR | os.O_CREAT | os.O_EXCL))
os.write(deleted, b"content of a deleted file")
os.unlink(path("deleted"))
nameless = made(os.open(folder, os.O_RDWR | os.O_TMPFILE))
os.pwrite(nameless, b"content without a name", 5)
for number in range(3):
    os.close(os.open(path(f"entry{number}"), os.O_WRONLY | os.O_CREAT))
directory = made(os.open(folder, os.O_RDONLY | os.O_DIRECTORY))
os.listdir(directory)
locked = made(os.open(path("locked"), os.O_RDWR | os.O_CREAT))
fcntl.flock(locked, fcntl.LOCK_EX)
ranges = made(os.open(path("ranges"), os.O_RDWR | os.O_CREAT))
fcntl.lockf(ranges, fcntl.LOCK_EX, 10, 100)
fcntl.lockf(ranges, fcntl.LOCK_UN, 2, 104)
renamed = made(os.open(path("before"), os.O_RDWR | os.O_CREAT))
os.rename(path("before"), path("after"))
place = made(os.open(folder, os.O_PATH))
null = made(os.open("/dev/null", os.O_RDWR))

# Pipes and what is in them.
reading, writing = os.pipe()
os.write(writing, b"in flight " * 30)
os.read(reading, 25)
os.set_blocking(reading, False)
os.mkfifo(path("fifo"))
fifo = made(os.open(path("fifo"), os.O_RDWR))
os.write(fifo, b"first in")

# Sockets: listening, connected to one another, of datagrams, Unix, with a descriptor under way.
listening = socket.socket()
listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listening.bind(("127.0.0.1", 0))
listening.listen(17)
client = socket.create_connection(listening.getsockname())
server, _ = listening.accept()
client.sendall(b"asked of the server")
server.recv(6)
waiting = socket.create_connection(listening.getsockname())
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("127.0.0.1", 0))
sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
sender.sendto(b"one", datagrams.getsockname())
sender.sendto(b"two", datagrams.getsockname())
datagrams.recv(100)
local = socket.socket(socket.AF_UNIX)
local.bind(path("socket"))
local.listen(3)
left, right = socket.socketpair()
left.sendmsg([b"with a descriptor"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [text]))])
one, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
one.sendmsg([b"taken"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [log]))])
_, control, _, _ = other.recvmsg(100, socket.CMSG_SPACE(4))
kept.append(struct.unpack("i", control[0][2][:4])[0])
orphan, gone = socket.socketpair()
gone.close()

# To be waited for.
events = made(libc.eventfd(5, os.O_NONBLOCK))
os.write(events, struct.pack("Q", 37))
counting = made(libc.eventfd(3, 1))
os.read(counting, 8)
timer = made(libc.timerfd_create(1, 0))
libc.timerfd_settime(timer, 0, struct.pack("4q", 7, 0, 1000, 0), None)
signals = made(libc.signalfd(-1, struct.pack("Q", 1 << 9 | 1 << 11), 0))
inotify = made(libc.inotify_init1(0))
libc.inotify_add_watch(inotify, os.fsencode(folder), 0x100)
memory = made(os.memfd_create("example", os.MFD_ALLOW_SEALING))
os.write(memory, b"in memory" * 100)
fcntl.fcntl(memory, 1033, 2)
poll = select.epoll()
poll.register(reading, select.EPOLLIN)
poll.register(listening, select.EPOLLIN | select.EPOLLONESHOT)
poll.register(events, select.EPOLLIN)
poll.unregister(events)
master, slave = os.openpty()
attributes = termios.tcgetattr(slave)
attributes[3] &= ~termios.ECHO
termios.tcsetattr(slave, termios.TCSANOW, attributes)

# Memory.
private = mmap.mmap(-1, 1 << 20, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
shared = mmap.mmap(-1, 1 << 16)
mapped = mmap.mmap(text, 0, mmap.MAP_SHARED)
in_memory = mmap.mmap(memory, 900)
address = ctypes.addressof(ctypes.c_char.from_buffer(private))
assert not libc.mprotect(ctypes.c_void_p(address + 8192), 4096, 1)
assert not libc.munmap(ctypes.c_void_p(address + 65536), 4096)

# The process.
os.chdir(folder)
os.umask(0o27)
resource.setrlimit(resource.RLIMIT_NOFILE, (600, 900))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
signal.signal(signal.SIGUSR1, lambda *_: None)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2, signal.SIGHUP, signal.SIGUSR1])
os.kill(os.getpid(), signal.SIGUSR2)
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1])
signal.setitimer(signal.ITIMER_REAL, 500, 3)
libc.prctl(15, b"kernel objects", 0, 0, 0)
enough = threading.Event()
thread = threading.Thread(target=enough.wait)
thread.start()
ended = os.fork()
if not ended:
    os._exit(3)
os.waitid(os.P_PID, ended, os.WEXITED | os.WNOWAIT)
go, stay = os.pipe()
child = os.fork()
if not child:
    os.close(stay)
    os.read(go, 1)
    os._exit(0)


def look(name):
    """Reads a file of /proc to its end, without anything in between."""
    file = os.open(name, os.O_RDONLY)
    while os.read(file, 1 << 16):
        pass
    os.close(file)


look("/proc/self/maps")
for name in ("status", "limits"):
    look(f"/proc/self/{name}")
for number in sorted(map(int, os.listdir("/proc/self/fd"))):
    try:
        os.readlink(f"/proc/self/fd/{number}")
    except FileNotFoundError:
        continue
    look(f"/proc/self/fdinfo/{number}")
look(f"/proc/{child}/status")
os.readlink("/proc/self/cwd")
look(f"/proc/{child}/maps")

print(f"~ {folder} {child}", flush=True)
print("looked", flush=True)
os.close(stay)
os.waitpid(child, 0)
os.waitpid(ended, 0)
enough.set()
thread.join()
signal.setitimer(signal.ITIMER_REAL, 0)
os.chdir("/")
shutil.rmtree(folder)
print("done")
