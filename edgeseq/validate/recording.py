"""Recording the verify vectors at compile time."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.ir import facts
from edgeseq.ir.dialect import quantized
from edgeseq.ir.passes import walk
from edgeseq.validate import inputs as samples
from edgeseq.validate.oracle import Interpreted, OnnxRuntime, Oracle, PyTorch, roll
from edgeseq.validate.vectors import Vectors, widened

Array = npt.NDArray[Any]
FILE = "verify/vectors.safetensors"
STEPS = 40
STEPS_WITHOUT_STATES = 8  # each is the first one again
# What rounds a float to a level: float32 and float64 may take neighbouring ones.
_NEAR = 2.0**-14  # of a level: what float32 makes of 127 levels after a few operations
_ROUNDING = frozenset({"QuantizeLinear", "DynamicQuantizeLinear", "QLinearConv", "QLinearMatMul"})


@dataclasses.dataclass(frozen=True)
class _Plan:
    """How a model is run: which inputs are fed, which are carried, and for how long."""

    fed: list[ir.Value]
    given: Mapping[str, Array]
    states: dict[str, Array]
    pairs: dict[str, str]
    stacked: bool
    steps: int


_Makers = list[Callable[[], Oracle]]


@dataclasses.dataclass(frozen=True)
class _Run:
    """What the oracle computed, and the float32 references to measure it with, best first."""

    oracle: str
    references: _Makers
    fed: dict[str, Array]
    outputs: dict[str, Array]
    states: dict[str, Array]
    notes: list[str]


def record(
    model: ir.Model,
    folder: Path,
    *,
    oracle: Oracle | None = None,
    steps: int = STEPS,
    seed: int = 0,
    given: Mapping[str, Array] | None = None,
) -> dict[str, Any]:
    """Run the oracle and the reference, and write the vectors.

    Args:
        model: The imported model with its shapes and constants bound, before any other pass.
        folder: The artifact's folder.
        oracle: Runs the model in float64; without it the interpreter does.
        steps: Time steps to record, within what the model allows; a model of single steps that
            carries nothing from one to the next gets a few.
        seed: Of the inputs that are not given.
        given: Samples of some inputs or all, as `inputs.read` returns them.

    Returns:
        The `verify` section of the manifest.

    Raises:
        UsageError: the samples do not fit, or no input was found that gives finite outputs.
    """
    plan = _plan(model, steps, given or {})
    run = _exact(model, oracle, plan, seed)
    vectors = Vectors(run.fed, widened(run.outputs), widened(run.states))
    reference, rough = _reference(run.references, plan, run.fed)
    runs = [rough]
    other = Interpreted(model, rounding=_to_the_other_side) if _has_levels(model) else None
    if other is not None and run.oracle == other.name:
        runs.append(roll(other, run.fed, plan.states, plan.pairs, stacked=plan.stacked))
    vectors.save(folder / FILE)
    return {
        "file": FILE,
        "sha256": hashlib.sha256((folder / FILE).read_bytes()).hexdigest(),
        "steps": plan.steps,
        "oracle": run.oracle,
        "reference": reference,
        "rounds": _rounds(model),
        "notes": run.notes,
        "outputs": _limits(vectors.outputs, [outputs for outputs, _ in runs]),
        "states": _limits(vectors.states, [states for _, states in runs]),
    }


def length(model: ir.Model, steps: int = STEPS) -> int:
    """Return how many steps are recorded where no samples say it."""
    span = facts.get(model, facts.DimRange)
    if span is not None:
        return min(max(steps, span.low), span.high)
    carries = any(facts.get(value, facts.State) for value in model.graph.inputs)
    return steps if carries else min(steps, STEPS_WITHOUT_STATES)


def _has_levels(model: ir.Model) -> bool:
    """Whether anything rounds floats to levels, the integer layers of edgeseq included."""
    return _rounds(model) or any(node.op_type in quantized.OPS for node in walk(model.graph))


def _to_the_other_side(x: torch.Tensor) -> torch.Tensor:
    """Round, but what lies next to a half goes to the other of its neighbours."""
    nearest = torch.round(x)
    rest = x - nearest
    return torch.where(rest.abs() > 0.5 - _NEAR, nearest + rest.sign(), nearest)


def _rounds(model: ir.Model) -> bool:
    """Whether the model, or a function that it calls, rounds to levels by itself."""
    graphs = [model.graph, *(function.graph for function in model.functions.values())]
    return any(node.op_type in _ROUNDING for graph in graphs for node in walk(graph))


def _exact(model: ir.Model, oracle: Oracle | None, plan: _Plan, seed: int) -> _Run:
    """Run this oracle; where it fails, or there is none, the interpreter.

    The user's module is measured by itself in float32: the graph would add the frontend's errors
    to the tolerance, and so hide them.
    """
    graph: _Makers = [lambda: OnnxRuntime(model), lambda: Interpreted(model, torch.float32)]
    notes = []
    if oracle is not None:
        own: _Makers = [oracle.in_own_type] if isinstance(oracle, PyTorch) else []
        try:
            run = _run_finite(oracle, plan, seed)
            return _Run(oracle.name, own + graph, *run, [])
        except EdgeseqError:
            raise
        except Exception as error:  # a module may do anything in float64; the graph remains
            notes.append(f"{oracle.name} failed: {error}".splitlines()[0])
    interpreted = Interpreted(model)
    run = _run_finite(interpreted, plan, seed)
    return _Run(interpreted.name, graph, *run, notes)


def _plan(model: ir.Model, steps: int, given: Mapping[str, Array]) -> _Plan:
    pairs: dict[str, str] = {}
    states: dict[str, Array] = {}
    fed: list[ir.Value] = []
    for value in model.graph.inputs:
        state = facts.get(value, facts.State)
        if state is None:
            fed.append(value)
            continue
        pairs[str(value.name)] = state.output
        states[str(value.name)] = samples.initial_state(value)
    stacked = facts.get(model, facts.DimRange) is None
    steps = samples.length_of(given, fed, stacked=stacked) or length(model, steps)
    return _Plan(fed, given, states, pairs, stacked, steps)


def _run_finite(
    oracle: Oracle, plan: _Plan, seed: int
) -> tuple[dict[str, Array], dict[str, Array], dict[str, Array]]:
    """Run on inputs that give finite outputs: as they come, else positive ones."""
    bad: list[str] = []
    for positive in (False, True):
        fed = samples.make(plan.fed, plan.steps, stacked=plan.stacked, seed=seed, positive=positive)
        fed |= plan.given
        outputs, states = roll(oracle, fed, plan.states, plan.pairs, stacked=plan.stacked)
        bad = [n for n, a in {**outputs, **states}.items() if not _finite(a)]
        if not bad:
            return fed, outputs, states
    raise UsageError(
        f"the recorded run gives infinite or undefined values in {', '.join(bad)}",
        why="random inputs, positive ones too, lie outside what the model is made for"
        if not plan.given
        else "the sample inputs lead there",
        fix="give inputs the model is made for: --inputs samples.npz",
    )


def _finite(array: Array) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _reference(
    makers: _Makers, plan: _Plan, fed: dict[str, Array]
) -> tuple[str, tuple[dict[str, Array], dict[str, Array]]]:
    """Run in float32, with the first reference that can run the model."""
    for make in makers[:-1]:
        try:
            runner = make()
            return runner.name, roll(runner, fed, plan.states, plan.pairs, stacked=plan.stacked)
        except Exception:  # errors of ONNX Runtime share no base class
            continue
    runner = makers[-1]()
    return runner.name, roll(runner, fed, plan.states, plan.pairs, stacked=plan.stacked)


def _limits(
    exact: Mapping[str, Array], runs: Sequence[Mapping[str, Array]]
) -> dict[str, dict[str, float]]:
    return {
        name: {"e_ref": max(_distance(array, run[name]) for run in runs), "range": _range(array)}
        for name, array in exact.items()
    }


def _distance(exact: Array, rough: Array) -> float:
    if not exact.size:
        return 0.0
    return float(np.abs(exact.astype(np.float64) - rough.astype(np.float64)).max())


def _range(array: Array) -> float:
    """From the least to the greatest value, zero included: rounding is relative to size."""
    if not array.size:
        return 0.0
    values = array.astype(np.float64)
    return float(max(values.max(), 0.0) - min(values.min(), 0.0))
