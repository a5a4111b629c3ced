"""Descriptors that go through a Unix socket, datagrams, and what splice, tee, copy_file_range and vectors move."""

import array
import os
import socket
import sys
import tempfile

left, right = socket.socketpair()
read, write = os.pipe()
left.sendmsg([b"here"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [write]))])
os.close(write)
data, ancillary, flags, _ = right.recvmsg(16, socket.CMSG_SPACE(4))
received = array.array("i", ancillary[0][2])[0]
print(data, len(ancillary), flags)
os.write(received, b"through a passed descriptor")
os.close(received)
print(os.read(read, 100))
os.close(read)

one, other = (socket.socket(socket.AF_INET, socket.SOCK_DGRAM) for _ in range(2))
one.bind(("127.0.0.1", 0))
print("~", one.getsockname())
for number in range(3):
    other.sendto(b"datagram %d" % number, one.getsockname())
print([one.recvfrom(64)[0] for _ in range(3)])
buffer = bytearray(16)
other.sendto(b"into a buffer", one.getsockname())
size, peer = one.recvfrom_into(buffer)
print(size, bytes(buffer), peer == other.getsockname())

with tempfile.TemporaryFile() as file:
    file.write(b"0123456789" * 100)
    file.flush()
    read, write = os.pipe()
    if sys.version_info >= (3, 10):
        print(os.splice(file.fileno(), write, 100, offset_src=5))
        print(os.read(read, 20))
    if sys.version_info >= (3, 8):
        with tempfile.TemporaryFile() as copy:
            print(os.copy_file_range(file.fileno(), copy.fileno(), 50, 3))
            print(os.pread(copy.fileno(), 20, 0))
    parts = [bytearray(3), bytearray(7)]
    print(os.preadv(file.fileno(), parts, 4), parts)
    print(os.pwritev(file.fileno(), [b"ab", b"cd"], 0), os.pread(file.fileno(), 8, 0))
    print(os.sendfile(write, file.fileno(), 0, 10), os.read(read, 200)[-10:])
