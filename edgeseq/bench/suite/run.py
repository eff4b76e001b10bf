"""Measure cases: both sides interleaved, then single calls, then the memory they read."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from edgeseq.bench import harness, memory, ort
from edgeseq.bench.frames import Frames
from edgeseq.bench.harness import Latency, Side, Spread
from edgeseq.bench.suite import fourier, peers, pointwise, product, recurrent, scan
from edgeseq.bench.suite.cases import CASES, FAMILIES, Case
from edgeseq.bench.suite.native import Native, best_isa
from edgeseq.bench.suite.problem import Problem
from edgeseq.errors import NumericsError, UsageError
from edgeseq.registry import hint
from edgeseq.targets._target import Isa

Builder = Callable[[Case, np.random.Generator], Problem | None]
BUILDERS: Mapping[str, Builder] = {
    **dict.fromkeys(("gru", "lstm", "rnn"), recurrent.build),
    "gemv": product.build,
    "pointwise": pointwise.build,
    "scan": scan.build,
    "fourier": fourier.build,
}
SEED = 7


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long to measure.

    Args:
        rounds: Interleaved rounds.
        seconds: Of one side in one round, about.
        single: Calls timed one by one, in every third round, if they are that short.
        cold: Calls with cold caches.
    """

    rounds: int = 30
    seconds: float = 0.006
    single: int = 30
    cold: int = 15


QUICK = Effort(rounds=9, seconds=0.002, single=20, cold=3)


@dataclasses.dataclass(frozen=True)
class Row:
    """What one case gave; without a reason in `missing` everything is there.

    Args:
        case: Its name.
        peer: Who ran the same, or "" for the memory alone.
        least: What is asked for.
        missing: Why it was not measured.
        kernel: The kernel's name.
        isa: The instruction set it was compiled for.
        microseconds: Per call, by side.
        ratio: How many times faster than the peer; without a peer the share of the bandwidth.
        latency: Of single calls, by side.
        cold: Of a call with cold caches, by side.
        moved: Bytes our kernel reads in a call.
        bandwidth: Share of the read bandwidth at this footprint.
        difference: Between the sides' outputs, of the largest value.
    """

    case: str
    peer: str
    least: float
    missing: str = ""
    kernel: str = ""
    isa: str = ""
    microseconds: Mapping[str, Spread] = dataclasses.field(default_factory=dict)
    ratio: Spread | None = None
    latency: Mapping[str, Latency] = dataclasses.field(default_factory=dict)
    cold: Mapping[str, Spread] = dataclasses.field(default_factory=dict)
    moved: int = 0
    bandwidth: float = 0.0
    difference: float = 0.0

    @property
    def reached(self) -> bool | None:
        """Whether what is asked for was reached; None: nothing is, or it was not measured."""
        if self.ratio is None or not self.least:
            return None
        return self.ratio.median >= self.least


def choose(families: Sequence[str]) -> list[Case]:
    """Return the cases of some families, or all.

    Raises:
        UsageError: a family has no cases.
    """
    for name in families:
        if name not in FAMILIES:
            raise UsageError(f"no case is of the family '{name}'", fix=hint(name, FAMILIES))
    return [case for case in CASES if not families or case.family in families]


def versions() -> dict[str, str]:
    """Return the versions of what was measured, of peers that are installed."""
    names = ("edgeseq", "numpy", "onnxruntime", "ai-edge-litert", "ncnn")
    installed = {d.metadata["Name"].lower(): d.version for d in metadata.distributions()}
    return {name: installed[name] for name in names if name in installed}


def measure(
    cases: Sequence[Case],
    effort: Effort = Effort(),
    isa: Isa | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> list[Row]:
    """Measure cases on this machine, one after the other.

    Args:
        cases: What to measure.
        effort: How long.
        isa: Instruction set; None: the best of this machine for each kernel.
        progress: Called with the name of every case before it is measured.
    """
    rows = []
    for case in cases:
        progress(case.name)
        rows.append(_measure(case, effort, isa))
    return rows


def _measure(case: Case, effort: Effort, fixed: Isa | None) -> Row:
    blank = Row(case.name, case.peer, case.least)
    builder = BUILDERS.get(case.family)
    found = builder and builder(case, np.random.default_rng(SEED))
    if found is None:
        return dataclasses.replace(blank, missing="there is no such kernel yet")
    isa = fixed or best_isa(found.call.kernel.name)
    ours = Native(found.call, isa)
    sides: dict[str, Side] = {"edgeseq": ours}
    if case.peer:
        made = peers.side(case.peer, found)
        if isinstance(made, str):
            return dataclasses.replace(blank, missing=made)
        sides[case.peer] = made
    difference = _difference(case, found, sides)
    once = max(side.time(3) / 3 for side in sides.values())
    calls = int(np.clip(effort.seconds / max(once, 1e-7), 1, 2000))
    timings = harness.interleave(sides, effort.rounds, calls)
    single = min(calls, effort.single)
    latency, cold = harness.single_calls(sides, -(-effort.rounds // 3), single, effort.cold)
    taken = timings.microseconds
    reading = found.moved / memory.read_bandwidth(found.footprint) * 1e6
    share = reading / taken["edgeseq"]
    ratio = taken[case.peer] / taken["edgeseq"] if case.peer else share
    return dataclasses.replace(
        blank,
        kernel=found.call.kernel.name,
        isa=isa.level,
        microseconds={name: Spread.of(values) for name, values in taken.items()},
        ratio=Spread.of(ratio),
        latency=latency,
        cold=cold,
        moved=found.moved,
        bandwidth=float(np.median(share)),
        difference=difference,
    )


def _difference(case: Case, found: Problem, sides: Mapping[str, Side]) -> float:
    """Compare what both sides compute, after as many calls as there are inputs.

    Raises:
        NumericsError: they do not compute the same, or they compute with denormal numbers.
    """
    calls = len(found.frames)
    results = {name: side.outputs(calls) for name, side in sides.items()}
    worst = 0.0
    for mine, theirs in found.outputs.items():
        ours = results["edgeseq"][mine].reshape(-1).astype(np.float64)
        _refuse_denormals(case, ours)
        if not case.peer:
            continue
        other = results[case.peer][theirs].reshape(-1).astype(np.float64)
        worst = max(worst, float(np.abs(ours - other).max() / max(np.abs(other).max(), 1e-30)))
    if not worst <= found.tolerance:
        raise NumericsError(
            f"edgeseq and {case.peer} differ after {calls} calls",
            at=case.name,
            why=f"by {worst:.1e} of the largest value; {found.tolerance:g} is allowed",
            fix="this is a bug in edgeseq: please report it",
        )
    return worst


def _refuse_denormals(case: Case, values: Any) -> None:
    """Denormal numbers are slow where they are not flushed: no side may meet them."""
    small = np.abs(values)
    if not np.isfinite(values).all() or ((small > 0) & (small < np.finfo(np.float32).tiny)).any():
        raise NumericsError(
            "an output is denormal or not finite", at=case.name, why="times would mean nothing"
        )


def call_overhead(effort: Effort = Effort()) -> Spread:
    """Return microseconds of a call of ONNX Runtime that does next to nothing."""
    frames = Frames([{"x": np.ones(1, np.float32)}], None)
    side = ort.OnnxRuntime(ort.nothing(), frames, {}, [], {})
    timings = harness.interleave({"onnxruntime": side}, effort.rounds, 1000)
    return Spread.of(timings.microseconds["onnxruntime"])
