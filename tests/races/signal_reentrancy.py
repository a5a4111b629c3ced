"""A handler of SIGCHLD takes a child off a table, where its parent may not have put it yet."""

import os
import signal

children = {}


def reap(*_):
    pid, _ = os.waitpid(-1, os.WNOHANG)
    if pid:
        children.pop(pid)  # decides


def start():
    pid = os.fork()  # decides
    if pid == 0:
        os._exit(0)  # decides
    os.getppid()  # decides
    children[pid] = "running"  # decides


signal.signal(signal.SIGCHLD, reap)
start()
while children:
    signal.sigtimedwait([], 0.01)
