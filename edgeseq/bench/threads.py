"""What threads gain: an artifact with one thread, with two ..., and the price of a fork.

By the wall clock, since processor time adds up the time of all threads: a busy machine spoils it.
"""

from __future__ import annotations

import ctypes
import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from edgeseq.bench import frames, helper
from edgeseq.bench.compiled import Compiled
from edgeseq.bench.harness import Array, Latency, Spread
from edgeseq.errors import NumericsError, UsageError
from edgeseq.runtime import Model, load

_FORKS = """
#define _POSIX_C_SOURCE 199309L
#include <time.h>

/* Waits for the others to begin, so that no thread computes two of them. */
static void meet(void *arg, int index) {
    int *waiting = arg;
    (void)index;
    __atomic_sub_fetch(waiting, 1, __ATOMIC_ACQ_REL);
    while (__atomic_load_n(waiting, __ATOMIC_ACQUIRE)) continue;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

double forks(void (*run)(void *, void (*)(void *, int), void *, int), void *pool, int tasks,
             long calls) {
    double began = now();
    for (long i = 0; i < calls; i++) {
        int waiting = tasks;
        run(pool, meet, &waiting, tasks);
    }
    return now() - began;
}
"""


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured; by number of threads.

    Args:
        model: Name of the model.
        target: The target in use.
        call: `step`, or `sequence of N steps`.
        rounds: Interleaved rounds.
        calls: Calls in every round.
        microseconds: Of a call, the median of a round.
        ratio: How many times faster than with one thread.
        latency: Over single calls.
        fork: Microseconds until all threads are at work and their caller knows that they are
            done; not of more threads than processors.
    """

    model: str
    target: str
    call: str
    rounds: int
    calls: int
    microseconds: Mapping[int, Spread]
    ratio: Mapping[int, Spread]
    latency: Mapping[int, Latency]
    fork: Mapping[int, Spread]


def bench_threads(dist: Path, target: str | None, rounds: int, calls: int) -> Report:
    """Time an artifact with one thread, and with each number of them up to `--threads`.

    Raises:
        UsageError: it was compiled for one thread.
        NumericsError: the numbers of threads differ in their results.
    """
    alone = load(dist, target)
    most = alone.threads
    if most == 1:
        raise UsageError(
            f"'{dist}' has no layers that threads share",
            why="it was compiled for one thread",
            fix="edgeseq compile ... --threads 2",
        )
    models = {1: alone} | {n: load(dist, target, threads=n) for n in range(2, most + 1)}
    work = frames.recorded(dist, alone, whole=not alone.has_step)
    sides = {n: Compiled(model, work) for n, model in models.items()}
    _same_bits({n: side.outputs(len(work.calls)) for n, side in sides.items()})
    taken: dict[int, list[Array]] = {n: [] for n in sides}
    for turn in range(rounds):
        for n in list(sides)[:: 1 if turn % 2 == 0 else -1]:
            sides[n].reset()
            sides[n].each(min(calls, 20))  # the threads wake up, caches fill
            taken[n].append(sides[n].each(calls) * 1e6)
    processors = os.cpu_count() or 1
    medians = {n: np.array([np.median(one) for one in rows]) for n, rows in taken.items()}
    return Report(
        model=alone.name,
        target=alone.target,
        call="step" if work.steps is None else f"sequence of {work.steps} steps",
        rounds=rounds,
        calls=calls,
        microseconds={n: Spread.of(values) for n, values in medians.items()},
        ratio={n: Spread.of(medians[1] / values) for n, values in medians.items() if n > 1},
        latency={n: Latency.of(np.concatenate(rows)) for n, rows in taken.items()},
        fork={n: _fork(model, n, rounds) for n, model in models.items() if 1 < n <= processors},
    )


def _same_bits(outputs: Mapping[int, Mapping[str, Array]]) -> None:
    for threads, found in outputs.items():
        for name, array in found.items():
            if array.tobytes() != outputs[1][name].tobytes():
                raise NumericsError(
                    f"'{name}' differs with {threads} threads",
                    why="threads must not change a bit",
                    fix="report this with the model",
                )


def _fork(model: Model, threads: int, rounds: int, calls: int = 200) -> Spread:
    """Microseconds of a job in which the threads do no more than meet."""
    pool = model.pool
    assert pool is not None
    forks = helper.library(_FORKS, compiler=helper.compiler()).forks
    forks.restype = ctypes.c_double
    forks.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int, ctypes.c_long]
    forks(pool.run, pool.pool, threads, calls)
    return Spread.of(
        [forks(pool.run, pool.pool, threads, calls) / calls * 1e6 for _ in range(rounds)]
    )
