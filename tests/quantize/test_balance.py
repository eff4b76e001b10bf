"""Scales that move between weights: the float function stays, ranges become equal."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from edgeseq.frontends.states import mark_states
from edgeseq.ir.settings import Settings as Sizes
from edgeseq.pipeline import PASSES, prepare
from edgeseq.quantize import Settings, links
from edgeseq.quantize.balance import Balanced, balance
from edgeseq.quantize.calibrate import Runner

Array = npt.NDArray[Any]

HEADER = '<ir_version: 10, opset_import: ["" : 23]>\n'
INTS = {"last": [2], "whole": [1, 1, 24], "flat": [0, -1], "zero": [0], "halves": [3, 3]}

# Every pair of writer and reader, and what may stand between the two.
CHAINS = {
    "gemm, relu, gemm": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8, 6] A, float[6] a, float[5, 6] B, float[5] b>
{ h = Gemm (x, A, a)  p = Relu (h)  y = Gemm <transB = 1> (p, B, b) }""",
    "matmul, bias, prelu, matmul": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8, 6] A, float[6] a, float[6] s, float[6, 5] B>
{ h = MatMul (x, A)  g = Add (a, h)  p = PRelu (g, s)  y = MatMul (p, B) }""",
    "scalar bias, leaky": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8, 6] A, float[1] a, float[6, 5] B>
{ h = MatMul (x, A)  g = Add (h, a)  p = LeakyRelu (g)  y = MatMul (p, B) }""",
    "conv, depthwise, conv": """
f (float[1, 4, 9] x) => (float[1, 5, 7] y)
<float[6, 4, 3] A, float[6] a, float[6, 1, 3] D, float[6] d, float[5, 6, 1] B>
{ h = Conv <pads = [1, 1]> (x, A, a)  p = Relu (h)  q = Conv <group = 6> (p, D, d)
  r = Relu (q)  y = Conv (r, B) }""",
    "grouped conv, transposed conv": """
f (float[1, 4, 9] x) => (float[1, 6, 9] y)
<float[6, 2, 3] A, float[6] a, float[6, 3, 3] B, float[6] b>
{ h = Conv <group = 2, pads = [1, 1]> (x, A, a)  p = Relu (h)
  y = ConvTranspose <group = 2, pads = [1, 1]> (p, B, b) }""",
    "transposed conv, pool, grouped conv": """
f (float[1, 4, 9] x) => (float[1, 6, 3] y)
<float[4, 3, 3] A, float[6] a, float[6, 3, 1] B>
{ h = ConvTranspose <group = 2, pads = [1, 1]> (x, A, a)
  p = MaxPool <kernel_shape = [3], strides = [3]> (h)  y = Conv <group = 2> (p, B) }""",
    "conv flattened into a cell": """
f (float[1, 4, 4] x, float[1, 1, 7] h) => (float[1, 1, 7] h_out)
<float[6, 4, 1] A, float[6] a, float[1, 21, 24] W, float[1, 21, 7] R>
{ c = Conv (x, A, a)  p = Relu (c)  s = Reshape (p, whole)
  all, h_out = GRU <hidden_size = 7> (s, W, R, , , h) }""",
    "norm, two readers": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8] s, float[8] t, float[8, 5] A, float[8, 5] B>
{ n = LayerNormalization (x, s, t)  p = MatMul (n, A)  q = MatMul (n, B)  y = Mul (p, q) }""",
    "two streams joined, one cut": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8, 6] A, float[8, 4] B, float[7, 5] C>
{ p = MatMul (x, A)  q = MatMul (x, B)  first, rest = Split <axis = 1> (p, halves)
  g = Sigmoid (rest)  gated = Mul (first, g)  both = Concat <axis = 1> (q, first)
  y = MatMul (both, C) }""",
    "residual of the same channels": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8, 6] A, float[6] s, float[6, 5] B>
{ h = MatMul (x, A)  p = Relu (h)  n = Mul (h, s)  r = Add (p, n)  y = MatMul (r, B) }""",
}

FIXED = {
    "y is Sigmoid": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8, 6] A, float[6, 5] B> { h = MatMul (x, A)  p = Sigmoid (h)  y = MatMul (p, B) }""",
    "the value is an output": """
f (float[1, 8] x) => (float[1, 5] y, float[1, 6] p)
<float[8, 6] A, float[6, 5] B> { h = MatMul (x, A)  p = Relu (h)  y = MatMul (p, B) }""",
    "squared": """
f (float[1, 8] x) => (float[1, 5] y)
<float[8, 6] A, float[6, 5] B> { h = MatMul (x, A)  p = Mul (h, h)  y = MatMul (p, B) }""",
    "read by another, too": """
f (float[1, 8] x) => (float[1, 5] y, float[1, 6] z)
<float[8, 6] A, float[6, 5] B>
{ h = MatMul (x, A)  y = MatMul (h, B)  z = Softmax (h) }""",
    "one weight twice": """
f (float[1, 6] x) => (float[1, 6] y)
<float[6, 6] A> { h = MatMul (x, A)  p = Relu (h)  y = MatMul (p, A) }""",
}


