"""Find, if need be compile, and bind the C functions of one target."""

from __future__ import annotations

import ctypes
import difflib
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from edgeseq.errors import ToolchainError, UsageError
from edgeseq.runtime import _pool
from edgeseq.runtime._manifest import Manifest

_ELF_MACHINES = {3: "x86", 40: "armv7", 62: "x86-64", 183: "arm64", 243: "riscv"}


class Library:
    """The functions of docs/artifact.md, bound with ctypes. Every one of them is reentrant."""

    def __init__(self, manifest: Manifest, target: str, threads: int = 1) -> None:
        _pool.check(manifest, target, threads)
        self.target = target
        self._cdll = _open(manifest, target)
        self._prefix = manifest.name
        self.pool: _pool.Pool | None = None
        if threads > 1:
            self.pool = _pool.Pool(_with_pool(manifest, target, self._cdll), self._prefix, threads)
            self._parallel = self._bind("parallel", ctypes.c_int, *[ctypes.c_void_p] * 3)
        pointers = [ctypes.c_void_p] * (len(manifest.inputs) + len(manifest.outputs) + 2)
        steps = ctypes.c_int64
        self.state_size = self._bind("state_size", ctypes.c_size_t)
        self.arena_size = self._bind("arena_size", ctypes.c_size_t, steps)
        self._init = self._bind("init", ctypes.c_int, ctypes.c_void_p)
        self.reset = self._bind("reset", ctypes.c_int, ctypes.c_void_p)
        self.save = self._bind("save", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self.load = self._bind("load", ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)
        self.run = self._bind("run", ctypes.c_int, *pointers[:2], steps, *pointers[2:])
        self.step = self._bind("step", ctypes.c_int, *pointers) if manifest.step else None
        self._version = self._bind("version", ctypes.c_char_p)
        self._strerror = self._bind("strerror", ctypes.c_char_p, ctypes.c_int)

    def init(self, state: int) -> int:
        """Make a stream's state, and give it the threads."""
        code = int(self._init(state))
        if code or self.pool is None:
            return code
        return int(self._parallel(state, self.pool.run, self.pool.pool))

    @property
    def version(self) -> str:
        """What the library says it was built from."""
        return bytes(self._version()).decode()

    def check(self, code: int, doing: str) -> None:
        """Turn a nonzero return value into an error."""
        if code:
            raise UsageError(
                f"'{self._prefix}' failed in {doing}",
                why=f"{bytes(self._strerror(code)).decode()} (error {code})",
            )

    def _bind(self, name: str, returns: Any, *takes: Any) -> Any:
        symbol = f"{self._prefix}_{name}"
        try:
            function = getattr(self._cdll, symbol)
        except AttributeError:
            raise UsageError(
                f"the library of target '{self.target}' has no function '{symbol}'",
                why="it was not built from this manifest",
                fix="compile the model again",
            ) from None
        function.restype, function.argtypes = returns, list(takes)
        return function


def choose_target(manifest: Manifest, wanted: str | None) -> str:
    """Return the target to run here: the one asked for, else this machine's, else `c`.

    Raises:
        UsageError: it was not compiled, or none of those compiled runs from Python here.
    """
    built = sorted(manifest.targets)
    if wanted is not None:
        if wanted in built:
            return wanted
        near = difflib.get_close_matches(wanted, built, n=1, cutoff=0.5)
        start = f"did you mean '{near[0]}'? " if near else ""
        raise UsageError(
            f"'{manifest.folder}' has no target '{wanted}'",
            fix=f"{start}compiled: {', '.join(built)}",
        )
    for target in (host_target(), "c"):
        if target in built:
            return target
    raise UsageError(
        f"'{manifest.folder}' has no target that runs on this machine",
        why=f"this machine is {host_target()}; compiled: {', '.join(built)}",
        fix=f"compile with --target {host_target()}, or with --target c",
    )


def host_target() -> str:
    """Return the user name of the target this machine is."""
    machine = platform.machine().lower()
    machine = {"amd64": "x86-64", "x86_64": "x86-64", "aarch64": "arm64"}.get(machine, machine)
    if machine == "x86-64":
        return machine
    system = {"darwin": "macos", "win32": "windows"}.get(sys.platform, sys.platform)
    return f"{machine}-{system}"


def _open(manifest: Manifest, target: str) -> ctypes.CDLL:
    built = manifest.targets[target]
    if built.library is not None:
        return _dlopen(manifest.folder / built.library)
    sources = [manifest.folder / f for f in sorted(built.files) if f.endswith(".c")]
    if not sources:
        raise UsageError(
            f"target '{target}' of '{manifest.folder}' does not run from Python",
            fix=f"compile with --target {host_target()}, or with --target c",
        )
    # The loaded library stays mapped after its file is gone.
    with tempfile.TemporaryDirectory(prefix="edgeseq-", ignore_cleanup_errors=True) as folder:
        return _dlopen(_compile(sources, Path(folder) / f"lib{manifest.name}.so"))


def _with_pool(manifest: Manifest, target: str, cdll: ctypes.CDLL) -> ctypes.CDLL:
    """The library that has `<m>_pool_new`: where the user compiles, all is in one."""
    built = manifest.targets[target]
    if built.library is None:
        return cdll
    return _dlopen(manifest.folder / built.library.replace(".so", "_threads.so"))


def _dlopen(file: Path) -> ctypes.CDLL:
    if not file.is_file():
        raise UsageError(f"the library '{file}' is missing", fix="compile the model again")
    try:
        return ctypes.CDLL(str(file.resolve()))
    except OSError as e:
        raise UsageError(
            f"cannot load '{file}' on this machine ({host_target()})",
            why=_other_machine(file) or str(e),
            fix="pass target='c', or compile for this machine",
        ) from None


def _other_machine(file: Path) -> str:
    """Say for which processor an ELF file was built."""
    head = file.read_bytes()[:20]
    if len(head) < 20 or head[:4] != b"\x7fELF":
        return "the file is not a shared library of this system"
    machine = int.from_bytes(head[18:20], "little")
    built_for = _ELF_MACHINES.get(machine, f"ELF machine {machine}")
    return "" if built_for == host_target().split("-linux")[0] else f"it was built for {built_for}"


def _compile(sources: list[Path], library: Path) -> Path:
    compiler = shlex.split(os.environ.get("CC") or "cc")
    command = [
        *compiler,
        "-O2",
        "-pthread",
        "-shared",
        "-fPIC",
        "-o",
        str(library),
        *map(str, sources),
    ]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as e:
        raise ToolchainError(
            f"cannot run the C compiler '{compiler[0]}'",
            why=str(e),
            fix="install a C compiler, or set CC",
        ) from None
    if done.returncode:
        raise ToolchainError(
            f"'{shlex.join(command)}' failed", why=done.stderr.strip()[-2000:] or "no message"
        )
    return library
