from __future__ import annotations

import base64
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch

from edgeseq import validate
from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.quantize import quantize
from edgeseq.validate import vectors
from edgeseq.validate.compare import tolerance

HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'


def parse(text: str) -> ir.Model:
    return ir.from_onnx_text(HEADER + text)


def test_loop_vectors(tmp_path: Path, loop_model: ir.Model) -> None:
    section = validate.record(loop_model, tmp_path)
    got = vectors.load(tmp_path / section["file"])
    assert section["steps"] == 40
    assert (section["oracle"], section["reference"]) == (
        "interpreter float64",
        "onnxruntime float32",
    )
    assert got.inputs["x"].shape == (40, 1, 3)
    assert got.inputs["x"].dtype == np.float32
    assert got.outputs["y"].dtype == np.float64
    assert got.outputs["up"].dtype == np.bool_
    # The same recurrence by hand, in float64.
    state = np.zeros((1, 3))
    for x, y in zip(got.inputs["x"], got.outputs["y"], strict=True):
        state = float(np.float32(0.9)) * state + x
        np.testing.assert_allclose(y, np.tanh(state), rtol=1e-14)
    np.testing.assert_allclose(got.states["s"], state, rtol=1e-14)
    assert 0 < section["outputs"]["y"]["e_ref"] < 1e-6
    assert section["outputs"]["up"] == {"e_ref": 0.0, "range": 1.0}
    assert set(section["states"]) == {"s"}
    assert not section["rounds"]


def test_inputs_are_smooth_and_never_trivial(tmp_path: Path, loop_model: ir.Model) -> None:
    section = validate.record(loop_model, tmp_path)
    x = vectors.load(tmp_path / section["file"]).inputs["x"]
    assert np.count_nonzero(x) == x.size
    assert np.corrcoef(x[1:].ravel(), x[:-1].ravel())[0, 1] > 0.5
    assert 0.2 < x.std() < 1.0


def test_sequence_vectors(tmp_path: Path, graph_model: ir.Model) -> None:
    section = validate.record(graph_model, tmp_path, steps=25)
    got = vectors.load(tmp_path / section["file"])
    assert section["steps"] == 25
    assert got.outputs["y"].shape == (1, 25, 2)
    x = got.inputs["x"].astype(np.float64)
    np.testing.assert_allclose(got.outputs["y"], x.cumsum(1), rtol=0, atol=1e-13)


def test_steps_stay_in_the_models_range(tmp_path: Path, graph_model: ir.Model) -> None:
    model = graph_model
    facts.put(model, facts.DimRange("T", 2, 16))
    assert validate.record(model, tmp_path)["steps"] == 16


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path, loop_model: ir.Model) -> None:
    one = validate.record(loop_model, tmp_path / "a", seed=3)
    two = validate.record(loop_model, tmp_path / "b", seed=3)
    other = validate.record(loop_model, tmp_path / "c", seed=4)
    assert one == two
    assert one["sha256"] != other["sha256"]


def test_a_state_starts_where_the_model_says(tmp_path: Path, loop_model: ir.Model) -> None:
    model = loop_model
    first = np.array([[1.0, -2.0, 3.0]], "<f4")
    data = base64.b64encode(first.tobytes()).decode()
    facts.put(model.graph.inputs[1], facts.InitialState(data))
    section = validate.record(model, tmp_path)
    got = vectors.load(tmp_path / section["file"])
    want = np.tanh(
        float(np.float32(0.9)) * first.astype(np.float64) + got.inputs["x"][0].astype(np.float64)
    )
    np.testing.assert_allclose(got.outputs["y"][0], want, rtol=1e-14)


def test_integers_stay_inside_the_table_they_index(tmp_path: Path) -> None:
    model = parse("""
    g (int64[4] token, float[3, 2] table) => (float[4, 2] y)
    {
        shape = Constant <value = int64[1] {4}> ()
        flat = Reshape(token, shape)
        y = Gather(table, flat)
    }
    """)
    section = validate.record(model, tmp_path)
    token = vectors.load(tmp_path / section["file"]).inputs["token"]
    assert set(np.unique(token)) == {0, 1, 2}


def test_a_model_of_positive_numbers_gets_positive_numbers(tmp_path: Path) -> None:
    section = validate.record(parse("g (float[8] x) => (float[8] y) { y = Log(x) }"), tmp_path)
    assert (vectors.load(tmp_path / section["file"]).inputs["x"] > 0).all()


def test_a_model_of_no_numbers_is_refused(tmp_path: Path) -> None:
    model = parse("g (float[8] x) => (float[8] y) { d = Sub(x, x) y = Div(x, d) }")
    with pytest.raises(UsageError) as caught:
        validate.record(model, tmp_path)
    assert "--inputs" in caught.value.fix
    assert not (tmp_path / "verify").exists()


def test_samples_of_the_user_are_recorded(tmp_path: Path, loop_model: ir.Model) -> None:
    x = np.random.default_rng(0).normal(size=(12, 1, 3)).astype(np.float32)
    section = validate.record(loop_model, tmp_path, given={"x": x})
    assert section["steps"] == 12
    np.testing.assert_array_equal(vectors.load(tmp_path / section["file"]).inputs["x"], x)


