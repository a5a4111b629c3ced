"""A small shell on a terminal of its own: its job is suspended with ^Z, continued, and ended with ^C."""

import os
import pty
import signal
import termios


def job():
    os.setpgid(0, 0)
    os.tcsetpgrp(0, os.getpid())
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.write(1, b"working\n")
    while line := os.read(0, 100):
        os.write(1, line.upper())
    os._exit(1)


def shell():
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    child = os.fork()
    if child == 0:
        job()
    while True:
        _, status = os.waitpid(child, os.WUNTRACED)
        os.tcsetpgrp(0, os.getpgrp())
        if not os.WIFSTOPPED(status):
            break
        os.write(1, b"stopped by %d\n" % os.WSTOPSIG(status))
        os.read(0, 100)
        os.tcsetpgrp(0, child)
        os.kill(-child, signal.SIGCONT)
    os.write(1, b"ended by %d\n" % os.WTERMSIG(status))
    os._exit(7)


def expect(master, wanted):
    seen = b""
    while not seen.endswith(wanted + b"\n"):
        seen += os.read(master, 100)
    print(seen.decode(), end="", flush=True)


pid, master = pty.fork()
if pid == 0:
    mode = termios.tcgetattr(0)
    mode[1] &= ~termios.OPOST
    mode[3] &= ~termios.ECHO
    termios.tcsetattr(0, termios.TCSANOW, mode)
    shell()
expect(master, b"working")
os.write(master, b"one\n")
expect(master, b"ONE")
for _ in range(2):
    os.write(master, b"\x1a")
    expect(master, b"stopped by %d" % signal.SIGTSTP)
    os.write(master, b"fg\n")
    token = os.urandom(8).hex()
    os.write(master, b"~ %s\n" % token.encode())
    expect(master, b"~ %s" % token.upper().encode())
os.write(master, b"\x03")
expect(master, b"ended by %d" % signal.SIGINT)
print(os.waitpid(pid, 0)[1] >> 8)
