"""Interleaved timing: machines drift, so every round times all sides, one after the other.

Times are processor time of the process. All sides run on one thread, so on a quiet machine that is
the wall clock; on a busy one the wall clock would count other programs, and more of them against
the slower side, whose rounds are longer.
"""

from __future__ import annotations

import abc
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from edgeseq.bench import memory

Array = npt.NDArray[Any]


class Side(Protocol):
    """One implementation of the model."""

    def reset(self) -> None:
        """Go back to the initial state."""

    def time(self, calls: int) -> float:
        """Make this many calls, going through the frames in turn; return the seconds used."""

    def each(self, calls: int) -> Array:
        """Make this many calls; return the seconds of each by the wall clock."""

    def cold(self) -> float:
        """Empty the caches, make one call, and return its seconds by the wall clock."""

    def outputs(self, calls: int) -> dict[str, Array]:
        """Reset, make this many calls, and return copies of the last one's outputs."""


@dataclasses.dataclass(frozen=True)
class Timings:
    """What `interleave` found.

    Args:
        microseconds: Per call of every side, one value per round.
        processor_share: Processor time per wall-clock time: well below 1, and other programs were
            running too.
    """

    microseconds: Mapping[str, Array]
    processor_share: float


@dataclasses.dataclass(frozen=True)
class Spread:
    """Median with the 10th and 90th percentile over the rounds."""

    median: float
    p10: float
    p90: float

    @classmethod
    def of(cls, values: Sequence[float] | Array) -> Spread:
        """Summarise one value per round."""
        low, middle, high = np.percentile(np.asarray(values), [10, 50, 90])
        return cls(float(middle), float(low), float(high))

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.p10:.3g} - {self.p90:.3g})"


@dataclasses.dataclass(frozen=True)
class Latency:
    """Median and 99th percentile over single calls."""

    p50: float
    p99: float

    @classmethod
    def of(cls, values: Array) -> Latency:
        """Summarise one value per call."""
        middle, high = np.percentile(values, [50, 99])
        return cls(float(middle), float(high))


def interleave(
    sides: Mapping[str, Side],
    rounds: int,
    calls: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Timings:
    """Time every side once in every round."""
    taken: dict[str, list[float]] = {name: [] for name in sides}
    for side in sides.values():
        side.reset()
        side.time(min(calls, 20))  # caches, lazy initialisation
    wall, used = time.perf_counter(), time.process_time()
    for turn in range(rounds):
        # Every other round goes backwards, so that no side always follows the same one.
        order = list(sides.items())[:: 1 if turn % 2 == 0 else -1]
        for name, side in order:
            side.reset()
            taken[name].append(side.time(calls) / calls * 1e6)
        progress(turn + 1)
    share = (time.process_time() - used) / (time.perf_counter() - wall)
    return Timings({name: np.array(values) for name, values in taken.items()}, share)


def single_calls(
    sides: Mapping[str, Side], rounds: int, calls: int, cold: int
) -> tuple[dict[str, Latency], dict[str, Spread]]:
    """Time calls one by one, by the wall clock: what a caller waits for.

    Args:
        sides: By name.
        rounds: Interleaved rounds.
        calls: Calls of every side in every round.
        cold: Calls of every side after everything was driven out of the caches; 0: none.

    Returns:
        Microseconds of a call in a row of calls, and of one with cold caches.
    """
    warm: dict[str, list[Array]] = {name: [] for name in sides}
    alone: dict[str, list[float]] = {name: [] for name in sides}
    for turn in range(max(rounds, cold)):
        for name, side in sides.items():
            side.reset()
            if turn < rounds:
                warm[name].append(side.each(calls) * 1e6)
            if turn < cold:
                alone[name].append(side.cold() * 1e6)
    return (
        {name: Latency.of(np.concatenate(values)) for name, values in warm.items() if values},
        {name: Spread.of(values) for name, values in alone.items() if values},
    )


class Called(abc.ABC):
    """The part of a side that is the same for all that Python calls: `_call(index)` is a call."""

    @abc.abstractmethod
    def _call(self, index: int) -> object: ...

    def time(self, calls: int) -> float:
        """See `Side`."""
        return loop(self._call, calls)

    def each(self, calls: int) -> Array:
        """See `Side`."""
        return each(self._call, calls)

    def cold(self) -> float:
        """See `Side`."""
        memory.evict()
        return float(each(self._call, 1)[0])


def loop(call: Callable[[int], object], calls: int) -> float:
    """Time `call(0)`, `call(1)`, ...: for sides that are called from Python."""
    began = time.process_time()
    for index in range(calls):
        call(index)
    return time.process_time() - began


def each(call: Callable[[int], object], calls: int) -> Array:
    """Time `call(0)`, `call(1)`, ... one by one, by the wall clock."""
    seconds = np.zeros(calls)
    for index in range(calls):
        began = time.perf_counter()
        call(index)
        seconds[index] = time.perf_counter() - began
    return seconds