class Leaky(torch.nn.Module):
    """`leaky` as a module; the constant it makes takes torch's default type."""

    def __init__(self) -> None:
        super().__init__()
        self.decay = torch.nn.Parameter(torch.tensor(0.9))

    def forward(
        self, x: torch.Tensor, extra: dict[str, torch.Tensor]
    ) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
        s = self.decay * extra["s"] + x + torch.zeros(1)
        return torch.tanh(s), {"up": s > 0, "z": s}


def test_a_torch_module_is_run_in_float64(tmp_path: Path, loop_model: ir.Model) -> None:
    module, example = Leaky(), (torch.zeros(1, 3), {"s": torch.zeros(1, 3)})
    oracle = validate.PyTorch(module, example, ["x", "s"], ["y", "up", "s_out"])
    torched = validate.record(loop_model, tmp_path / "torch", oracle=oracle)
    interpreted = validate.record(loop_model, tmp_path / "interp")
    assert (torched["oracle"], torched["reference"]) == ("pytorch float64", "pytorch float32")
    assert module.decay.dtype == torch.float32
    got = vectors.load(tmp_path / "torch" / torched["file"])
    want = vectors.load(tmp_path / "interp" / interpreted["file"])
    np.testing.assert_allclose(got.outputs["y"], want.outputs["y"], rtol=1e-14)
    assert torch.get_default_dtype() == torch.float32


def test_a_module_that_does_not_fit_its_graph_leaves_the_graph(
    tmp_path: Path, loop_model: ir.Model
) -> None:
    oracle = validate.PyTorch(Leaky(), (torch.zeros(1),), ["x", "s"], ["y", "up", "s_out"])
    section = validate.record(loop_model, tmp_path, oracle=oracle)
    assert section["oracle"] == "interpreter float64"
    assert section["notes"] == [
        "pytorch float64 failed: the module takes 1 tensors, its graph has 2 inputs"
    ]


def test_what_onnx_runtime_cannot_run_is_run_by_the_interpreter(tmp_path: Path) -> None:
    # ONNX Runtime has no kernel for layout=1.
    model = parse("""
    g (float[1, 4, 2] x, float[1, 9, 2] w, float[1, 9, 3] r) => (float[1, 4, 1, 3] y)
    { y = GRU <hidden_size = 3, layout = 1> (x, w, r) }
    """)
    section = validate.record(model, tmp_path)
    assert section["reference"] == "interpreter float32"
    assert 0 < section["outputs"]["y"]["e_ref"] < 1e-6


def test_tolerance() -> None:
    assert tolerance({"e_ref": 1e-6, "range": 1.0}) == 4e-6
    assert tolerance({"e_ref": 0.0, "range": 3.0}) == pytest.approx(3e-6)


def test_a_model_that_rounds_to_levels_says_so(tmp_path: Path) -> None:
    model = parse("""g (float[1, 4] x) => (float[1, 4] y) <float s = {0.1}, uint8 z = {128}> {
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }""")
    assert validate.record(model, tmp_path)["rounds"]


def test_so_does_one_whose_function_rounds(tmp_path: Path) -> None:
    model = ir.from_onnx_text("""<ir_version: 10, opset_import: ["" : 20, "own" : 1]>
    g (float[1, 4] x) => (float[1, 4] y) { y = own.levels (x) }
    <domain: "own", opset_import: ["" : 20]>
    levels (a) => (b) {
        q, s, z = DynamicQuantizeLinear (a)
        b = DequantizeLinear (q, s, z)
    }""")
    assert validate.record(model, tmp_path)["rounds"]


def test_what_float32_may_round_to_another_level_counts_as_its_error(tmp_path: Path) -> None:
    model = parse("""g (float[1, 4] x) => (float[1, 4] y) <float s = {0.5}, uint8 z = {128}> {
        q = QuantizeLinear (x, s, z)
        y = DequantizeLinear (q, s, z)
    }""")
    apart, near = (np.full((1, 1, 4), x, np.float32) for x in (0.3, 0.250003))
    for name, x, error in (("apart", apart, 0.0), ("near", near, 0.5)):
        (tmp_path / name).mkdir()
        section = validate.record(model, tmp_path / name, given={"x": x})
        assert section["outputs"]["y"]["e_ref"] == error


def test_so_it_does_in_integer_layers(tmp_path: Path) -> None:
    model = parse("""
    g (float[1, 4] x) => (float[1, 3] y)
    <float[4, 3] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}> { y = MatMul (x, w) }
    """)
    quantize(model, "int8")
    apart, near = (np.float32([[[1.27, x, 0, 0]]]) for x in (0.303, 0.305))
    for name, x, low in (("apart", apart, 0.0), ("near", near, 1e-2)):
        (tmp_path / name).mkdir()
        section = validate.record(model, tmp_path / name, given={"x": x})
        assert low <= section["outputs"]["y"]["e_ref"] <= low + 1e-1 * (low > 0) + 1e-6


def test_a_model_that_carries_nothing_gets_a_few_steps(tmp_path: Path) -> None:
    section = validate.record(parse("g (float[1,4] x) => (float[1,4] y) { y = Tanh(x) }"), tmp_path)
    assert section["steps"] == 8
    assert vectors.load(tmp_path / section["file"]).outputs["y"].shape == (8, 1, 4)
