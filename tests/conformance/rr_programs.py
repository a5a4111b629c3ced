"""The test programs of rr (https://github.com/rr-debugger/rr), recorded and replayed by pyrr.

Nothing of rr is part of this project: the programs are built from a checkout, given as an argument or in RR_SOURCE, as
its CMakeLists.txt builds them, for 64 bits. Those which end as they should without a recorder on this machine are
recorded, replayed and verified.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import runner
from runner import Item, Result, Verdicts

SUITE = "rr"
BARE_SECONDS = 30.0
SUCCESS = "EXIT-SUCCESS"
LISTS = ("BASIC_TESTS", "TESTS_WITH_PROGRAM", "BASIC_CPP_TESTS")
FLAGS = ["-pthread", "-g", "-O0", "-UNDEBUG", "-DDEBUG", "-w"]
SIGNALLED = 'signal=$1 delay=$2; shift 2; "$@" & sleep $delay; kill -$signal $!; wait $!'

ARGUMENTS = {
    "args": "-no --force-syscall-buffer=foo -c 1000 hello",
    "async_signal_syscalls": "17",
    "async_signal_syscalls_siginfo": "17",
    "breakpoint_overlap": "3 4",
    "clone_vfork": "{programs}/simple",
    "exec_shared_as": "{programs}/exit_fast",
    "execve_loop": "100",
    "exit_codes": "3",
    "getcwd": "{scratch}",
    "goto_event": "1000",
    "mmap_shared_extern": "{scratch}/map_file 0 1",
    "sysconf_onln": f"--expected-cpus={os.sysconf('SC_NPROCESSORS_ONLN')}",
    "target_fork": "1000",
    "target_process": "{programs}/breakpoint",
    "threaded_syscall_spam": "17",
    "vfork": "{programs}/simple",
}
"""What the .run scripts give to programs which take arguments."""

SENT = {
    "async_kill_with_syscallbuf": ("KILL", 2),
    "async_kill_with_syscallbuf2": ("KILL", 1),
    "async_kill_with_threads": ("KILL", 2),
    "async_kill_with_threads_main_running": ("KILL", 2),
    "async_kill_with_threads_thread_running": ("KILL", 6),
    "async_segv": ("SEGV", 2),
    "async_usr1": ("USR1", 2),
    "ignored_async_usr1": ("USR1", 2),
    "term_trace_syscall": ("TERM", 2),
    "term_trace_reset": ("TERM", 2),
    "thread_exit_signal": ("CHLD", 1),
}
"""Programs to which a .run script sends a signal, and after how many seconds."""

OUTSIDE = {
    "seccomp_open": "a descriptor 75 that its script opens",
    "self_sigint": "its parent to be rr, to which it sends SIGINT",
    "restart_abnormal_exit": "its parent to be rr, to which it sends SIGINT",
    "term_rr": "its parent to be rr, to which it sends SIGTERM",
    "term_rr_ok": "its parent to be rr, to which it sends SIGTERM",
    "cont_race": "a second program outside of the recording",
    "dconf_mock": "a second program outside of the recording",
    "early_error": "an environment in which rr fails",
    "pack": "files that its script makes, and rr pack",
    "ignore_nested": "rr itself",
    "nested_detach_kill_stuck": "rr itself",
    "nested_detach_wait": "rr itself",
    "nested_release_signal": "rr itself",
    "seccomp_blocks_rr": "rr itself",
    "detach_terminal": "rr itself",
}
"""Programs that are nothing without what is beside them."""


@dataclass(frozen=True)
class Program:
    """One of rr's programs. `token` is what it prints when all went well; empty where nothing is required."""

    name: str
    source: Path
    token: str


def programs(source: Path) -> Iterator[Program]:
    """The programs that CMakeLists.txt lists, each once."""
    listing = (source / "CMakeLists.txt").read_text()
    seen = set()
    for name in LISTS:
        match = re.search(rf"^set\({name}\n(.*?)^\)", listing, re.MULTILINE | re.DOTALL)
        assert match, f"no {name} in CMakeLists.txt"
        lines = [line.split("#")[0].strip() for line in match[1].splitlines()]
        extra = re.findall(rf"set\({name} \$\{{{name}\}} (\S+)\)", listing)
        for entry in [line for line in lines if line] + extra:
            suffix = "cc" if name == "BASIC_CPP_TESTS" else "c"
            path = source / "src/test" / f"{entry}.{suffix}"
            if entry.startswith("arm/") or entry in seen or not path.exists():
                continue
            seen.add(entry)
            yield Program(path.stem, path, _token(path.with_suffix(".run")))


