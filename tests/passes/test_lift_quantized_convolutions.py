"""Convolutions that come quantized keep their scales and are integers, where that pays."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeseq.ir import facts
from edgeseq.pipeline import prepare
from tests.passes.test_lift_quantized_products import QUANTIZED, build, node, numbers, pair, run

PASS = "lift-quantized-convolutions"
# The input, the weight, and the attributes.
LARGE: list[tuple[list[int], tuple[int, ...], dict[str, Any]]] = [
    ([2, 16, 21], (32, 16, 9), {"pads": [3, 1], "strides": [2], "dilations": [2]}),
    ([1, 32, 5, 6], (64, 16, 3, 3), {"group": 2, "pads": [1, 0, 1, 2], "strides": [1, 2]}),
    ([1, 15, 7, 9], (33, 15, 3, 3), {"auto_pad": "SAME_UPPER", "strides": [2, 2]}),
    ([1, 130, 1], (40, 130, 1), {}),
]


def levels(shape: tuple[int, ...], kind: type = np.int8) -> np.ndarray:
    info = np.iinfo(kind)
    low = max(info.min, -127)
    return np.random.default_rng(0).integers(low, info.max + 1, shape).astype(kind)


def quantized(
    shape: list[Any],
    w: np.ndarray,
    kind: type = np.uint8,
    zero: int = 7,
    bias: bool = False,
    before: tuple[onnx.NodeProto, ...] = (),
    **more: Any,
) -> onnx.ModelProto:
    """QDQ around a Conv, a scale for each output."""
    scales = np.linspace(0.01, 0.02, len(w), dtype=np.float32)
    arrays = {**pair(kind, zero), "w": w, "s": scales}
    nodes = [*QUANTIZED, *before, node("DequantizeLinear", "w s", "v", axis=0)]
    if w.dtype != np.int8:
        arrays["z"] = np.full(len(w), 128, w.dtype)
        nodes[-1] = node("DequantizeLinear", "w s z", "v", axis=0)
    if bias:
        arrays |= {"c": np.arange(len(w), dtype=np.int32) * 700, "cs": scales * np.float32(0.031)}
        nodes.append(node("DequantizeLinear", "c cs", "b", axis=0))
    x = before[-1].output[0] if before else "d"
    nodes.append(node("Conv", f"{x} v {'b' * bias}", "y", **more))
    return build(nodes, arrays, shape)


def lifted(proto: onnx.ModelProto) -> tuple[ir.Model, list[str]]:
    model = ir.from_proto(proto)
    records = prepare(model, check=True).records
    record = next(r for r in records if r.name == PASS)
    return model, [one.reason for one in record.refusals]


def text(model: ir.Model) -> str:
    """The nodes alone."""
    proto = ir.to_proto(model)
    del proto.graph.initializer[:], proto.graph.value_info[:]
    body = str(onnx.printer.to_text(proto.graph))
    return " ".join(body[body.index("{") :].split())


def test_before_and_after() -> None:
    proto = quantized([2, 16, 21], levels((32, 16, 9)), bias=True, pads=[3, 1])
    assert text(ir.from_proto(proto)) == " ".join(
        """{
        [n_q] q = QuantizeLinear (x, x_scale, x_zero)
        [n_d] d = DequantizeLinear (q, x_scale, x_zero)
        [n_v] v = DequantizeLinear <axis: int = 0> (w, s)
        [n_b] b = DequantizeLinear <axis: int = 0> (c, cs)
        [n_y] y = Conv <pads: ints = [3, 1]> (d, v, b)
        }""".split()
    )
    model, refusals = lifted(proto)
    assert text(model) == " ".join(
        """{
        ["n_y.QuantizedConv"] y = edgeseq.QuantizedConv:1d_xfix_wide_b <group: int = 1,
        strides: ints = [1], dilations: ints = [1], pads: ints = [3, 1], x_scale: float = 0.031,
        x_zero_point: int = 7, x_top: int = 255> (x, "n_y.int8", "n_y.W_scale", "n_y.B")
        }""".split()
    )
    assert not refusals


@pytest.mark.parametrize(
    ("kind", "zero"), [(np.uint8, 0), (np.uint8, 255), (np.int8, 0), (np.int8, -128)]
)
@pytest.mark.parametrize(("shape", "weight", "more"), LARGE)
def test_all_256_levels_keep_their_values(
    shape: list[int], weight: tuple[int, ...], more: dict[str, Any], kind: type, zero: int
) -> None:
    w = levels(weight, np.uint8 if zero == 0 else np.int8)
    w[0] = np.where(w[0] < 128, w.min(), w.max())
    if zero == 0:
        w = np.maximum(w, 1)  # less 128: no two neighbours of -128
    proto = quantized(shape, w, kind, zero, bias=zero < 0, **more)
    model, refusals = lifted(proto)
    assert [one.op_type for one in model.graph] == ["QuantizedConv"]
    assert not refusals
    raised = 128 if kind is np.int8 else 0
    call = next(iter(model.graph))
    assert call.attributes["x_zero_point"].as_int() == zero + raised
    x = numbers(tuple(shape), zero + raised, 0.031)
    want = run(proto, x)
    np.testing.assert_allclose(run(ir.to_proto(model), x), want, atol=2e-6 * np.abs(want).max())


def test_padding_and_views_in_between() -> None:
    pads = {"pads": np.array([0, 0, 2, 0, 0, 1])}
    before = (
        node("Unsqueeze", "d one", "e"),
        node("Reshape", "e flat", "f"),
        node("Pad", "f pads", "g"),
    )
    w = levels((32, 16, 9))
    proto = quantized([2, 16, 12], w, before=())
    scales = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    arrays = {**scales, **pads, "one": np.array([0]), "flat": np.array([2, 16, 12])}
    nodes = [*QUANTIZED, *before, node("DequantizeLinear", "w s", "v", axis=0)]
    proto = build([*nodes, node("Conv", "g v", "y")], arrays, [2, 16, 12])
    model, _ = lifted(proto)
    (call,) = (one for one in model.graph if one.op_type == "QuantizedConv")
    assert call.attributes["pads"].as_ints() == (2, 1)
    x = numbers((2, 16, 12), 7, 0.031)
    want = run(proto, x)
    np.testing.assert_allclose(run(ir.to_proto(model), x), want, atol=2e-6 * np.abs(want).max())


@pytest.mark.parametrize(
    ("shape", "w", "more", "why"),
    [
        ([1, 8, 9], levels((40, 8, 3)), {}, "fewer than 128 products"),
        ([1, 128, 9], levels((31, 128, 1)), {}, "or 32 outputs"),
        ([1, 128, 9], levels((31, 128, 1), np.uint8), {}, "fewer than 128 products"),
        ([1, 64, 9], levels((64, 1, 3)), {"group": 64}, "fewer than 128 products"),
        (
            [1, 128, 9],
            np.full((32, 128, 1), -128, np.int8),
            {},
            "two neighbouring weights are -128",
        ),
        ([1, 15, 5, 5, 5], levels((32, 15, 3, 3, 3)), {}, "rank 3 has no kernel"),
        ([1, 128, 9], np.zeros((32, 128, 1), np.uint8), {"zero": 3}, ""),
    ],
)
def test_the_others_have_a_float_input_and_say_why(
    shape: list[int], w: np.ndarray, more: dict[str, Any], why: str
) -> None:
    proto = quantized(shape, w, **more)
    model, refusals = lifted(proto)
    ops = [one.op_type for one in model.graph]
    x = numbers(tuple(shape), 7, 0.031)
    want = run(proto, x)
    np.testing.assert_allclose(run(ir.to_proto(model), x), want, rtol=2e-5, atol=2e-5)
    if not why:
        return
    levels_alone = ["DequantizeLinear"] * ("fewer" in refusals[0])
    assert ops == ["QuantizeLinear", "DequantizeLinear", *levels_alone, "Conv"]
    assert len(refusals) == 1
    weight = list(model.graph)[-1].inputs[1]
    assert weight is not None
    assert weight.is_initializer() != bool(levels_alone)
    assert why in refusals[0]


def test_a_small_one_of_one_pixel_is_a_product_of_floats() -> None:
    model, _ = lifted(quantized([1, 40, 3], levels((8, 40, 3))))
    assert "Gemm" in [one.op_type for one in model.graph]


def test_weights_alone_are_floats_for_the_passes_in_between() -> None:
    w, s = levels((32, 128, 3)), np.float32(0.01)
    nodes = [node("DequantizeLinear", "w s", "v"), node("Conv", "x v", "y")]
    model, refusals = lifted(build(nodes, {"w": w, "s": s}, [1, 128, 9]))
    assert [one.op_type for one in model.graph] == ["Conv"]
    assert not refusals


def test_over_an_open_time_axis_it_remembers_its_input() -> None:
    proto = quantized([1, 16, "T"], levels((32, 16, 9)), pads=[8, 0])
    model, _ = lifted(proto)
    assert facts.get(model, facts.NotStreamable) is None
    (call,) = (one for one in model.graph if one.op_type == "QuantizedConv")
    assert call.attributes["pads"].as_ints() == (0, 0)
    joined = call.inputs[0].producer() if call.inputs[0] is not None else None
    assert joined is not None
    assert joined.op_type == "Concat"
    (state,) = (v for v in model.graph.inputs if facts.get(v, facts.State))
    assert list(state.shape or ()) == [1, 16, 8]
    assert state.dtype == ir.DataType.FLOAT
