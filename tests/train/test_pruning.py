"""Pruning as a whole: budgets, names, exceptions, and what is refused."""

import numpy as np
import onnx_ir as ir
import pytest

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.train import allocation, calibration, prunable
from edgeseq.train.pruning import Request, prune
from tests.train.conftest import model, tensor, value


@pytest.fixture
def samples(step_model):
    return calibration.synthetic(step_model, count=1, steps=60)


@pytest.mark.parametrize("name", allocation.NAMES)
def test_every_allocation_meets_the_budget(step_model, samples, name):
    request = Request(0.7, pattern="unstructured", allocation=name)
    done = prune(step_model, request, samples)
    assert done.density == pytest.approx(0.3, abs=0.02)
    nonzero = sum((m.get() != 0).sum() for m in prunable.find(step_model))
    assert nonzero == done.kept


def test_marks_say_pattern_and_density(sequence_model):
    prune(sequence_model, Request(0.5, pattern="8x1", keep_dense=("head.weight",)))
    weights = sequence_model.graph.initializers
    assert facts.get(weights["gru.r"], facts.Sparsity) == facts.Sparsity("8x1", 0.5)
    assert facts.get(weights["head.weight"], facts.Sparsity) is None


def test_narrow_layers_get_the_narrow_twin_and_narrower_ones_stay_dense(sequence_model):
    done = prune(sequence_model, Request(0.5, pattern="16x1"))
    assert {r.pattern for r in done.rows} == {"8x1"}
    assert {r.note for r in done.rows} == {"8x1 fits 8 outputs"}
    assert [(s.name, s.reason) for s in done.skipped] == [
        ("head.weight", "5 outputs are fewer than the 8 of a block")
    ]


def test_densities_by_name_and_gate(sequence_model):
    densities = {"gru.r[z]": 0.25, "gru.w": 1.0}
    request = Request(0.5, pattern="unstructured", densities=densities)
    done = prune(sequence_model, request)
    by_name = {r.name: r.density for r in done.rows}
    assert by_name["gru.r[z]"] == 0.25
    assert by_name["gru.w[h]"] == 1
    assert by_name["gru.r[r]"] == by_name["gru.r[h]"] < 0.5
    assert done.density == pytest.approx(0.5, abs=0.01)


def test_the_diagonal_stays_when_asked_for(sequence_model):
    for name in ("magnitude", "random"):
        request = Request(0.7, pattern="unstructured", criterion=name, keep_diagonal=True)
        done = prune(sequence_model.clone(), request)
        kept = [mask for m, mask in done.masks.items() if m.kind == "recurrent"]
        assert all(mask.diagonal().all() for mask in kept)
        assert done.density == pytest.approx(0.3, abs=0.02)
    with pytest.raises(UsageError, match="too low to keep its diagonal"):
        prune(sequence_model, Request(0.95, pattern="unstructured", keep_diagonal=True))


def test_second_order_keeps_the_diagonal_too(step_model, samples):
    request = Request(0.7, pattern="unstructured", criterion="second-order", keep_diagonal=True)
    done = prune(step_model, request, samples)
    kept = [mask for m, mask in done.masks.items() if m.kind == "recurrent"]
    assert all(mask.diagonal().all() for mask in kept)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(1.0), r"sparsity 1 is outside \[0, 1\)"),
        (Request(-0.1), "outside"),
        (Request(0.5, pattern="17y"), "no sparsity pattern"),
        (Request(0.5, criterion="wander"), "did you mean 'wanda'"),
        (Request(0.5, allocation="uniforn"), "did you mean 'uniform'"),
        (Request(0.9, pattern="2:4"), "pattern 2:4 has sparsity 0.5"),
        (Request(), "pattern 16x1 needs a sparsity"),
        (Request(0.5, keep_dense=("gru.q",)), "no weight matrix 'gru.q'"),
        (Request(0.5, densities={"head": 0.5}), "did you mean 'head.weight'"),
        (Request(0.5, pattern="4x1", densities={"gru.w": 0}), "outside"),
        (Request(0.9, pattern="4x1", densities={"gru.*": 1.0}), "use up a density"),
        (Request(0.5, pattern="64x1"), "nothing to prune"),
    ],
    ids=lambda r: r if isinstance(r, str) else None,
)
def test_bad_requests(sequence_model, request_, message):
    with pytest.raises(UsageError, match=message):
        prune(sequence_model, request_)


def test_no_pattern_makes_a_model_without_matrices_prunable():
    x = value("x", 4)
    node = ir.node("Relu", [x])
    with pytest.raises(UsageError, match="nothing to prune"):
        prune(model([x], [node], list(node.outputs)), Request(0.5))


def test_n_of_m_brings_its_own_sparsity(sequence_model):
    done = prune(sequence_model, Request(pattern="2:4"))
    found = {(r.inputs, r.density, r.note) for r in done.rows}
    assert found == {(8, 0.5, ""), (6, 0.666667, "6 inputs are padded to 8")}


def test_sparsity_zero_changes_nothing(sequence_model):
    before = [m.get() for m in prunable.find(sequence_model)]
    prune(sequence_model, Request(0.0, pattern="4x1"))
    after = [m.get() for m in prunable.find(sequence_model)]
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_pruning_again_at_a_higher_sparsity_nests(sequence_model):
    first = prune(sequence_model, Request(0.5, pattern="4x1"))
    second = prune(sequence_model, Request(0.8, pattern="4x1"))
    before = {m.name: mask for m, mask in first.masks.items()}
    for matrix, mask in second.masks.items():
        assert not (mask & ~before[matrix.name]).any()
    assert second.density < 0.3


def test_the_model_still_runs_and_differs_by_what_is_said(step_model, samples):
    dense = step_model.clone()
    done = prune(step_model, Request(0.5, pattern="4x1"), samples)
    from edgeseq.train.evidence import Evidence, relative_errors

    ys = [Evidence(m, [], samples).outputs() for m in (dense, step_model)]
    assert max(relative_errors(*ys).values()) == pytest.approx(done.output_error)
    assert np.isfinite(ys[1][0]["y"]).all()


def test_transforms_stay_dense_unless_named():
    turns = 2 * np.pi * np.outer(np.arange(65), np.arange(128)) / 128
    dft = np.concatenate([np.cos(turns), -np.sin(turns)])
    weight = tensor("bank", 128, 130)
    weight.const_value = ir.tensor(np.ascontiguousarray(dft.T, np.float32), name="bank")
    one = ir.node("MatMul", [value("x", 4, 128), weight])
    two = ir.node("MatMul", [one.outputs[0], tensor("head", 130, 32)])
    two.outputs[0].name = "y"
    made = model(list(one.inputs[:1]), [one, two], list(two.outputs))
    done = prune(made, Request(0.5))
    assert [row.name for row in done.rows] == ["head"]
    assert done.skipped[0].reason == "it is a Fourier transform, not learnt"
    done = prune(made, Request(0.5, densities={"bank": 0.5}))
    assert {row.name for row in done.rows} == {"head", "bank"}
