"""pyrr_debugger.pythonstack against real interpreters: what it reads and what Python itself says."""

from __future__ import annotations

import ctypes
import dataclasses
import functools
import itertools
import json
import mmap
import os
import random
import re
import select
import shutil
import signal
import struct
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyrr_debugger.pythonstack import (
    Interpreter,
    Memory,
    Module,
    PythonFrame,
    PythonThread,
    interpreter_version,
    linetable,
)
from pyrr_debugger.pythonstack.debug_offsets import MEMBERS, layout_from_debug_offsets
from pyrr_debugger.pythonstack.image import Image
from pyrr_debugger.pythonstack.layouts import LAYOUTS, Layout, Lines
from pyrr_debugger.pythonstack.memory import Reader, UnreadableError

VICTIMS = Path(__file__).parent / "victims"
MINORS = range(8, 15)

# Nothing here takes more than a second; a machine under load may be slow.
PATIENCE = 60


# Interpreters


@functools.cache
def interpreters() -> dict[Path, int]:
    """The CPythons of this machine from 3.8 on, each with its minor version."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    directories = [*map(Path, os.get_exec_path()), *sorted(pyenv.glob("versions/*/bin")), Path("/usr/bin")]
    found = {}
    for minor in MINORS:
        for directory in directories:
            path = directory / f"python3.{minor}"
            # pyenv also puts shell scripts of these names on the PATH.
            if path.is_file() and path.read_bytes()[:4] == b"\x7fELF":
                found[path.resolve()] = minor
    return found


def each_interpreter() -> pytest.MarkDecorator:
    parameters = [pytest.param(path, id=str(path)) for path in interpreters()]
    for minor in set(MINORS) - set(interpreters().values()):
        skip = pytest.mark.skip(reason=f"no python3.{minor} on this machine")
        parameters.append(pytest.param(None, id=f"python3.{minor}", marks=skip))
    return pytest.mark.parametrize("python", parameters)


def ask(python: Path, program: str, *arguments: str) -> str:
    """Return what a program prints."""
    command = [str(python), "-c", program, *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, check=True, timeout=PATIENCE, text=True).stdout


# Processes


class ProcessMemory:
    """A process's memory through /proc/PID/mem; remembers what was read."""

    def __init__(self, pid: int) -> None:
        self.reads: dict[int, bytes] = {}
        self._file = open(f"/proc/{pid}/mem", "rb", buffering=0)  # noqa: SIM115

    def read(self, address: int, size: int) -> bytes:
        data = os.pread(self._file.fileno(), size, address)
        self.reads[address] = max(data, self.reads.get(address, b""), key=len)
        return data


def modules(pid: int, part: int | None = None) -> list[Module]:
    """The ELF files mapped in a process; only the first `part` bytes of each."""
    starts: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5].startswith("/"):
            starts.setdefault(fields[5], int(fields[0].split("-")[0], 16))
    found = []
    for path, start in starts.items():
        with open(path, "rb") as file:
            contents = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        if contents[:4] == b"\x7fELF":
            (kind,) = struct.unpack_from("<H", contents, 16)
            fixed = kind == 2  # ET_EXEC
            found.append(Module(path, start, 0 if fixed else start, memoryview(contents)[:part]))
    return found


def find(pid: int, part: int | None = None) -> Interpreter:
    interpreter = Interpreter.find(ProcessMemory(pid), modules(pid, part))
    assert interpreter is not None
    return interpreter


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


@contextmanager
def running(*command: str | Path, preexec: Callable[[], Any] = die_with_parent) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [str(part) for part in command],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        bufsize=0,
        preexec_fn=preexec,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)
        for stream in process.stdin, process.stdout:
            assert stream is not None
            stream.close()


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.001)


def next_line(process: subprocess.Popen[bytes]) -> str:
    """Return the next line a process prints; empty at the end of its output."""
    assert process.stdout is not None
    line = b""
    while not line.endswith(b"\n"):
        ready, _, _ = select.select([process.stdout], [], [], PATIENCE)
        assert ready, "waited too long"
        part = process.stdout.read(1 << 16)
        if not part:
            break
        line += part
    return line.decode()


def wait_for_read(pid: int) -> None:
    """Wait until some thread of a process is blocked reading its standard input."""
    wait_until(
        lambda: any(task.read_text().startswith("0 0x0 ") for task in Path(f"/proc/{pid}/task").glob("*/syscall"))
    )


def as_lists(frames: tuple[PythonFrame, ...]) -> list[list[object]]:
    return [[frame.function, frame.file, frame.line, frame.first_line] for frame in frames]


# Stacks


