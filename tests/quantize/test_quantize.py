"""Whole models: every kind of layer in every scheme, run by ONNX Runtime beside its float self."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from edgeseq.errors import UsageError
from edgeseq.frontends.states import mark_states
from edgeseq.ir import facts
from edgeseq.ir.settings import Settings as Sizes
from edgeseq.pipeline import PASSES, prepare
from edgeseq.quantize import Settings, quantize, search
from edgeseq.quantize.calibrate import Runner
from edgeseq.quantize.layers import find
from edgeseq.quantize.run import Quantized

Array = npt.NDArray[Any]

HEADER = '<ir_version: 10, opset_import: ["" : 22]>\n'
# Every kind of layer in one step model.
ALL = """
whole (int64[1] token, float[1, 40] x, float[1, 1, 24] h, float[1, 1, 24] c)
  => (float[1, 12] y, float[1, 1, 24] h_out, float[1, 1, 24] c_out)
<float[50, 40] E, float[48, 40, 3] K, float[48] kb, float[40, 8] P, float[8] pb,
 float[1, 96, 33] W, float[1, 96, 24] R, float[1, 192] B, float[12, 24] G, float[12] gb>
{
    row = Gather (E, token)
    mixed = Add (row, x)
    channels = Unsqueeze (mixed, last)
    wide = Conv <pads = [1, 2]> (channels, K, kb)
    some = Relu (wide)
    squeezed = ReduceSum <keepdims = 0> (some, last)
    narrow = MatMul (mixed, P)
    biased = Add (narrow, pb)
    cut = Slice (squeezed, from, to, one)
    both = Concat <axis = 1> (biased, cut)
    sequence = Unsqueeze (both, zero)
    all, h_out, c_out = LSTM <hidden_size = 24> (sequence, W, R, B, , h, c)
    flat = Squeeze (h_out, zero)
    y = Gemm <transB = 1> (flat, G, gb)
}
"""
INTS = {"last": [2], "from": [0], "to": [25], "one": [1], "zero": [0]}

SEQUENCE = """
chain (float[T, 1, 20] x) => (float[T, 1, 6] y)
<float[2, 36, 20] W, float[2, 36, 12] R, float[2, 72] B, float[1, 10, 24] W2, float[1, 10, 10] R2,
 float[10, 6] V>
{
    all = GRU <hidden_size = 12, direction = "bidirectional", linear_before_reset = 1> (x, W, R, B)
    order = Transpose <perm = [0, 2, 1, 3]> (all)
    joined = Reshape (order, dims)
    more = RNN <hidden_size = 10> (joined, W2, R2)
    flat = Squeeze (more, one)
    y = MatMul (flat, V)
}
"""


def build(text: str, ints: dict[str, list[int]], seed: int = 3) -> ir.Model:
    """Random weights, sizes bound, states marked, passes run."""
    proto = onnx.parser.parse_model(HEADER + text)
    random = np.random.default_rng(seed)
    weights = []
    made = {name for node in proto.graph.node for name in node.output}
    for info in list(proto.graph.value_info):
        if info.name not in made:
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            spread = 1 / np.sqrt(max(1, shape[-1] if len(shape) > 1 else 4))
            numbers = (random.standard_normal(shape) * spread).astype(np.float32)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(numbers, info.name))
            weights.append(info.name)
    for name, data in ints.items():
        array = np.array(data, np.int64)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    model = ir.from_proto(onnx.version_converter.convert_version(proto, 26))
    for name in weights:
        facts.put(model.graph.initializers[name], facts.SourceName(name))
    mark_states(model)
    sizes = Sizes({}, {"T": (1, 400)} if "T," in text else {})
    prepare(model, sizes, passes=PASSES[:1])
    prepare(model, sizes, passes=PASSES[1:])
    return model


def step_model() -> ir.Model:
    model = build(ALL, INTS)
    states = [v for v in model.graph.inputs if facts.get(v, facts.State) is not None]
    assert len(states) == 2
    return model


def sequence_model() -> ir.Model:
    return build(SEQUENCE, {"dims": [0, 0, 24], "one": [1]})


def step_sample(seed: int = 0, steps: int = 120) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {
        "token": random.integers(0, 50, (steps, 1)),
        "x": random.standard_normal((steps, 1, 40)).astype(np.float32),
    }


def run(model: ir.Model, sample: dict[str, Array]) -> dict[str, Array]:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto)
    return {name: np.stack(rows) for name, rows in Runner(model)(sample).items()}


def snr(got: Array, want: Array) -> float:
    return float(10 * np.log10(np.square(want).sum() / np.square(got - want).sum()))


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


@pytest.mark.parametrize(
    ("scheme", "least", "share"),
    [
        ("int8", 28, 0.32),
        ("w8", 32, 0.32),
        ("w4g32", 11, 0.20),
        ("bf16", 40, 0.5),
        ("fp16", 55, 0.5),
    ],
)
@pytest.mark.parametrize("data", [False, True])
def test_every_layer_in_every_scheme(scheme: str, least: float, share: float, data: bool) -> None:
    model, sample = step_model(), step_sample()
    want = run(model, sample)
    samples = [step_sample(7), step_sample(8)] if data else []
    done = quantize(model, scheme, samples)
    assert [c.op_type for c in done.changes] == ["Gather", "Conv", "MatMul", "LSTM", "Gemm"]
    assert done.left == ()
    got = run(model, sample)
    assert got.keys() == want.keys()
    for name in want:
        assert snr(got[name], want[name]) > least, name
    assert done.nbytes / done.float_bytes <= share


def test_int8_is_integer_products_and_what_they_are_called() -> None:
    model = step_model()
    done = quantize(model, "int8", [step_sample(7)])
    assert operators(model).count("QuantizedMatMul") == 2
    assert operators(model).count("QuantizedLSTM") == 1
    assert not {"MatMul", "Gemm", "LSTM"} & set(operators(model))
    assert {c.name: c.activations for c in done.changes} == {
        "E": "float",
        "K": "float",
        "P": "static",
        "W": "static",
        "G": "static",
    } or all(c.activations in ("static", "float") for c in done.changes)
    names = [v.name for v in (*model.graph.inputs, *model.graph.outputs)]
    assert names == ["token", "x", "h", "c", "y", "h_out", "c_out"]


def test_qdq_is_standard_onnx_around_static_products() -> None:
    model, sample = step_model(), step_sample()
    want = run(model, sample)
    quantize(model, "int8", [step_sample(7)], qdq=True)
    used = operators(model)
    assert "QuantizedMatMul" not in used
    assert used.count("QuantizeLinear") == 3  # the convolution and both products
    got = run(model, sample)
    assert snr(got["y"], want["y"]) > 28


def test_dynamic_where_there_are_samples_but_that_is_asked() -> None:
    model = step_model()
    done = quantize(model, "int8", [step_sample(7)], Settings(activations="dynamic"))
    assert {c.activations for c in done.changes} == {"float", "dynamic"}


@pytest.mark.parametrize("scheme", ["int8", "w8", "w4g32", "bf16"])
def test_sequences_both_directions_and_two_cells(scheme: str) -> None:
    model = sequence_model()
    random = np.random.default_rng(5)
    sample = {"x": random.standard_normal((90, 1, 20)).astype(np.float32)}
    other = {"x": random.standard_normal((90, 1, 20)).astype(np.float32)}
    want = run(model, sample)
    done = quantize(model, scheme, [other])
    assert [c.op_type for c in done.changes] == ["GRU", "RNN", "MatMul"]
    assert snr(run(model, sample)["y"], want["y"]) > (12 if scheme == "w4g32" else 28)


def test_a_mixture_by_layer_name() -> None:
    model = step_model()
    done = quantize(model, {"W": "int8", "P": "w4g32"})
    assert {c.name: c.scheme for c in done.changes} == {"W": "int8", "P": "w4g32"}
    assert {one.name for one in done.left} == {"E", "K", "G"}


def test_kept_layers_and_wrong_names() -> None:
    model = step_model()
    done = quantize(model, "int8", settings=Settings(keep=("[EK]",)))
    assert {one.name for one in done.left} == {"E", "K"}
    with pytest.raises(UsageError, match="no layer is called 'gru'"):
        quantize(step_model(), "int8", settings=Settings(keep=("gru",)))


def test_zeros_stay_zeros_and_keep_their_fact() -> None:
    model = step_model()
    weight = model.graph.initializers["P"]
    data = weight.const_value.numpy().copy()
    data[:16] = 0
    weight.const_value = ir.tensor(data, name="P")
    facts.put(weight, facts.Sparsity("16x1", 0.6))
    quantize(model, "int8", [step_sample()], Settings(rounding="gptq"))
    node = next(n for n in model.graph if n.op_type == "QuantizedMatMul")
    kept = node.inputs[1]
    assert kept is not None
    assert not kept.const_value.numpy()[:16].any()
    assert facts.get(kept, facts.Sparsity) == facts.Sparsity("16x1", 0.6)


def test_samples_that_are_not_finite() -> None:
    bad = step_sample()
    bad["x"][3] = np.nan
    with pytest.raises(UsageError, match="infinite or undefined in calibration sample 2"):
        quantize(step_model(), "int8", [step_sample(1), bad])


def test_constant_and_huge_activations_are_noted() -> None:
    still = step_sample()
    still["x"][:] = 0
    still["token"][:] = 0
    model = step_model()
    done = quantize(model, "int8", [still])
    assert run(model, still)["y"].shape == (120, 1, 12)
    huge = step_sample()
    huge["x"] *= np.float32(1e31)
    done = quantize(step_model(), "int8", [huge])
    assert any("reaches" in note for note in done.notes)


def test_nothing_to_quantize() -> None:
    model = build("none (float[1, 4] x) => (float[1, 4] y) { y = Relu (x) }", {})
    with pytest.raises(UsageError, match="nothing to quantize"):
        quantize(model, "int8")


def test_a_filter_bank_keeps_its_input() -> None:
    bands = np.zeros((128, 10), np.float32)
    for band in range(10):
        bands[band * 12 : band * 12 + 20, band] = np.hanning(22)[1:-1]
    text = "pool (float[1, 128] x) => (float[1, 10] y) <float[128, 10] W> { y = MatMul (x, W) }"
    model = build(text, {})
    model.graph.initializers["W"].const_value = ir.tensor(bands, name="W")
    with pytest.raises(UsageError, match="nothing to quantize") as error:
        quantize(model.clone(), "int8")
    assert "nearly all zeros" in error.value.at[0]
    name = find(model)[0][0].name
    done = quantize(model, {name: "int8"})  # asked for: its weights alone
    assert [(c.scheme, c.activations) for c in done.changes] == [("w8", "float")]
    assert any(note.endswith("(it is a bank of band filters)") for note in done.notes)


def test_without_samples_it_says_what_falls_back() -> None:
    done: Quantized = quantize(step_model(), "int8")
    assert "no calibration samples: activations are scaled step by step (dynamic)" in done.notes
    assert any("slower; --keep-float leaves them" in note for note in done.notes)


def test_a_search_keeps_within_its_budget_and_saves_what_it_can() -> None:
    model, sample = step_model(), step_sample()
    want = run(model, sample)
    settings, data = Settings(), [step_sample(7)]
    found = {}
    for budget in (1e-2, 1e-4, 1e-9):
        found[budget] = search.search(
            model, search.MIXED, data, sample, settings, budget, lambda _: None
        )
        assert found[budget].error <= budget
        trial = step_model()
        schemes = found[budget].schemes
        if set(schemes.values()) != {"float"}:
            quantize(trial, schemes, data, settings)
        got = run(trial, sample)["y"]
        error = np.square(got - want["y"]).sum() / np.square(want["y"]).sum()
        assert error <= budget * 1.01
    sizes = {
        budget: sum(
            next(o.nbytes for o in one.options[name] if o.scheme == scheme)
            for name, scheme in one.schemes.items()
        )
        for budget, one in found.items()
    }
    assert sizes[1e-2] < sizes[1e-4] < sizes[1e-9]


@pytest.mark.parametrize(
    ("rows", "products", "small"), [(4, 64, True), (4, 160, False), (3, 64, False)]
)
def test_small_products_of_several_rows_stay_float(rows: int, products: int, small: bool) -> None:
    text = f"""g (float[1, {rows}, {products}] x) => (float[1, {rows}, 40] z)
    <float[{products}, 40] W, float[40, 160] U, float[160, 40] V> {{
        y = MatMul (x, W)
        wide = MatMul (y, U)
        z = MatMul (wide, V)
    }}"""
    done = quantize(build(text, {}), "int8")
    alone = {"W"} if small else set()
    assert {one.name for one in done.left} == alone | ({"U"} if rows == 4 else set())
    assert all("as fast in float" in one.reason for one in done.left)
    assert not quantize(build(text, {}), "w8").left
    assert not quantize(build(text, {}), dict.fromkeys("WUV", "int8")).left
