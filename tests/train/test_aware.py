"""Quantized models learn: twins compute what the integers do, what they learn is exported."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch

from edgeseq import pipeline
from edgeseq.errors import UsageError
from edgeseq.frontends.states import mark_states
from edgeseq.ir import facts
from edgeseq.ir.patterns import Pattern
from edgeseq.quantize.calibrate import Runner
from edgeseq.quantize.run import quantize
from edgeseq.quantize.scheme import Settings as Quantization
from edgeseq.train import aware, pruning, twin
from edgeseq.train.calibration import Sample
from edgeseq.train.fake_model import FakeQuantized
from edgeseq.train.recover import Record, Settings

QUICK = Settings(streams=4, window=10, rate=1e-4, check=10)  # int8 is nearly right already
RATES = {"int8": QUICK, "w4g32": dataclasses.replace(QUICK, rate=2e-3)}


def step(kind: str, more: str = "") -> ir.Model:
    """A cell of 16 units with carried states, between a convolution and a product."""
    gates = {"GRU": 48, "LSTM": 64, "RNN": 16}[kind]
    lstm = kind == "LSTM"
    states = "float[1, 1, 16] h" + ", float[1, 1, 16] c" * lstm
    made = "float[1, 1, 16] h_out" + ", float[1, 1, 16] c_out" * lstm
    return build(
        f"""
<ir_version: 10, opset_import: ["" : 26]>
step (float[1, 8] x, {states}) => (float[1, 20] y, {made})
<float[1, {gates}, 16] W, float[1, {gates}, 16] R, float[1, {2 * gates}] B, float[16, 20] V,
 float[20] bias, float[16, 8, 3] K, int64[1] axis = {{0}}, int64[3] flat = {{1, 1, -1}},
 int64[3] wide = {{1, 8, 1}}>
{{
    image = Reshape(x, wide)
    taps = Conv<pads = [1, 1]>(image, K)
    sequence = Reshape(taps, flat)
    all, {"h_out, c_out" if lstm else "h_out"} = {kind} <hidden_size = 16{more}>
        (sequence, W, R, B, , h{", c" * lstm})
    last = Squeeze(h_out, axis)
    product = MatMul(last, V)
    y = Add(product, bias)
}}
"""
    )


def whole() -> ir.Model:
    """A bidirectional GRU that resets first, over a time axis."""
    return build(
        """
