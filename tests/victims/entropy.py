"""Prints every source of chance that a Python program can reach: no two runs have one line in common."""

import datetime
import os
import platform
import random
import resource
import secrets
import sys
import tempfile
import threading
import time
import uuid


class Thing:
    pass


def show(name, *values):
    print("~", name, *values)


for turn in range(20):
    show(
        "random", random.random(), random.getrandbits(128), random.choice(range(10**9)), random.SystemRandom().random()
    )
    show("uuid", uuid.uuid1(), uuid.uuid4())
    show("secrets", secrets.token_hex(), secrets.randbelow(10**12), os.urandom(16).hex())
    show("getrandom", os.getrandom(24, os.GRND_NONBLOCK).hex())
    show("time", time.time(), time.time_ns(), time.monotonic(), time.monotonic_ns(), time.perf_counter())
    show("perf", time.perf_counter_ns(), time.process_time(), time.process_time_ns(), time.thread_time_ns())
    for clock in (
        "REALTIME",
        "MONOTONIC",
        "MONOTONIC_RAW",
        "BOOTTIME",
        "PROCESS_CPUTIME_ID",
        "THREAD_CPUTIME_ID",
        "TAI",
    ):
        number = getattr(time, "CLOCK_" + clock, None)
        if number is not None:
            show(clock, time.clock_gettime(number), time.clock_gettime_ns(number))
    show("dates", datetime.datetime.now(), datetime.datetime.now(datetime.timezone.utc), time.localtime(), time.ctime())
    show("times", os.times())
    show("usage", resource.getrusage(resource.RUSAGE_SELF))
    show("load", os.getloadavg())
    show("ids", id(turn), id(object()), id([]), id(show), Thing(), lambda: None, show, object())
    time.sleep(0.001 * (turn % 3))
show("set", {"%d" % number for number in range(100)})
show("set", {Thing() for number in range(20)}, {object, int, Thing, str, None, sys})
show("hash", hash("pyrr"), hash(b"pyrr"), hash(None), hash(object()), hash(Thing), hash(time.time()))
show(
    "process", os.getpid(), os.getppid(), os.getpgid(0), os.getsid(0), threading.get_ident(), threading.get_native_id()
)
for _ in range(3):
    with tempfile.NamedTemporaryFile() as file:
        show("temporary", file.name, os.fstat(file.fileno()))
with tempfile.TemporaryDirectory() as root:
    show("temporary", root, os.stat(root), os.statvfs(root))
show("platform", platform.uname(), os.cpu_count(), os.sysconf("SC_AVPHYS_PAGES"), os.sched_getaffinity(0))
for path in ("/proc/self/stat", "/proc/uptime", "/proc/self/auxv", "/proc/sys/kernel/random/uuid", "/proc/meminfo"):
    with open(path, "rb") as file:
        show(path, file.read(4096))
with open("/dev/urandom", "rb", buffering=0) as file:
    show("device", file.read(64))
show("argv", sys.executable, sys.argv[0], sys.path[0])
print("~", "standard error", os.urandom(8).hex(), time.time(), file=sys.stderr)
print("end")
