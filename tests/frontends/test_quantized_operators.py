"""Integer operators of ONNX and of ONNX Runtime, expanded: the numbers of ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from edgeseq.errors import UsageError
from edgeseq.frontends import onnx_contrib
from edgeseq.frontends.onnx import import_onnx
from edgeseq.interp import Interpreter
from edgeseq.pipeline import prepare

RNG = np.random.default_rng(0)
U8, I8 = np.uint8, np.int8
X = RNG.integers(0, 256, (3, 6), U8)
W = RNG.integers(-127, 128, (6, 4), I8)


def f(value: float) -> np.ndarray:
    return np.float32(value)


def save(
    path: Path,
    op_type: str,
    inputs: dict[str, Any],
    outputs: int = 1,
    *,
    fed: str = "x",
    **attributes: Any,
) -> Path:
    """One operator; `inputs` by name, None where one is absent; `fed` is the graph's input."""
    domain = "com.microsoft" if f"com.microsoft.{op_type}" in onnx_contrib.OPS else ""
    names = [name if a is not None else "" for name, a in inputs.items()]
    results = [f"y{i}" for i in range(outputs)]
    given = np.asarray(inputs[fed])
    graph = helper.make_graph(
        [helper.make_node(op_type, names, results, name="one", domain=domain, **attributes)],
        "g",
        [
            helper.make_tensor_value_info(
                fed, helper.np_dtype_to_tensor_dtype(given.dtype), given.shape
            )
        ],
        [helper.make_empty_tensor_value_info(name) for name in results],
        [
            numpy_helper.from_array(np.asarray(a), n)
            for n, a in inputs.items()
            if n != fed and a is not None
        ],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    del graph.output[:]
    for name, one in zip(results, run(proto.SerializeToString(), {fed: given}), strict=True):
        kind = helper.np_dtype_to_tensor_dtype(one.dtype)
        graph.output.append(helper.make_tensor_value_info(name, kind, one.shape))
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


def run(proto: bytes, feeds: dict[str, Any]) -> list[np.ndarray]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto, options)
    return [np.asarray(one) for one in session.run(None, feeds)]


def both(path: Path, feeds: dict[str, Any]) -> tuple[ir.Model, list[np.ndarray], list[np.ndarray]]:
    """The prepared model, what ONNX Runtime makes of the file, and what of the model."""
    model = import_onnx(path)
    prepare(model, check=True)
    return model, run(path.read_bytes(), feeds), run(ir.to_proto(model).SerializeToString(), feeds)


PRODUCT = {"x": X, "xs": f(0.02), "xz": U8(7), "w": W, "ws": f(0.01), "wz": I8(0)}
RESULT = {"ys": f(0.05), "yz": U8(100)}
IMAGE = RNG.integers(0, 256, (1, 4, 9), U8)
TAPS = RNG.integers(-127, 128, (5, 4, 3), I8)
EXACT: dict[str, tuple[str, dict[str, Any], dict[str, Any]]] = {
    "QLinearMatMul": ("QLinearMatMul", {**PRODUCT, **RESULT}, {}),
    "QLinearMatMul, int8": (
        "QLinearMatMul",
        {**PRODUCT, "x": X.astype(np.int16).__sub__(128).astype(I8), "xz": I8(-5)}
        | {"ys": f(0.05), "yz": I8(3)},
        {},
    ),
    "QLinearMatMul, scales of outputs": (
        "QLinearMatMul",
        {**PRODUCT, "ws": np.linspace(0.01, 0.02, 4).astype("f4"), "wz": np.zeros(4, I8), **RESULT},
        {},
    ),
    "MatMulInteger": ("MatMulInteger", {"x": X, "w": W, "xz": U8(7), "wz": I8(3)}, {}),
    "MatMulInteger, plain": ("MatMulInteger", {"x": X, "w": W}, {}),
    "MatMulInteger, unsigned": (
        "MatMulInteger",
        {"x": X, "w": RNG.integers(0, 256, (6, 4), U8), "xz": U8(7), "wz": U8(20)},
        {},
    ),
    "ConvInteger": (
        "ConvInteger",
        {
            "x": IMAGE,
            "w": TAPS.astype(np.int16).__add__(128).astype(U8),
            "xz": U8(9),
            "wz": U8(120),
        },
        {"pads": [1, 1]},
    ),
    "QLinearConv": (
        "QLinearConv",
        {
            "x": IMAGE,
            "xs": f(0.02),
            "xz": U8(7),
            "w": TAPS,
            "ws": np.linspace(0.01, 0.02, 5).astype("f4"),
        }
        | {
            "wz": np.zeros(5, I8),
            "ys": f(0.07),
            "yz": U8(90),
            "b": np.arange(5, dtype=np.int32) * 99,
        },
        {"pads": [1, 1], "strides": [2]},
    ),
    "DynamicQuantizeLinear": (
        "DynamicQuantizeLinear",
        {"x": RNG.normal(size=(3, 6)).astype("f4")},
        {},
    ),
    "DynamicQuantizeLinear of zeros": ("DynamicQuantizeLinear", {"x": np.zeros((3, 6), "f4")}, {}),
}


