"""Children that compute are killed: by SIGTERM, by SIGKILL and by their own alarm; one is stopped meanwhile."""

import os
import signal
import time


def child(alarm=False):
    pid = os.fork()
    if pid:
        return pid
    turns = 0
    if alarm:
        signal.setitimer(signal.ITIMER_REAL, 0.03)
    while True:
        turns += 1


for number in (signal.SIGTERM, signal.SIGKILL):
    pid = child()
    time.sleep(0.03)
    os.kill(pid, number)
    print(os.waitpid(pid, 0)[1])
print(os.waitpid(child(alarm=True), 0)[1])
pid = child()
time.sleep(0.03)
os.kill(pid, signal.SIGSTOP)
print(os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1]))
os.kill(pid, signal.SIGCONT)
time.sleep(0.03)
os.kill(pid, signal.SIGKILL)
print(os.WIFSIGNALED(os.waitpid(pid, 0)[1]))
print("~", time.monotonic())
