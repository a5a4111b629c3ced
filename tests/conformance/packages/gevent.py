"""A server and fifty clients in greenlets."""

from gevent import monkey

monkey.patch_all()

import socket  # noqa: E402
import time  # noqa: E402

import gevent  # noqa: E402

listener = socket.create_server(("127.0.0.1", 0))


def answer(connection):
    with connection:
        connection.sendall(connection.recv(100) * 2)


def serve():
    while True:
        gevent.spawn(answer, listener.accept()[0])


def ask(number):
    with socket.create_connection(listener.getsockname()) as connection:
        connection.sendall(b"%d " % number)
        return connection.recv(100)


gevent.spawn(serve)
asked = [gevent.spawn(ask, i) for i in range(50)]
print([job.value for job in gevent.joinall(asked)] == [b"%d " % i * 2 for i in range(50)])
print("~", time.time(), listener.getsockname())
