"""Builds the C parts: the engine (an extension), the stub and the seed (static programs), the agent (a flat image),
and the table of system calls."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

ENGINE = sorted(str(path) for path in Path("native/engine").glob("*.c"))
WARNINGS = ["-std=gnu11", "-Wall", "-Wextra", "-Werror"]
AGENT = ["native/agent/entry.S", "native/agent/agent.c", "native/agent/memory.c"]
AGENT += [f"native/engine/{name}.c" for name in ("event", "repeat", "transfer", "wire")]
AGENT_FLAGS = [
    *("-DPYRR_AGENT", "-O2", "-ffreestanding", "-fno-stack-protector", "-fpie", "-fvisibility=hidden"),
    *("-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-fno-tree-loop-distribute-patterns"),
    *("-mgeneral-regs-only", "-ffunction-sections", "-fdata-sections", "-nostdlib", "-static", "-no-pie"),
    *("-Wl,--gc-sections", "-Wl,--build-id=none", "-Wl,--oformat=binary"),
]
STUB_FLAGS = [
    "-O2",
    "-ffreestanding",
    "-fno-stack-protector",
    "-fno-pic",
    "-mcmodel=large",
    "-fcf-protection=none",
    "-fno-asynchronous-unwind-tables",
    "-nostdlib",
    "-static",
    "-no-pie",
    "-Wl,--build-id=none",
]


class Build(build_ext):
    """Generates the table before the engine is compiled, and links the stub beside it."""

    def run(self) -> None:
        table = Path(self.build_temp) / "syscall_table.h"
        table.parent.mkdir(parents=True, exist_ok=True)
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent)}
        generate = [sys.executable, "-m", "pyrr_debugger.syscalls.generate", str(table)]
        subprocess.run(generate, check=True, env=environment)
        for extension in self.extensions:
            extension.include_dirs.append(str(table.parent))
            extension.depends.append(str(table))
        super().run()
        package = Path("pyrr_debugger") if self.inplace else Path(self.build_lib) / "pyrr_debugger"
        compiler = shlex.split(os.environ.get("CC", "cc"))
        script = self._script(compiler, "native/stub/stub.ld")
        for source, name in (("native/stub/stub.c", "stub"), ("native/stub/seed.S", "seed")):
            output = [source, "-o", str(package / name)]
            subprocess.run([*compiler, *WARNINGS, *STUB_FLAGS, script, *output], check=True)
        output = [f"-I{table.parent}", *AGENT, "-o", str(package / "agent.bin")]
        script = self._script(compiler, "native/agent/agent.ld")
        subprocess.run([*compiler, *WARNINGS, *AGENT_FLAGS, script, *output], check=True)

    def _script(self, compiler: list[str], path: str) -> str:
        """The flag for a linker script, whose addresses are those of the headers."""
        made = Path(self.build_temp) / Path(path).name
        subprocess.run([*compiler, "-E", "-P", "-x", "c", path, "-o", str(made)], check=True)
        return f"-Wl,-T,{made}"


sanitize = ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] if os.environ.get("PYRR_SANITIZE") else []
setup(
    ext_modules=[
        Extension(
            "pyrr_debugger._engine",
            ENGINE,
            depends=[str(path) for path in Path("native").rglob("*.h")],
            extra_compile_args=[*WARNINGS, "-O2", "-g", "-fvisibility=hidden", *sanitize],
            extra_link_args=sanitize,
        )
    ],
    cmdclass={"build_ext": Build},
)