def build(text: str, seed: int = 0) -> ir.Model:
    """Random weights whose channels are of very different size."""
    proto = onnx.parser.parse_model(HEADER + text)
    random = np.random.default_rng(seed)
    made = {name for node in proto.graph.node for name in node.output}
    for info in list(proto.graph.value_info):
        if info.name not in made:
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            size = random.standard_normal(shape)
            for axis in range(len(shape)):
                along = [-1 if i == axis else 1 for i in range(len(shape))]
                size = size * np.exp(random.standard_normal(shape[axis])).reshape(along)
            array = size.astype(np.float32)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    for name, data in INTS.items():
        if any(name in node.input for node in proto.graph.node):
            array = onnx.numpy_helper.from_array(np.array(data, np.int64), name)
            proto.graph.initializer.append(array)
    model = ir.from_proto(onnx.version_converter.convert_version(proto, 26))
    mark_states(model)
    prepare(model, Sizes({}, {}), passes=("bind-shapes", "fold-constants"))
    return model


def run(model: ir.Model, x: Array) -> dict[str, Array]:
    return {name: np.stack(rows) for name, rows in Runner(model)({"x": x}).items()}


def inputs(model: ir.Model, steps: int = 40, seed: int = 1) -> Array:
    shape = [int(d) for d in model.graph.inputs[0].shape or ()]
    random = np.random.default_rng(seed)
    return random.standard_normal((steps, *shape)).astype(np.float32)


def balanced(model: ir.Model, **settings: Any) -> Balanced:
    return balance(model, [{"x": inputs(model)}], Settings(**settings))


@pytest.mark.parametrize("method", [{"equalize": True}, {"smooth": 0.5}, {"smooth": 0.8}])
@pytest.mark.parametrize("name", list(CHAINS))
def test_the_float_function_stays(name: str, method: dict[str, Any]) -> None:
    model = build(CHAINS[name])
    x = inputs(model, seed=2)
    want = run(model, x)
    before = {n: v.const_value.numpy().copy() for n, v in model.graph.initializers.items()}
    done = balanced(model, **method)
    # A norm is no weight to equalize with.
    assert bool(done.moved) == (name != "norm, two readers" or "smooth" in method)
    if done.moved:
        after = {n: v.const_value.numpy() for n, v in model.graph.initializers.items()}
        assert any(n not in before or not np.array_equal(before[n], a) for n, a in after.items())
    onnx.checker.check_model(ir.to_proto(model))
    for key, got in run(model, x).items():
        size = np.abs(want[key]).max()
        np.testing.assert_allclose(got, want[key], rtol=0, atol=2e-5 * size)


@pytest.mark.parametrize("name", list(FIXED))
def test_what_is_not_homogeneous_is_left_alone_and_said(name: str) -> None:
    model = build(FIXED[name])
    before = ir.to_proto(model).SerializeToString()
    done = balanced(model, equalize=True, smooth=0.5)
    assert not done.moved
    assert ir.to_proto(model).SerializeToString() == before
    assert all(": not equalized and smoothed, its input " in note for note in done.notes[:1])
    assert len(done.notes) == 2


def test_ranges_are_equal_afterwards() -> None:
    model = build(CHAINS["conv, depthwise, conv"])
    balanced(model, equalize=True)
    for link in links.find(model)[0]:
        written = link.writers[0].peaks(link.count)
        read = np.max([reader.peaks(link.count) for reader in link.readers], axis=0)
        np.testing.assert_allclose(written, read, rtol=0.02)


def test_smoothing_shares_the_range_of_each_channel() -> None:
    model = build(CHAINS["norm, two readers"])
    x = inputs(model)

    def spans() -> tuple[Array, Array]:
        (link,) = links.find(model)[0]
        normed = Runner(model, ["n"])({"x": x})["n"]
        given = np.abs(np.concatenate(normed)).max(axis=0)
        return given, np.max([r.peaks(link.count) for r in link.readers], axis=0)

    assert not np.allclose(*spans(), rtol=0.5)
    balance(model, [{"x": x}], Settings(smooth=0.5))
    np.testing.assert_allclose(*spans(), rtol=1e-4)  # sqrt(max|x| max|w|) both


def test_channels_that_are_zero_stay() -> None:
    model = build(CHAINS["gemm, relu, gemm"])
    weights = model.graph.initializers
    for name, index in (("A", (slice(None), 2)), ("B", (slice(None), 4))):
        data = weights[name].const_value.numpy().copy()
        data[index] = 0
        weights[name].const_value = ir.tensor(data, name=name)
    x = inputs(model, seed=2)
    want = run(model, x)["y"]
    balanced(model, equalize=True, smooth=0.5)
    assert not weights["A"].const_value.numpy()[:, 2].any()
    assert not weights["B"].const_value.numpy()[:, 4].any()
    np.testing.assert_allclose(run(model, x)["y"], want, atol=1e-5 * np.abs(want).max())


@pytest.mark.parametrize("seed", range(5))
def test_after_the_passes_of_a_compilation(seed: int) -> None:
    model = build(CHAINS["conv flattened into a cell"], seed)
    prepare(model, Sizes({}, {}), passes=PASSES[1:])
    x = inputs(model, seed=seed)
    want = run(model, x)["h_out"]
    assert balanced(model, equalize=True).moved
    np.testing.assert_allclose(run(model, x)["h_out"], want, atol=1e-5)
