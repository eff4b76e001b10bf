"""The machine's memory: how fast it reads, and how to empty its caches."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path

import numpy as np
import numpy.typing as npt

from edgeseq.bench import helper

LEAST_EVICTED, MOST_EVICTED = 64 << 20, 512 << 20
UNKNOWN_CACHE = 32 << 20  # where the system does not say how large the caches are
_SECONDS = 0.004  # of one measurement of the bandwidth
_TRIES = 8

# 64 bytes a line in four sums: more than enough loads in flight. Vectors of 64 bytes are split by
# the compiler where the processor has shorter ones.
_SOURCE = """
#define _POSIX_C_SOURCE 199309L
#include <stdint.h>
#include <string.h>
#include <time.h>
typedef uint64_t line __attribute__((vector_size(64)));

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double read_all(const line *p, long lines, long times, uint64_t *sum) {
    line a = {0}, b = a, c = a, d = a;
    double began = now();
    for (long k = 0; k < times; k++) {
        for (long i = 0; i + 8 <= lines; i += 8) {
            a += p[i] + p[i + 4];
            b += p[i + 1] + p[i + 5];
            c += p[i + 2] + p[i + 6];
            d += p[i + 3] + p[i + 7];
        }
        __asm__ volatile("" : "+m"(*(line *)sum) : : "memory");
    }
    began = now() - began;
    a += b + c + d;
    memcpy(sum, &a, 64);
    return began;
}
"""


@functools.cache
def read_bandwidth(footprint: int) -> float:
    """Return the bytes a second that one thread reads from this many bytes, over and over."""
    lines = max(8, -(-footprint // 512) * 8)
    memory = _aligned(lines * 64)
    memory[:] = 1
    total = _aligned(64)
    read = _library().read_all
    pointers = (memory.ctypes.data, total.ctypes.data)
    times = 1
    while (took := read(pointers[0], lines, times, pointers[1])) < _SECONDS:
        times *= 2 if took <= 0 else max(2, min(64, int(_SECONDS / took) + 1))
    best = min(read(pointers[0], lines, times, pointers[1]) for _ in range(_TRIES))
    return float(lines * 64 * times / best)


def evict() -> None:
    """Read so much else that nothing used before is in a cache."""
    other = _other()
    other.sum()


def last_level() -> int:
    """Return the bytes of the largest cache of processor 0."""
    sizes = [UNKNOWN_CACHE]
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        unit = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}.get(text[-1:], 1)
        sizes.append(int(text.rstrip("KMG")) * unit)
    return max(sizes[1:] or sizes)


@functools.cache
def _other() -> npt.NDArray[np.int64]:
    size = min(max(2 * last_level(), LEAST_EVICTED), MOST_EVICTED)
    return np.ones(size // 8, np.int64)


def _aligned(size: int) -> npt.NDArray[np.uint8]:
    memory = np.zeros(size + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : start + size]


@functools.cache
def _library() -> ctypes.CDLL:
    flags = ("-O3", "-march=native", "-Wno-psabi")
    loaded = helper.library(_SOURCE, *flags, compiler=helper.compiler())
    loaded.read_all.restype = ctypes.c_double
    loaded.read_all.argtypes = [ctypes.c_void_p, ctypes.c_long, ctypes.c_long, ctypes.c_void_p]
    return loaded
