"""Frames at once give what the model gives frame by frame."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from edgeseq import pipeline
from edgeseq.frontends.onnx import import_onnx
from edgeseq.frontends.states import mark_states
from edgeseq.interp import Interpreter
from edgeseq.ir import facts
from edgeseq.train.plan import Cycle, OwnState
from edgeseq.train.unroll import Unrolled

GRU = """
<ir_version: 10, opset_import: ["" : 20]>
tiny (float[1, 4] x, float[1, 1, 3] h) => (float[1, 2] y, float[1, 1, 3] h_out)
<float[1, 9, 4] W, float[1, 9, 3] R, float[1, 18] B, float[3, 2] V, int64[1] axis = {0}>
{
    scaled = Softsign(x)
    sequence = Unsqueeze(scaled, axis)
    all, h_out = GRU <hidden_size = 3, linear_before_reset = 1> (sequence, W, R, B, , h)
    last = Squeeze(h_out, axis)
    product = MatMul(last, V)
    y = Tanh(product)
}
"""

# Two layers whose states travel packed: hidden states first, then cells.
PACKED = """
<ir_version: 10, opset_import: ["" : 20]>
packed (float[1, 4] x, float[4, 1, 3] s) => (float[1, 3] y, float[4, 1, 3] s_out)
<float[1, 12, 4] W, float[1, 12, 3] R, float[1, 12, 3] W2, float[1, 12, 3] R2,
 int64[1] axis = {0}, int64[4] ones = {1, 1, 1, 1}>
{
    h1, h2, c1, c2 = Split <axis = 0> (s, ones)
    sequence = Unsqueeze(x, axis)
    all1, h1_out, c1_out = LSTM <hidden_size = 3> (sequence, W, R, , , h1, c1)
    all2, h2_out, c2_out = LSTM <hidden_size = 3> (h1_out, W2, R2, , , h2, c2)
    y = Squeeze(h2_out, axis)
    s_out = Concat <axis = 0> (h1_out, h2_out, c1_out, c2_out)
}
"""

# Cells are read by another node in every frame: no sequence of torch gives them.
CELLS = """
<ir_version: 10, opset_import: ["" : 20]>
cells (float[1, 4] x, float[1, 1, 3] h, float[1, 1, 3] c)
  => (float[1, 1, 3] y, float[1, 1, 3] h_out, float[1, 1, 3] c_out)
<float[1, 12, 4] W, float[1, 12, 3] R, int64[1] axis = {0}>
{
    sequence = Unsqueeze(x, axis)
    all, h_out, c_out = LSTM <hidden_size = 3> (sequence, W, R, , , h, c)
    y = Tanh(c_out)
}
"""

# A shift register, a running mean fed back, and a GRU whose reset comes before the product.
MIXED = """
<ir_version: 10, opset_import: ["" : 20]>
mixed (float[1, 4] x, float[1, 12] past, float[1, 4] mean, float[1, 1, 3] h)
  => (float[1, 3] y, float[1, 12] past_out, float[1, 4] mean_out, float[1, 1, 3] h_out)
<float[16, 4] V, float[1, 9, 4] W, float[1, 9, 3] R, float half = {0.5},
 int64[1] axis = {0}, int64[1] one = {1}, int64[1] from = {4}, int64[1] to = {16}>
{
    window = Concat <axis = 1> (past, x)
    past_out = Slice(window, from, to, one)
    seen = MatMul(window, V)
    sum = Add(seen, mean)
    mean_out = Mul(sum, half)
    sequence = Unsqueeze(mean_out, axis)
    all, h_out = GRU <hidden_size = 3> (sequence, W, R, , , h)
    y = Squeeze(h_out, axis)
}
"""

CASES = {
    "gru": (GRU, 1, 0),
    "packed": (PACKED, 2, 0),
    "cells": (CELLS, 0, 1),
    "mixed": (MIXED, 1, 2),
}


def build(text: str) -> ir.Model:
    proto = onnx.parser.parse_model(text)
    random = np.random.default_rng(3)
    for info in list(proto.graph.value_info):
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        if info.name[0] in "WRBV":
            array = (random.standard_normal(shape) * 0.6).astype(np.float32)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    model = ir.from_proto(proto)
    mark_states(model)
    pipeline.prepare(model)
    return model


def frames(model: ir.Model, count: int, streams: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {
        str(v.name): torch.randn(count, streams, *v.shape, generator=generator)
        for v in model.graph.inputs
        if facts.get(v, facts.State) is None
    }


def one_by_one(model: ir.Model, inputs: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The definition: every stream and frame on its own."""
    run = Interpreter(model)
    pairs = {str(v.name): s.output for v in model.graph.inputs if (s := facts.get(v, facts.State))}
    count, streams = next(iter(inputs.values())).shape[:2]
    made: dict[str, list[torch.Tensor]] = {}
    for b in range(streams):
        state = {str(v.name): torch.zeros(*v.shape) for v in model.graph.inputs if v.name in pairs}
        for t in range(count):
            outputs = run({k: v[t, b] for k, v in inputs.items()} | state)
            state = {name: outputs[output] for name, output in pairs.items()}
            for name, output in outputs.items():
                made.setdefault(name, []).append(output)
    return {
        k: torch.stack(v).unflatten(0, (streams, count)).transpose(0, 1) for k, v in made.items()
    }


def agree(model: ir.Model, count: int = 7, streams: int = 2) -> Unrolled:
    inputs = frames(model, count, streams)
    with torch.no_grad():
        wanted = one_by_one(model, inputs)
        unrolled = Unrolled(model, torch.float64)
        first, states = unrolled.run({k: v[:3] for k, v in inputs.items()})
        second, states = unrolled.run({k: v[3:] for k, v in inputs.items()}, states)
    assert list(first) == [n for n in wanted if n in unrolled.outputs]
    for name in first:
        torch.testing.assert_close(torch.cat([first[name], second[name]]), wanted[name])
    pairs = {str(v.name): s.output for v in model.graph.inputs if (s := facts.get(v, facts.State))}
    assert states.keys() == pairs.keys()
    for name, output in pairs.items():
        torch.testing.assert_close(states[name], wanted[output][-1])
    return unrolled


@pytest.mark.parametrize("name", CASES)
def test_frames_at_once(name: str) -> None:
    text, sequences, cycles = CASES[name]
    unrolled = agree(build(text))
    kinds = [type(part) for part in unrolled._parts]
    assert (kinds.count(OwnState), kinds.count(Cycle)) == (sequences, cycles)


@pytest.mark.parametrize(
    "path",
    [
        "DTLN/model_1.onnx",
        "DTLN/model_2.onnx",
        "gtcrn/gtcrn_simple.onnx",
        "mamba-kws/converted_step.onnx",
    ],
)
def test_real_models(models_dir: Path, path: str) -> None:
    model = import_onnx(models_dir / path)
    mark_states(model)
    pipeline.prepare(model)
    agree(model, 5)