<ir_version: 10, opset_import: ["" : 26]>
whole (float[T, 1, 8] x) => (float[T, 2, 1, 16] y)
<float[2, 48, 8] W, float[2, 48, 16] R>
{
    y, h_out = GRU <hidden_size = 16, direction = "bidirectional"> (x, W, R)
}
"""
    )


def build(text: str) -> ir.Model:
    proto = onnx.parser.parse_model(text)
    random = np.random.default_rng(7)
    for info in list(proto.graph.value_info):
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        if info.type.tensor_type.elem_type == onnx.TensorProto.FLOAT and shape:
            array = (random.standard_normal(shape) * 0.4).astype(np.float32)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    model = ir.from_proto(proto)
    if "T" in str(model.graph.inputs[0].shape):
        facts.put(model, facts.DimRange("T", 1, 1000))
        facts.put(model.graph.inputs[0], facts.TimeAxis(0, "T"))
    else:
        mark_states(model)
    pipeline.prepare(model)
    return model


def samples(model: ir.Model, count: int = 10) -> list[Sample]:
    random = np.random.default_rng(5)
    shape = (30, 1, 8)
    return [{"x": random.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def computed(model: ir.Model, sample: Sample) -> np.ndarray:
    """What ONNX Runtime makes of a sample."""
    return np.stack(Runner(model)(sample)["y"])


def faked(model: ir.Model, sample: Sample) -> np.ndarray:
    """What the twin makes of it."""
    twins = twin.make(model, model)
    x = torch.from_numpy(sample["x"])
    x = x[None, None] if any(d == "T" for d in model.graph.inputs[0].shape) else x.unsqueeze(1)
    with torch.no_grad():
        made, _ = FakeQuantized(twins.model, twins.fakes).run({"x": x})
    return made["y"].numpy().squeeze(1) if x.dim() == 4 and len(x) > 1 else made["y"].numpy()[0]


MODELS = {
    "GRU": lambda: step("GRU", ", linear_before_reset = 1"),
    "GRU, reset first": lambda: step("GRU"),
    "LSTM": lambda: step("LSTM"),
    "RNN": lambda: step("RNN"),
    "RNN, relu": lambda: step("RNN", ', activations = ["Relu"]'),
    "both directions": whole,
}


CASES = [(name, "int8", False) for name in MODELS]
CASES += [("LSTM", scheme, False) for scheme in ("int8-dynamic", "w8", "w4g32")]
CASES += [("GRU", "int8", True), ("both directions", "int8-dynamic", False)]


@pytest.mark.parametrize(("name", "scheme", "qdq"), CASES)
def test_the_twin_computes_what_the_integers_do(name: str, scheme: str, qdq: bool) -> None:
    model = MODELS[name]()
    given = samples(model)
    floats = computed(model, given[0])
    quantize(model, scheme, given, qdq=qdq)
    want, made = computed(model, given[0]), faked(model, given[0]).reshape(floats.shape)
    noise = float(np.sqrt(np.mean(np.square(want - floats))))
    off = np.sqrt(np.mean(np.square(made - want)))
    # A value on the edge between two levels may fall to the other side; that is rare.
    assert off < 0.05 * noise


@pytest.mark.parametrize(("name", "scheme"), [("LSTM", "int8"), ("RNN", "w4g32")])
def test_what_is_learnt_is_exported(name: str, scheme: str) -> None:
    model = MODELS[name]()
    reference, given = model.clone(), samples(model)
    quantize(model, scheme, given)
    before = weights(model)
    done = aware.recover_quantized(model, reference, given, 30, settings=RATES[scheme])
    assert done.after < done.before
    after = weights(model)
    assert before.keys() == after.keys()
    for key, array in after.items():
        assert array.dtype == before[key].dtype, key
    moved = {key for key in after if not np.array_equal(after[key], before[key])}
    assert any(key.endswith((".int8", ".int4")) for key in moved)
    assert any("scale" in key for key in moved)
    onnx.checker.check_model(ir.to_proto(model))
    want, made = computed(model, given[1]), faked(model, given[1])
    np.testing.assert_allclose(made.reshape(want.shape), want, atol=2e-3)


def test_scales_of_activations_are_learnt() -> None:
    model = MODELS["LSTM"]()
    reference, given = model.clone(), samples(model)
    quantize(model, "int8", given)

    def scales() -> dict[str, float]:
        return {
            f"{node.name} {key}": node.attributes[key].as_float()
            for node in model.graph
            for key in ("x_scale", "h_scale")
            if key in node.attributes
        }

    before = scales()
    aware.recover_quantized(model, reference, given, 20, settings=QUICK)
    assert len(before) >= 3
    assert all(value != before[key] > 0 for key, value in scales().items())


def weights(model: ir.Model) -> dict[str, Any]:
    return {str(n): v.const_value.numpy().copy() for n, v in model.graph.initializers.items()}


def test_zeros_of_pruned_weights_are_held() -> None:
    model = MODELS["GRU"]()
    dense, given = model.clone(), samples(model)
    pruning.prune(model, pruning.Request(0.5, "16x1", allocation="uniform"), given)
    reference = model.clone()
    zeros = {name: array == 0 for name, array in weights(model).items() if array.ndim > 1}
    quantize(model, "int8", given)
    done = aware.recover_quantized(model, reference, given, 20, teacher=dense, settings=QUICK)
    assert done.after < done.before
    found = weights(model)
    for name in ("W", "R"):
        levels = found[f"{name}.int8"]
        assert not levels[zeros[name]].any()
        blocks = Pattern.parse("16x1").gather((levels[0] != 0).astype(int))
        assert 0.45 < (blocks > 0).mean() < 0.55
    fact = next(
        facts.get(v, facts.Sparsity) for n, v in model.graph.initializers.items() if n == "W.int8"
    )
    assert fact is not None
    assert fact.pattern == "16x1"


def test_pairs_still_fit_sixteen_bits() -> None:
    model = MODELS["GRU"]()
    reference, given = model.clone(), samples(model)
    quantize(model, "int8", given, Quantization(saturation_free=True))
    aware.recover_quantized(model, reference, given, 20, pairs=True, settings=QUICK)
    for name, array in weights(model).items():
        if name in ("W.int8", "R.int8"):
            sums = np.abs(array[..., 0::2].astype(int) + array[..., 1::2])
            assert sums.max() <= 129


def test_it_can_be_interrupted(tmp_path: Path) -> None:
    file = tmp_path / "r.ckpt"

    class Interrupt(Exception):
        pass

    def stop(record: Record) -> None:
        if record.step > 10:
            raise Interrupt

    def run(progress: Any = None, checkpoint: Path | None = None) -> ir.Model:
        model = MODELS["GRU"]()
        reference, given = model.clone(), samples(model)
        quantize(model, "int8", given)
        aware.recover_quantized(
            model,
            reference,
            given,
            20,
            settings=QUICK,
            progress=progress,
            checkpoint_file=checkpoint,
        )
        return model

    whole_run = weights(run())
    with pytest.raises(Interrupt):
        run(stop, file)
    for name, array in weights(run(None, file)).items():
        np.testing.assert_array_equal(array, whole_run[name])


def test_what_cannot_be_learnt() -> None:
    model = MODELS["GRU"]()
    reference, given = model.clone(), samples(model)
    quantize(model, "bf16", given)
    with pytest.raises(UsageError, match="nothing to recover"):
        aware.recover_quantized(model, reference, given, 5, settings=QUICK)
    with pytest.raises(UsageError, match="--recover -1 is negative"):
        aware.recover_quantized(model, reference, given, -1, settings=QUICK)
