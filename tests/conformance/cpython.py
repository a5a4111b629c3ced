"""CPython's own tests, by its own runner: `python -m test`."""

from __future__ import annotations

import sys
import xml.etree.ElementTree as ElementTree
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
BY_CLASS = """
    test_subprocess test_signal test_threading test_socket test_ssl test_asyncio test_concurrent_futures
    test_multiprocessing_fork test_multiprocessing_spawn test_multiprocessing_forkserver
"""
"""What may hang is run by class, test_asyncio by module: a hang costs the rest of its item."""

VERSIONS = ((3, 11), (3, 12), (3, 13), (3, 8))


def interpreters() -> list[Interpreter]:
    found = [one for one in runner.harness.interpreters(every=True) if one.name.endswith("-pyenv")]
    return sorted((one for one in found if one.version in VERSIONS), key=lambda one: VERSIONS.index(one.version))


def items(interpreter: Interpreter, modules: list[str]) -> Iterator[Item]:
    for module in modules:
        for name, pattern in _parts(interpreter, module):
            match = ["-m", pattern] if pattern else []
            words = [interpreter.path, "-m", "test", "-v", "--junit-xml={scratch}/verdicts.xml", *match, module]
            column = ".".join(map(str, interpreter.version))
            # Random order and random tests would make two runs incomparable; 0 is kept by 3.13 only if it is told.
            yield Item(SUITE, column, module, name, [str(word) for word in words], env={"PYTHONHASHSEED": "1"})


def _parts(interpreter: Interpreter, module: str) -> list[tuple[str, str]]:
    """The items of a module: names, and patterns of their tests."""
    if module not in BY_CLASS.split():
        return [(module, "")] if _exists(interpreter, module) else []
    listed = runner.harness.run([interpreter.path, "-m", "test", "--list-cases", module])
    tests = [line for line in listed.stdout.decode().split("\n") if line.startswith("test.")]
    cut = 2 if module == "test_asyncio" else 1
    groups = dict.fromkeys(test.rsplit(".", cut)[0] for test in tests)
    return [(group.removeprefix("test."), f"{group}.*") for group in groups]


def _exists(interpreter: Interpreter, module: str) -> bool:
    code = "import importlib.util, sys; sys.exit(not importlib.util.find_spec('test.' + sys.argv[1]))"
    return runner.harness.run([interpreter.path, "-c", code, module]).status == 0


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
    options = parser.parse_args()
    if options.render:
        runner.render(options.results, SUITE)
        return 0
    chosen = [one for one in interpreters() if not options.python or ".".join(map(str, one.version)) in options.python]
    wanted = (
        item
        for one in chosen
        for item in items(one, options.module or (WHOLE + BY_CLASS).split())
        if options.match in item.name
    )
    return min(1, runner.run_suite(wanted, read_verdicts, options))


if __name__ == "__main__":
    sys.exit(main())
