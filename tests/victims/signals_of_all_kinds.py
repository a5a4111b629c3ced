"""Signals with values, on another stack, nested, masked, interrupting and restarting calls; stop, continue, and children."""

import ctypes
import os
import signal
import time

seen = []


def note(number, frame):
    seen.append(signal.Signals(number).name)


def nest(number, frame):
    seen.append("outer in")
    os.kill(os.getpid(), signal.SIGUSR2)
    seen.append("outer out")


signal.signal(signal.SIGUSR1, nest)
signal.signal(signal.SIGUSR2, note)
os.kill(os.getpid(), signal.SIGUSR1)
print(seen)

seen.clear()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])
os.kill(os.getpid(), signal.SIGUSR2)
print("masked", seen, signal.sigpending() == {signal.SIGUSR2})
signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR2])
print("unmasked", seen)

libc = ctypes.CDLL(None, use_errno=True)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGRTMIN + 1])
for value in (11, 22, 33):
    libc.sigqueue(os.getpid(), signal.SIGRTMIN + 1, ctypes.c_void_p(value))
print("queued", [signal.sigwaitinfo([signal.SIGRTMIN + 1]).si_signo == signal.SIGRTMIN + 1 for _ in range(3)])

seen.clear()
signal.signal(signal.SIGALRM, note)
signal.setitimer(signal.ITIMER_REAL, 0.02)
read, write = os.pipe()
pid = os.fork()
if pid == 0:
    signal.setitimer(signal.ITIMER_REAL, 0)
    time.sleep(0.1)
    os.write(write, b"late")
    os._exit(0)
print(os.read(read, 10), seen, "the read was restarted")
os.waitpid(pid, 0)

seen.clear()
signal.setitimer(signal.ITIMER_REAL, 0.002, 0.002)
deadline = time.monotonic() + 0.1
while time.monotonic() < deadline:
    time.sleep(0.005)
signal.setitimer(signal.ITIMER_REAL, 0)
print("~ alarms", len(seen), "in", os.getpid())

pid = os.fork()
if pid == 0:
    while True:
        time.sleep(0.01)
os.kill(pid, signal.SIGSTOP)
_, status = os.waitpid(pid, os.WUNTRACED)
print("stopped by", os.WSTOPSIG(status))
os.kill(pid, signal.SIGCONT)
_, status = os.waitpid(pid, os.WCONTINUED)
print("continued", os.WIFCONTINUED(status))
os.kill(pid, signal.SIGTERM)
_, status = os.waitpid(pid, 0)
print("ended by", os.WTERMSIG(status))

seen.clear()
signal.signal(signal.SIGCHLD, note)
pids = [os.fork() or os._exit(number) for number in range(5)]
print(sorted(os.WEXITSTATUS(os.waitpid(pid, 0)[1]) for pid in pids), "SIGCHLD" in seen)
