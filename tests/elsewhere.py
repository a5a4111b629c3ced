"""A root directory in which nothing is installed but what pyrr itself runs on, to resume programs in."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import pyrr_debugger

_LIBRARIES = "/usr/lib/x86_64-linux-gnu"
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "ptmx")


def make(root: Path, *shared: Path) -> list[str]:
    """Words before a command that run it in `root`, a new directory, in a mount namespace of its own. There are the C
    libraries, devices, /proc, pyrr with its own Python, and `shared`, at their paths; nothing else of this machine."""
    own = Path(sys.base_prefix)
    if own.is_relative_to("/usr"):
        pytest.skip("pyrr itself runs on the Python that is to be gone")
    if os.geteuid() or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode:
        pytest.skip("a mount namespace needs privilege")
    links = [Path(path) for path in ("/lib", "/lib64") if os.path.islink(path)]
    folders = [Path(path) for path in ("/lib64", _LIBRARIES)]
    lines = ["set -e"]

    def bind(path: Path) -> None:
        inside = root / path.relative_to("/")
        if path.is_dir():
            inside.mkdir(parents=True, exist_ok=True)
        else:
            inside.parent.mkdir(parents=True, exist_ok=True)
            inside.touch()
        lines.append(f"mount --rbind {shlex.quote(str(path))} {shlex.quote(str(inside))}")

    for path in ("tmp", "dev"):
        (root / path).mkdir(parents=True)
    for link in links:
        (root / link.relative_to("/")).symlink_to(link.readlink())
    package = Path(pyrr_debugger.__file__).parent
    parts = [package, *(part.resolve() for part in package.iterdir() if part.is_symlink())]
    # Where pyrr is installed to be edited, its code lies outside of its environment.
    code = [part for part in parts if not part.is_relative_to(sys.prefix)]
    libraries = [one.resolve() for one in folders]
    for path in (*libraries, Path("/proc"), Path("/dev/pts"), own, Path(sys.prefix), *code, *shared):
        bind(path)
    for name in _DEVICES:
        bind(Path("/dev", name))
    chroot = shutil.which("chroot", path="/usr/sbin:/usr/bin:/sbin")
    lines.append(f'exec {chroot} {shlex.quote(str(root))} "$@"')
    return ["unshare", "--mount", "sh", "-c", "\n".join(lines), "sh"]
