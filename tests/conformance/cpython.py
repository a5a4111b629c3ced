"""CPython's own tests, by its own runner: `python -m test`.

Releases 3.11.7 and 3.12.1 install neither test_concurrent_futures nor test_multiprocessing_*. These modules are taken
from Debian's libpython3.11-testsuite (all but the first are three lines, which name the installed
_test_multiprocessing).
"""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import runner
from harness import Interpreter, Result
from runner import Item, Verdicts

SUITE = "cpython"

WHOLE = """
    test_os test_posix test_io test_fileio test_mmap test_fcntl test_pty test_popen test_threadsignals test_thread
    test_queue test_select test_selectors test_sqlite3 test_sqlite test_time test_tempfile test_random test_hashlib
    test_zlib test_json test_pickle test_ctypes test_dict test_gc test_weakref test_exceptions test_traceback
"""
IN_PARTS = """
    test_subprocess test_signal test_threading test_socket test_ssl test_asyncio test_concurrent_futures
    test_multiprocessing_fork test_multiprocessing_spawn test_multiprocessing_forkserver
"""
"""What may hang is run in parts: a hang costs the rest of its item."""
PART = 80
"""Classes share an item until it has so many tests: each item starts Python four times."""

HANGS = {"test_socket": "*ThreadedVSOCKSocketStreamTest*"}
"""By module: tests that never end, bare, where the kernel has vsock and nobody is at its other end."""

LACKING = Path("/usr/lib/python3.11/test")
"""Where the modules are that an installation lacks, unless --lacking says otherwise."""
RUN_FROM = """
import test.libregrtest.findtests as findtests
from test.libregrtest.main import main
findtests.SPLITTESTDIRS.clear()
main()
"""
"""Instead of `-m test`, which looks for these modules where they are not installed, whatever --testdir says."""

VERSIONS = ((3, 11), (3, 12), (3, 13), (3, 8))
LACKS = ((3, 11), (3, 12))


def interpreters() -> list[Interpreter]:
    found = [one for one in runner.harness.interpreters(every=True) if one.name.endswith("-pyenv")]
    return sorted((one for one in found if one.version in VERSIONS), key=lambda one: VERSIONS.index(one.version))


def items(interpreter: Interpreter, modules: list[str], lacking: Path) -> Iterator[Item]:
    for module in modules:
        runner_of = _runner(interpreter, module, lacking)
        parts = _parts(module, runner_of)
        for name, patterns in parts:
            match = [word for pattern in patterns for word in ("-m", pattern)]
            match += ["-i", HANGS[module]] if module in HANGS else []
            words = [*runner_of, "-v", "--junit-xml={scratch}/verdicts.xml", *match, module]
            column = ".".join(map(str, interpreter.version))
            # Random order and random tests would make two runs incomparable; 0 is kept by 3.13 only if it is told.
            command = [str(word) for word in words]
            yield Item(SUITE, column, module, name, command, env={"PYTHONHASHSEED": "1"}, parts=len(parts))


def _runner(interpreter: Interpreter, module: str, lacking: Path) -> list[str]:
    """The words that start the runner of a module. None, where it is nowhere."""
    code = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('test.' + sys.argv[1]))"
    if runner.harness.run([interpreter.path, "-c", code, module]).status == 0:
        return [str(interpreter.path), "-m", "test"]
    if interpreter.version in LACKS and (lacking / f"{module}.py").exists():
        return [str(interpreter.path), "-c", RUN_FROM, "--testdir", str(lacking)]
    return []


def _parts(module: str, words: list[str]) -> list[tuple[str, list[str]]]:
    """The items of a module: names, and patterns of their tests."""
    if not words:
        return []
    if module not in IN_PARTS.split():
        return [(module, [])]
    listed = runner.harness.run([*words, "--list-cases", module]).stdout.decode().split("\n")
    tests = [line for line in listed if module in line.split(".")[:2]]
    parts: list[Counter[str]] = []
    for name, number in Counter(test.rpartition(".")[0].removeprefix("test.") for test in tests).items():
        if not parts or parts[-1].total() + number > PART:
            parts.append(Counter())
        parts[-1][name] = number
    return [(_name(list(part)), [f"*{name}.*" for name in part]) for part in parts]


def _name(classes: list[str]) -> str:
    """By its first class, and how many others there are."""
    return classes[0] + (f" and {len(classes) - 1}" if len(classes) > 1 else "")


def read_verdicts(result: Result, scratch: Path) -> Verdicts:
    """By test, from the runner's XML; and how the run ended, if not well."""
    verdicts = {} if result.status == 0 else {"(status)": str(result.status)}
    path = scratch / "verdicts.xml"
    try:
        cases = list(ElementTree.parse(path).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        return verdicts
    for case in cases:
        bad = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        verdicts[case.get("name", "?")] = bad[0] if bad else "passed"
    path.unlink()
    return verdicts


def main() -> int:
    parser = runner.arguments(__doc__ or "", SUITE)
    parser.add_argument("--python", action="append", metavar="3.11", help="only this version")
    parser.add_argument("--module", nargs="+", metavar="test_os", help="only these modules")
    parser.add_argument("--match", default="", help="only items with this in their name")
    parser.add_argument("--lacking", type=Path, default=LACKING, metavar="DIR",
                        help="where the modules are that an installation lacks (default: %(default)s)")  # fmt: skip
    options = parser.parse_args()
    if options.render:
        runner.render(options.results, SUITE)
        return 0
    chosen = [one for one in interpreters() if not options.python or ".".join(map(str, one.version)) in options.python]
    wanted = (
        item
        for one in chosen
        for item in items(one, options.module or (WHOLE + IN_PARTS).split(), options.lacking)
        if options.match in item.name
    )
    return min(1, runner.run_suite(wanted, read_verdicts, options))


if __name__ == "__main__":
    sys.exit(main())