def _token(script: Path) -> str:
    """What the program must print, by its script. Those that run under a debugger only need not print anything."""
    if not script.exists():
        return SUCCESS
    match = re.search(
        r"^\s*(?:compare_test|check)\s+(?:'([^']*)'|\"([^\"]*)\"|(\S+))", script.read_text(), re.MULTILINE
    )
    return next((group for group in match.groups() if group is not None), "") if match else ""


def build(source: Path, folder: Path) -> dict[str, str]:
    """Builds all programs into `folder`; the error of those that cannot be built here."""
    folder.mkdir(parents=True, exist_ok=True)
    generated = folder / "generated"
    generated.mkdir(exist_ok=True)
    for name in ("SyscallEnumsForTestsX64.generated", "SyscallEnumsForTestsX86.generated"):
        command = [sys.executable, source / "src/generate_syscalls.py", generated / name]
        subprocess.run(command, check=True, cwd=source / "src")
    tests = source / "src/test"
    include = [f"-I{path}" for path in (generated, source / "src/preload", source / "include", tests)]
    library = folder / "libtest_lib.so"
    if not library.exists():
        shared = ["cc", *FLAGS, *include, "-shared", "-fPIC", str(tests / "test_lib.c"), "-o", str(library)]
        subprocess.run(shared, check=True)
    failed = {}
    todo = [(program.name, program.source, _libraries(program.name, folder)) for program in programs(source)]
    fast = ["-static", "-nostartfiles", "-nodefaultlibs", "-fno-stack-protector"]
    for name, path, libraries in [*todo, ("exit_fast", tests / "exit_fast.c", fast)]:
        if (folder / name).exists():
            continue
        compiler = "c++" if path.suffix == ".cc" else "cc"
        command = [compiler, *FLAGS, *include, str(path), "-o", str(folder / name), *libraries]
        result = subprocess.run(command, capture_output=True, text=True)
        if result.returncode:
            failed[name] = next((line for line in result.stderr.splitlines() if "error" in line), "the linker fails")
    return failed


def _libraries(name: str, folder: Path) -> list[str]:
    if name in ("constructor", "step_into_lib"):
        return [f"-L{folder}", f"-Wl,-rpath,{folder}", "-ltest_lib", "-lrt", "-ldl"]
    return ["-lrt", "-ldl"]


def command_of(program: Program, folder: Path) -> list[str]:
    """Its command line; `{scratch}` stands for the working directory (runner.Item)."""
    arguments = ARGUMENTS.get(program.name, "").replace("{programs}", str(folder))
    command = [str(folder / program.name), *shlex.split(arguments)]
    if program.name in SENT:
        signal, seconds = SENT[program.name]
        return ["/bin/bash", "-c", SIGNALLED, "bash", signal, str(seconds), *command]
    return command


def items(source: Path, folder: Path) -> Iterator[Item]:
    wanted = [one for one in programs(source) if one.name not in OUTSIDE and (folder / one.name).exists()]
    parts = Counter(program.name[0] for program in wanted)
    for program in wanted:
        name, command = program.name, command_of(program, folder)
        env = {"LC_ALL": "C"}
        yield Item(SUITE, "x86-64", name[0], name, command, env=env, timeout=BARE_SECONDS, parts=parts[name[0]])


def read_verdicts(folder: Path, tokens: Mapping[str, str], result: Result, scratch: Path) -> Verdicts:
    """One test: its status, if it says that all went well. None where it fails bare, as this machine may make it."""
    name = next(Path(word).name for word in result.command if word.startswith(f"{folder}/"))
    output = result.stdout + result.stderr
    good = tokens[name].encode() in output and b"FAILED" not in output
    return {"program": f"status {result.status}"} if good else {}


def main() -> int:
    parser = runner.arguments(__doc__ or "", SUITE)
    parser.add_argument("source", nargs="?", default=os.environ.get("RR_SOURCE"), help="a checkout of rr (RR_SOURCE)")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="only these programs")
    options = parser.parse_args()
    if options.render:
        runner.render(options.results, SUITE)
        return 0
    if not options.source:
        print("rr's programs are left out: RR_SOURCE is not set")
        return 0
    source, folder = Path(options.source).resolve(), options.results.resolve() / "rr-programs"
    for name, error in build(source, folder).items():
        print(f"{name} cannot be built: {error}")
    tokens = {program.name: program.token for program in programs(source)}
    wanted = (item for item in items(source, folder) if not options.only or item.name in options.only)
    return min(1, runner.run_suite(wanted, partial(read_verdicts, folder, tokens), options))


if __name__ == "__main__":
    sys.exit(main())
