"""eventfd, timerfd, signalfd, inotify, memfd, pidfd and epoll over all of them, by way of libc."""

import ctypes
import os
import select
import signal
import struct
import tempfile

libc = ctypes.CDLL(None, use_errno=True)
SIGNALFD = 289
event = libc.eventfd(3, 0)
print("eventfd", struct.unpack("Q", os.read(event, 8)))

timer = libc.timerfd_create(1, 0)
libc.timerfd_settime(timer, 0, struct.pack("4q", 0, 1_000_000, 0, 1_000_000), None)
mask = (ctypes.c_ulong * 16)(1 << (signal.SIGUSR1 - 1))
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
signals = libc.signalfd(-1, mask, 0)
notify = libc.inotify_init1(0)

with tempfile.TemporaryDirectory() as folder:
    libc.inotify_add_watch(notify, folder.encode(), 0x100 | 0x200)
    open(os.path.join(folder, "made"), "w").close()
    os.kill(os.getpid(), signal.SIGUSR1)
    os.write(event, struct.pack("Q", 7))
    epoll = select.epoll()
    names = {event: "event", timer: "timer", signals: "signal", notify: "notify"}
    for descriptor in names:
        epoll.register(descriptor, select.EPOLLIN)
    seen = {}
    while len(seen) < len(names):
        for descriptor, _ in epoll.poll():
            data = os.read(descriptor, 4096)
            seen.setdefault(names[descriptor], data)
    number, _, _, pid = struct.unpack_from("IiiI", seen["signal"])
    print("signal", number, pid == os.getpid())
    print("notify", seen["notify"][16:].rstrip(b"\0"))
    print("event", struct.unpack("Q", seen["event"]))
    print("~ timer", struct.unpack("Q", seen["timer"]), os.getpid())

memory = os.memfd_create("notes") if hasattr(os, "memfd_create") else -1
os.write(memory, b"in memory")
print(os.pread(memory, 20, 3))

child = os.fork()
if child == 0:
    os._exit(4)
pidfd = libc.syscall(434, child, 0)
print("pidfd", select.select([pidfd], [], [])[0] == [pidfd], os.WEXITSTATUS(os.waitpid(child, 0)[1]))
