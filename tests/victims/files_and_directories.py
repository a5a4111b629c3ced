"""Files made, written, read, moved, linked, listed and removed, by most of the calls that can do it."""

import errno
import fcntl
import os
import shutil
import stat
import tempfile

root = tempfile.mkdtemp(prefix="victim-")
print("~", root)
os.chdir(root)

with open("text", "w") as file:
    for number in range(500):
        file.write("line %d %s\n" % (number, os.urandom(4).hex()))
print(os.path.getsize("text") > 5000)
with open("text") as file:
    lines = file.readlines()
print(len(lines), lines[0].split()[:2])
print("~", [lines[0], lines[-1]])

descriptor = os.open("binary", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o640)
print(os.write(descriptor, b"0123456789" * 1000), os.lseek(descriptor, 5000, os.SEEK_SET))
print(os.read(descriptor, 12), os.pread(descriptor, 7, 3), os.pwrite(descriptor, b"HELLO", 4))
print(os.writev(descriptor, [b"ab", b"", b"cdef"]), os.lseek(descriptor, 0, os.SEEK_SET))
first, second = bytearray(6), bytearray(11)
print(os.readv(descriptor, [first, second]), first, second)
os.ftruncate(descriptor, 12)
print(os.fstat(descriptor).st_size, os.pread(descriptor, 100, 0))
os.ftruncate(descriptor, 20)
print(os.pread(descriptor, 100, 0), os.lseek(descriptor, 0, os.SEEK_END))
os.posix_fallocate(descriptor, 0, 8192)
print(os.fstat(descriptor).st_size)
os.fsync(descriptor)
os.fdatasync(descriptor)
print(fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_ACCMODE)
fcntl.flock(descriptor, fcntl.LOCK_EX)
fcntl.lockf(descriptor, fcntl.LOCK_EX, 10)
copy = os.dup(descriptor)
other = os.dup2(descriptor, 77)
print("~", descriptor, copy, other)
print(os.lseek(copy, 3, os.SEEK_SET), os.lseek(other, 0, os.SEEK_CUR))
for opened in (copy, other, descriptor):
    os.close(opened)
try:
    os.read(descriptor, 1)
except OSError as error:
    print(errno.errorcode[error.errno])

os.makedirs("a/b/c")
os.rename("text", "a/renamed")
os.replace("binary", "a/b/binary")
os.link("a/renamed", "a/b/c/hard")
os.symlink("../b/binary", "a/b/soft")
os.symlink("/nowhere", "dangling")
print(os.readlink("a/b/soft"), os.path.exists("dangling"), os.path.lexists("dangling"))
os.chmod("a/renamed", 0o600)
os.truncate("a/renamed", 100)
os.utime("a/renamed", ns=(10**18, 2 * 10**18))
about = os.stat("a/renamed")
print(stat.filemode(about.st_mode), about.st_nlink, about.st_size, about.st_mtime_ns)
print("~", about)
for entry in sorted(os.scandir("a/b"), key=lambda entry: entry.name):
    print(entry.name, entry.is_dir(), entry.is_file(follow_symlinks=False), entry.is_symlink())
    print("~", entry, entry.inode(), entry.stat(follow_symlinks=False))
for here, directories, files in os.walk(root):
    directories.sort()
    print(os.path.relpath(here, root), directories, sorted(files))
print("~", os.listdir(root), os.statvfs(root))
directory = os.open("a", os.O_RDONLY | os.O_DIRECTORY)
print(sorted(os.listdir(directory)), os.stat("b", dir_fd=directory).st_nlink)
os.mkdir("new", dir_fd=directory)
os.rmdir("new", dir_fd=directory)
os.close(directory)
for path in ("missing", "a", "dangling"):
    try:
        open(path)
    except OSError as error:
        print(path, errno.errorcode[error.errno])
shutil.copytree("a", "copied", symlinks=True)
print(sorted(os.listdir("copied/b")))
with tempfile.TemporaryFile() as file:
    file.write(os.urandom(100000))
    file.seek(0)
    print("~", hash(file.read()))
os.mkfifo("fifo")
print(stat.S_ISFIFO(os.stat("fifo").st_mode))
with open("/proc/self/maps") as file:
    print("~", file.read().split("\n"))
with open("/proc/self/status") as file:
    print("~", file.read().split())
os.chdir("/")
shutil.rmtree(root)
print(os.path.exists(root))
