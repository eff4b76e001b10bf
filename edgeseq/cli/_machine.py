"""Facts about this machine for `doctor` and for the head of a benchmark."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import edgeseq
from edgeseq.cli import _output

_EXTENSIONS = ("avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512_vnni", "avx_vnni", "amx_int8")
_ARM_EXTENSIONS = ("asimd", "asimddp", "i8mm", "sve")


def machine() -> list[tuple[str, str]]:
    """Return what edgeseq runs on."""
    from edgeseq.runtime import host_target

    return [
        ("edgeseq", f"{edgeseq.__version__} in {Path(edgeseq.__file__).parent}"),
        ("python", f"{platform.python_version()} in {sys.prefix}"),
        ("system", platform.platform()),
        ("processor", processor()),
        ("extensions", " ".join(extensions()) or "unknown"),
        ("host target", host_target()),
        ("cache", _cache()),
    ]


def tools() -> list[tuple[str, str | None, str]]:
    """Return programs with their version (None: not found) and what needs them."""
    compiler = shlex.split(os.environ.get("CC") or "cc")
    found = [
        ("zig", _zig(), "native libraries, unless CC is set"),
        (shlex.join(compiler), _version([*compiler, "--version"]), "loading target c, timing"),
    ]
    for program, needed in (
        ("node", "running wasm"),
        ("qemu-aarch64-static", "running arm64-linux here"),
        ("qemu-arm-static", "running armv7-linux here"),
        ("nvcc", "target cuda"),
    ):
        found.append((program, _version([program, "--version"]), needed))
    return found


def packages() -> list[tuple[str, str | None, str, str]]:
    """Return package, installed version, wanted versions, and `ok`, `missing` or `differs`."""
    return sorted(_packages())


def processor() -> str:
    """Return the model name of the processor."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return platform.processor() or platform.machine()


def extensions() -> list[str]:
    """Return the instruction-set extensions the kernels can use here."""
    for line in _cpuinfo():
        key, _, value = line.partition(":")
        if key.strip() in ("flags", "Features"):
            has = value.split()
            return [e for e in (*_EXTENSIONS, *_ARM_EXTENSIONS) if e in has]
    return []


def _cache() -> str:
    from edgeseq.lower import cache

    files = [f for f in cache.folder().rglob("*") if f.is_file()]
    entries = len({f.parent for f in files})
    size = _output.size(sum(f.stat().st_size for f in files))
    return f"{size} in {entries} entries, {cache.folder()}"


def _cpuinfo() -> list[str]:
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def _version(command: list[str]) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        return f"found, but does not run: {e}"
    lines = [line for line in (done.stdout or done.stderr).splitlines() if line.strip()]
    numbered = [line for line in lines if re.search(r"\d+\.\d+", line)]
    return (numbered or lines or ["found"])[0].strip()


def _zig() -> str | None:
    try:
        return f"ziglang {importlib.metadata.version('ziglang')}"
    except importlib.metadata.PackageNotFoundError:
        return None


def _packages() -> Iterator[tuple[str, str | None, str, str]]:
    from packaging.requirements import Requirement

    for text in importlib.metadata.requires("edgeseq") or ():
        wanted = Requirement(text)
        if 'extra == "dev"' in text:
            continue
        try:
            installed = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield wanted.name, None, str(wanted.specifier), "missing"
            continue
        fits = wanted.specifier.contains(installed, prereleases=True)
        yield wanted.name, installed, str(wanted.specifier), "ok" if fits else "differs"
