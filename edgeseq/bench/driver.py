"""A loop in C that calls a function as a user's C program would: no interpreter in the timing.

The number of arguments is the function's, so the source is written for it and compiled on the spot.
"""

from __future__ import annotations

import ctypes
import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.bench import helper
from edgeseq.errors import InternalError
from edgeseq.runtime import Bound

_SOURCE = """
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <time.h>

static double now(clockid_t clock) {{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}}

double drive(int (*call)({types}), void **a, long frames, long calls) {{
    double began = now(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0, at = 0; i < calls; i++) {{
        void **p = a + {count} * at;
        if (call({arguments})) return -1;
        if (++at == frames) at = 0;
    }}
    return now(CLOCK_PROCESS_CPUTIME_ID) - began;
}}

int each(int (*call)({types}), void **a, long frames, long calls, double *seconds) {{
    for (long i = 0, at = 0; i < calls; i++) {{
        void **p = a + {count} * at;
        double began = now(CLOCK_MONOTONIC);
        if (call({arguments})) return 1;
        seconds[i] = now(CLOCK_MONOTONIC) - began;
        if (++at == frames) at = 0;
    }}
    return 0;
}}
"""


class Driver:
    """Times a function over frames of arguments, from C.

    Args:
        function: Its address; it returns 0.
        frames: Arguments of each call in turn: addresses, or integers.
        is_size: Which arguments are int64 rather than pointers.
        keep: Whatever owns the memory.
    """

    def __init__(
        self,
        function: int,
        frames: Sequence[Sequence[int | None]],
        is_size: Sequence[bool],
        keep: Any,
    ) -> None:
        self._library = _loop(tuple(is_size), helper.compiler())
        self._keep = keep
        self._frames = len(frames)
        count = len(is_size) * len(frames)
        self._table = (ctypes.c_void_p * count)(*(v for row in frames for v in row))
        self._function = function

    @classmethod
    def bound(cls, frames: Sequence[Bound]) -> Driver:
        """Time the calls of one stream of a compiled model."""
        first = frames[0]
        address = ctypes.cast(first.function, ctypes.c_void_p).value  # type: ignore[arg-type]
        rows = [[_word(a) for a in bound.arguments] for bound in frames]
        is_size = [isinstance(a, ctypes.c_int64) for a in first.arguments]
        return cls(address or 0, rows, is_size, list(frames))

    def time(self, calls: int) -> float:
        """Make this many calls, going through the frames in turn; return the seconds used."""
        seconds = float(self._library.drive(self._function, self._table, self._frames, calls))
        if seconds < 0:
            raise InternalError("the compiled library returned an error while it was timed")
        return seconds

    def each(self, calls: int) -> npt.NDArray[Any]:
        """Return the seconds by the wall clock of each of this many calls."""
        seconds = np.zeros(calls)
        where = seconds.ctypes.data_as(ctypes.c_void_p)
        if self._library.each(self._function, self._table, self._frames, calls, where):
            raise InternalError("the compiled library returned an error while it was timed")
        return seconds


def _word(argument: Any) -> int | None:
    value: int | None = argument.value
    return value


@functools.cache
def _loop(is_size: tuple[bool, ...], compiler: tuple[str, ...]) -> ctypes.CDLL:
    types = ", ".join("int64_t" if size else "void *" for size in is_size)
    values = (f"(int64_t)(intptr_t)p[{i}]" if size else f"p[{i}]" for i, size in enumerate(is_size))
    source = _SOURCE.format(types=types, count=len(is_size), arguments=", ".join(values))
    loaded = helper.library(source, compiler=compiler)
    loaded.drive.restype = ctypes.c_double
    pointer, count = ctypes.c_void_p, ctypes.c_long
    loaded.drive.argtypes = [pointer, pointer, count, count]
    loaded.each.argtypes = [pointer, pointer, count, count, pointer]
    return loaded