@pytest.mark.parametrize("name", EXACT)
def test_integers_are_those_of_onnx_runtime(name: str, tmp_path: Path) -> None:
    op_type, inputs, attributes = EXACT[name]
    outputs = 3 if op_type == "DynamicQuantizeLinear" else 1
    path = save(tmp_path / "m.onnx", op_type, inputs, outputs, **attributes)
    model, want, got = both(path, {"x": inputs["x"]})
    for one, other in zip(want, got, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    (x,) = {str(value.name) for value in model.graph.inputs}
    interpreted = Interpreter(model, None)({x: torch.from_numpy(np.asarray(inputs["x"]))})
    for one, other in zip(want, interpreted.values(), strict=True):
        np.testing.assert_array_equal(one, other.numpy())
    ops = {node.op_type for node in model.graph}
    assert op_type not in ops
    assert ("QuantizedMatMul" in ops) == ("MatMul" in op_type)


ONE = {"x": X, "xs": f(0.02), "xz": U8(7)}
TWO = {**ONE, "o": RNG.integers(0, 256, (3, 6), U8), "os": f(0.03), "oz": U8(200)}
FLOATS = RNG.normal(size=(3, 6)).astype("f4")
POOLED = {"x": RNG.integers(0, 256, (1, 4, 8, 8), U8), "xs": f(0.02), "xz": U8(7), **RESULT}
# Operators of ONNX Runtime; it may round to the next level where two are equally near.
CONTRIB: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "QLinearAdd": ({**TWO, **RESULT}, {}),
    "QLinearMul": ({**TWO, **RESULT}, {}),
    "QLinearSigmoid": ({**ONE, "ys": f(1 / 256), "yz": U8(0)}, {}),
    "QLinearLeakyRelu": ({**ONE, **RESULT}, {"alpha": 0.2}),
    "QLinearSoftmax": ({**ONE, "ys": f(1 / 256), "yz": U8(0)}, {"axis": -1, "opset": 13}),
    "QLinearGlobalAveragePool": (POOLED, {}),
    "QLinearAveragePool": (POOLED, {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "QLinearConcat": ({**RESULT, **TWO}, {"axis": 1}),
    "QGemm": (
        {**PRODUCT, "b": np.arange(4, dtype=np.int32) * 50, **RESULT},
        {"alpha": 1.0, "transB": 0},
    ),
    "QGemm, floats out": (
        {**PRODUCT, "w": W.T.copy(), "ws": np.linspace(0.01, 0.02, 4).astype("f4")}
        | {"wz": np.zeros(4, I8), "b": np.arange(4, dtype=np.int32) * 50},
        {"transB": 1},
    ),
    "MatMulIntegerToFloat": (
        {"x": X, "w": W, "xs": f(0.02), "ws": f(0.01), "xz": U8(7), "wz": I8(0)}
        | {"b": np.ones(4, "f4")},
        {},
    ),
    "DynamicQuantizeMatMul": ({"x": FLOATS, "w": W, "ws": f(0.01), "wz": I8(0)}, {}),
}


@pytest.mark.parametrize("name", CONTRIB)
def test_operators_of_onnx_runtime(name: str, tmp_path: Path) -> None:
    inputs, attributes = CONTRIB[name]
    path = save(tmp_path / "m.onnx", name.split(",")[0], inputs, **attributes)
    model, (want,), (got,) = both(path, {"x": inputs["x"]})
    assert not {node.domain for node in model.graph} - {"", "edgeseq"}
    assert want.dtype == got.dtype
    if want.dtype == np.float32:
        np.testing.assert_allclose(got, want, rtol=2e-6, atol=2e-6)
    else:
        assert np.abs(got.astype(int) - want.astype(int)).max() <= 1
        assert (got == want).mean() > 0.9
    if "Gemm" in name or "MatMul" in name:
        assert "QuantizedMatMul" in {node.op_type for node in model.graph}


def test_dynamic_lstm(tmp_path: Path) -> None:
    """Both quantize x and h at every step, by other rules; they are as far from the floats."""
    w = RNG.normal(size=(1, 6, 16)).astype("f4") / 3
    r = RNG.normal(size=(1, 4, 16)).astype("f4") / 3
    levels = [np.round(a / np.abs(a).max() * 127).astype(I8) for a in (w, r)]
    scales = [np.array([np.abs(a).max() / 127], "f4") for a in (w, r)]
    x = RNG.normal(size=(20, 2, 6)).astype("f4")
    inputs = {
        "x": x,
        "w": levels[0],
        "r": levels[1],
        "b": RNG.normal(size=(1, 32)).astype("f4") / 3,
    }
    inputs |= {"lens": None, "h0": None, "c0": None, "p": None, "ws": scales[0]}
    inputs |= {"wz": np.zeros(1, I8), "rs": scales[1], "rz": np.zeros(1, I8)}
    path = save(tmp_path / "m.onnx", "DynamicQuantizeLSTM", inputs, 3, hidden_size=4)
    model, want, got = both(path, {"x": x})
    assert [node.op_type for node in model.graph] == ["QuantizedLSTM"]
    for one, other in zip(want, got, strict=True):
        assert one.shape == other.shape
        assert 1e-5 < np.abs(one - other).max() < 0.03


BAD = {
    "scale 's' is nan": {"s": f(np.nan)},
    "scale 's' is -1": {"s": f(-1)},
    "zero point 'z' is UINT8, the levels are INT8": {"z": U8(3)},
    "zero point 'z' has 2 numbers, its scale has 1": {"z": np.array([1, 2], I8)},
    "3 scales for axis 1 of 'w', which is 4 long": {"s": np.ones(3, "f4"), "z": np.zeros(3, I8)},
    "zero point 'z' of 32 bits is 5, not 0": {"w": W.astype(np.int32), "z": np.int32(5)},
}


@pytest.mark.parametrize("why", BAD)
def test_what_cannot_be_right_is_said_with_its_node(why: str, tmp_path: Path) -> None:
    arrays = {"w": W, "s": f(0.1), "z": I8(0), **BAD[why]}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s", "z"], ["v"], name="weights"),
        helper.make_node("MatMul", ["x", "v"], ["y"], name="product"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    onnx.save(proto, tmp_path / "m.onnx")
    with pytest.raises(UsageError) as error:
        import_onnx(tmp_path / "m.onnx")
    assert error.value.at == (f"node 'weights' (DequantizeLinear): {why}",)


@pytest.mark.parametrize(("scale", "shown"), [(0.0, "0"), (np.inf, "inf")])
def test_a_scale_that_divides_is_positive(scale: float, shown: str, tmp_path: Path) -> None:
    inputs = {"x": FLOATS, "s": f(scale), "z": U8(0)}
    path = save(tmp_path / "m.onnx", "QuantizeLinear", inputs)
    with pytest.raises(UsageError, match=f"scale 's' is {shown}"):
        import_onnx(path)
