"""A loop in C that calls a step as a user's C program would: no interpreter in the timing.

The number of pointers is the model's, so the source is written for it and compiled on the spot.
"""

from __future__ import annotations

import ctypes
import os
import shlex
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeseq.errors import InternalError, ToolchainError
from edgeseq.runtime import Bound

_SOURCE = """
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

static double now(void) {{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}}

double drive(int (*call)({types}), void **a, long frames, long calls) {{
    double began = now();
    for (long i = 0, at = 0; i < calls; i++) {{
        void **p = a + {count} * at;
        if (call({arguments})) return -1;
        if (++at == frames) at = 0;
    }}
    return now() - began;
}}
"""


class Driver:
    """Times a list of bound calls of one stream, from C."""

    def __init__(self, frames: Sequence[Bound]) -> None:
        first = frames[0]
        values = [[_word(a) for a in bound.arguments] for bound in frames]
        count = len(values[0])
        is_size = [isinstance(a, ctypes.c_int64) for a in first.arguments]
        self._drive = _compile(is_size)
        self._frames = list(frames)  # keeps the arrays alive
        self._table = (ctypes.c_void_p * (count * len(frames)))(*(v for row in values for v in row))
        self._function = ctypes.cast(first.function, ctypes.c_void_p)  # type: ignore[arg-type]

    def time(self, calls: int) -> float:
        """Make this many calls, going through the frames in turn; return the seconds used."""
        seconds = float(self._drive(self._function, self._table, len(self._frames), calls))
        if seconds < 0:
            raise InternalError("the compiled library returned an error while it was timed")
        return seconds


def _word(argument: Any) -> int | None:
    value: int | None = argument.value
    return value


def _compile(is_size: Sequence[bool]) -> Any:
    types = ", ".join("int64_t" if size else "void *" for size in is_size)
    values = (f"(int64_t)(intptr_t)p[{i}]" if size else f"p[{i}]" for i, size in enumerate(is_size))
    source = _SOURCE.format(types=types, count=len(is_size), arguments=", ".join(values))
    compiler = shlex.split(os.environ.get("CC") or "cc")
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-", ignore_cleanup_errors=True) as folder:
        file, library = Path(folder, "drive.c"), Path(folder, "drive.so")
        file.write_text(source, encoding="utf-8")
        command = [*compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(file)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except (OSError, subprocess.CalledProcessError) as e:
            raise ToolchainError(
                f"cannot compile the timing loop with '{compiler[0]}'",
                why=str(getattr(e, "stderr", None) or e),
                fix="install a C compiler, or set CC",
            ) from None
        drive = ctypes.CDLL(str(library)).drive
    drive.restype = ctypes.c_double
    drive.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_long, ctypes.c_long]
    return drive
