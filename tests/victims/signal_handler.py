"""Signals sent to itself, raised, and sent by timers, with handlers in Python."""

import os
import select
import signal
import socket
import time

seen = []


def note(number, frame):
    seen.append(number)
    print("handler", signal.Signals(number).name, frame.f_code.co_name if frame else None)
    print("~", time.time(), id(frame))


def take():
    found, seen[:] = [signal.Signals(number).name for number in seen], []
    print(found)


for name in ("SIGUSR1", "SIGUSR2", "SIGALRM", "SIGHUP", "SIGTERM", "SIGVTALRM", "SIGCHLD"):
    signal.signal(getattr(signal, name), note)

os.kill(os.getpid(), signal.SIGUSR1)
take()
signal.raise_signal(signal.SIGUSR2)
take()
os.kill(os.getpid(), signal.SIGHUP)
os.kill(os.getpid(), signal.SIGTERM)
take()

signal.setitimer(signal.ITIMER_REAL, 0.02)
began = time.monotonic()
time.sleep(0.06)
print("~", time.monotonic() - began)
print(time.monotonic() - began >= 0.06)
take()

# A read that blocks until the handler feeds it.
readable, writable = os.pipe()
signal.signal(signal.SIGALRM, lambda number, frame: os.write(writable, b"from the handler"))
signal.setitimer(signal.ITIMER_REAL, 0.02)
print(os.read(readable, 100))


# A handler that raises, out of a sleep.
def fail(number, frame):
    raise TimeoutError("alarm")


signal.signal(signal.SIGALRM, fail)
signal.setitimer(signal.ITIMER_REAL, 0.02)
try:
    time.sleep(60)
except TimeoutError as error:
    print("left the sleep", error)

# Blocked, pending, and taken without a handler.
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1, signal.SIGUSR2])
os.kill(os.getpid(), signal.SIGUSR1)
print(sorted(signal.sigpending()))
information = signal.sigwaitinfo([signal.SIGUSR1])
print(information.si_signo == signal.SIGUSR1, information.si_code)
print("~", information)
print(signal.sigtimedwait([signal.SIGUSR1], 0.01))
os.kill(os.getpid(), signal.SIGUSR2)
take()
signal.pthread_sigmask(signal.SIG_SETMASK, [])
take()

# The wake-up descriptor.
left, right = socket.socketpair()
left.setblocking(False)
right.setblocking(False)
previous = signal.set_wakeup_fd(left.fileno())
os.kill(os.getpid(), signal.SIGUSR1)
print(len(select.select([right], [], [], 5)[0]), list(right.recv(10)))
signal.set_wakeup_fd(previous)
take()

signal.signal(signal.SIGUSR1, signal.SIG_IGN)
os.kill(os.getpid(), signal.SIGUSR1)
take()
