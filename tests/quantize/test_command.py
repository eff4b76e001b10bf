"""The methods together, as the command line composes them, and what it says of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeseq.errors import BudgetError, UsageError
from edgeseq.frontends.states import mark_states
from edgeseq.ir.settings import Settings as Sizes
from edgeseq.options import Event, QuantizeOptions, SparsityOptions
from edgeseq.pipeline import PASSES, prepare
from edgeseq.quantize import Settings, command, quantize
from edgeseq.quantize.calibrate import Runner
from edgeseq.quantize.command import Done

TEXT = """<ir_version: 10, opset_import: ["" : 23]>
f (float[1, 20] x, float[1, 1, 16] h) => (float[1, 6] y, float[1, 1, 16] h_out)
<float[20] s, float[20] t, float[20, 24] A, float[24] a, float[1, 48, 24] W, float[1, 48, 16] R,
 float[1, 96] B, float[16, 6] C>
{
    n = LayerNormalization (x, s, t)
    p = MatMul (n, A)
    q = Add (p, a)
    r = Relu (q)
    axis = Constant <value_ints = [0]> ()
    u = Unsqueeze (r, axis)
    all, h_out = GRU <hidden_size = 16, linear_before_reset = 1> (u, W, R, B, , h)
    v = Squeeze (h_out, axis)
    y = MatMul (v, C)
}
"""


def model() -> ir.Model:
    proto = onnx.parser.parse_model(TEXT)
    random = np.random.default_rng(2)
    for info in list(proto.graph.value_info):
        if len(info.name) == 1 and info.name in "stAaWRBC":
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            data = random.standard_normal(shape) / np.sqrt(shape[-1])
            if info.name == "s":
                data = np.exp(2 * data * np.sqrt(20))  # channels of very different size
            array = onnx.numpy_helper.from_array(data.astype(np.float32), info.name)
            proto.graph.initializer.append(array)
    made = ir.from_proto(onnx.version_converter.convert_version(proto, 26))
    prepare(made, Sizes({}, {}), passes=PASSES[:1])
    mark_states(made, ["h=h_out"])
    prepare(made, Sizes({}, {}), passes=PASSES[1:])
    return made


def clip(folder: Path, name: str, seed: int, gain: float = 1.0, steps: int = 150) -> str:
    x = np.random.default_rng(seed).standard_normal((steps, 1, 20)).astype(np.float32)
    np.savez(folder / f"{name}.npz", x=x * np.float32(gain))
    return str(folder / f"{name}.npz")


def apply(data: SparsityOptions, scheme: str = "int8", **given: Any) -> Done:
    options = QuantizeOptions(scheme, **given)
    return command.apply(model(), options, data, 0, lambda _: None)


def error(done: Done) -> float:
    return -next(c.snr for c in done.curves if c.name == "y")


def test_methods_compose_and_each_layer_says_what_was_done(tmp_path: Path) -> None:
    data = SparsityOptions(calibrate=(clip(tmp_path, "a", 1), clip(tmp_path, "b", 2)))
    plain = apply(data, correct_bias=False)
    assert all(c.methods == () for c in plain.quantized.changes)
    heard: list[Event] = []
    options = QuantizeOptions("int8", rounding="gptq", smooth=0.5, equalize=True)
    done = command.apply(model(), options, data, 0, heard.append)
    by_name = {c.op_type: c.methods for c in done.quantized.changes if c.op_type == "GRU"}
    assert [m.split(" x")[0] for m in by_name["GRU"]] == [
        "equalized",
        "smoothed",
        "gptq",
        "bias corrected",
    ]
    first, *_, last = done.quantized.changes
    assert [m.split(" x")[0] for m in first.methods] == ["smoothed", "gptq", "bias corrected"]
    assert last.methods == ("gptq", "bias corrected")
    assert any("not equalized and smoothed" in note and "GRU" in note for note in done.notes)
    assert [e.stage for e in heard] == ["gptq"] * 3 + ["quantize"]
    assert error(done) < error(plain) - 1


@pytest.mark.parametrize("rounding", ["gptq", pytest.param("adaround", marks=pytest.mark.slow)])
def test_rounding_against_samples_helps_four_bits(tmp_path: Path, rounding: str) -> None:
    data = SparsityOptions(
        calibrate=(clip(tmp_path, "a", 1, steps=400), clip(tmp_path, "b", 2)), hold_out=True
    )
    assert error(apply(data, "w4g32", rounding=rounding)) < error(apply(data, "w4g32")) - 0.5


def test_nothing_is_learned_from_what_is_held_out(tmp_path: Path) -> None:
    usual, loud = clip(tmp_path, "a", 1), clip(tmp_path, "b", 2, gain=30)
    alone = model()
    held = model()

    def quiet(_: object) -> None: ...

    options = QuantizeOptions("int8")
    command.apply(alone, options, SparsityOptions(calibrate=(usual,)), 0, quiet)
    data = SparsityOptions(calibrate=(usual, loud), hold_out=True)
    command.apply(held, options, data, 0, quiet)
    assert ir.to_proto(alone) == ir.to_proto(held)
    both = model()
    command.apply(both, options, SparsityOptions(calibrate=(usual, loud)), 0, quiet)
    assert ir.to_proto(both) != ir.to_proto(held)


def test_states_of_cells(tmp_path: Path) -> None:
    data = SparsityOptions(calibrate=(clip(tmp_path, "a", 1),))
    how = {}
    for states in ("static", "dynamic", "float"):
        made = model()
        options = QuantizeOptions("int8", cell_states=states)
        done = command.apply(made, options, data, 0, lambda _: None)
        cell = next(n for n in made.graph if n.op_type in ("GRU", "QuantizedGRU"))
        change = next(c for c in done.quantized.changes if c.op_type == "GRU")
        how[states] = (cell.op_type, cell.attributes.get_float("h_scale", -1.0) > 0, change.scheme)
    assert how == {
        "static": ("QuantizedGRU", True, "int8"),
        "dynamic": ("QuantizedGRU", False, "int8"),
        "float": ("GRU", False, "w8"),
    }


def test_first_and_last_layer_by_that_name(tmp_path: Path) -> None:
    data = SparsityOptions(calibrate=(clip(tmp_path, "a", 1),))
    done = apply(data, schemes={"first": "bf16", "last": "float"})
    assert [c.scheme for c in done.quantized.changes] == ["bf16", "int8"]
    done = apply(data, keep_float=("first",))
    assert [c.op_type for c in done.quantized.changes] == ["GRU", "MatMul"]


@pytest.mark.parametrize(
    ("given", "flag"),
    [
        ({"rounding": "gptq"}, "--rounding gptq"),
        ({"rounding": "adaround"}, "--rounding adaround"),
        ({"smooth": 0.5}, "--smooth"),
    ],
)
def test_what_looks_at_samples_wants_some(given: dict[str, Any], flag: str) -> None:
    with pytest.raises(UsageError, match=f"^{flag} needs calibration samples"):
        apply(SparsityOptions(), **given)


def test_static_scales_without_samples_say_what_there_is_instead() -> None:
    with pytest.raises(UsageError, match="without samples, scales of each step"):
        apply(SparsityOptions(), activations="static")
    done = apply(SparsityOptions())
    assert {c.activations for c in done.quantized.changes} == {"dynamic"}
    assert "no calibration samples: activations are scaled step by step (dynamic)" in done.notes


def test_a_loss_that_no_layer_keeps_within(tmp_path: Path) -> None:
    data = SparsityOptions(calibrate=(clip(tmp_path, "a", 1),))
    with pytest.raises(
        BudgetError, match=r"no layer can be quantized for a loss of 0 dB\n  at:  \w"
    ):
        apply(data, max_drop=0.0)
    assert apply(data, max_drop=3.0).drop <= 3.0


def test_equalizing_needs_no_samples() -> None:
    done = apply(SparsityOptions(), equalize=True)
    cell = next(c for c in done.quantized.changes if c.op_type == "GRU")
    assert cell.methods[0].startswith("equalized x")


def test_biases_take_the_mean_error_out() -> None:
    random = np.random.default_rng(4)
    text = """<ir_version: 11, opset_import: ["" : 26]>
one (float[1, 20] x) => (float[1, 6] y) <float[20, 6] A> { y = MatMul (x, A) }"""
    proto = onnx.parser.parse_model(text)
    a = random.standard_normal((20, 6)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(a, "A"))
    x = np.abs(random.standard_normal((400, 1, 20))).astype(np.float32)
    means = []
    for mended in (False, True):
        made = ir.from_proto(proto)
        quantize(made, "int8", [{"x": x}], Settings(correct_bias=mended, saturation_free=True))
        got = np.stack(Runner(made)({"x": x})["y"])
        means.append(np.abs((got - x @ a).mean(axis=0)).max())
    assert means[1] < 0.05 * means[0]


def test_an_exponent_that_is_none(tmp_path: Path) -> None:
    data = SparsityOptions(calibrate=(clip(tmp_path, "a", 1),))
    with pytest.raises(UsageError, match="--smooth 2 is outside"):
        apply(data, smooth=2.0)
