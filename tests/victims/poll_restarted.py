"""A poll with a time-out that an ignored signal interrupts: the kernel goes on with it by restart_syscall, and what
it then writes is of the first call."""

import os
import select
import signal
import time

signal.signal(signal.SIGCHLD, signal.SIG_DFL)
readable, writable = os.pipe()
first = os.fork()
if first == 0:
    time.sleep(0.05)
    os._exit(0)
second = os.fork()
if second == 0:
    time.sleep(0.15)
    os.write(writable, b"late")
    os._exit(0)
poller = select.poll()
poller.register(readable, select.POLLIN)
print([(descriptor == readable, event) for descriptor, event in poller.poll(20_000)])
print(os.read(readable, 10))
print(os.waitpid(first, 0)[1], os.waitpid(second, 0)[1])
