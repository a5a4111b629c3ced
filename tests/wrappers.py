"""Calls functions of libc with hostile arguments, each in a child, and prints what became of it; then uses much of the
system by way of Python. With `patch`, all system call sites of its libraries are overwritten before.

python wrappers.py NAMES [patch]   NAMES: a file with the functions' names, one a line
"""

import ctypes
import mmap
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time

LIBC = ctypes.CDLL("libc.so.6", use_errno=True)
MAP_FIXED_NOREPLACE = 0x100000
RWX = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC


def mappings():
    """(start, end, offset, path) of the files mapped executable."""
    with open("/proc/self/maps") as file:
        for line in file:
            span, access, offset, _, inode, *path = line.split(maxsplit=5)
            if "x" in access and inode != "0":
                start, end = (int(number, 16) for number in span.split("-"))
                yield start, end, int(offset, 16), path[0].rstrip("\n")


def stub_area(near, size):
    """Memory that a jump from `near` reaches."""
    LIBC.mmap.restype = ctypes.c_void_p
    LIBC.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
    for distance in range(1 << 24, 1 << 30, 1 << 22):
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | MAP_FIXED_NOREPLACE
        address = LIBC.mmap(near - distance, size, RWX, flags, -1, 0)
        if address == near - distance:
            return address
    raise MemoryError


def jump(source, target):
    return b"\xe9" + struct.pack("<i", target - source - 5)


def patch():
    """Has every site jump to a stub that does what the site did, and no more; returns how many there are."""
    from pyrr_debugger.recorder.sites import LONGEST_REGION, syscall_sites

    patches = []
    for start, end, offset, path in list(mappings()):
        with open(path, "rb") as file:
            sites = syscall_sites(file.read(), offset, end - start)
        area = stub_area(start, mmap.PAGESIZE * (1 + len(sites) // 100)) if sites else 0
        if sites:
            assert LIBC.mprotect(ctypes.c_void_p(start), ctypes.c_size_t(end - start), RWX) == 0
        for site in sites:
            begin = start + site.offset - site.before
            head, tail = site.code[: site.before], site.code[site.before :]
            # rcx is the stub's own before the call.
            stub = head + b"\xb9ZZZZ" + tail
            stub += jump(area + len(stub), begin + len(site.code))
            assert ctypes.string_at(begin, len(site.code)) == site.code
            ctypes.memmove(area, stub, len(stub))
            # What is left of the region nobody may execute.
            patches.append((begin, jump(begin, area).ljust(len(site.code), b"\xcc")))
            area += LONGEST_REGION + 16
    for address, code in patches:
        ctypes.memmove(address, code, len(code))
    return len(patches)


def outcome(name, argument):
    """How a call ends whose six arguments are the same, in a child."""
    shared = mmap.mmap(-1, mmap.PAGESIZE)
    empty = os.memfd_create("descriptor 0")  # theirs to change
    child = os.fork()
    if child == 0:
        try:
            os.dup2(empty, 0)
            signal.setitimer(signal.ITIMER_REAL, 0.2)  # some wait
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            function = LIBC[name]
            function.restype = ctypes.c_long
            ctypes.set_errno(0)
            result = function(*[ctypes.c_long(argument)] * 6)
            shared[:16] = struct.pack("<qii", result, ctypes.get_errno(), 1)
        finally:
            os._exit(0)
    os.close(empty)
    _, status = os.waitpid(child, 0)
    result, errno, returned = struct.unpack("<qii", shared[:16])
    failed = ctypes.c_int(result).value == -1
    return f"status {status}, {f'{failed}, errno {errno}' if returned else 'no return'}"


def workload():
    """Threads, signals, children, sockets, files and waiting; prints what comes out."""
    results = []
    lock = threading.Condition()

    def work(number):
        with lock:
            results.append(number)
            lock.notify()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(sorted(results))
    caught = []
    signal.signal(signal.SIGUSR1, lambda number, frame: caught.append(number))
    signal.signal(signal.SIGALRM, lambda number, frame: caught.append(number))
    os.kill(os.getpid(), signal.SIGUSR1)
    signal.setitimer(signal.ITIMER_REAL, 0.02)
    time.sleep(0.05)
    print(caught)
    for options in ({}, {"close_fds": False}, {"preexec_fn": os.getpid}, {"start_new_session": True}):
        print(subprocess.run(["/bin/echo", "child"], stdout=subprocess.PIPE, **options).stdout)
    print(subprocess.run(["false"]).returncode, os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)[1])
    child = os.fork()
    if child == 0:
        os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    server = socket.create_server(("127.0.0.1", 0))
    client = socket.create_connection(server.getsockname())
    other, _ = server.accept()
    with server, client, other:
        client.sendall(b"x" * 100000)
        other.settimeout(5)
        total = 0
        while total < 100000:
            total += len(other.recv(65536))
        print(total, select.select([client], [client], [], 0)[1] == [client])
    poll = select.epoll()
    read, write = os.pipe()
    poll.register(read, select.EPOLLIN)
    print(poll.poll(0.01), os.write(write, b"abc"), len(poll.poll(1)), os.read(read, 10))
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "file")
        with open(path, "wb") as file:
            file.write(b"0123456789" * 1000)
            os.fsync(file.fileno())
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as memory:
            print(memory[5:15], os.pread(file.fileno(), 4, 9996), os.fstat(file.fileno()).st_size)
        os.rename(path, path + "2")
        os.chmod(path + "2", 0o600)
        print(os.listdir(folder), os.stat(path + "2").st_mode, os.path.exists(path))
    print(time.time() > 1e9, time.monotonic() > 0, len(os.urandom(8)), os.sched_getaffinity(0) != set())
    sys.stdout.flush()


def main():
    with open(sys.argv[1]) as file:
        names = file.read().split()
    if sys.argv[2:] == ["patch"]:
        print(patch(), "sites are patched", file=sys.stderr)
    for name in names:
        for argument in (-1, 0):
            print(name, argument, outcome(name, argument), flush=True)
    workload()


main()
