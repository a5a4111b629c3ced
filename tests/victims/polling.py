"""select, poll and epoll over pipes and socket pairs, ready and not, with and without a time-out."""

import os
import select
import selectors
import socket
import time

readable, writable = os.pipe()
left, right = socket.socketpair()
print("~", readable, writable, left, right)


def names(descriptors):
    known = {readable: "readable", writable: "writable", left.fileno(): "left", right.fileno(): "right"}
    return sorted(known.get(number, str(number)) for number in descriptors)


def select_all(timeout):
    everything = [readable, left.fileno(), right.fileno()]
    ready = select.select(everything, [writable, left.fileno()], everything, timeout)
    print("select", [names(part) for part in ready])


select_all(0)
os.write(writable, b"one")
right.send(b"two")
select_all(None)

poll = select.poll()
poll.register(readable, select.POLLIN)
poll.register(left, select.POLLIN | select.POLLOUT)
poll.register(right, select.POLLIN)
print("poll", names(number for number, _ in poll.poll()), sorted(mask for _, mask in poll.poll(100)))
print(os.read(readable, 100), left.recv(100))
poll.modify(left, select.POLLIN)
began = time.monotonic()
print("poll", poll.poll(10), time.monotonic() - began >= 0.009)
print("~", time.monotonic() - began)

epoll = select.epoll()
epoll.register(readable, select.EPOLLIN | select.EPOLLET)
epoll.register(right.fileno(), select.EPOLLIN)
print("epoll", epoll.poll(0.005), epoll.poll(0))
left.sendall(b"x" * 1000)
os.write(writable, b"y")
print("epoll", names(number for number, _ in epoll.poll(1)), names(number for number, _ in epoll.poll(1)))
print(len(right.recv(5000)), os.read(readable, 5))
epoll.modify(right.fileno(), select.EPOLLOUT)
print("epoll", names(number for number, _ in epoll.poll(1, maxevents=1)))
epoll.unregister(readable)

with selectors.DefaultSelector() as selector:
    selector.register(left, selectors.EVENT_READ, "left")
    print(len(selector.select(0)))
    right.send(b"bye")
    right.shutdown(socket.SHUT_WR)
    print([key.data for key, _ in selector.select(1)], left.recv(10), left.recv(10))

os.close(writable)
poll.unregister(left)
poll.unregister(right)
hangup = poll.poll(1000)
print(names(number for number, _ in hangup), hangup[0][1] & select.POLLHUP == select.POLLHUP, os.read(readable, 1))
left.setblocking(False)
try:
    right.shutdown(socket.SHUT_RD)
    right.close()
    left.send(b"too late")
except OSError as error:
    print(type(error).__name__)
