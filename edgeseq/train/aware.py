"""Quantization-aware recovery: a quantized model learns, without labels, what its float self does.

Its float twin is trained with fake quantization wherever integers are multiplied; the zeros of
pruned weights are held. Levels, scales and biases then go back into the quantized model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir.edit import data_of
from edgeseq.train import twin
from edgeseq.train.calibration import Sample
from edgeseq.train.recover import Record, Recovered, Settings, recover
from edgeseq.train.targets import Fixed
from edgeseq.train.twin import Twin

SETTINGS = Settings(rate=5e-4)  # what is rounded is nearly right already


def recover_quantized(
    model: ir.Model,
    reference: ir.Model,
    samples: Sequence[Sample],
    steps: int,
    *,
    teacher: ir.Model | None = None,
    pairs: bool = False,
    settings: Settings = SETTINGS,
    seed: int = 0,
    progress: Callable[[Record], None] | None = None,
    checkpoint_file: Path | None = None,
) -> Recovered:
    """Train a quantized model in place.

    Args:
        model: As `edgeseq.quantize` makes it.
        reference: The float model that it was made of, pruned or not.
        samples: As `calibration.load` returns them; without any, synthetic ones are made.
        steps: Optimiser steps.
        teacher: What it should do; None: `reference`.
        pairs: Pairs of weights must fit sixteen bits, as they do now.
        settings: How to go about it.
        seed: The same seed gives the same result on the same machine.
        progress: Called with each record.
        checkpoint_file: As for `recover`.

    Raises:
        UsageError: nothing is quantized in a way that can be learnt, or steps are negative.
    """
    if steps < 0:
        raise UsageError(f"--recover {steps} is negative", why="it is a number of steps")
    twins = twin.make(model, reference, pairs=pairs)
    learnt = twins.fakes.learnt
    if not learnt:
        raise UsageError(
            "there is nothing to recover",
            why="no weight has levels and scales of its own that could be learnt",
            fix="quantize to int8, w8 or w4g32, or leave out --recover",
        )
    done = recover(
        twins.model,
        Fixed({name: twins.masks[name] for name in learnt}),
        samples,
        steps,
        teacher=teacher or reference,
        settings=settings,
        seed=seed,
        progress=progress,
        checkpoint_file=checkpoint_file,
        fakes=twins.fakes,
    )
    _store(model, twins, done)
    return done


def _store(model: ir.Model, twins: Twin, done: Recovered) -> None:
    """Write what was learnt into the quantized model."""
    known = model.graph.initializers
    for name, (levels, scales) in done.integers.items():
        _set(known[name], levels.numpy())
        _set(known[twins.holders[name]], scales.detach().numpy())
    apart = {*twins.fakes.weights, *twins.holders.values()}
    for name, value in done.model.graph.initializers.items():
        own = known.get(name)
        learnt = data_of(value)
        if own is not None and name not in apart and learnt is not None:
            before = data_of(own)
            if before is not None and not np.array_equal(before, learnt, equal_nan=False):
                _set(own, learnt)
    for node in model.graph:
        scale = done.scales.get(f"{node.name}.x")
        if scale is not None and node.op_type == "DequantizeLinear":
            holder = node.inputs[1]
            assert holder is not None
            _set(holder, np.asarray(scale))
        elif scale is not None:
            node.attributes["x_scale"] = ir.AttrFloat32("x_scale", scale)
        if f"{node.name}.h" in done.scales:
            node.attributes["h_scale"] = ir.AttrFloat32("h_scale", done.scales[f"{node.name}.h"])


def _set(value: ir.Value, data: np.ndarray) -> None:
    """Give an initializer other numbers; its type and shape stay."""
    old = value.const_value
    assert old is not None
    array = np.ascontiguousarray(data.reshape(old.shape.numpy()).astype(old.dtype.numpy()))
    value.const_value = ir.tensor(array, dtype=old.dtype, name=value.name)
