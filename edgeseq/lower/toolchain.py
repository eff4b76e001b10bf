"""The C compiler: `CC` where set, else the clang in the ziglang wheel."""

from __future__ import annotations

import importlib.util
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeseq.errors import InternalError, ToolchainError

# libc-free code: no builtin may become a call, and nothing is unwound
FLAGS = (
    "-O3",
    "-std=c11",
    "-ffreestanding",
    "-fno-builtin",
    "-fno-math-errno",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-stack-protector",
    "-fno-unwind-tables",
    "-fno-asynchronous-unwind-tables",
    "-fno-ident",
    "-ffunction-sections",
    "-w",
)
_ZIG_ONLY = ("-fno-sanitize=all", "-g0")


class Toolchain:
    """Compiles and links for one triple.

    Args:
        triple: E.g. `x86_64-linux-gnu`.
        folder: Working folder; commands run there, so that no path enters an object.
    """

    def __init__(self, triple: str, folder: Path) -> None:
        self.triple = triple
        self.folder = folder
        given = os.environ.get("CC")
        self.zig = given is None
        self.cc = shlex.split(given) if given else [sys.executable, "-m", "ziglang", "cc"]
        if self.zig and importlib.util.find_spec("ziglang") is None:
            raise ToolchainError(
                "no C compiler for native targets",
                why="neither CC is set nor the ziglang package installed",
                fix="pip install 'edgeseq[compile]', or set CC to a clang or gcc",
            )
        if not self.zig and shutil.which(self.cc[0]) is None:
            raise ToolchainError(
                f"the C compiler '{self.cc[0]}' was not found", fix="set CC to a clang or gcc"
            )

    def compile(self, source: str, output: str, cpu: str, includes: Sequence[Path]) -> None:
        """Compile one C file of the folder for a CPU level."""
        flags = [*FLAGS, *(f"-I{path}" for path in includes)]
        if self.zig:
            flags += [*_ZIG_ONLY, "-target", self.triple, f"-mcpu={cpu}"]
        else:
            flags.append(f"-march={cpu.replace('_v', '-v').replace('_', '-')}")
        self.run([*self.cc, *flags, "-c", source, "-o", output])

    def shared(self, objects: Sequence[str], output: str, exports: Sequence[str]) -> None:
        """Link a stripped shared library that exports only `exports`."""
        script = self.folder / "exports.map"
        script.write_text(f"{{ global: {'; '.join(exports)}; local: *; }};\n")
        flags = ["-shared", "-nostdlib", "-s", "-Wl,--gc-sections", "-Wl,--build-id=none"]
        flags += [f"-Wl,--version-script={script.name}", f"-Wl,-soname,{output}"]
        if self.zig:
            flags += ["-target", self.triple]
        self.run([*self.cc, *flags, *objects, "-o", output])

    def archive(self, objects: Sequence[str], output: str) -> None:
        """Make a static library."""
        tool = [sys.executable, "-m", "ziglang", "ar"] if self.zig else ["ar"]
        self.run([*tool, "rcsD", output, *objects])

    def run(self, command: Sequence[str]) -> None:
        """Run a command in the folder."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InternalError(f"{shlex.join(command)}\n{done.stderr[-4000:]}")
