"""Small C helpers of the benchmarks, compiled with the machine's own compiler."""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from edgeseq.errors import ToolchainError


def compiler() -> tuple[str, ...]:
    """Return the command: CC, else `cc`."""
    return tuple(shlex.split(os.environ.get("CC") or "cc"))


def library(source: str, *flags: str, compiler: tuple[str, ...]) -> ctypes.CDLL:
    """Compile C and load it.

    Args:
        source: The text.
        flags: Beyond `-O2 -shared -fPIC`.
        compiler: The command; `compiler()`.

    Raises:
        ToolchainError: there is no compiler, or it fails.
    """
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-", ignore_cleanup_errors=True) as folder:
        file, output = Path(folder, "helper.c"), Path(folder, "helper.so")
        file.write_text(source, encoding="utf-8")
        command = [*compiler, "-O2", "-shared", "-fPIC", *flags, "-o", str(output), str(file)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as e:
            raise ToolchainError(
                f"cannot compile the timing loop with '{compiler[0]}'",
                why=str(getattr(e, "stderr", None) or e),
                fix="install a C compiler, or set CC",
            ) from None
        return ctypes.CDLL(str(output))
