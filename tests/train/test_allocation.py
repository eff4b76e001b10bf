"""Densities meet the budget, and the reference values of the methods."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.errors import BudgetError, UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.train import allocation, prunable, pruning
from tests.train.conftest import model, tensor, value


def lstm_model():
    """Two LSTM layers of 128 units on 64 inputs, and a Gemm to 10."""
    x, before = value("x", 5, 1, 64), None
    nodes = []
    for layer, width in enumerate((64, 128)):
        names = [tensor(f"ih{layer}", 1, 512, width), tensor(f"hh{layer}", 1, 512, 128, seed=layer)]
        source = x if before is None else before
        lstm = ir.node("LSTM", [source, *names], attributes={"hidden_size": 128}, num_outputs=3)
        before = lstm.outputs[1]
        nodes.append(lstm)
    head = ir.node("Gemm", [before, tensor("fc", 10, 128)], attributes={"transB": 1})
    return model([x], [*nodes, head], list(head.outputs))


@pytest.fixture(scope="module")
def matrices():
    return prunable.find(lstm_model())


def by_weight(densities):
    return {m.weight.name: d for m, d in densities.items()}


def mean(densities):
    return sum(d * m.size for m, d in densities.items()) / sum(m.size for m in densities)


@pytest.mark.parametrize(
    ("name", "density", "first", "others", "last"),
    [
        ("uniform", 0.1, 0.1, 0.1, 0.1),
        ("erk", 0.1, 0.153929, 0.085516, 0.9441),
        ("er", 0.1, 0.153929, 0.085516, 0.9441),
        ("erk", 0.5, 0.803185, 0.446214, 1.0),
        ("erk-plus", 0.1, 0.153425, 0.085236, 1.0),
    ],
)
def test_reference_values(matrices, name, density, first, others, last):
    found = allocation.by_shape(name, matrices, density)
    want = {"ih0": first, "hh0": others, "ih1": others, "hh1": others, "fc": last}
    assert by_weight(found) == pytest.approx(want, abs=1e-5)
    assert mean(found) == pytest.approx(density, abs=1e-12)


def test_uniform_plus_spares_the_ends():
    x = value("x", 1, 4, 50)
    conv = ir.node("Conv", [x, tensor("conv", 8, 4, 3)])
    gemm = ir.node("Gemm", [value("z", 1, 64), tensor("head", 10, 64)], attributes={"transB": 1})
    middle = ir.node("MatMul", [conv.outputs[0], tensor("middle", 48, 64)])
    found = prunable.find(
        model([x, gemm.inputs[0]], [conv, middle, gemm], [*middle.outputs, *gemm.outputs])
    )
    densities = allocation.by_shape("uniform-plus", found, 0.1)
    assert by_weight(densities)["conv"] == 1
    assert by_weight(densities)["head"] == 0.2
    assert mean(densities) == pytest.approx(0.1)


def test_erk_counts_the_taps_of_a_kernel():
    x = value("x", 1, 4, 50)
    conv = ir.node("Conv", [x, tensor("conv", 8, 4, 3)])
    wide = ir.node("MatMul", [conv.outputs[0], tensor("wide", 48, 64)])
    found = prunable.find(model([x], [conv, wide], list(wide.outputs)))
    by_name = by_weight(allocation.by_shape("erk", found, 0.01))
    raw = {"conv": (8 + 4 + 3) / (8 * 4 * 3), "wide": (48 + 64) / (48 * 64)}
    assert by_name["conv"] / by_name["wide"] == pytest.approx(raw["conv"] / raw["wide"])


@given(
    raw=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=8),
    density=st.floats(0.01, 1),
    data=st.data(),
)
def test_scaling_meets_the_budget_with_none_above_one(raw, density, data):
    sizes = data.draw(st.lists(st.integers(1, 999), min_size=len(raw), max_size=len(raw)))
    shares = np.array(allocation.scaled(raw, sizes, density))
    assert (shares <= 1 + 1e-9).all()
    assert shares @ sizes == pytest.approx(density * sum(sizes))
    free = shares < 1 - 1e-9
    assert np.ptp(shares[free] / np.array(raw)[free]) < 1e-6 if free.any() else True


@pytest.mark.parametrize("text", ["unstructured", "16x1", "kernel", "rows"])
def test_global_is_one_threshold_over_all(matrices, text):
    patterns = dict.fromkeys(matrices, Pattern.parse(text))
    scores = {m: np.abs(m.get()) for m in matrices}
    densities = allocation.by_score(matrices, patterns, scores, 0.3)
    masks = {m: patterns[m].mask(scores[m], d, m.taps) for m, d in densities.items()}
    kept = sum(mask.sum() for mask in masks.values())
    total = sum(m.size for m in matrices)
    assert kept == pytest.approx(0.3 * total, rel=0.02 if text == "rows" else 0.002)

    def means(m, mask, pattern):
        full = np.prod(m.shape) / np.prod(pattern.groups(m.shape))
        return pattern.gather(np.where(mask, scores[m], 0)) / full

    lowest = min(s[s > 0].min() for m, k in masks.items() if (s := means(m, k, patterns[m])).any())
    highest = max(means(m, ~k, patterns[m]).max() for m, k in masks.items())
    # Blocks cut off by the edge (10 rows of `fc`) are ranked by a whole block's size.
    assert highest <= lowest * (1.7 if text == "16x1" else 1 + 1e-6)


def test_global_leaves_no_matrix_empty(matrices):
    scores = {m: np.abs(m.get()) * (100 if m.weight.name == "fc" else 1) for m in matrices}
    patterns = dict.fromkeys(matrices, Pattern.parse("unstructured"))
    densities = allocation.by_score(matrices, patterns, scores, 0.001)
    assert all(patterns[m].mask(scores[m], d).sum() >= 1 for m, d in densities.items())


@pytest.mark.parametrize("name", ["wanda", "second-order", "dsnot"])
def test_global_spares_layers_whose_scores_are_small_as_a_whole(name):
    x = value("x", 24)
    first, last = tensor("first", 24, 96), tensor("last", 96, 8)
    last.const_value = ir.tensor(1e-3 * last.const_value.numpy(), name="last")
    one = ir.node("MatMul", [x, first])
    two = ir.node("MatMul", [one.outputs[0], last])
    two.outputs[0].name = "y"
    made = model([x], [one, two], list(two.outputs))
    random = np.random.default_rng(0)
    samples = [{"x": random.normal(size=(200, 24)).astype(np.float32)}]
    request = pruning.Request(0.8, "unstructured", name, "global")
    done = pruning.prune(made, request, samples)
    assert done.density == pytest.approx(0.2, abs=0.01)
    assert all(0.1 < row.density < 0.4 for row in done.rows)


def test_cheapest_takes_the_least_harmful_steps(matrices):
    one, two = matrices[:2]
    errors = {one: {0.5: 0.1, 0.1: 0.2}, two: {0.5: 1.0, 0.1: 9.0}}
    found = allocation.cheapest(errors, lambda m, d: 10 * d, 11)
    assert found == {one: 0.1, two: 1.0}
    found = allocation.cheapest(errors, lambda m, d: 10 * d, 6)
    assert found == {one: 0.1, two: 0.5}


def test_a_budget_out_of_reach_says_what_is(matrices):
    with pytest.raises(BudgetError, match=r"budget of 0\.5 is not reachable, the best is 1"):
        allocation.cheapest({matrices[0]: {0.1: 0.0}}, lambda m, d: 10 * d, 0.5)


def test_unknown_names_are_refused():
    with pytest.raises(UsageError, match="did you mean 'erk'"):
        allocation.check("erkk")