@each_interpreter()
def test_stacks_are_what_python_says_they_are(python: Path, tmp_path: Path) -> None:
    minor = interpreters()[python]
    cases = []
    with running(python, VICTIMS / "stack_calls.py", tmp_path) as victim:
        while line := next_line(victim):
            stop = json.loads(line)
            cases.append(stop["case"])
            wait_for_read(stop["pid"])
            threads = find(stop["pid"]).threads()

            expected = {int(ident): frames for ident, frames in stop["threads"].items()}
            assert {thread.native_thread: as_lists(thread.frames) for thread in threads} == expected, stop["case"]
            native = {int(ident): native for ident, native in stop["native"].items()}
            if minor >= 11:
                assert {thread.native_thread: thread.tid for thread in threads} == native, stop["case"]
            else:
                assert not any(thread.tid for thread in threads)
            # All are blocked.
            assert {thread.holds_gil for thread in threads} == {False}

            assert victim.stdin is not None
            victim.stdin.write(b"\n")
        assert victim.wait(PATIENCE) == 0
    assert cases[-1] == "atexit"
    assert len(cases) > 100


def functions(source: list[str]) -> dict[int, tuple[str, int]]:
    """By the line of its `def`: the name of each function of a source and its last line."""
    found = {}
    for index, line in enumerate(source):
        match = re.match(r"( *)def (\w+)", line)
        if match:
            end = index + 1
            while end < len(source) and (not source[end] or source[end].startswith(match[1] + " ")):
                end += 1
            found[index + 1] = match[2], end
    return found


def check_against_source(thread: PythonThread, source: list[str]) -> None:
    """Each caller is on a line that names the function it called, and each frame within its own function."""
    known = functions(source)
    frames = [frame for frame in thread.frames if frame.file.endswith("stack_busy.py")]
    for callee, caller in itertools.pairwise(frames):
        name = callee.function.split(".")[-1]
        assert re.search(rf"\b{name}\b", source[caller.line - 1]), (callee, caller)
    for frame in frames:
        if frame.function == "<module>":
            assert frame is frames[-1]
        else:
            name, last_line = known[frame.first_line]
            assert name == frame.function.split(".")[-1]
            if frame is not frames[0] or frame.line != linetable.NO_LINE:  # an instruction such as POP_TOP in 3.12
                assert frame.first_line <= frame.line <= last_line, frame


