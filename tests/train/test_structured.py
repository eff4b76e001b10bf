"""Whole units: the choice, the exact counts, and that cutting them out changes no number."""

import numpy as np
import pytest

from edgeseq import pipeline
from edgeseq.errors import UsageError
from edgeseq.ir import channels
from edgeseq.options import SparsityOptions
from edgeseq.train import calibration, compress, prunable, structured, trajectory
from edgeseq.train.criteria import CRITERIA
from edgeseq.train.evidence import Evidence, relative_errors
from edgeseq.train.pruning import Request

NAMES = [*CRITERIA, trajectory.NAME]


@pytest.fixture
def step_model(step_model):
    """Every value has a shape."""
    pipeline.prepare(step_model, passes=("bind-shapes", "fold-constants"))
    return step_model


@pytest.fixture
def samples(step_model):
    return calibration.synthetic(step_model, count=1, steps=60)


@pytest.mark.parametrize("name", NAMES)
def test_units_disappear_and_the_numbers_stay(step_model, samples, name):
    request = Request(0.5, "units", name, "uniform")
    done, evidence = structured.prune(step_model, request, samples)
    masked = evidence.outputs()
    assert done.density <= 0.5
    assert {row.note for row in done.rows if row.name == "gru.r[z]"} == {"shrinks to 4 x 4"}
    pipeline.prepare(step_model, passes=pipeline.AFTER_PRUNING)
    shapes = {m.name: m.shape for m in prunable.find(step_model)}
    assert shapes["gru.r[z]"] == (4, 4)
    assert shapes["head.weight"] == (5, 4)
    state = step_model.graph.inputs[1]
    assert list(state.shape) == [1, 1, 4]
    small = Evidence(step_model, [], samples).outputs()
    assert max(relative_errors(masked, small).values()) < 1e-10


def test_the_least_units_that_meet_the_sparsity_go(step_model):
    sizes = {}
    for sparsity in (0.0, 0.2, 0.9):
        copy = step_model.clone()
        done, _ = structured.prune(copy, Request(sparsity, "units", "magnitude", "global"))
        sizes[sparsity] = done.kept
        assert done.density <= 1 - sparsity
    assert sizes[0.0] == 24 * 6 + 24 * 8 + 40
    units = [n * (18 + 3 * n + 5) for n in range(1, 9)]
    assert sizes[0.2] == max(n for n in units if n <= 0.8 * sizes[0.0])
    assert sizes[0.9] == max(n for n in units if n <= 0.1 * sizes[0.0])


def test_a_unit_that_does_nothing_goes_first(step_model, samples):
    weights = {m.name: m for m in prunable.find(step_model)}
    for name in ("gru.r[z]", "gru.r[r]", "gru.r[h]", "head.weight"):
        array = weights[name].get()
        array[:, 3] *= 1e-4
        weights[name].set(array)
    found = channels.find(step_model)
    (numbers,) = found.layers().values()
    evidence = Evidence(step_model, list(weights.values()), samples)
    before = {name: m.get() for name, m in weights.items()}
    scores = trajectory.scores(found, numbers, evidence)
    assert np.argmin(scores[numbers]) == 3
    assert all((weights[name].get() == array).all() for name, array in before.items())


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (Request(None, "units"), "needs a sparsity"),
        (Request(0.999, "units"), "cannot be reached by removing units"),
        (Request(0.5, "channels"), "there are no channels to remove"),
        (Request(0.5, "units", allocation="erk"), "not for whole units"),
        (Request(0.5, "units", criterion="trajectories"), "did you mean 'trajectory'"),
        (Request(0.5, "units", "trajectory"), "needs calibration samples"),
        (Request(0.5, "units", keep_dense=("gru.w",)), "there are no units to remove"),
        (Request(0.5, "units", keep_dense=("gru.v",)), "no weight matrix 'gru.v'"),
        (Request(0.5, "units", densities={"gru.w": 0.1}), "neither --density"),
    ],
)
def test_refusals(step_model, request_, message):
    with pytest.raises(UsageError, match=message):
        structured.prune(step_model, request_)


def test_compress_recovers_and_shrinks(step_model):
    options = SparsityOptions(0.4, "units", recover=20)
    done = compress.compress(step_model, options, 0, lambda _: None)
    assert list(done.model.graph.inputs[1].shape)[-1] < 8
    assert done.pruned.density <= 0.6
    assert any("rows are left" in note for note in done.notes)


def test_columns_that_nobody_reads_take_their_rows_along(step_model):
    weights = {m.name: m for m in prunable.find(step_model)}
    for name in ("gru.r[z]", "gru.r[r]", "gru.r[h]", "head.weight"):
        array = weights[name].get()
        array[:, [0, 5]] *= 1e-4
        weights[name].set(array)
    options = SparsityOptions(0.25, "columns", allocation="uniform", keep_dense=("gru.w",))
    done = compress.compress(step_model, options, 0, lambda _: None)
    assert done.reshaped
    assert list(done.model.graph.inputs[1].shape) == [1, 1, 6]
