"""Times the requests that a server answers, however it is run: python bench/server.py COMMAND...

COMMAND is run with `{socket}` replaced by the path of a Unix socket on which it must serve HTTP, with its process
id in a file `{socket}.pid`. Prints the seconds that the requests took, and ends the server with SIGTERM.
"""

import http.client
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

REQUESTS = 500
CLIENTS = 4


class Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._path)


def request(path: str) -> bytes:
    connection = Connection(path)
    connection.request("GET", "/")
    response = connection.getresponse()
    body = response.read()
    connection.close()
    assert response.status == 200, response.status
    return body


def wait_for(path: str, server: subprocess.Popen[bytes]) -> None:
    while server.poll() is None:
        try:
            request(path)
            return
        except OSError:
            time.sleep(0.05)
    sys.exit(f"the server ended with status {server.returncode}")


def load(path: str) -> float:
    def client() -> None:
        for _ in range(REQUESTS // CLIENTS):
            request(path)

    clients = [threading.Thread(target=client) for _ in range(CLIENTS)]
    start = time.perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    return time.perf_counter() - start


def main(command: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")
        server = subprocess.Popen(
            [word.replace("{socket}", path) for word in command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            wait_for(path, server)
            print(load(path))
        finally:
            # The server itself: strace would end alone.
            with open(f"{path}.pid") as file:
                os.kill(int(file.read()), signal.SIGTERM)
            server.wait(60)


if __name__ == "__main__":
    main(sys.argv[1:])