@each_interpreter()
def test_stacks_at_any_instruction(python: Path) -> None:
    """Stops a program that never rests at random: nothing of what is being changed just then may confuse."""
    source = (VICTIMS / "stack_busy.py").read_text().splitlines()
    dice = random.Random(0)
    seen: set[str] = set()
    lines: set[int] = set()
    with_gil = 0
    errors: list[AssertionError] = []
    with running(python, VICTIMS / "stack_busy.py") as victim:
        assert next_line(victim) == "ready\n"
        interpreter = None
        for _ in range(200):
            time.sleep(dice.random() / 500)
            victim.send_signal(signal.SIGSTOP)
            wait_until(lambda: Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T")
            interpreter = interpreter or find(victim.pid)
            threads = interpreter.threads()
            with_gil += [thread.holds_gil for thread in threads].count(True)
            assert len(threads) <= 2
            try:
                for thread in threads:
                    check_against_source(thread, source)
                    seen.update(frame.function.split(".")[-1] for frame in thread.frames)
                    lines.update(frame.line for frame in thread.frames[:1])
                assert [frame.function for frame in threads[-1].frames[-1:]] == ["<module>"]
            except AssertionError as error:
                errors.append(error)
            victim.send_signal(signal.SIGCONT)
    # See Interpreter: about one in a thousand.
    assert len(errors) <= (4 if interpreters()[python] >= 11 else 0), errors
    expected = {
        "leaf",
        "loop",
        "numbers",
        "recurse",
        "method",
        "other",
        "closing",
        "closed",
        "consume",
        "forever",
    }
    assert expected <= seen
    assert len(lines) > 10
    # But for the short time in which it changes hands, one has it.
    assert 150 < with_gil <= 200


@each_interpreter()
def test_deep_recursion(python: Path) -> None:
    if interpreters()[python] < 11:
        pytest.skip("until 3.11 such a recursion would overflow the C stack")
    program = """
import sys
sys.setrecursionlimit(70_000)
def f(depth):
    if depth:
        f(depth - 1)
    print("ready", flush=True)
    input()
f(60_000)
"""
    with running(python, "-c", program) as victim:
        next_line(victim)
        wait_for_read(victim.pid)
        (thread,) = find(victim.pid).threads()
    assert len(thread.frames) == 60_002
    assert [frame.line for frame in (thread.frames[0], thread.frames[1], thread.frames[-1])] == [8, 6, 9]


@each_interpreter()
def test_gil_is_held_by_the_thread_that_runs(python: Path) -> None:
    program = "import threading; threading.Thread(target=input).start()\nprint(0, flush=True)\nwhile True: pass"
    with running(python, "-c", program) as victim:
        next_line(victim)
        wait_for_read(victim.pid)
        held = []
        wait_until(lambda: find(victim.pid).threads()[-1].frames[-1].line == 3)
        for _ in range(10):
            victim.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
            threads = find(victim.pid).threads()
            victim.send_signal(signal.SIGCONT)
            assert [thread.frames[-1].function for thread in threads][-1] == "<module>"
            held.append([thread.holds_gil for thread in threads])
        assert held == [[False, True]] * 10


@each_interpreter()
def test_subinterpreters(python: Path) -> None:
    program = """
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
def run(new):
    interpreters.run_string(new, '''
import os
def within():
    os.write(1, b"ready\\\\n")
    os.read(0, 1)
within()
''')
run(interpreters.create())
"""
    with running(python, "-c", program) as victim:
        assert next_line(victim) == "ready\n"
        wait_for_read(victim.pid)
        stacks = [[(frame.function, frame.line) for frame in thread.frames] for thread in find(victim.pid).threads()]
    assert [("run", 7), ("<module>", 14)] in stacks
    assert any(stack[:2] == [("within", 5), ("<module>", 6)] for stack in stacks)


# Before, after and without an interpreter


@each_interpreter()
def test_no_threads_at_the_exec_stop(python: Path) -> None:
    """Only the executable and the dynamic linker are mapped yet; nothing has run, nothing is relocated."""

    def stop_at_exec() -> None:
        die_with_parent()
        ctypes.CDLL(None).ptrace(0, 0, 0, 0)  # PTRACE_TRACEME: the exec raises SIGTRAP

    # Popen() itself returns once the exec has closed its pipe.
    with running(python, "-c", "", preexec=stop_at_exec) as victim:
        wait_until(lambda: Path(f"/proc/{victim.pid}/stat").read_text().rpartition(")")[2].split()[0] == "t")
        mapped = modules(victim.pid)
        interpreter = Interpreter.find(ProcessMemory(victim.pid), mapped)
        version = interpreter_version(mapped[0].elf, mapped[0].path)
        if interpreter is None:
            assert version is None, "the executable holds an interpreter"
        else:
            assert interpreter.version == version
            assert interpreter.threads() == []


EMBEDDING = r"""
#include <Python.h>
static void say(const char *text) { puts(text); fflush(stdout); getchar(); }
int main(void) {
    say("before");
    Py_InitializeEx(0);
    PyRun_SimpleString("def f():\n  import os\n  os.write(1, b'inside\\n')\n  os.read(0, 1)\nf()");
    Py_FinalizeEx();
    say("after");
    Py_InitializeEx(0);
    PyRun_SimpleString("def g():\n  import os\n  os.write(1, b'again\\n')\n  os.read(0, 1)\ng()");
    return 0;
}
"""


@each_interpreter()
def test_embedded_interpreter(python: Path, tmp_path: Path) -> None:
    """No threads before it is initialized or after it is finalized; the executable's name is any."""
    minor = interpreters()[python]
    settings = "LIBDIR", "LDLIBRARY", "INCLUDEPY"
    asking = "import sys, sysconfig; print(*map(sysconfig.get_config_var, sys.argv[1:]), sep='\\n')"
    directory, library, include = ask(python, asking, *settings).splitlines()
    if not (Path(include) / "Python.h").exists() or not (Path(directory) / library).exists():
        pytest.skip("no headers or no shared library to embed")
    compile_c(EMBEDDING, tmp_path / "embedding", f"-I{include}", f"-L{directory}", f"-Wl,-rpath,{directory}",
              f"-lpython3.{minor}")  # fmt: skip
    with running(tmp_path / "embedding") as victim:
        assert victim.stdin is not None
        stacks = {}
        while line := next_line(victim):
            wait_for_read(victim.pid)
            stacks[line.strip()] = [as_lists(thread.frames) for thread in find(victim.pid).threads()]
            victim.stdin.write(b"\n")
        assert victim.wait(PATIENCE) == 0
    assert stacks == {
        "before": [],
        "inside": [[["f", "<string>", 4, 1], ["<module>", "<string>", 5, 1]]],
        "after": [],
        "again": [[["g", "<string>", 4, 1], ["<module>", "<string>", 5, 1]]],
    }


def test_no_interpreter() -> None:
    with running("cat") as victim:
        wait_for_read(victim.pid)
        mapped = modules(victim.pid)
        assert len(mapped) > 1
        assert Interpreter.find(ProcessMemory(victim.pid), mapped) is None
        assert Interpreter.find(ProcessMemory(victim.pid), []) is None


# Files, versions and symbols


def compile_c(source: str, output: Path, *options: str) -> None:
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")
    command = [compiler, "-w", "-x", "c", "-", "-x", "none", "-o", str(output), *options]
    subprocess.run(command, input=source, text=True, check=True, timeout=PATIENCE)


@each_interpreter()
def test_files_may_be_missing_or_partial(python: Path) -> None:
    """What is not in the part of a file that is at hand is found in memory, relocated."""
    with running(python, "-c", "def f(): print('ready', flush=True); input()\nf()") as victim:
        next_line(victim)
        wait_for_read(victim.pid)
        whole = find(victim.pid)
        for part in 0, 100, 5000, 1_000_000:
            interpreter = find(victim.pid, part)
            assert interpreter.version == whole.version
            assert interpreter.threads() == whole.threads() != []


@each_interpreter()
def test_interpreter_version(python: Path) -> None:
    version = ask(python, "import platform; print(platform.python_version())").strip()
    with running(python, "-c", "print('ready', flush=True); input()") as victim:
        next_line(victim)
        assert find(victim.pid).version == version
        found = {module.path: interpreter_version(module.elf, module.path) for module in modules(victim.pid)}
        assert {path for path, of_file in found.items() if of_file is not None} <= {
            path for path in found if "python" in Path(path).name
        }
        assert set(found.values()) == {None, version}
        (holder,) = (module for module in modules(victim.pid) if found[module.path])
        # The name helps only, and none of it is needed.
        assert interpreter_version(holder.elf, "/opt/renamed") == version
        assert interpreter_version(bytes(holder.elf), "renamed") == version
        assert interpreter_version(holder.elf[:1000], holder.path) is None


def test_version_before_it_was_a_symbol(tmp_path: Path) -> None:
    """Only strings tell, and among them there are misleading ones."""

    def version(source: str, name: str) -> str | None:
        library = tmp_path / name
        code = f"const char *strings[] = {{{source}}}; void Py_GetVersion(void) {{}}"
        compile_c(code, library, "-shared", "-fPIC")
        return interpreter_version(library.read_bytes(), str(library))

    assert version('"/opt/python-3.8.2", "3.8.18", "3.9.1", "13.8.2"', "libpython3.8.so.1.0") == "3.8.18"
    assert version('"3.8.18", "/opt/python-3.8.2"', "libpython3.8.so.1.0") == "3.8.18"
    assert version('"/opt/python-3.8.18"', "libpython3.8.so.1.0") == "3.8.18"  # merged tails
    assert version('"3.9.0rc1+", "3.9.x"', "python3.9") == "3.9.0rc1+"
    assert version('"3.10.1", "3.1.7", "lib/python3.10"', "renamed") == "3.10.1"
    assert version('"3.1.7"', "python3.10") is None
    assert version('"13.8.2", "2.3.8.1"', "libpython3.8.so.1.0") is None


@each_interpreter()
def test_symbols(python: Path) -> None:
    elffile = pytest.importorskip("elftools.elf.elffile")
    library = next(
        path
        for path in (python, *python.parent.parent.glob("lib/libpython3.*.so.1.0"))
        if interpreter_version(path.read_bytes(), str(path))
    )
    module = Module(str(library), 0, 0, library.read_bytes())
    image = Image(Reader(Nothing()), module)
    with open(library, "rb") as file:
        symbols = list(elffile.ELFFile(file).get_section_by_name(".dynsym").iter_symbols())
    defined = {symbol.name: symbol["st_value"] for symbol in symbols if symbol["st_shndx"] != "SHN_UNDEF"}
    undefined = {symbol.name for symbol in symbols if symbol.name} - set(defined)
    assert len(defined) > 1000
    for name in random.Random(0).sample(sorted(defined), 300):
        assert image.symbol(name) == defined[name]
    for name in [*list(undefined)[:100], "", "_PyRuntim", "no such symbol"]:
        assert image.symbol(name) is None


class Nothing:
    def read(self, address: int, size: int) -> bytes:
        raise OSError


# Layouts


def offset_expressions(minor: int) -> dict[str, str]:
    """The C expression for each member of Layout that this version has."""
    old = minor <= 10
    frame = "PyFrameObject" if old else "_PyInterpreterFrame"
    members = {
        "runtime_interpreters": "_PyRuntimeState, interpreters.head",
        "runtime_gil": "_PyRuntimeState, ceval.gil" if minor <= 11 else "",
        "interpreter_next": "PyInterpreterState, next",
        "interpreter_threads": "PyInterpreterState, " + ("tstate_head" if old else "threads.head"),
        "interpreter_gil": "PyInterpreterState, ceval.gil" if minor >= 12 else "",
        "gil_holder": "struct _gil_runtime_state, last_holder",
        "gil_locked": "struct _gil_runtime_state, locked",
        "thread_next": "PyThreadState, next",
        "thread_pthread": "PyThreadState, thread_id",
        "thread_tid": "" if old else "PyThreadState, native_thread_id",
        "thread_frame": "PyThreadState, " + ("frame" if old else "cframe" if minor <= 12 else "current_frame"),
        "cframe_frame": "_PyCFrame, current_frame" if minor in (11, 12) else "",
        "frame_back": f"{frame}, " + ("f_back" if old else "previous"),
        "frame_code": f"{frame}, " + ("f_code" if minor <= 12 else "f_executable"),
        "frame_instruction": f"{frame}, " + ("f_lasti" if old else "prev_instr" if minor <= 12 else "instr_ptr"),
        "frame_owner": "" if old else f"{frame}, owner",
        "code_file": "PyCodeObject, co_filename",
        "code_name": "PyCodeObject, " + ("co_name" if old else "co_qualname"),
        "code_first_line": "PyCodeObject, co_firstlineno",
        "code_lines": "PyCodeObject, " + ("co_lnotab" if minor <= 9 else "co_linetable"),
        "code_first_traceable": "" if old else "PyCodeObject, _co_firsttraceable",
        "code_units": "" if old else "PyCodeObject, co_code_adaptive",
        "string_length": "PyASCIIObject, length",
        "string_state": "PyASCIIObject, state",
        "bytes_size": "PyVarObject, ob_size",
        "bytes_data": "PyBytesObject, ob_sval",
    }
    expressions = {name: f"offsetof({member})" for name, member in members.items() if member}
    expressions["string_ascii"] = "sizeof(PyASCIIObject)"
    expressions["string_compact"] = "sizeof(PyCompactUnicodeObject)"
    return expressions


def compiled_layout(minor: int, include: Path, directory: Path) -> Layout:
    """Compile and run a program that prints the offsets in an interpreter's own headers."""
    headers = ["Python.h", "frameobject.h", "internal/pycore_pystate.h"]
    headers += ["internal/pycore_runtime.h", "internal/pycore_interp.h"] if minor >= 9 else []
    headers += ["internal/pycore_frame.h"] if minor >= 11 else []
    expressions = offset_expressions(minor)
    lines = [f"#include <{header}>" for header in ("stddef.h", "stdio.h", *headers)]
    lines.append("int main(void) {")
    lines += [f'printf("{name} %zu\\n", (size_t){expression});' for name, expression in expressions.items()]
    lines.append("}")
    compile_c("\n".join(lines), directory / "offsets", "-DPy_BUILD_CORE", f"-I{include}", f"-I{include}/internal")
    output = subprocess.run([directory / "offsets"], stdout=subprocess.PIPE, check=True, timeout=PATIENCE, text=True)
    found = dict(line.split() for line in output.stdout.splitlines())
    lines_of = Lines.LNOTAB if minor <= 9 else Lines.RANGES if minor == 10 else Lines.LOCATIONS
    offsets: dict[str, Any] = {
        field.name: int(found[field.name]) if field.name in found else None for field in dataclasses.fields(Layout)
    }
    return Layout(**offsets | {"lines": lines_of})


@each_interpreter()
def test_layout_is_that_of_the_headers(python: Path, tmp_path: Path) -> None:
    minor = interpreters()[python]
    include = Path(ask(python, "import sysconfig; print(sysconfig.get_config_var('INCLUDEPY'))").strip())
    if not (include / "internal" / "pycore_pystate.h").exists():
        pytest.skip(f"no internal headers in {include}")
    layout: Layout | None
    if minor <= 12:
        layout = LAYOUTS[3, minor]
    else:
        with running(python, "-c", "print('ready', flush=True); input()") as victim:
            next_line(victim)
            layout = find(victim.pid)._layout
    assert layout == compiled_layout(minor, include, tmp_path)


def test_layouts_name_what_their_version_has() -> None:
    assert sorted(LAYOUTS) == [(3, minor) for minor in range(8, 13)]
    for layout in LAYOUTS.values():
        assert (layout.runtime_gil is None) != (layout.interpreter_gil is None)
        assert (layout.lines is Lines.LOCATIONS) == (layout.frame_owner is not None)


# Line tables

COMPARE_LINES = """
import ctypes, glob, importlib.util, os, random, sys, types
spec = importlib.util.spec_from_file_location('linetable', sys.argv[1])
linetable = importlib.util.module_from_spec(spec)
spec.loader.exec_module(linetable)
address_to_line = ctypes.pythonapi.PyCode_Addr2Line
address_to_line.argtypes = ctypes.py_object, ctypes.c_int
version = sys.version_info
function = (linetable.line_in_lnotab if version < (3, 10) else
            linetable.line_in_line_ranges if version < (3, 11) else linetable.line_in_locations)
dice = random.Random(0)
compared = without_line = 0

def compare(code):
    global compared, without_line
    table = code.co_lnotab if version < (3, 10) else code.co_linetable
    offsets = range(0, len(code.co_code), 2)
    if len(offsets) > 200:
        offsets = dice.sample(offsets, 200)
    for offset in [-2, -1, *offsets, len(code.co_code) - 2]:
        expected = address_to_line(code, offset)
        without_line += expected == -1
        found = function(table, code.co_firstlineno, offset)
        assert found == (linetable.NO_LINE if expected == -1 else expected), (code, offset, expected, found)
        compared += 1
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            compare(constant)

files = sorted(glob.glob(os.path.join(os.path.dirname(os.__file__), '*.py')))
for path in dice.sample(files, 15) + sys.argv[2:]:
    with open(path, encoding='utf-8') as file:
        compare(compile(file.read(), path, 'exec'))
print(compared, without_line)
"""


@each_interpreter()
def test_lines_are_those_of_the_interpreter(python: Path) -> None:
    """For instructions of the standard library, the same line as PyCode_Addr2Line has."""
    victim = str(VICTIMS / "stack_calls.py")
    compared, without_line = map(int, ask(python, COMPARE_LINES, linetable.__file__, victim).split())
    assert compared > 10_000
    if interpreters()[python] >= 10:
        assert without_line > 0


LINE_FUNCTIONS = [linetable.line_in_lnotab, linetable.line_in_line_ranges, linetable.line_in_locations]


@given(st.sampled_from(LINE_FUNCTIONS), st.binary(max_size=300), st.integers(), st.integers())
def test_any_line_table(function: Callable[[bytes, int, int], int], table: bytes, line: int, offset: int) -> None:
    assert isinstance(function(table, line, offset), int)
    if offset < 0:
        assert function(table, line, offset) == line


# 3.14, of which there may be no interpreter at hand: memory made by hand


class Heap:
    """Memory into which objects are put; all else is unmapped."""

    def __init__(self) -> None:
        self.parts: dict[int, bytearray] = {}
        self._next = 0x10000

    def allocate(self, size: int) -> int:
        address = self._next
        self.parts[address] = bytearray(size)
        self._next += size + 4096 & ~15
        return address

    def put(self, address: int, offset: int, value: int, size: int = 8) -> None:
        self.parts[address][offset : offset + size] = value.to_bytes(size, "little", signed=value < 0)

    def read(self, address: int, size: int) -> bytes:
        for start, part in self.parts.items():
            if start <= address and address + size <= start + len(part):
                return bytes(part[address - start : address - start + size])
        raise OSError("unmapped")

    def string(self, text: str) -> int:
        """A str as 3.12 and later have it: 40 bytes, then 16 more unless it is ASCII, then the characters."""
        widest = max(map(ord, text), default=0)
        kind, encoding = (1, "latin-1") if widest < 256 else (2, "utf-16-le") if widest < 65536 else (4, "utf-32-le")
        data = text.encode(encoding)
        is_ascii = widest < 128
        start = 40 if is_ascii else 56
        address = self.allocate(start + len(data))
        self.put(address, 16, len(text))
        self.put(address, 32, 1 | kind << 2 | 1 << 5 | is_ascii << 6, 4)
        self.parts[address][start:] = data
        return address

    def bytes_object(self, data: bytes) -> int:
        address = self.allocate(32 + len(data))
        self.put(address, 16, len(data))
        self.parts[address][32:] = data
        return address


def debug_offsets_of_314() -> dict[str, int]:
    """A table in which each member has another value, but for those that objects really have."""
    offsets = {member: 8 * index for index, member in enumerate(MEMBERS[3, 14])}
    offsets |= {"version": 0x030E00F0, "free_threaded": 0}
    offsets |= {"bytes_object.ob_size": 16, "bytes_object.ob_sval": 32}
    offsets |= {
        "unicode_object.state": 32,
        "unicode_object.length": 16,
        "unicode_object.asciiobject_size": 40,
    }
    return offsets


def encode_debug_offsets(offsets: dict[str, int]) -> bytes:
    return b"xdebugpy" + struct.pack(f"<{len(offsets)}Q", *offsets.values())


def test_debug_offsets_of_314() -> None:
    offsets = debug_offsets_of_314()
    layout = layout_from_debug_offsets(encode_debug_offsets(offsets))
    assert layout is not None
    heap = Heap()
    size = 8 * len(offsets)
    code_size = offsets["code_object.co_code_adaptive"] + 100

    def code(name: str, file: str) -> int:
        address = heap.allocate(code_size)
        heap.put(address, offsets["code_object.qualname"], heap.string(name))
        heap.put(address, offsets["code_object.filename"], heap.string(file))
        heap.put(address, offsets["code_object.firstlineno"], 10, 4)
        # 2 code units on the first line, then 8 on the next one.
        table = bytes([0x80 | 10 << 3 | 1, 0, 0, 0x80 | 11 << 3 | 7, 0, 0])
        heap.put(address, offsets["code_object.linetable"], heap.bytes_object(table))
        heap.put(address, offsets["code_object.co_code_adaptive"] - 16, 2, 4)  # _co_firsttraceable
        return address

    def frame(executable: int, units: int, owner: int, previous: int) -> int:
        address = heap.allocate(size)
        heap.put(address, offsets["interpreter_frame.executable"], executable)
        instruction = executable + offsets["code_object.co_code_adaptive"] + 2 * units
        heap.put(address, offsets["interpreter_frame.instr_ptr"], instruction)
        heap.put(address, offsets["interpreter_frame.owner"], owner, 1)
        heap.put(address, offsets["interpreter_frame.previous"], previous)
        return address

    tagged = code("größe", "путь.py")
    base = frame(0x1234, 0, 4, 0)  # FRAME_OWNED_BY_CSTACK
    outermost = frame(code("<module>", "plain.py"), 2, 0, base)
    shim = frame(0x1234, 0, 3, outermost)  # FRAME_OWNED_BY_INTERPRETER
    generator = frame(code("𐍈", "🐍.py"), 1, 1, shim)  # FRAME_OWNED_BY_GENERATOR: complete, wherever it is
    innermost = frame(tagged, 9, 0, generator)
    heap.put(innermost, offsets["interpreter_frame.executable"], tagged | 1)  # a borrowed _PyStackRef
    unfinished = frame(code("not begun", "plain.py"), 1, 0, innermost)

    runtime, interpreter, thread, gil = (heap.allocate(size) for _ in range(4))
    heap.put(runtime, offsets["runtime_state.interpreters_head"], interpreter)
    heap.put(interpreter, offsets["interpreter_state.threads_head"], thread)
    heap.put(interpreter, offsets["interpreter_state.ceval_gil"], gil)
    heap.put(gil, layout.gil_holder, thread)
    heap.put(gil, layout.gil_locked, 1, 4)
    heap.put(thread, offsets["thread_state.current_frame"], unfinished)
    heap.put(thread, offsets["thread_state.thread_id"], 0x7F0000001740)
    heap.put(thread, offsets["thread_state.native_thread_id"], 4321)

    expected = (
        PythonFrame("größe", "путь.py", 11, 10),
        PythonFrame("𐍈", "🐍.py", 10, 10),
        PythonFrame("<module>", "plain.py", 11, 10),
    )
    reader = Interpreter(heap, "3.14.0", runtime, layout)
    assert reader.threads() == [PythonThread(0x7F0000001740, 4321, True, expected)]

    # What cannot be read ends the stack, and turning back ends it too.
    heap.put(generator, offsets["interpreter_frame.previous"], 0x5000)
    assert reader.threads()[0].frames == expected[:2]
    heap.put(generator, offsets["interpreter_frame.previous"], innermost)
    assert reader.threads()[0].frames == expected[:2]
    heap.put(gil, layout.gil_locked, 0, 4)
    assert reader.threads()[0].holds_gil is False
    heap.put(gil, layout.gil_locked, 77, 4)
    assert reader.threads()[0].holds_gil is None
    heap.put(runtime, offsets["runtime_state.interpreters_head"], 0)
    assert reader.threads() == []


def test_debug_offsets_that_are_refused() -> None:
    offsets = debug_offsets_of_314()
    assert layout_from_debug_offsets(encode_debug_offsets(offsets)) is not None
    for change in (
        {"free_threaded": 1},
        {"version": 0x030F00F0},
        {"version": 0},
        {"thread_state.next": 1 << 40},
    ):
        assert layout_from_debug_offsets(encode_debug_offsets(offsets | change)) is None
    assert layout_from_debug_offsets(encode_debug_offsets(offsets)[:-8]) is None
    assert layout_from_debug_offsets(b"xdebugpx" + encode_debug_offsets(offsets)[8:]) is None
    assert layout_from_debug_offsets(b"") is None


# Garbage


class Fragments:
    """Just the memory that reading a real process touched, to be damaged."""

    def __init__(self, reads: dict[int, bytes]) -> None:
        self.parts = sorted((address, bytearray(data)) for address, data in reads.items())

    def damaged(self, damages: list[tuple[int, int, int]]) -> Heap:
        """A copy in which some places hold a number or a pointer to another place."""
        heap = Heap()
        heap.parts = {address: bytearray(data) for address, data in self.parts}
        for place, target, value in damages:
            address, data = self.parts[place % len(self.parts)]
            # Half of all numbers become pointers.
            number = self.parts[target % len(self.parts)][0] if target % 2 else value
            offset = value % max(1, len(data))
            heap.parts[address][offset : offset + 8] = number.to_bytes(8, "little")
        return heap


@functools.cache
def fragments() -> tuple[Fragments, list[Module], Interpreter]:
    """A process's memory as far as it is read without any file, those files, and what was found."""
    python = [path for path, minor in interpreters().items() if minor >= 11][-1]
    with running(
        python, "-c", "def f(n):\n  if n: f(n - 1)\n  else: print('ready', flush=True); input()\nf(3)"
    ) as victim:
        next_line(victim)
        wait_for_read(victim.pid)
        memory = ProcessMemory(victim.pid)
        mapped = modules(victim.pid, 0)
        interpreter = Interpreter.find(memory, mapped)
        assert interpreter is not None
        assert len(interpreter.threads()[0].frames) == 5
        return Fragments(memory.reads), mapped, interpreter


WORD = st.integers(0, 2**64 - 1)


@settings(deadline=10_000, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 1 << 16), WORD), max_size=20))
def test_damaged_memory(damages: list[tuple[int, int, int]]) -> None:
    whole, mapped, found = fragments()
    memory = whole.damaged(damages)
    Interpreter.find(memory, mapped)
    threads = Interpreter(memory, found.version, found._runtime, found._layout).threads()
    if not damages:
        assert len(threads[0].frames) == 5


