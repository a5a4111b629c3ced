"""Makes the golden trace of the present format again: python tests/make_golden.py (with gcc and the installed pyrr).

The trace is of a program without libc, so that it is small and holds nothing of this machine but the names
of its kernel and its processor. Run this only when the format changes while its version is not released: a
released golden trace stays as it is, and a new version of the format gets a new one beside it. Writes what
the commands say of it to traces/format-N.expected/.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from pyrr_debugger.trace_format import FORMAT

GOLDEN = Path(__file__).resolve().parent.parent / "traces" / f"format-{FORMAT}"
"""A branch of a recording: with all that there is in both."""

PYRR = Path(sys.executable).parent / "pyrr"
HOME = Path("/tmp/pyrr-golden")
"""Where the program runs: its path and working directory are in the trace."""

ENVIRONMENT = {"GOLDEN": "1", "COLUMNS": "80", "PYRR_TRACE_DIR": "/proc/none", "XDG_CACHE_HOME": "/proc/none"}
"""Nothing of the user's, for the environment is in the trace. No cache and no list of traces is written."""

SOURCE = r"""
static long call(long number, long a, long b, long c)
{
    long result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
    return result;
}

void _start(void)
{
    char text[] = "golden ........\n";
    unsigned char chance[4];
    call(318, (long)chance, sizeof chance, 0); /* getrandom */
    for (unsigned i = 0; i < sizeof chance; i++) {
        text[7 + 2 * i] = "0123456789abcdef"[chance[i] >> 4];
        text[8 + 2 * i] = "0123456789abcdef"[chance[i] & 15];
    }
    /* Two processes compute: each is left amid that for the other. */
    int status;
    long child = call(57, 0, 0, 0);
    for (unsigned long i = 60000000; i; i--) __asm__ volatile("");
    if (!child) call(231, 0, 0, 0);
    call(61, child, (long)&status, 0); /* wait4 */
    char names[390];
    for (volatile unsigned i = 0; i < 4; i++) call(63, (long)names, 0, 0); /* uname, always the same */
    call(1, 1, (long)text, sizeof text - 1);
    call(1, 2, (long)"to stderr\n", 10);
    call(231, 7, 0, 0); /* exit_group */
}
"""

FLAGS = ["-O1", "-static", "-nostdlib", "-ffreestanding", "-fno-stack-protector", "-fcf-protection=none"]
FLAGS += ["-s", "-Wl,--build-id=none,-z,noseparate-code"]


def main() -> None:
    shutil.rmtree(GOLDEN, ignore_errors=True)
    HOME.mkdir(mode=0o700)
    try:
        (HOME / "golden.c").write_text(SOURCE)
        subprocess.run(["gcc", *FLAGS, "-o", "golden", "golden.c"], cwd=HOME, check=True)
        stdout, stderr = run([PYRR, "record", "-q", "-o", HOME / "recording", "./golden", "an argument"])
        stdout, _ = run(
            [PYRR, "resume", HOME / "recording", "--yes", "--to", "syscall:write", "--record", "-o", GOLDEN]
        )
        note(GOLDEN, stdout, stderr)
    finally:
        shutil.rmtree(HOME)


def run(words: list[str | Path]) -> tuple[bytes, bytes]:
    """What the program prints."""
    around: dict[str, Any] = {"cwd": HOME, "env": ENVIRONMENT, "stdin": subprocess.DEVNULL}
    done = subprocess.run(words, capture_output=True, check=False, **around)
    assert done.returncode == 7, done
    return done.stdout, done.stderr


def note(trace: Path, stdout: bytes, stderr: bytes) -> None:
    """Writes what is to be expected of a trace."""
    expected = trace.with_name(f"{trace.name}.expected")
    expected.mkdir(exist_ok=True)
    (expected / "stdout").write_bytes(stdout)
    (expected / "stderr").write_bytes(stderr)
    for name in ("dump", "info"):
        words = [PYRR, name, trace.name]
        (expected / name).write_bytes(subprocess.check_output(words, cwd=trace.parent, env=ENVIRONMENT))
    size = sum(path.stat().st_size for path in trace.rglob("*") if path.is_file())
    print(f"{trace}: {size} bytes; read what is in {expected} before it is committed")


if __name__ == "__main__":
    main()
