"""The bodies of the quantized functions against numpy, bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from edgeseq.kernels import _exact

from edgeseq.interp import Interpreter
from edgeseq.ir import dialect
from edgeseq.ir.dialect import exact
from tests.quantize import reference

Array = npt.NDArray[Any]


def model_of(
    op_type: str, arrays: dict[str, Array], inputs: list[str], attributes: dict[str, Any]
) -> ir.Model:
    """One call; every input is a graph input."""
    values = {
        name: ir.Value(
            name=name,
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            shape=ir.Shape(array.shape),
        )
        for name, array in arrays.items()
    }
    graph = ir.Graph(list(values.values()), [], nodes=[], opset_imports={"": 26}, name="g")
    model = ir.Model(graph, ir_version=11)
    one = (arrays["X"].ndim,)
    ranks = {"QuantizedMatMul": one, "QuantizedConv": one, "QuantizedLSTM": (4, 3, 3)}.get(
        op_type, (4, 3)
    )
    node = dialect.node(model, op_type, [values.get(n) for n in inputs], attributes, len(ranks))
    graph.append(node)
    for i, (output, rank) in enumerate(zip(node.outputs, ranks, strict=True)):
        output.name, output.type = f"y{i}", ir.TensorType(ir.DataType.FLOAT)
        output.shape = ir.Shape([None] * rank)
        graph.outputs.append(output)
    return model


def by_ort(model: ir.Model, arrays: dict[str, Array]) -> list[Array]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return [np.asarray(one) for one in session.run(None, arrays)]


def same_bits(got: Array, want: Array) -> None:
    assert got.shape == want.shape
    assert got.dtype == want.dtype == np.float32
    numbers = ~np.isnan(want)
    np.testing.assert_array_equal(np.isnan(got), ~numbers)
    np.testing.assert_array_equal(got[numbers].view(np.int32), want[numbers].view(np.int32))


CELL_INPUTS = ["X", "W", "R", "W_scale", "R_scale", "B", "sequence_lens", "initial_h", "initial_c"]
GATES = {"QuantizedGRU": 3, "QuantizedLSTM": 4, "QuantizedRNN": 1}


def cell_arrays(op_type: str, directions: int, optional: str, seed: int = 0) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    steps, batch, inputs, hidden = 7, 3, 10, 5
    rows = GATES[op_type] * hidden
    state = (directions, batch, hidden)
    arrays = {
        "X": random.normal(size=(steps, batch, inputs)).astype(np.float32),
        "W": random.integers(-127, 128, (directions, rows, inputs), np.int8),
        "R": random.integers(-127, 128, (directions, rows, hidden), np.int8),
        "W_scale": random.uniform(1e-3, 2e-2, (directions, rows)).astype(np.float32),
        "R_scale": random.uniform(1e-3, 2e-2, (directions, rows)).astype(np.float32),
        "B": random.normal(size=(directions, 2 * rows)).astype(np.float32),
        "sequence_lens": np.array([steps, 4, 1], np.int32),
        "initial_h": random.uniform(-1, 1, state).astype(np.float32),
        "initial_c": random.uniform(-2, 2, state).astype(np.float32),
    }
    always = CELL_INPUTS[:5]
    given = {"B": "b", "sequence_lens": "l", "initial_h": "h", "initial_c": "c"}
    return {n: a for n, a in arrays.items() if n in always or given[n] in optional}


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("optional", ["b", "bh", "lh", "blh"])
@pytest.mark.parametrize("x_scale", [0.0, 0.02])
@pytest.mark.parametrize(
    ("op_type", "more"),
    [
        ("QuantizedGRU", {"linear_before_reset": 1}),
        ("QuantizedGRU", {"linear_before_reset": 0}),
        ("QuantizedGRU", {"linear_before_reset": 0, "h_scale": 0.0}),
        ("QuantizedLSTM", {}),
        ("QuantizedLSTM", {"h_scale": 0.0}),
        ("QuantizedRNN", {"activations": ["Tanh"]}),
        ("QuantizedRNN", {"activations": ["Relu"], "h_scale": 0.0}),
    ],
)
def test_cell_has_the_bits_of_numpy(
    op_type: str, more: dict[str, Any], x_scale: float, optional: str, direction: str
) -> None:
    directions = 2 if direction == "bidirectional" else 1
    optional += "c" if op_type == "QuantizedLSTM" and "h" in optional else ""
    arrays = cell_arrays(op_type, directions, optional)
    attributes = {"hidden_size": 5, "direction": direction, "x_scale": x_scale, **more}
    if x_scale:
        attributes["x_zero_point"] = 100
    if "activations" in attributes:
        attributes["activations"] = attributes["activations"] * directions
    model = model_of(op_type, arrays, CELL_INPUTS, attributes)
    want = reference.cell(op_type, arrays, attributes)
    for got, expected in zip(by_ort(model, arrays), want, strict=True):
        same_bits(got, expected)


@pytest.mark.parametrize("op_type", list(GATES))
def test_interpreter_has_the_bits_too(op_type: str) -> None:
    arrays = cell_arrays(op_type, 2, "blhc" if op_type == "QuantizedLSTM" else "blh")
    attributes = {"hidden_size": 5, "direction": "bidirectional", "x_scale": 0.02}
    model = model_of(op_type, arrays, CELL_INPUTS, attributes)
    outputs = Interpreter(model, None)({n: torch.from_numpy(a) for n, a in arrays.items()})
    want = reference.cell(op_type, arrays, attributes)
    for got, expected in zip(outputs.values(), want, strict=True):
        same_bits(got.numpy(), expected)


@pytest.mark.parametrize("x_scale", [0.0, 0.02])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(12,), (1, 12), (4, 3, 12)])
def test_matmul_has_the_bits_of_numpy(shape: tuple[int, ...], bias: bool, x_scale: float) -> None:
    random = np.random.default_rng(1)
    arrays = {
        "X": random.normal(size=shape).astype(np.float32) * 3,
        "W": random.integers(-127, 128, (12, 7), np.int8),
        "W_scale": random.uniform(1e-3, 2e-2, 7).astype(np.float32),
        "B": random.normal(size=7).astype(np.float32),
    }
    if not bias:
        del arrays["B"]
    attributes: dict[str, Any] = {"x_scale": x_scale}
    if x_scale:
        attributes["x_zero_point"] = 33
    model = model_of("QuantizedMatMul", arrays, ["X", "W", "W_scale", "B"], attributes)
    same_bits(by_ort(model, arrays)[0], reference.matmul(arrays, attributes)[0])


@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_matmul_of_256_levels(zero_point: int) -> None:
    random = np.random.default_rng(3)
    x = (np.arange(256, dtype=np.float32) - zero_point).reshape(8, 32)
    arrays = {
        "X": x * np.float32(0.37),
        "W": random.integers(-127, 128, (32, 5), np.int8),
        "W_scale": random.uniform(1e-3, 2e-2, 5).astype(np.float32),
    }
    attributes = {"x_scale": 0.37, "x_zero_point": zero_point, "x_top": 255}
    model = model_of("QuantizedMatMul", arrays, ["X", "W", "W_scale", "B"], attributes)
    want = reference.matmul(arrays, attributes)[0]
    exact_sums = x @ arrays["W"].astype(np.float32)
    same_bits(want, exact_sums * (np.float32(0.37) * arrays["W_scale"]))
    same_bits(by_ort(model, arrays)[0], want)


# The input, the weight, and the attributes beside the scale.
CONVOLUTIONS: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((2, 4, 9), (6, 2, 3), {"group": 2, "pads": [1, 2], "strides": [2], "dilations": [2]}),
    ((1, 1, 40), (5, 1, 16), {"strides": [8]}),
    ((3, 5, 1), (7, 5, 1), {}),
    ((2, 6, 4, 11), (6, 1, 3, 3), {"group": 6, "pads": [0, 1, 2, 1]}),
    ((1, 9, 5, 13), (16, 9, 3, 5), {"pads": [1, 2, 1, 2], "strides": [1, 2]}),
    ((2, 600, 3), (4, 600, 3), {"pads": [2, 0]}),
]


@pytest.mark.parametrize("zero_point", [0, 128, 255])
def test_convolution_of_256_levels(zero_point: int) -> None:
    random = np.random.default_rng(5)
    x = (np.arange(256, dtype=np.float32) - zero_point).reshape(1, 4, 4, 16)
    arrays = {
        "X": x * np.float32(0.37),
        "W": random.integers(-127, 128, (6, 2, 3, 2), np.int8),
        "W_scale": random.uniform(1e-3, 2e-2, 6).astype(np.float32),
    }
    attributes = {"x_scale": 0.37, "x_zero_point": zero_point, "x_top": 255, "group": 2}
    attributes |= {"strides": [1, 2], "dilations": [1, 1], "pads": [1, 0, 1, 1]}
    model = model_of("QuantizedConv", arrays, ["X", "W", "W_scale", "B"], attributes)
    want = reference.conv(arrays, attributes)[0]
    same_bits(by_ort(model, arrays)[0], want)


@pytest.mark.parametrize("x_scale", [0.0, 0.02])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("shape", "weight", "more"), CONVOLUTIONS)
def test_convolution_has_the_bits_of_numpy(
    shape: tuple[int, ...],
    weight: tuple[int, ...],
    more: dict[str, Any],
    bias: bool,
    x_scale: float,
) -> None:
    random = np.random.default_rng(2)
    arrays = {
        "X": random.normal(size=shape).astype(np.float32) * 3,
        "W": random.integers(-127, 128, weight, np.int8),
        "W_scale": random.uniform(1e-3, 2e-2, weight[0]).astype(np.float32),
        "B": random.normal(size=weight[0]).astype(np.float32),
    }
    if not bias:
        del arrays["B"]
    rank = len(shape) - 2
    usual = {"group": 1, "strides": [1] * rank, "dilations": [1] * rank, "pads": [0] * 2 * rank}
    attributes: dict[str, Any] = {**usual, **more, "x_scale": x_scale}
    if x_scale:
        attributes["x_zero_point"] = 33
    model = model_of("QuantizedConv", arrays, ["X", "W", "W_scale", "B"], attributes)
    want = reference.conv(arrays, attributes)[0]
    same_bits(by_ort(model, arrays)[0], want)
    inputs = {n: torch.from_numpy(a) for n, a in arrays.items()}
    (got,) = Interpreter(model, None)(inputs).values()
    same_bits(got.numpy(), want)
    node = next(iter(model.graph))
    dialect.infer(node)
    assert list(node.outputs[0].shape or ()) == list(want.shape)


def test_extreme_rows() -> None:
    arrays = {
        "X": np.array([[0, 0], [1e30, -1e30], [np.inf, 1], [np.nan, 1], [1e-40, 0]], np.float32),
        "W": np.array([[3], [-5]], np.int8),
        "W_scale": np.array([0.5], np.float32),
    }
    model = model_of("QuantizedMatMul", arrays, ["X", "W", "W_scale", "B"], {})
    with np.errstate(all="ignore"):
        want = reference.matmul(arrays, {})[0]
    assert want[0, 0] == 0
    assert np.isnan(want[2:4]).all()
    same_bits(by_ort(model, arrays)[0], want)


def test_sums_beyond_float32() -> None:
    """More inputs than a float32 sum of products holds exactly."""
    random = np.random.default_rng(2)
    arrays = {
        "X": random.uniform(0.5, 1, (2, 5001)).astype(np.float32),
        "W": random.integers(100, 128, (5001, 3), np.int8),
        "W_scale": np.ones(3, np.float32),
    }
    model = model_of("QuantizedMatMul", arrays, ["X", "W", "W_scale", "B"], {})
    same_bits(by_ort(model, arrays)[0], reference.matmul(arrays, {})[0])


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_activations_have_the_bits_of_numpy(name: str) -> None:
    by_name = {f.name: f for f in exact.functions()}
    function = by_name[f"Exact{name.capitalize()}"]
    x = ir.Value(name="x", type=ir.TensorType(ir.DataType.FLOAT), shape=ir.Shape(["N"]))
    node = ir.node(function.name, [x], domain=dialect.DOMAIN)
    output = node.outputs[0]
    output.name, output.type, output.shape = "y", x.type, ir.Shape(["N"])
    opsets = {"": 26, dialect.DOMAIN: 1}
    graph = ir.Graph([x], [output], nodes=[node], opset_imports=opsets, name="g")
    model = ir.Model(graph, ir_version=11, functions=[function])
    every = np.arange(0, 2**31, 9973, np.int64).astype(np.uint32).view(np.float32)
    data = np.concatenate([every, -every, np.linspace(-20, 20, 100_001, dtype=np.float32)])
    with np.errstate(all="ignore"):
        want = getattr(_exact, name)(data)
    same_bits(by_ort(model, {"x": data})[0], want)


def test_constants_are_those_of_the_kernels() -> None:
    for name in ("EXP_LIMIT", "LOG2E", "LN2_HIGH", "LN2_LOW", "POWER_LIMIT", "TANH_LIMIT"):
        assert np.float32(getattr(exact, name)) == getattr(_exact, name)
    for name in ("EXP", "TANH_P", "TANH_Q"):
        assert np.array_equal(np.float32(getattr(exact, name)), np.array(getattr(_exact, name)))
