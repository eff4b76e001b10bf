"""Products that come quantized keep their scales and are multiplied as integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgeseq.ir import facts
from edgeseq.pipeline import prepare

INPUTS, OUTPUTS = 12, 7
ALL = np.arange(256, dtype=np.float32)


def node(op_type: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op_type, inputs.split(), [output], name=f"n_{output}", **attributes)


def build(nodes: list[onnx.NodeProto], arrays: dict[str, Any], x: list[Any]) -> onnx.ModelProto:
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=13)
    proto = onnx.shape_inference.infer_shapes(proto)
    onnx.checker.check_model(proto)
    return proto


def run(proto: onnx.ModelProto, x: np.ndarray) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return np.asarray(session.run(None, {"x": x})[0])


def lifted(proto: onnx.ModelProto) -> tuple[ir.Model, list[str]]:
    model = ir.from_proto(proto)
    records = prepare(model, check=True).records
    record = next(r for r in records if r.name == "lift-quantized-products")
    return model, [one.reason for one in record.refusals]


def ops(model: ir.Model) -> list[str]:
    return [one.op_type for one in model.graph]


def numbers(shape: tuple[int, ...], zero: int, scale: float) -> np.ndarray:
    """Every level of eight bits, and beyond both ends."""
    levels = np.resize(np.concatenate([ALL, [-3, 300]]).astype(np.float32), shape)
    return (levels - zero) * np.float32(scale)


def pair(kind: type, zero: int) -> dict[str, Any]:
    return {"x_scale": np.float32(0.031), "x_zero": np.array(zero, kind)}


def weights(kind: type, seed: int = 0, shape: tuple[int, int] = (INPUTS, OUTPUTS)) -> np.ndarray:
    info = np.iinfo(kind)
    return np.random.default_rng(seed).integers(max(info.min, -127), info.max, shape).astype(kind)


QUANTIZED = [
    node("QuantizeLinear", "x x_scale x_zero", "q"),
    node("DequantizeLinear", "q x_scale x_zero", "d"),
]


@pytest.mark.parametrize("shape", [(1, INPUTS), (43, INPUTS), (2, 3, INPUTS)])
@pytest.mark.parametrize(
    ("kind", "zero"),
    [(np.uint8, 0), (np.uint8, 128), (np.uint8, 255), (np.int8, 0), (np.int8, -128)],
)
def test_all_256_levels_keep_their_values(kind: type, zero: int, shape: tuple[int, ...]) -> None:
    arrays = {**pair(kind, zero), "w": weights(np.int8), "s": np.float32(0.013)}
    nodes = [*QUANTIZED, node("DequantizeLinear", "w s", "v"), node("MatMul", "d v", "y")]
    proto = build(nodes, arrays, list(shape))
    model, refusals = lifted(proto)
    assert ops(model) == ["QuantizedMatMul"]
    assert not refusals
    call = next(iter(model.graph))
    raised = 128 if kind is np.int8 else 0
    assert call.attributes["x_zero_point"].as_int() == zero + raised
    assert call.attributes["x_scale"].as_float() == np.float32(0.031)
    x = numbers(shape, zero + raised, 0.031)
    np.testing.assert_allclose(run(ir.to_proto(model), x), run(proto, x), rtol=2e-6, atol=2e-6)


def test_over_an_open_time_axis_it_runs_step_by_step() -> None:
    arrays = {**pair(np.uint8, 3), "w": weights(np.int8), "s": np.float32(0.013)}
    nodes = [*QUANTIZED, node("DequantizeLinear", "w s", "v"), node("MatMul", "d v", "y")]
    model, _ = lifted(build(nodes, arrays, [1, "T", INPUTS]))
    assert ops(model) == ["QuantizedMatMul"]
    assert facts.get(model, facts.NotStreamable) is None


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("bias", ["none", "float", "int32"])
def test_gemm_with_scales_of_outputs(bias: str, turned: bool) -> None:
    w = weights(np.int8)
    scales = np.linspace(0.01, 0.02, OUTPUTS, dtype=np.float32)
    arrays = {**pair(np.uint8, 9), "w": w.T.copy() if turned else w, "s": scales}
    nodes = [*QUANTIZED, node("DequantizeLinear", "w s", "v", axis=0 if turned else 1)]
    last = ""
    if bias == "float":
        arrays["b"], last = np.arange(OUTPUTS, dtype=np.float32), "b"
    if bias == "int32":
        arrays["c"] = np.arange(OUTPUTS, dtype=np.int32) * 700
        arrays["cs"] = scales * np.float32(0.031)
        nodes.append(node("DequantizeLinear", "c cs", "b", axis=0))
        last = "b"
    nodes.append(node("Gemm", f"d v {last}", "y", transB=int(turned), alpha=0.5, beta=2.0))
    proto = build(nodes, arrays, [4, INPUTS])
    model, _ = lifted(proto)
    assert ops(model) == ["QuantizedMatMul"]
    x = numbers((4, INPUTS), 9, 0.031)
    np.testing.assert_allclose(run(ir.to_proto(model), x), run(proto, x), rtol=2e-6, atol=5e-6)


def test_a_bias_behind_and_a_view_before() -> None:
    arrays = {**pair(np.uint8, 100), "w": weights(np.int8).T.copy(), "s": np.float32(0.01)}
    arrays |= {"b": np.arange(OUTPUTS, dtype=np.float32), "flat": np.array([6, INPUTS])}
    nodes = [
        *QUANTIZED,
        node("Reshape", "d flat", "e"),
        node("DequantizeLinear", "w s", "v"),
        node("Transpose", "v", "u", perm=[1, 0]),
        node("MatMul", "e u", "m"),
        node("Add", "b m", "y"),
    ]
    proto = build(nodes, arrays, [2, 3, INPUTS])
    model, _ = lifted(proto)
    assert ops(model)[-1] == "QuantizedMatMul"
    assert {"MatMul", "Add", "Transpose"}.isdisjoint(ops(model))
    x = numbers((2, 3, INPUTS), 100, 0.031)
    np.testing.assert_allclose(run(ir.to_proto(model), x), run(proto, x), rtol=2e-6, atol=2e-5)


@pytest.mark.parametrize(("zero", "more"), [(128, False), (3, True), (200, True)])
def test_unsigned_weights(zero: int, more: bool) -> None:
    arrays = {**pair(np.uint8, 30), "w": weights(np.uint8), "s": np.float32(0.01)}
    arrays["z"] = np.array(zero, np.uint8)
    nodes = [*QUANTIZED, node("DequantizeLinear", "w s z", "v"), node("MatMul", "d v", "y")]
    proto = build(nodes, arrays, [5, INPUTS])
    model, _ = lifted(proto)
    assert "QuantizedMatMul" in ops(model)
    assert ("ReduceSum" in ops(model)) == more
    x = numbers((5, INPUTS), 30, 0.031)
    np.testing.assert_allclose(run(ir.to_proto(model), x), run(proto, x), rtol=5e-6, atol=5e-5)


def test_a_scale_of_the_run() -> None:
    arrays = {"w": weights(np.int8), "s": np.linspace(0.01, 0.02, OUTPUTS, dtype=np.float32)}
    arrays["b"] = np.arange(OUTPUTS, dtype=np.float32)
    nodes = [
        helper.make_node("DynamicQuantizeLinear", ["x"], ["q", "qs", "qz"], name="dynamic"),
        node("DequantizeLinear", "q qs qz", "d"),
        node("DequantizeLinear", "w s", "v", axis=1),
        node("MatMul", "d v", "m"),
        node("Add", "m b", "y"),
    ]
    proto = build(nodes, arrays, [5, INPUTS])
    model, _ = lifted(proto)
    assert "QuantizedMatMul" in ops(model)
    assert "MatMul" not in ops(model)
    for x in (numbers((5, INPUTS), 30, 0.031), np.zeros((5, INPUTS), np.float32)):
        np.testing.assert_allclose(run(ir.to_proto(model), x), run(proto, x), rtol=5e-6, atol=5e-5)


def test_weights_alone_keep_their_levels() -> None:
    arrays = {"w": weights(np.int8).T.copy(), "s": np.linspace(0.01, 0.02, OUTPUTS).astype("f4")}
    arrays["z"] = np.zeros(OUTPUTS, np.int8)
    nodes = [
        node("DequantizeLinear", "w s z", "v", axis=0),
        node("Transpose", "v", "u", perm=[1, 0]),
        node("MatMul", "x u", "y"),
    ]
    proto = build(nodes, arrays, [5, INPUTS])
    model, _ = lifted(proto)
    assert ops(model) == ["DequantizeLinear", "MatMul"]
    levels = next(iter(model.graph)).inputs
    assert levels[0].dtype == ir.DataType.INT8
    assert len(levels) == 2
    x = numbers((5, INPUTS), 30, 0.031)
    np.testing.assert_allclose(run(ir.to_proto(model), x), run(proto, x), rtol=1e-6, atol=1e-6)


REFUSED = {
    "its weights have scales along the inputs": (
        {"s": np.linspace(0.01, 0.02, INPUTS).astype("f4")},
        [node("DequantizeLinear", "w s", "v", axis=0), node("MatMul", "d v", "y")],
    ),
    "transA = 1": (
        {"s": np.float32(0.01)},
        [node("DequantizeLinear", "w s", "v"), node("Gemm", "d v", "y", transA=1)],
    ),
    "its weights span more than 256 levels": (
        {"w": weights(np.int16) // 8, "s": np.float32(0.01)},
        [node("DequantizeLinear", "w s", "v"), node("MatMul", "d v", "y")],
    ),
}


@pytest.mark.parametrize("why", REFUSED)
def test_refused_products_are_float_products(why: str) -> None:
    more, nodes = REFUSED[why]
    arrays = {**pair(np.uint8, 9), "w": weights(np.int8), **more}
    shape = (INPUTS, 4) if why == "transA = 1" else (4, INPUTS)
    proto = build([*QUANTIZED, *nodes], arrays, list(shape))
    model, refusals = lifted(proto)
    assert refusals == [why]
    product = next(n for n in model.graph if n.op_type in ("MatMul", "Gemm"))
    assert product.inputs[1].const_value is not None
    x = numbers(shape, 9, 0.031)
    np.testing.assert_allclose(run(ir.to_proto(model), x), run(proto, x), rtol=1e-6, atol=1e-6)


def test_sixteen_bits_are_no_levels_of_a_kernel() -> None:
    arrays = {"x_scale": np.float32(1e-4), "x_zero": np.array(0, np.int16)}
    arrays |= {"w": weights(np.int8), "s": np.float32(0.01)}
    nodes = [*QUANTIZED, node("DequantizeLinear", "w s", "v"), node("MatMul", "d v", "y")]
    model, refusals = lifted(build(nodes, arrays, [4, INPUTS]))
    assert refusals == ["its input is INT16, not 8 bits"]
    assert ops(model) == ["QuantizeLinear", "DequantizeLinear", "MatMul"]


def test_floats_are_left_alone() -> None:
    model, refusals = lifted(
        build([node("MatMul", "x w", "y")], {"w": np.ones((3, 2), "f4")}, [1, 3])
    )
    assert ops(model) == ["MatMul"]
    assert not refusals
