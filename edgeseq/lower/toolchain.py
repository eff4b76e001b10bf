"""The C compiler: the user's where one is set, else the clang in the ziglang wheel."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from edgeseq.errors import InternalError, ToolchainError
from edgeseq.targets._target import Form, Isa, Target

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
# Loops strength-reduced compute every address anew; as they are, loads take constant offsets.
_WASM = ("-mllvm", "-disable-lsr")
ANDROID_API = 21  # the first with 64-bit ARM
_ZIG_ONLY = ("-fno-sanitize=all", "-g0")


@dataclasses.dataclass(frozen=True)
class Compiler:
    """A command that compiles C for a target, and whether it is zig's clang."""

    command: tuple[str, ...]
    zig: bool

    def identity(self) -> str:
        """What a cache must know it by: the command and the version that it says it has."""
        if self.zig:
            return "zig"  # its version is that of the package
        says = subprocess.run(
            [*self.command, "--version"], capture_output=True, text=True, check=False
        )
        return f"{shlex.join(self.command)}\n{says.stdout}"


def find(target: Target, cc: str | None = None) -> Compiler:
    """Return the compiler of a target: the one named, else the user's, else zig's clang.

    `CC` is for targets that this machine runs, `CC_<triple>` (with `_` for `-`) for any target;
    Android's also come from ANDROID_NDK_HOME.

    Raises:
        ToolchainError: there is none, or the one named is not there.
    """
    given = shlex.split(cc) if cc is not None else _given(target)
    if given is None and importlib.util.find_spec("ziglang") is None:
        raise ToolchainError(
            f"no C compiler for target '{target.name}'",
            why=f"neither {_variable(target)} is set nor the ziglang package installed",
            fix=f"pip install 'edgeseq[compile]', or --cc {target.name}=COMMAND of a clang or gcc",
        )
    if given is None:
        return Compiler((sys.executable, "-m", "ziglang", "cc"), zig=True)
    if not given or shutil.which(given[0]) is None:
        raise ToolchainError(
            f"the C compiler '{' '.join(given)}' for target '{target.name}' was not found",
            fix=f"--cc {target.name}=COMMAND of a clang or gcc, or unset CC to use zig's clang",
        )
    return Compiler(tuple(given), zig=False)


class Toolchain:
    """Compiles and links for one target.

    Args:
        target: E.g. x86-64.
        folder: Working folder; commands run there, so that no path enters an object.
        compiler: What to use; None: what `find` finds.
    """

    def __init__(self, target: Target, folder: Path, compiler: Compiler | None = None) -> None:
        self.target = target
        self.folder = folder
        self.compiler = compiler or find(target)
        self.cc, self.zig = self.compiler.command, self.compiler.zig

    def compile(self, source: str, output: str, level: Isa, includes: Sequence[Path]) -> None:
        """Compile one C file of the folder for a CPU level."""
        flags = [*FLAGS, *(f"-I{path}" for path in includes)]
        if self.target.form is Form.WASM:
            flags.remove("-fPIC")  # addresses are constants there
            flags += _WASM
        if self.zig:
            flags += [*_ZIG_ONLY, "-target", self.target.triple, f"-mcpu={level.cpu}"]
        elif level.cpu.startswith("x86_64") and not level.flags:
            flags.append(f"-march={level.cpu.replace('_v', '-v').replace('_', '-')}")
        else:
            flags += level.flags
        self.run([*self.cc, *flags, "-c", source, "-o", output])

    def shared(
        self, objects: Sequence[str], output: str, exports: Sequence[str], more: Sequence[str] = ()
    ) -> None:
        """Link a stripped shared library that exports only `exports` and needs nothing."""
        script = self.folder / "exports.map"
        script.write_text(f"{{ global: {'; '.join(exports)}; local: *; }};\n")
        flags = ["-shared", "-nostdlib", "-s", "-Wl,--gc-sections", "-Wl,--build-id=none"]
        flags += [f"-Wl,--version-script={script.name}", f"-Wl,-soname,{output}", "-Wl,-z,defs"]
        self.run([*self.cc, *flags, *more, *self._triple(), *objects, "-o", output])

    def with_threads(self, source: str, output: str) -> None:
        """Compile a C file that wants libc and threads into a shared library."""
        flags = ["-O2", "-std=gnu11", "-fPIC", "-pthread", "-shared", "-s", "-w", "-fno-ident"]
        if self.zig:
            flags += [*_ZIG_ONLY, *self._triple()]
        self.run([*self.cc, *flags, f"-Wl,-soname,{output}", source, "-o", output])

    def wasm(self, objects: Sequence[str], output: str, exports: Sequence[str]) -> None:
        """Link a stripped module without imports, which exports only `exports` and its memory."""
        # the stack comes first, so that running over its end traps
        flags = ["--no-entry", "--strip-all", "--gc-sections", "--stack-first"]
        flags += ["-z", "stack-size=65536", *(f"--export={name}" for name in exports)]
        linker = [sys.executable, "-m", "ziglang", "wasm-ld"] if self.zig else ["wasm-ld"]
        self.run([*linker, *flags, *objects, "-o", output])

    def archive(self, objects: Sequence[str], output: str) -> None:
        """Make a static library."""
        tool = [sys.executable, "-m", "ziglang", "ar"] if self.zig else ["ar"]
        self.run([*tool, "rcsD", output, *objects])

    def run(self, command: Sequence[str]) -> None:
        """Run a command in the folder."""
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise InternalError(f"{shlex.join(command)}\n{done.stderr[-4000:]}")

    def _triple(self) -> list[str]:
        return ["-target", self.target.triple] if self.zig else []


def _variable(target: Target) -> str:
    return f"CC_{target.triple.replace('-', '_')}"


def _given(target: Target) -> list[str] | None:
    """The compiler that the user chose for a target."""
    command = os.environ.get(_variable(target))
    if command is None and platform.machine() in target.machines:
        command = os.environ.get("CC")
    if command is not None:
        return shlex.split(command)
    ndk = os.environ.get("ANDROID_NDK_HOME")
    if ndk and target.triple.endswith("-android"):
        return _ndk(Path(ndk), target)
    return None


def _ndk(folder: Path, target: Target) -> list[str]:
    found = sorted(folder.glob("toolchains/llvm/prebuilt/*/bin/clang"))
    if not found:
        raise ToolchainError(
            f"no compiler in the NDK '{folder}'",
            why="toolchains/llvm/prebuilt/*/bin/clang is not there",
            fix="set ANDROID_NDK_HOME to an NDK, or unset it to use zig's clang",
        )
    return [str(found[0]), f"--target={target.triple}{ANDROID_API}"]
