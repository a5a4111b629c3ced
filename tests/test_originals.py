"""Recorded files that are still what they were are copied, instead of decompressing what is stored of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from pyrr_debugger import store
from pyrr_debugger.replayer.sharing import StoredMemory
from pyrr_debugger.store import FileCache
from pyrr_debugger.trace_format import hash_of

CONTENT = os.urandom(1 << 20) + b"the end"


class OneFile:
    """A trace that has stored one file, and counts how often it is asked for that."""

    path = "trace"
    end = None

    def __init__(self) -> None:
        self.asked = 0
        self.checked: list[str] = []

    def files(self) -> list[str]:
        return [hash_of(CONTENT)]

    def check_files(self, whole: bool, without: tuple[str, ...]) -> None:
        self.checked += [hash_ for hash_ in self.files() if hash_ not in without]

    def check_file(self, hash_: str) -> None:
        self.checked.append(hash_)

    def stored(self, hash_: str) -> Packed:
        self.asked += 1
        return Packed()


class Packed:
    size = len(CONTENT)

    def __init__(self) -> None:
        self.at = 0

    def read(self, buffer: memoryview) -> int:
        part = CONTENT[self.at : self.at + len(buffer)]
        buffer[: len(part)] = part
        self.at += len(part)
        return len(part)

    def close(self) -> None:
        pass


@pytest.fixture
def original(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that a recording has stored, and its cache remembers."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(store, "_SETTLED_SECONDS", 0)
    path = tmp_path / "library.so"
    path.write_bytes(CONTENT)
    (tmp_path / "stored").write_bytes(b"compressed")
    cache = FileCache()
    cache.learn(path.stat(), hash_of(CONTENT), str(path))
    cache.keep(hash_of(CONTENT), str(tmp_path / "stored"))
    return path


@pytest.fixture
def descriptor() -> int:
    return os.memfd_create("stored")


def assert_stored_is_read(memory: StoredMemory, trace: OneFile) -> None:
    assert memory.content(hash_of(CONTENT)) == CONTENT
    assert trace.asked == 1
    assert trace.checked == trace.files()
    memory.close()


def test_unchanged(original: Path, descriptor: int) -> None:
    trace = OneFile()
    memory = StoredMemory(trace, descriptor, whole=False)  # type: ignore[arg-type]
    memory.check()
    assert memory.content(hash_of(CONTENT)) == CONTENT
    assert trace.asked == 0
    assert not trace.checked
    memory.close()


def test_moved(original: Path, descriptor: int) -> None:
    """The last recording tells where it lies."""
    moved = original.with_name("moved.so")
    original.rename(moved)
    cache = FileCache()
    assert cache.original(hash_of(CONTENT)) is None
    cache.learn(moved.stat(), hash_of(CONTENT), str(moved))
    cache.keep(hash_of(CONTENT), str(original.with_name("stored")))
    assert cache.original(hash_of(CONTENT))
    cache.locate(hash_of(CONTENT), "/elsewhere")
    assert cache.original(hash_of(CONTENT)) is None


def _rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.write(b"other")


def _shorten(path: Path) -> None:
    os.truncate(path, 5)


def _make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


@pytest.mark.parametrize("change", [_rewrite, Path.unlink, _shorten, _make_pipe])
def test_changed(change: Callable[[Path], None], original: Path, descriptor: int) -> None:
    change(original)
    trace = OneFile()
    memory = StoredMemory(trace, descriptor, whole=False)  # type: ignore[arg-type]
    memory.check()
    assert_stored_is_read(memory, trace)


@pytest.mark.parametrize("change", [_rewrite, Path.unlink, _shorten])
def test_changed_later(change: Callable[[Path], None], original: Path, descriptor: int) -> None:
    """What has been copied of it was right; the rest comes from what is stored, which is looked at for damage first."""
    trace = OneFile()
    memory = StoredMemory(trace, descriptor, whole=False)  # type: ignore[arg-type]
    memory.check()
    part = memory._part(hash_of(CONTENT))
    memory._fill(part, 1)
    assert 0 < part.filled < len(CONTENT)
    change(original)
    assert_stored_is_read(memory, trace)


def test_verify_reads_what_is_stored(original: Path, descriptor: int) -> None:
    trace = OneFile()
    memory = StoredMemory(trace, descriptor, whole=True)  # type: ignore[arg-type]
    memory.check()
    assert_stored_is_read(memory, trace)


def test_names_are_no_paths(original: Path) -> None:
    cache = FileCache()
    assert cache.original("../library.so") is None
