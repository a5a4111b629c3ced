"""Children by subprocess, by fork and by spawn: captured, inherited, in a pipeline, failing and killed."""

import os
import signal
import subprocess
import sys

print(subprocess.run(["/bin/echo", "captured"], stdout=subprocess.PIPE).stdout, flush=True)
subprocess.run(["/bin/echo", "inherited"])
subprocess.run([sys.executable, "-c", "import os, sys; print('~', os.getpid(), id(os), os.urandom(4)); sys.exit()"])
script = (
    "import os, sys, time; sys.stdout.write(sys.stdin.read().upper()); print('~ child', time.time(), file=sys.stderr)"
)
child = subprocess.run([sys.executable, "-c", script], input=b"through a pipe\n", stdout=subprocess.PIPE)
print(child.stdout, child.returncode)
print(subprocess.run("echo one; echo two >&2; exit 3", shell=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT))
print(subprocess.run(["/bin/sh", "-c", "kill -9 $$"]).returncode)

first = subprocess.Popen(["/bin/cat", __file__], stdout=subprocess.PIPE)
second = subprocess.Popen(["/usr/bin/wc", "-l"], stdin=first.stdout, stdout=subprocess.PIPE)
first.stdout.close()
print(int(second.communicate()[0]) > 10, first.wait(), second.returncode)
print("~", first.pid, second.pid, flush=True)

readable, writable = os.pipe()
pid = os.fork()
if pid == 0:
    os.write(writable, b"%d" % os.getpid())
    os.write(1, b"~ written by a forked child %d\n" % os.getppid())
    os._exit(5)
_, status = os.waitpid(pid, 0)
print(int(os.read(readable, 20)) == pid, os.WEXITSTATUS(status))

sys.stdout.flush()
pid = os.posix_spawn("/bin/echo", ["echo", "spawned"], os.environ)
print("~", os.wait3(0))
sleeper = subprocess.Popen(["/bin/sleep", "100"])
sleeper.send_signal(signal.SIGTERM)
print(sleeper.wait())
try:
    subprocess.run(["/nonexistent"])
except FileNotFoundError as error:
    print(error.filename)
