"""Recovery: exact zeros, a better model, the same again, interruptions, and what is refused."""

from __future__ import annotations

from pathlib import Path

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
from edgeseq.train import prunable
from edgeseq.train.recover import Record, Recovered, Settings, recover
from edgeseq.train.student import Student
from edgeseq.train.targets import Fixed, Gradual, Part, cubic

STEP = """
<ir_version: 10, opset_import: ["" : 20]>
step (float[1, 8] x, float[1, 1, 16] h) => (float[1, 4] y, float[1, 1, 16] h_out)
<float[1, 48, 8] W, float[1, 48, 16] R, float[1, 96] B, float[16, 4] V, int64[1] axis = {0}>
{
    sequence = Unsqueeze(x, axis)
    all, h_out = GRU <hidden_size = 16, linear_before_reset = 1> (sequence, W, R, B, , h)
    last = Squeeze(h_out, axis)
    y = MatMul(last, V)
}
"""
WHOLE = """
<ir_version: 10, opset_import: ["" : 20]>
whole (float[T, 1, 8] x) => (float[T, 1, 4] y)
<float[1, 64, 8] W, float[1, 64, 16] R, float[16, 4] V, int64[1] axis = {1}>
{
    all, h_out, c_out = LSTM <hidden_size = 16> (x, W, R)
    hidden = Squeeze(all, axis)
    y = MatMul(hidden, V)
}
"""
QUICK = Settings(streams=4, window=12, rate=5e-3, check=10, rounds=4)


def build(text: str) -> ir.Model:
    proto = onnx.parser.parse_model(text)
    random = np.random.default_rng(7)
    for info in list(proto.graph.value_info):
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        if info.name in ("W", "R", "B", "V"):
            array = (random.standard_normal(shape) * 0.4).astype(np.float32)
            proto.graph.initializer.append(onnx.numpy_helper.from_array(array, info.name))
    model = ir.from_proto(proto)
    if text is WHOLE:
        facts.put(model, facts.DimRange("T", 1, 1000))
        facts.put(model.graph.inputs[0], facts.TimeAxis(0, "T"))
    else:
        mark_states(model)
    pipeline.prepare(model)
    return model


def samples(whole: bool, count: int = 10) -> list[dict[str, np.ndarray]]:
    random = np.random.default_rng(5)
    shape = (40, 1, 8)
    return [{"x": random.standard_normal(shape).astype(np.float32)} for _ in range(count)]


def gradual(model: ir.Model, pattern: str, density: float, share: bool = False) -> Gradual:
    kind = Pattern.parse(pattern)
    return Gradual(
        [
            Part(str(m.weight.name), m.index, kind, density, m.taps)
            for m in prunable.find(model)
            if m.kind in ("input", "recurrent")
        ],
        share,
    )


def weights(model: ir.Model) -> dict[str, np.ndarray]:
    return {str(n): v.const_value.numpy() for n, v in model.graph.initializers.items()}


@pytest.mark.parametrize("text", [STEP, WHOLE], ids=["step", "time axis"])
@pytest.mark.parametrize("pattern", ["4x1", "2:4", "unstructured"])
def test_zeros_are_exact_and_the_model_is_better(text: str, pattern: str) -> None:
    model = build(text)
    before = {n: w.copy() for n, w in weights(model).items()}
    done = recover(model, gradual(model, pattern, 0.5), samples(text is WHOLE), 60, settings=QUICK)
    for matrix in prunable.find(done.model):
        if matrix.kind in ("input", "recurrent"):
            kept = Pattern.parse(pattern).mask(np.abs(matrix.get()), 0.5)
            assert np.count_nonzero(matrix.get()) == kept.sum()  # no zero too few or too many
            assert not matrix.get()[~kept].any()
    for name, mask in done.masks.items():
        np.testing.assert_array_equal(weights(done.model)[name] != 0, mask)
    assert done.after < done.before
    for name, array in weights(model).items():
        np.testing.assert_array_equal(array, before[name])  # the user's model is left alone
    np.testing.assert_array_equal(weights(done.model)["V"], before["V"])  # not a pruned layer


def test_a_shared_budget_is_met_over_all_matrices() -> None:
    model = build(STEP)
    done = recover(model, gradual(model, "16x1", 0.25, True), samples(False), 20, settings=QUICK)
    kept = [
        Pattern.parse("16x1").gather((m.get() != 0).astype(int)) // 16
        for m in prunable.find(done.model)
        if m.kind in ("input", "recurrent")
    ]
    assert all(set(np.unique(blocks)) <= {0, 1} for blocks in kept)
    assert sum(blocks.sum() for blocks in kept) == 3 * 24 / 4
    assert len({int(blocks.sum()) for blocks in kept}) > 1


def test_no_matrix_is_given_up_for_the_others() -> None:
    model = build(STEP)
    target = gradual(model, "16x1", 0.25, True)
    effects = {n: np.ones((1, *weights(model)[n].shape)) for n in target.names}
    effects["R"] *= 1e-6  # as behind a layer that passes no gradients
    masks = target.masks(weights(model), 1.0, effects)
    assert masks["R"].sum() == 3 * 16  # a tenth of the four blocks of each gate, rounded up
    assert masks["R"].sum() + masks["W"].sum() == 48 * 24 / 4


