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

from pyrr_debugger.trace_format import FORMAT

GOLDEN = Path(__file__).resolve().parent.parent / "traces" / f"format-{FORMAT}"
EXPECTED = GOLDEN.with_name(f"{GOLDEN.name}.expected")
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
    EXPECTED.mkdir(exist_ok=True)
    HOME.mkdir(mode=0o700)
    try:
        (HOME / "golden.c").write_text(SOURCE)
        subprocess.run(["gcc", *FLAGS, "-o", "golden", "golden.c"], cwd=HOME, check=True)
        words = [PYRR, "record", "-q", "-o", GOLDEN, "./golden", "an argument"]
        recorded = subprocess.run(
            words, cwd=HOME, env=ENVIRONMENT, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    finally:
        shutil.rmtree(HOME)
    assert recorded.returncode == 7, recorded
    (EXPECTED / "stdout").write_bytes(recorded.stdout)
    (EXPECTED / "stderr").write_bytes(recorded.stderr)
    for name in ("dump", "info"):
        words = [PYRR, name, GOLDEN.name]
        (EXPECTED / name).write_bytes(subprocess.check_output(words, cwd=GOLDEN.parent, env=ENVIRONMENT))
    size = sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file())
    print(f"{GOLDEN}: {size} bytes; read what is in {EXPECTED} before it is committed")


if __name__ == "__main__":
    main()
