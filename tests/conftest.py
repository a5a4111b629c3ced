"""Fixtures: an interpreter, a place for a trace, a place for a victim's temporary files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

import harness
from harness import Command, Interpreter, Surroundings

INTERPRETERS = harness.interpreters()


def pytest_configure() -> None:
    harness.adopt_orphans()


@pytest.fixture(scope="session", autouse=True)
def private_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Caches and the list of traces are kept below a directory of this session, not in the user's own."""
    path = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYRR_TEST_HOME", str(path))
        for name in ("CACHE", "DATA", "STATE"):
            patch.setenv(f"XDG_{name}_HOME", str(path / name.lower()))
        yield


@pytest.fixture(params=INTERPRETERS, ids=lambda interpreter: interpreter.name)
def interpreter(request: pytest.FixtureRequest) -> Interpreter:
    """Every CPython at hand, in turn."""
    found: Interpreter = request.param
    return found


@pytest.fixture
def one_interpreter() -> Interpreter:
    """For tests that need not be repeated on each: the one that runs pytest, or else the newest."""
    if not INTERPRETERS:
        pytest.skip("no CPython 3.8 to 3.14 found")
    return next((one for one in INTERPRETERS if one.runs_pytest), INTERPRETERS[-1])


WAYS = {"agent": (), "no-agent": ("--no-agent",)}


@pytest.fixture(params=WAYS if harness.LONG else ["agent"])
def way(request: pytest.FixtureRequest) -> tuple[str, ...]:
    """The options of `record` for each way of recording; without the agent in a long run only."""
    return WAYS[request.param]


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Where to record to: not there yet."""
    return tmp_path / "trace"


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Path]:
    """The victims' $TMPDIR. Victims clean up after themselves, and a replay makes no file."""
    path = tmp_path / "scratch"
    path.mkdir()
    yield path
    assert not list(path.iterdir())


@pytest.fixture
def around(scratch: Path) -> Surroundings:
    """The surroundings of a victim."""
    return Surroundings(env=harness.victim_environment(scratch), cwd=scratch)


@pytest.fixture(scope="session")
def with_package(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Interpreter, str], Path]:
    """Gives a Python of an interpreter that has a package: itself, or a virtual environment in pytest's cache."""
    kept = getattr(request.config, "cache", None)

    def find(interpreter: Interpreter, package: str) -> Path:
        def works(python: Path) -> bool:
            return python.exists() and harness.run([python, "-c", f"import {package}"]).status == 0

        if works(interpreter.path):
            return interpreter.path
        cache: Path = kept.mkdir(package) if kept else tmp_path_factory.mktemp(package)
        environment = cache / interpreter.name
        python = environment / "bin" / "python"
        if works(python):
            return python
        if not (harness.LONG or interpreter.runs_pytest):
            pytest.skip(f"{package} is installed for other interpreters only when PYRR_LONG=1")
        long = Surroundings(timeout=240)
        commands: tuple[Command, ...] = (
            [interpreter.path, "-m", "venv", "--clear", environment],
            [python, "-m", "pip", "install", "--quiet", "--only-binary", ":all:", package],
        )
        for command in commands:
            try:
                result = harness.run(command, long)
            except subprocess.TimeoutExpired:
                pytest.skip(f"no {package} for {interpreter.name}: pip took too long")
            if result.status != 0:
                pytest.skip(f"no {package} for {interpreter.name}: {result.stderr.decode()[-300:]}")
        return python

    return find


@pytest.fixture(scope="session")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Gives what gcc makes of a victim in C, with these flags."""
    found: dict[tuple[str, ...], Path] = {}

    def build(name: str, *flags: str) -> Path:
        output = found.get((name, *flags))
        if output is None:
            output = tmp_path_factory.mktemp("compiled") / name
            source = harness.VICTIMS / f"{name}.c"
            try:
                result = harness.run(["gcc", "-std=gnu11", "-O2", *flags, "-o", output, source])
            except FileNotFoundError:
                pytest.skip(f"{name}: no gcc")
            assert result.status == 0, str(result)
            found[(name, *flags)] = output
        return output

    return build


@pytest.fixture(scope="session")
def swapped_libraries(compiled: Callable[..., Path]) -> list[str]:
    """The two shared libraries of library_swapped.py."""
    return [str(compiled("swapped_library", "-shared", "-fPIC", *other)) for other in ((), ("-DOTHER",))]


@pytest.fixture(scope="session")
def random_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shared library of random_instruction.py."""
    library = tmp_path_factory.mktemp("library") / "random_instruction.so"
    source = harness.VICTIMS / "random_instruction.c"
    flags = ["-O1", "-shared", "-fPIC", "-mrdrnd", "-mrdseed"]
    try:
        result = harness.run(["gcc", *flags, "-o", library, source])
    except FileNotFoundError:
        pytest.skip("no gcc")
    if result.status != 0:
        pytest.skip(f"gcc: {result.stderr.decode()[-300:]}")
    if " rdrand" not in Path("/proc/cpuinfo").read_text():
        pytest.skip("this processor has no rdrand")
    return library
