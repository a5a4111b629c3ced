"""Requests to another thread, by the library's own input thread."""

import threading
import time

import zmq

context = zmq.Context()
server, client = context.socket(zmq.REP), context.socket(zmq.REQ)
port = server.bind_to_random_port("tcp://127.0.0.1")


def serve():
    for _ in range(100):
        server.send(server.recv() + b"!")


thread = threading.Thread(target=serve)
thread.start()
client.connect(f"tcp://127.0.0.1:{port}")
answers = []
for i in range(100):
    client.send(b"%d" % i)
    answers.append(client.recv())
thread.join()
client.close()
server.close()
context.term()
print(answers[-1], len(answers))
print("~", time.time(), port)