def test_weights_that_hardly_count_have_small_effects() -> None:
    model = build(STEP)
    target = gradual(model, "16x1", 0.25)
    student = Student(model, model, target, samples(False), samples(False), QUICK, 0)
    assert student.effects(3)["W"].shape == (3, 1, 48, 8)
    quiet = {n: v.copy() for n, v in weights(model).items()}
    quiet["W"][:, :, 3] *= 1e-3
    model.graph.initializers["W"].const_value = ir.tensor(quiet["W"], name="W")
    student = Student(model, model, target, samples(False), samples(False), QUICK, 0)
    worth = np.square(student.effects(20)["W"]).mean(0)
    assert worth[:, :, 3].max() < 1e-3 * np.median(worth[:, :, [0, 1, 2, 4, 5, 6, 7]])


def test_given_masks_are_held() -> None:
    model = build(STEP)
    final = gradual(model, "16x1", 0.25)
    masks = final.masks(weights(model), 1.0, None)
    done = recover(model, masks, samples(False), 30, settings=QUICK)
    for name, mask in masks.items():
        np.testing.assert_array_equal(weights(done.model)[name] != 0, mask)
    assert done.after < done.before


def test_the_teacher_may_be_another_model() -> None:
    dense, pruned = build(STEP), build(STEP)
    masks = gradual(dense, "16x1", 0.25).masks(weights(dense), 1.0, None)
    for name, mask in masks.items():
        value = pruned.graph.initializers[name]
        value.const_value = ir.tensor(value.const_value.numpy() * mask, name=name)
    alone = recover(pruned, masks, samples(False), 0, settings=QUICK)
    taught = recover(pruned, masks, samples(False), 0, teacher=dense, settings=QUICK)
    assert alone.before == 0  # it is its own teacher
    assert taught.before > 0.01


def test_the_same_seed_gives_the_same() -> None:
    model = build(STEP)
    one, two, other = (
        recover(model, gradual(model, "4x1", 0.5), samples(False), 20, settings=QUICK, seed=seed)
        for seed in (1, 1, 2)
    )
    assert one.history == two.history != other.history


class Interrupt(Exception):
    pass


@pytest.mark.parametrize("at", [10, 30])
def test_an_interrupted_recovery_goes_on(tmp_path: Path, at: int) -> None:
    model = build(STEP)
    file = tmp_path / "deep" / "recover.ckpt"

    def stop(record: Record) -> None:
        if record.step > at:
            raise Interrupt

    def run(progress: object = None, file: Path | None = None, steps: int = 50) -> Recovered:
        target = gradual(model, "4x1", 0.5)
        given = samples(False)
        return recover(
            model, target, given, steps, settings=QUICK, progress=progress, checkpoint_file=file
        )  # type: ignore[arg-type]

    whole = run()
    with pytest.raises(Interrupt):
        run(stop, file)
    rest = run(file=file)
    assert rest.history == whole.history
    assert rest.after == whole.after
    for name, array in weights(whole.model).items():
        np.testing.assert_array_equal(array, weights(rest.model)[name])
    assert [f.name for f in file.parent.iterdir()] == ["recover.ckpt"]
    with pytest.raises(UsageError, match="belongs to another run"):
        run(file=file, steps=51)
    file.write_bytes(b"PK no checkpoint")
    with pytest.raises(UsageError, match="cannot read checkpoint"):
        run(file=file)


def test_divergence_keeps_the_best() -> None:
    model = build(STEP)
    calls = 0

    def loss(made: object, wanted: object, inputs: object) -> torch.Tensor:
        nonlocal calls
        calls += 1
        off = (made["y"] - wanted["y"]).square().mean()  # type: ignore[index]
        return off / 0 if calls > 60 else off

    masks = gradual(model, "16x1", 0.25).masks(weights(model), 1.0, None)
    settings = Settings(streams=4, window=12, check=10, loss=loss)
    done = recover(model, masks, samples(False), 100, settings=settings)
    assert done.stopped.startswith("diverged at step ")
    assert done.after < done.before
    assert all(np.isfinite(array).all() for array in weights(done.model).values())


def test_it_stops_when_nothing_improves() -> None:
    model = build(STEP)
    masks = gradual(model, "16x1", 0.25).masks(weights(model), 1.0, None)
    settings = Settings(streams=4, window=12, check=1, patience=2, rate=0.0)
    done = recover(model, masks, samples(False), 50, settings=settings)
    assert done.stopped == "no further improvement"
    assert len(done.history) == 2


def test_without_samples_it_says_so() -> None:
    model = build(STEP)
    done = recover(model, gradual(model, "16x1", 0.5), [], 10, settings=QUICK)
    assert "synthetic" in done.notes[0]


def test_refusals() -> None:
    model = build(STEP)
    with pytest.raises(UsageError, match="no weight 'Q' to mask"):
        recover(model, {"Q": np.ones((1, 48, 8), np.bool_)}, samples(False), 1)
    with pytest.raises(UsageError, match=r"mask of weight 'W' is \[48, 8\]"):
        recover(model, {"W": np.ones((48, 8), np.bool_)}, samples(False), 1)


def test_cubic_schedule() -> None:
    found = [cubic(p, 0.0, 0.9) for p in (0, 0.1, 0.5, 0.9, 1)]
    np.testing.assert_allclose(found, [0, 0.2439, 0.7875, 0.8991, 0.9], atol=5e-5)


def test_rounds_only_ever_prune_more() -> None:
    model = build(STEP)
    for pattern in ("16x1", "1:4"):
        target = gradual(model, pattern, 0.25)
        kept = [
            sum(m.sum() for m in target.masks(weights(model), p, None).values())
            for p in (0.0, 0.2, 0.5, 0.9, 1.0)
        ]
        assert kept[0] == 48 * 24
        assert kept[-1] == 48 * 24 / 4
        assert kept == sorted(kept, reverse=True)
    assert Fixed({}).names == frozenset()