class RandomMemory:
    """All is mapped, and holds either random numbers or pointers to some place near."""

    def __init__(self, seed: int, pointers: bool) -> None:
        self.seed = seed
        self.pointers = pointers

    def read(self, address: int, size: int) -> bytes:
        dice = random.Random(self.seed ^ address)
        if not self.pointers:
            return dice.randbytes(size)
        return b"".join(struct.pack("<Q", dice.randrange(1, 1 << 20)) for _ in range(0, size, 8))[:size]


@settings(deadline=30_000, max_examples=10)
@given(st.integers(0, 2**32), st.booleans(), st.sampled_from(sorted(LAYOUTS)), WORD)
def test_random_memory(seed: int, pointers: bool, version: tuple[int, int], runtime: int) -> None:
    memory = RandomMemory(seed, pointers)
    Interpreter(memory, "3.8.0", runtime, LAYOUTS[version]).threads()
    Interpreter.find(memory, [Module("/usr/bin/python3.8", 0x1000, 0, b"")])


class EndlessMemory:
    """Wherever one looks, there is a pointer to somewhere further: no list ends or turns back."""

    def read(self, address: int, size: int) -> bytes:
        return struct.pack("<Q", address + 8) * (size // 8) + b"\0" * (size % 8)


@pytest.mark.parametrize("version", sorted(LAYOUTS))
def test_endless_memory(version: tuple[int, int]) -> None:
    start = time.monotonic()
    Interpreter(EndlessMemory(), "3.8.0", 0x1000, LAYOUTS[version]).threads()
    assert time.monotonic() - start < 30


@given(st.binary(max_size=2000), st.booleans())
def test_any_file(contents: bytes, with_magic: bool) -> None:
    if with_magic:
        contents = b"\x7fELF\x02\x01" + contents
    assert interpreter_version(contents, "python3.8") is None
    assert Interpreter.find(Nothing(), [Module("python3.8", 0x1000, 0x1000, contents)]) is None


def test_reader_is_bounded() -> None:
    reader = Reader(EndlessMemory(), budget=1000)
    assert 5 < len(list(reader.chain(0x1000, 0))) < 50
    with pytest.raises(UnreadableError):
        reader.read(0x1000, 8)
    for address, size in (0, 8), (-8, 8), (1 << 63, 8), (0x1000, -1), (0x1000, 1 << 70):
        with pytest.raises(UnreadableError):
            Reader(EndlessMemory()).read(address, size)
    memory: Memory = Heap()
    with pytest.raises(UnreadableError):
        Reader(memory).read(0x1000, 1)
