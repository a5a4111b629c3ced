"""Packages that people use, those first that bring threads, event loops and compilers of their own: a small program of
each (packages/), recorded, replayed and verified.

Needs pip with access to an index, and room for what it installs: torch alone may have 2 GB.
"""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path

import runner
from runner import Item

SUITE = "packages"
PROGRAMS = Path(__file__).resolve().parent / SUITE
DISTRIBUTIONS = {"fastapi": "fastapi uvicorn", "grpc": "grpcio", "sklearn": "scikit-learn", "zmq": "pyzmq"}
"""What pip calls the packages whose programs are named otherwise."""


def python_with(package: str, folder: Path) -> Path:
    """An interpreter in an environment that has the package. Raises CalledProcessError where pip does not find it."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    words = DISTRIBUTIONS.get(package, package).split()
    subprocess.run([python, "-m", "pip", "install", "-q", "--disable-pip-version-check", *words], check=True)
    return python


def main(words: Sequence[str]) -> int:
    parser = runner.arguments(__doc__ or "", SUITE)
    parser.add_argument("--match", default="", help="only packages with this in their name")
    options = parser.parse_args(words)
    if options.render:
        runner.render(options.results, SUITE)
        return 0
    items = []
    for program in sorted(PROGRAMS.glob("*.py")):
        name = program.stem
        if options.match not in name:
            continue
        try:
            python = python_with(name, options.results.resolve() / f"{SUITE}-place")
        except subprocess.CalledProcessError:
            print(f"n/a  {name}: pip does not find it")
            continue
        # -I: else the folder of programs that are named after packages would be the first to be searched.
        items.append(Item(SUITE, "verdict", name, name, [str(python), "-I", str(program)]))
    return min(1, runner.run_suite(items, runner.read_whole, options))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
