"""A small WSGI application, served by gunicorn in the benchmark."""

import json
from collections.abc import Callable, Iterable


def application(environment: dict[str, str], start: Callable[..., object]) -> Iterable[bytes]:
    body = json.dumps({"path": environment["PATH_INFO"], "numbers": list(range(100))}).encode()
    start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
