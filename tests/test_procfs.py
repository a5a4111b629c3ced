import ctypes
import mmap
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from pyrr_debugger import procfs
from pyrr_debugger.procfs import Mapping


def line(span, perms, offset, device, inode, name=b""):
    """A line as the kernel pads it: the name begins in column 73."""
    head = b"%s %s %s %s %s" % (span, perms, offset, device, inode)
    return (head.ljust(72) + b" " + name if name else head + b" ") + b"\n"


def test_fields_of_a_file_mapping():
    text = line(b"7f00aa000000-7f00aa005000", b"r-xp", b"00003000", b"fe:00", b"2164163", b"/usr/lib/libc.so.6")
    assert procfs.parse_maps(text) == [
        Mapping(
            start=0x7F00AA000000,
            end=0x7F00AA005000,
            prot=mmap.PROT_READ | mmap.PROT_EXEC,
            shared=False,
            offset=0x3000,
            device="fe:00",
            inode=2164163,
            name="/usr/lib/libc.so.6",
        )
    ]


@pytest.mark.parametrize(
    ("perms", "prot", "shared"),
    [
        (b"---p", 0, False),
        (b"rw-p", mmap.PROT_READ | mmap.PROT_WRITE, False),
        (b"rwxs", mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC, True),
        (b"--xp", mmap.PROT_EXEC, False),
        (b"---s", 0, True),
    ],
)
def test_permissions(perms, prot, shared):
    (mapping,) = procfs.parse_maps(line(b"1000-2000", perms, b"00000000", b"00:00", b"0"))
    assert (mapping.prot, mapping.shared) == (prot, shared)
    assert mapping.name == ""


@pytest.mark.parametrize(
    ("text", "name", "deleted"),
    [
        (b"[stack]", "[stack]", False),
        (b"[anon: a name]", "[anon: a name]", False),
        (b"/tmp/a b  c ", "/tmp/a b  c ", False),
        (b"/tmp/a\\012b", "/tmp/a\nb", False),
        (b"/tmp/a\rb", "/tmp/a\rb", False),
        (b"/tmp/gone\\012 (deleted)", "/tmp/gone\n", True),
        (b"/memfd:x (deleted)", "/memfd:x", True),
        (b"/tmp/\xff", os.fsdecode(b"/tmp/\xff"), False),
    ],
)
def test_names(text, name, deleted):
    (mapping,) = procfs.parse_maps(line(b"1000-2000", b"r--p", b"00000000", b"fe:00", b"7", text))
    assert (mapping.name, mapping.deleted) == (name, deleted)


def test_last_line_of_the_address_space():
    (mapping,) = procfs.parse_maps(
        b"ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]\n"
    )
    assert (mapping.end, mapping.name) == (0xFFFFFFFFFF601000, "[vsyscall]")


