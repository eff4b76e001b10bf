"""What both sides compute: one layer with numbers in it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from edgeseq.bench.harness import Array
from edgeseq.bench.suite.native import Call
from edgeseq.lower import work

FRAMES = 16  # inputs gone through in turn: enough to vary, few enough to stay in the cache


@dataclasses.dataclass(frozen=True)
class Problem:
    """A call of our kernel, and the model that a peer runs instead.

    Args:
        call: Ours.
        model: The same with dense weights (zeros where ours has nothing), as ONNX.
        frames: The peer's inputs of each call, in turn.
        states: The peer's states: initial values by input name.
        pairs: (input, output) of each state.
        outputs: Our outputs, and the peer's of the same numbers.
        footprint: Bytes of weights and inputs that our kernel goes through.
        moved: Bytes it has to read in a call; in a sequence, weights again and again.
        tolerance: Largest difference between the sides, of the largest value.
    """

    call: Call
    model: onnx.ModelProto
    frames: Sequence[Mapping[str, Array]]
    states: Mapping[str, Array]
    pairs: Sequence[tuple[str, str]]
    outputs: Mapping[str, str]
    footprint: int
    moved: int
    tolerance: float


# By weights: float32 sums in another order; 8-bit activations on the peer's side or on ours.
TOLERANCE = {"f32": 1e-4, "bf16": 1e-4, "f16": 1e-4, "i8": 0.1}


def mask(
    rng: np.random.Generator, outputs: int, inputs: int, form: work.Format, density: float
) -> Array:
    """Return [outputs, inputs] of 0 and 1: whole blocks, exactly `density` of them.

    N:M weights: of each window that share, but one input at least.
    """
    if form.window:
        order = rng.random((outputs, -(-inputs // form.window), form.window)).argsort(axis=2)
        kept = order < max(1, round(density * form.window))
        return kept.reshape(outputs, -1)[:, :inputs].astype(np.float32)
    rows, cols = -(-outputs // form.rows), -(-inputs // form.cols)
    keep = np.zeros(rows * cols, np.float32)
    keep[rng.permutation(rows * cols)[: round(density * rows * cols)]] = 1
    blocks = keep.reshape(rows, cols)
    return blocks.repeat(form.rows, 0).repeat(form.cols, 1)[:outputs, :inputs]


def representable(values: Array, weights: str) -> Array:
    """Return [.., outputs, inputs] rounded to what the format holds, so that both sides agree."""
    if weights == "f16":
        return values.astype(np.float16).astype(np.float32)
    if weights == "bf16":
        bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
        rounded = bits + 0x7FFF + ((bits >> 16) & 1)
        return (rounded & np.uint32(0xFFFF0000)).view(np.float32)
    if weights == "i8":
        return quantized(values)[0].astype(np.float32) * quantized(values)[1][..., None]
    return values


def quantized(values: Array) -> tuple[Array, Array]:
    """Return int8 values and a scale for each output."""
    scale = (np.abs(values).max(-1) / 127).astype(np.float32)
    scale = np.where(scale == 0, np.float32(1), scale)
    return np.rint(values / scale[..., None]).astype(np.int8), scale


def model_of(
    nodes: Sequence[onnx.NodeProto],
    inputs: Mapping[str, Sequence[int]],
    outputs: Mapping[str, Sequence[int]],
    constants: Mapping[str, Array],
) -> onnx.ModelProto:
    """Return an ONNX model of float32 inputs and outputs."""
    from onnx import TensorProto, helper, numpy_helper

    from edgeseq.bench.ort import NEWEST_IR

    def ports(shapes: Mapping[str, Sequence[int]]) -> list[onnx.ValueInfoProto]:
        return [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]

    weights = [numpy_helper.from_array(a, n) for n, a in constants.items()]
    graph = helper.make_graph(list(nodes), "case", ports(inputs), ports(outputs), weights)
    opsets = [helper.make_opsetid("", 20)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=NEWEST_IR)
