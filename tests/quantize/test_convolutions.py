"""Convolutions in int8: which multiply integers, what they cost, and what stays in float."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from edgeseq.kernels import _quantized

from edgeseq.ir import facts
from edgeseq.quantize import Settings, convolutions, layers, quantize
from edgeseq.quantize.calibrate import Runner

Array = npt.NDArray[Any]

TEXT = """
<ir_version: 10, opset_import: ["" : 22]>
net (float[{x}] x) => (float[{y}] y) <float[{w}] W, float[{o}] b>
{{ y = Conv <{attributes}> (x, W, b) }}
"""
SHAPE = {"x": "1, 16, 3, 20", "y": "1, 40, 1, 20", "w": "40, 16, 3, 3", "o": "40"}
ATTRIBUTES = "pads = [0, 1, 0, 1]"


def build(attributes: str = ATTRIBUTES, **shape: str) -> ir.Model:
    proto = onnx.parser.parse_model(TEXT.format(attributes=attributes, **(SHAPE | shape)))
    random = np.random.default_rng(0)
    for info in list(proto.graph.value_info):
        dims = [d.dim_value for d in info.type.tensor_type.shape.dim]
        numbers = (random.standard_normal(dims) / np.sqrt(np.prod(dims[1:]))).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(numbers, info.name))
    return ir.from_proto(onnx.version_converter.convert_version(proto, 26))


def sample(shape: tuple[int, ...] = (1, 16, 3, 20), seed: int = 1, steps: int = 20) -> Any:
    """Steps that are about as loud as each other, and mostly positive."""
    random = np.random.default_rng(seed)
    return {"x": (random.standard_normal((steps, *shape)) + 1).astype(np.float32)}


def output(model: ir.Model, given: dict[str, Array]) -> Array:
    onnx.checker.check_model(ir.to_proto(model))
    return np.stack(Runner(model)(given)["y"])


def snr(got: Array, want: Array) -> float:
    return float(10 * np.log10(np.square(want).sum() / np.square(got - want).sum()))


@pytest.mark.parametrize("data", [False, True], ids=["dynamic", "static"])
@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        (ATTRIBUTES, {}),
        ("strides = [2]", {"x": "1, 64, 9", "y": "1, 64, 4", "w": "64, 64, 3", "o": "64"}),
        (
            'group = 2, kernel_shape = [2], auto_pad = "NOTSET"',
            {"x": "1, 128, 9", "y": "1, 64, 8", "w": "64, 64, 2", "o": "64"},
        ),
    ],
)
def test_large_ones_multiply_integers(attributes: str, shape: dict[str, str], data: bool) -> None:
    model = build(attributes, **shape)
    dims = tuple(int(d) for d in (SHAPE | shape)["x"].split(","))
    held_out = sample(dims, 2)
    want = output(model, held_out)
    (change,) = quantize(model, "int8", [sample(dims)] if data else []).changes
    (node,) = model.graph
    assert node.op_type == "QuantizedConv"
    assert (change.scheme, change.activations) == ("int8", "static" if data else "dynamic")
    assert change.nbytes <= 0.26 * 4 * change.elements
    assert snr(output(model, held_out), want) > 38


@pytest.mark.parametrize(
    ("attributes", "shape", "why"),
    [
        (ATTRIBUTES, {"y": "1, 31, 1, 20", "w": "31, 16, 3, 3", "o": "31"}, "fewer than 128"),
        (ATTRIBUTES, {"x": "1, 14, 3, 20", "w": "40, 14, 3, 3"}, "fewer than 128"),
        (f"{ATTRIBUTES}, group = 2", {"w": "40, 8, 3, 3"}, "fewer than 128"),
        ('auto_pad = "SAME_UPPER"', {"y": "1, 40, 3, 20"}, "auto_pad"),
    ],
)
def test_others_have_int8_weights_and_say_why(
    attributes: str, shape: dict[str, str], why: str
) -> None:
    model = build(attributes, **shape)
    (layer,) = layers.find(model)[0]
    assert why in convolutions.refusal(layer)
    done = quantize(model, "int8")
    assert {n.op_type for n in model.graph} == {"DequantizeLinear", "Conv"}
    assert [(c.scheme, c.activations) for c in done.changes] == [("w8", "float")]
    assert any("1 convolutions: weights only" in note for note in done.notes) == ("128" in why)


def test_a_fourier_transform_keeps_its_input() -> None:
    shape = {"x": "1, 1, 256", "y": "1, 66, 3", "w": "66, 1, 128", "o": "66"}
    model = build("strides = [64]", **shape)
    turns = np.outer(np.arange(33), np.arange(128)) * 2 * np.pi / 128
    # Learnt further: an exact one without a bias would be computed as a fast transform.
    rows = np.concatenate([np.cos(turns), np.sin(turns)]) * np.hanning(128)
    rows += 1e-4 * np.sin(turns[1])
    weight = model.graph.initializers["W"]
    weight.const_value = ir.tensor(rows[:, None].astype(np.float32), name="W")
    (layer,) = layers.find(model)[0]
    assert layer.why_float == "it is a Fourier transform"
    done = quantize(model, "int8")
    assert [(c.scheme, c.activations) for c in done.changes] == [("w8", "float")]
    assert any(note.endswith("weights only (it is a Fourier transform)") for note in done.notes)


def test_single_pixels_that_are_mostly_zero_are_left_to_blocks() -> None:
    shape = {"x": "1, 128, 20", "y": "1, 64, 20", "w": "64, 128, 1", "o": "64"}
    model = build("strides = [1]", **shape)
    (layer,) = layers.find(model)[0]
    assert convolutions.refusal(layer) == ""
    weight = model.graph.initializers["W"]
    data = weight.const_value.numpy().copy()
    data[:, ::4] = data[:, 1::4] = data[:, 2::4] = 0
    weight.const_value = ir.tensor(data, name="W")
    assert convolutions.refusal(layer) == "most of its weights are zero"


@pytest.mark.parametrize("data", [False, True])
def test_of_unknown_length_only_a_static_scale_serves_steps_and_sequences(data: bool) -> None:
    shape = {"x": "1, 64, T", "y": "1, 64, S", "w": "64, 64, 3", "o": "64"}
    model = build("pads = [2, 0]", **shape)
    facts.put(model, facts.DimRange("T", 1, 400))
    random = np.random.default_rng(3)
    given = [{"x": random.standard_normal((1, 64, n)).astype(np.float32)} for n in (30, 41)]
    held_out = {"x": random.standard_normal((1, 64, 50)).astype(np.float32)}
    for value, symbol in ((model.graph.inputs[0], "T"), (model.graph.outputs[0], "S")):
        facts.put(value, facts.TimeAxis(2, symbol))
    want = output(model, held_out)
    (change,) = quantize(model, "int8", given if data else []).changes
    assert change.activations == ("static" if data else "float")
    assert snr(output(model, held_out), want) > 38


def test_for_other_runtimes_static_ones_are_standard_onnx() -> None:
    model = build()
    quantize(model, "int8", [sample()], qdq=True)
    kinds = [n.op_type for n in model.graph]
    assert kinds.count("QuantizeLinear") == 1
    assert "QuantizedConv" not in kinds
    dynamic = build()
    quantize(dynamic, "int8", qdq=True)
    assert [n.op_type for n in dynamic.graph] == ["QuantizedConv"]


def test_the_mean_error_goes_into_the_bias() -> None:
    shape = {"x": "1, 64, 9", "y": "1, 64, 7", "w": "64, 64, 3", "o": "64"}
    errors = {}
    for mended in (False, True):
        model = build("strides = [1]", **shape)
        given = sample((1, 64, 9), 5)
        want = output(model, given)
        settings = Settings(correct_bias=mended)
        (change,) = quantize(model, "int8", [given], settings).changes
        assert ("bias corrected" in change.methods) == mended
        error = output(model, given) - want
        errors[mended] = float(np.abs(error.mean(axis=(0, 1, 3))).mean())
    assert errors[True] < 0.3 * errors[False]


def test_pairs_fit_as_kernels_add_them() -> None:
    model = build()
    quantize(model, "int8", settings=Settings(saturation_free=True))
    (node,) = model.graph
    weight = node.inputs[1]
    assert weight is not None
    ordered = convolutions.in_order(weight.const_value.numpy(), node)
    assert _quantized.pairs_fit(ordered)
