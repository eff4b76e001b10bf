"""Convolutions of integers, and of floats whose weights are stored as int8, compiled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper as oh
import onnx_ir as ir
import pytest
from edgeseq.kernels import conv_i8

from edgeseq import api, validate
from edgeseq.ir import dialect
from edgeseq.lower import select, stored
from edgeseq.options import CompileOptions, QuantizeOptions
from edgeseq.quantize.calibrate import Runner
from edgeseq.runtime import host_target

# The input, the weight, what follows, and the attributes beside the scale.
CONVOLUTIONS: list[tuple[list[int], tuple[int, ...], str, dict[str, Any]]] = [
    ([1, 12, 9], (20, 12, 3), "Relu", {"pads": [1, 1]}),
    ([2, 6, 1, 11], (6, 1, 1, 3), "PRelu", {"group": 6, "pads": [0, 2, 0, 0]}),
    ([1, 1, 40], (5, 1, 16), "", {"strides": [8]}),
    ([1, 8, 5, 7], (4, 4, 3, 2), "LeakyRelu", {"group": 2, "dilations": [2, 1]}),
]


def constant(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    tensor = ir.tensor(array, name=name)
    value = ir.Value(
        name=name,
        type=ir.TensorType(tensor.dtype),
        shape=ir.Shape(array.shape),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def quantized(x_scale: float, x_top: int = 254) -> ir.Model:
    """Each of the convolutions with random weights, side by side: x0 -> y0, x1 -> y1."""
    random = np.random.default_rng(4)
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 26}, name="g")
    made = ir.Model(graph, ir_version=11)
    float32 = ir.TensorType(ir.DataType.FLOAT)
    for i, (shape, weight, act, more) in enumerate(CONVOLUTIONS):
        x = ir.Value(name=f"x{i}", type=float32, shape=ir.Shape(shape))
        graph.inputs.append(x)
        rank, outputs = len(shape) - 2, weight[0]
        inputs = [
            x,
            constant(graph, f"w{i}", random.integers(-127, 128, weight).astype(np.int8)),
            constant(graph, f"s{i}", random.uniform(1e-3, 1e-2, outputs).astype(np.float32)),
            constant(graph, f"b{i}", random.standard_normal(outputs).astype(np.float32)),
        ]
        usual = {"group": 1, "strides": [1] * rank, "dilations": [1] * rank, "pads": [0] * 2 * rank}
        scales = {"x_scale": x_scale, "x_zero_point": 90, "x_top": x_top}
        node = dialect.node(made, "QuantizedConv", inputs, usual | more | scales)
        node.outputs[0].name = f"c{i}"
        dialect.infer(node)
        nodes = [node]
        if act:
            slopes = random.uniform(0, 1, (outputs, *[1] * rank)).astype(np.float32)
            extra = [constant(graph, f"slope{i}", slopes)] if act == "PRelu" else []
            nodes.append(ir.node(act, [node.outputs[0], *extra]))
        graph.extend(nodes)
        y = nodes[-1].outputs[0]
        y.name, y.type, y.shape = f"y{i}", float32, node.outputs[0].shape
        graph.outputs.append(y)
    return made


@pytest.mark.slow
@pytest.mark.parametrize(("x_scale", "x_top"), [(0.0, 254), (0.03, 254), (0.01, 255)])
def test_compiled_they_have_the_bits_of_their_bodies(
    x_scale: float, x_top: int, tmp_path: Path
) -> None:
    model = quantized(x_scale, x_top)
    ir.save(model, tmp_path / "m.onnx")
    options = CompileOptions(tmp_path / "dist", (host_target(),), cache=False)
    artifact = api.compile_model(tmp_path / "m.onnx", options)
    kernels = {kernel["name"] for kernel in artifact.manifest["kernels"]}
    assert kernels == {"conv_i8", "conv_i8_depthwise"}
    random = np.random.default_rng(1)
    given = {
        f"x{i}": random.standard_normal(shape).astype(np.float32)
        for i, (shape, *_) in enumerate(CONVOLUTIONS)
    }
    want = Runner(model)({name: x[None] for name, x in given.items()})
    got = artifact.load().run(**given)
    for i in range(len(CONVOLUTIONS)):
        assert got[f"y{i}"].tobytes() == want[f"y{i}"][0].tobytes(), i


def test_the_activation_is_part_of_it() -> None:
    model = quantized(0.0)
    found = select.choose(model.graph, select.Shapes({})).choices.values()
    assert [c.kernel.name for c in found] == ["conv_i8", "conv_i8_depthwise", "conv_i8", "conv_i8"]
    assert [len(c.covers) for c in found] == [1, 1, 0, 1]
    acts = [c.sizes["act"].constant for c in found]
    names = ("Relu", "Slope", "", "Slope")
    assert acts == [conv_i8.ACTIVATIONS[name] for name in names]


def test_what_has_no_kernel_says_why() -> None:
    model = quantized(0.0)
    node = next(iter(model.graph))
    node.replace_input_with(2, node.inputs[0])
    reasons = select.choose(model.graph, select.Shapes({})).reasons
    assert reasons[node] == "the weights are not constant"
    wide = quantized(0.01, 255)
    node = next(iter(wide.graph))
    least = constant(wide.graph, "least", np.full((20, 12, 3), -128, np.int8))
    node.replace_input_with(1, least)
    reasons = select.choose(wide.graph, select.Shapes({})).reasons
    assert reasons[node] == "two neighbouring weights of -128 and 256 levels of the input"


# The input, the weight, the operator, its attributes, and the kernel that reads int8.
ROUNDED: list[tuple[list[int], tuple[int, ...], str, dict[str, Any], str]] = [
    ([1, 8, 1, 33], (16, 8, 1, 3), "Conv", {"pads": [0, 1, 0, 1]}, "conv_columns_w8"),
    ([1, 8, 3, 33], (8, 1, 3, 3), "Conv", {"group": 8}, "conv_depthwise_w8"),
    ([1, 40, 9], (40, 40, 1), "Conv", {}, "conv_channels_w8"),
    (
        *([1, 16, 1, 33], (16, 8, 1, 5), "ConvTranspose"),
        *({"group": 2, "strides": [1, 2]}, "conv_transpose_columns_w8"),
    ),
]
Rounded = tuple[list[int], tuple[int, ...], str, dict[str, Any]]


def rounded(*convolutions: Rounded) -> onnx.ModelProto:
    """Convolutions whose weights are stored as int8, side by side."""
    random = np.random.default_rng(3)
    nodes, given, made, weights = [], [], [], []
    for i, (x, w, op, more) in enumerate(convolutions):
        axis = int(op == "ConvTranspose")
        levels = random.integers(-127, 128, w).astype(np.int8)
        scales = random.uniform(1e-3, 1e-2, w[axis]).astype(np.float32)
        nodes += [
            oh.make_node("DequantizeLinear", [f"w{i}", f"s{i}"], [f"f{i}"], axis=axis),
            oh.make_node(op, [f"x{i}", f"f{i}"], [f"c{i}"], name=f"conv{i}", **more),
            oh.make_node("Relu", [f"c{i}"], [f"y{i}"]),
        ]
        given.append(oh.make_tensor_value_info(f"x{i}", 1, x))
        made.append(oh.make_tensor_value_info(f"y{i}", 1, None))
        for name, array in ((f"w{i}", levels), (f"s{i}", scales)):
            weights.append(onnx.numpy_helper.from_array(array, name))
    graph = oh.make_graph(nodes, "g", given, made, weights)
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 26)], ir_version=11)
    return onnx.shape_inference.infer_shapes(proto)


def choices(proto: onnx.ModelProto) -> list[select.Choice]:
    model = ir.from_proto(proto)
    stored.resolve(model)
    return list(select.choose(model.graph, select.Shapes({})).choices.values())


def test_weights_stay_int8_where_many_columns_share_them() -> None:
    for *convolution, kernel in ROUNDED:
        (found,) = choices(rounded(tuple(convolution)))  # type: ignore[arg-type]
        assert found.kernel.name == kernel
        assert found.consts[0] is not None
        assert found.consts[0].dtype == np.int8
        assert found.why.endswith(", int8 weights")


@pytest.mark.slow
def test_compiled_they_are_the_convolutions_of_floats(tmp_path: Path) -> None:
    proto = rounded(*(tuple(one[:-1]) for one in ROUNDED))  # type: ignore[misc]
    quantize = QuantizeOptions("w8")  # of the floats that the levels are folded into
    options = CompileOptions(tmp_path / "dist", ("c",), name="m", cache=False, quantize=quantize)
    artifact = api.compile_model(proto, options)
    verdict = validate.check(tmp_path / "dist", "c")
    assert verdict.ok, validate.to_text(verdict)
    kernels = {kernel["name"] for kernel in artifact.manifest["kernels"]}
    assert kernels == {one[-1] for one in ROUNDED}


@pytest.mark.parametrize("x", [[1, 40, 5], [1, 200, 40]], ids=["few columns", "many weights"])
def test_elsewhere_they_are_floats_and_it_says_so(x: list[int]) -> None:
    (found,) = choices(rounded((x, (100, x[1], 1), "Conv", {})))
    assert not found.kernel.name.endswith("_w8")
    assert found.why.endswith(f"int8 weights as floats: {stored.AS_FLOATS}")
