"""The arithmetic of timing, on sides whose time is known."""

from __future__ import annotations

import numpy as np

from edgeseq.bench import harness
from edgeseq.bench.harness import Spread


class Scripted:
    """A side that says how long it took, and writes down what was asked of it."""

    def __init__(self, name: str, log: list[str], seconds: float) -> None:
        self.name, self.log, self.seconds = name, log, seconds

    def reset(self) -> None:
        self.log.append(f"reset {self.name}")

    def time(self, calls: int) -> float:
        self.log.append(f"{self.name} {calls}")
        return self.seconds * calls

    def each(self, calls: int) -> harness.Array:
        self.log.append(f"{self.name} each {calls}")
        return np.full(calls, self.seconds)

    def cold(self) -> float:
        self.log.append(f"{self.name} cold")
        return 10 * self.seconds

    def outputs(self, calls: int) -> dict[str, harness.Array]:
        return {}


def test_rounds_interleave_and_alternate() -> None:
    log: list[str] = []
    sides = {name: Scripted(name, log, s) for name, s in (("a", 1e-6), ("b", 3e-6))}
    timings = harness.interleave(sides, 3, 10)
    rounds = [entry for entry in log if not entry.startswith("reset")][2:]  # after the warm-up
    assert rounds == ["a 10", "b 10", "b 10", "a 10", "a 10", "b 10"]
    np.testing.assert_allclose(timings.microseconds["a"], [1, 1, 1])
    np.testing.assert_allclose(timings.microseconds["b"], [3, 3, 3])
    for index, entry in enumerate(log):
        if not entry.startswith("reset"):
            assert log[index - 1] == f"reset {entry[0]}"


def test_single_calls_warm_and_cold() -> None:
    log: list[str] = []
    sides = {name: Scripted(name, log, s) for name, s in (("a", 1e-6), ("b", 3e-6))}
    latency, cold = harness.single_calls(sides, 2, 5, 1)
    assert latency == {"a": harness.Latency(1, 1), "b": harness.Latency(3, 3)}
    assert {name: spread.median for name, spread in cold.items()} == {"a": 10, "b": 30}
    calls = [entry for entry in log if not entry.startswith("reset")]
    assert calls == ["a each 5", "a cold", "b each 5", "b cold", "a each 5", "b each 5"]
    assert harness.single_calls(sides, 0, 5, 0) == ({}, {})


def test_spread() -> None:
    spread = Spread.of(np.arange(101.0))
    assert (spread.median, spread.p10, spread.p90) == (50, 10, 90)
    assert str(spread) == "50 (10 - 90)"


def test_loop_counts_processor_time() -> None:
    seen: list[int] = []
    used = harness.loop(lambda i: (seen.append(i), sum(range(20_000))), 5)
    assert seen == [0, 1, 2, 3, 4]
    assert used > 0