@pytest.mark.parametrize("text", [b"junk", b"1000 r--p 0 00:00 0 \n", b"1-2 r 0 00:00 0 \n", b"x-y r--p 0 00:00 0 \n"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match=r"maps|invalid literal"):
        procfs.parse_maps(text)


def test_read_maps_finds_a_new_mapping_of_an_odd_file(tmp_path):
    path = tmp_path / "two\nlines and spaces"
    path.write_bytes(bytes(2 * mmap.PAGESIZE))
    with (
        open(path, "rb") as file,
        mmap.mmap(
            file.fileno(), mmap.PAGESIZE, flags=mmap.MAP_SHARED, prot=mmap.PROT_READ, offset=mmap.PAGESIZE
        ) as area,
    ):
        (mapping,) = (m for m in procfs.read_maps(os.getpid()) if m.name == str(path))
        assert mapping.end - mapping.start == len(area)
        assert (mapping.prot, mapping.shared, mapping.offset) == (mmap.PROT_READ, True, mmap.PAGESIZE)
        assert mapping.inode == path.stat().st_ino
        path.unlink()
        assert [m.deleted for m in procfs.read_maps(os.getpid()) if m.name == str(path)] == [True]


def test_read_maps_longer_than_a_page_of_text():
    spans = [(m.start, m.end) for m in procfs.read_maps(os.getpid())]
    assert len(spans) > 50
    assert spans == sorted(spans)
    assert all(start < end for start, end in spans)


def test_auxv_is_what_libc_was_given():
    libc = ctypes.CDLL(None)
    libc.getauxval.restype = ctypes.c_ulong
    libc.getauxval.argtypes = [ctypes.c_ulong]
    pairs = procfs.read_auxv(os.getpid())
    assert (6, mmap.PAGESIZE) in pairs  # AT_PAGESZ
    assert 0 not in dict(pairs)
    # glibc answers AT_HWCAP (16) from its own variable, which ld.so overwrites.
    assert all(libc.getauxval(kind) == value for kind, value in pairs if kind != 16)


def test_descriptors(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
    ends = os.pipe()
    try:
        os.lseek(fd, 7, os.SEEK_SET)
        found = {d.number: d for d in procfs.descriptors(os.getpid())}
        assert (found[fd].target, found[fd].pos) == (str(path), 7)
        assert found[fd].flags & os.O_ACCMODE == os.O_RDWR
        assert found[fd].flags & os.O_APPEND
        assert found[fd].flags & os.O_CLOEXEC
        assert found[ends[0]].target == f"pipe:[{os.fstat(ends[0]).st_ino}]"
        assert list(found) == sorted(found)
    finally:
        for number in (fd, *ends):
            os.close(number)


def test_descriptors_that_come_and_go():
    stop = threading.Event()

    def churn():
        while not stop.is_set():
            os.close(os.open("/dev/null", os.O_RDONLY))

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        for _ in range(200):
            assert {0, 1, 2} <= {d.number for d in procfs.descriptors(os.getpid())}
    finally:
        stop.set()
        thread.join()


def test_status():
    fields = procfs.status(os.getpid())
    assert int(fields["Tgid"]) == os.getpid()
    assert int(fields["PPid"]) == os.getppid()
    assert len(fields["SigCgt"]) == 16


@pytest.mark.parametrize("limit", [1 << 20, resource.RLIM_INFINITY])
def test_stack_limit(limit):
    command = [sys.executable, "-c", "import sys; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        child.stdout.readline()  # execve sets the limit that it found once more at its end (finalize_exec, fs/exec.c)
        resource.prlimit(child.pid, resource.RLIMIT_STACK, (limit, resource.RLIM_INFINITY))
        assert procfs.stack_limit(child.pid) == limit


def test_a_zombie_has_a_status_and_no_memory():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert procfs.status(child.pid)["State"].startswith("Z")
        assert procfs.read_maps(child.pid) == []
    finally:
        child.wait()


@pytest.mark.parametrize(
    "read", [procfs.read_maps, procfs.read_auxv, procfs.descriptors, procfs.status, procfs.stack_limit]
)
def test_a_process_that_is_gone(read):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.raises(OSError, match=str(child.pid)):
        read(child.pid)


def test_private_pages_are_those_written(tmp_path: Path) -> None:
    """Of an anonymous mapping the touched ones; of a file's only those written, however many were read."""
    page = mmap.PAGESIZE
    (tmp_path / "file").write_bytes(b"x" * 6 * page)
    program = (
        "import mmap, sys, ctypes\n"
        "def address(m): return ctypes.addressof(ctypes.c_char.from_buffer(m))\n"
        f"page = {page}\n"
        "anonymous = mmap.mmap(-1, 6 * page, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "anonymous[page] = 1\n"
        "anonymous[2 * page] = 1\n"
        "source = open(sys.argv[1], 'rb')\n"
        "file = mmap.mmap(source.fileno(), 6 * page, access=mmap.ACCESS_COPY)\n"
        "file[:]\n"
        "file[4 * page] = file[4 * page]\n"
        "print(address(anonymous), address(file), flush=True)\n"
        "sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path / "file")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        anonymous, file = map(int, child.stdout.readline().split())
        found = procfs.private_pages(child.pid, *((start, start + 6 * page) for start in (anonymous, file)))
        child.communicate(timeout=20)
    assert found[0] == [(anonymous + page, anonymous + 3 * page)]
    assert found[1] == [(file + 4 * page, file + 5 * page)]
