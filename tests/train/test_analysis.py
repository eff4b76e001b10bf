"""Sweeps, knees and sensitivities."""

import pytest

from edgeseq.train import analysis, calibration
from edgeseq.train.pruning import Request


@pytest.fixture
def samples(step_model):
    return calibration.synthetic(step_model, count=1, steps=40)


def test_a_sweep_leaves_the_model_and_gets_worse(step_model, samples):
    before = step_model.graph.initializers["gru.r"].const_value.numpy().copy()
    points = (0.25, 0.5, 0.9)
    ours, baseline = analysis.sweep(
        step_model, Request(pattern="unstructured"), samples, sparsities=points
    )
    assert (ours.criterion, baseline.criterion) == ("magnitude", "random")
    assert ours.sparsities == points
    assert ours.errors[0] < ours.errors[1] < ours.errors[2]
    assert ours.errors[0] < baseline.errors[0]
    assert baseline.spread[0] > 0
    assert (step_model.graph.initializers["gru.r"].const_value.numpy() == before).all()


def test_a_fixed_pattern_has_one_point(step_model, samples):
    (found,) = analysis.sweep(step_model, Request(pattern="1:4"), samples, criteria=["wanda"])
    assert found.sparsities == (0.75,)


def test_the_knee_is_where_the_slope_doubles():
    points = (0.1, 0.2, 0.3, 0.4, 0.5)
    assert analysis.knee(points, (0.01, 0.02, 0.03, 0.06, 0.5)) == 0.3
    assert analysis.knee(points, (0.01, 0.02, 0.03, 0.04, 0.05)) is None
    assert analysis.knee(points, (0, 0, 0, 0.1, 0.2)) == 0.3


def test_sensitivities_are_by_layer(step_model, samples):
    found = analysis.sensitivities(step_model, Request(pattern="unstructured"), samples)
    assert list(found) == ["gru.w", "gru.r", "head.weight"]
    for errors in found.values():
        assert 0 < errors[0.5] < errors[0.1]
