"""Patterns: exact counts, whole groups, deterministic ties."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.ir.patterns import Blocks, NOfM, Pattern, detect, pruned_groups

TEXTS = (
    "unstructured 16x1 16x4 8x1 8x4 4x1 1x4 2:4 1:4 3:7 8:16 "
    "kernel kernel-4 rows rows-8 columns columns-2"
).split()


def scores_of(rows, columns, seed=0):
    return np.random.default_rng(seed).random((rows, columns))


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_read_back(text):
    assert Pattern.parse(text).text == text
    assert Pattern.parse(text) == Pattern.parse(text)


@pytest.mark.parametrize(
    "text", ["", "16", "16x", "0x4", "4:4", "5:4", "0:4", "2:32", "rows-0", "x"]
)
def test_nonsense_is_refused(text):
    with pytest.raises(UsageError, match="pattern"):
        Pattern.parse(text)


@pytest.mark.parametrize("density", [0, -0.1, 1.1])
def test_density_outside_its_range_is_refused(density):
    for text in ("16x1", "2:4"):
        with pytest.raises(UsageError, match="outside"):
            Pattern.parse(text).mask(scores_of(16, 16), density)


def test_two_of_four_on_the_reference_values():
    weights = np.array([[0.3, -0.1, 0.5, -0.2], [0.05, 0.9, -0.8, 0.01]])
    mask = Pattern.parse("2:4").mask(np.abs(weights), 0.5)
    assert mask.tolist() == [[True, False, True, False], [False, True, True, False]]


@given(
    text=st.sampled_from(TEXTS),
    rows=st.integers(1, 40),
    inputs=st.integers(1, 40),
    taps=st.sampled_from([1, 3]),
    density=st.floats(0.01, 1),
    seed=st.integers(0, 5),
)
def test_whole_groups_and_exact_counts(text, rows, inputs, taps, density, seed):
    pattern = Pattern.parse(text)
    scores = scores_of(rows, inputs * taps, seed)
    mask = pattern.mask(scores, density, taps)
    assert mask.shape == scores.shape
    if isinstance(pattern, Blocks):
        grid = pattern.gather(mask.astype(int), taps)
        whole = pattern.gather(np.ones(mask.shape, int), taps)
        assert grid.shape == pattern.groups(mask.shape, taps)
        assert ((grid == 0) | (grid == whole)).all()
        assert (grid == 0).sum() == pruned_groups(grid.size, density)
        assert (pattern.spread(grid > 0, mask.shape, taps) == mask).all()
        assert pattern.stored(mask, taps) == pytest.approx(mask.mean())
    elif density < 1:
        assert pattern.stored(mask, taps) == pattern.fixed_density
        runs = mask.reshape(rows, taps, inputs)[:, :, : inputs // pattern.m * pattern.m]
        counts = runs.reshape(rows, taps, -1, pattern.m).sum(-1)
        assert (counts == pattern.n).all()
    assert mask.any()


@given(text=st.sampled_from(TEXTS), density=st.floats(0.05, 0.95))
def test_ties_prune_the_earlier_group(text, density):
    pattern = Pattern.parse(text)
    mask = pattern.mask(np.ones((32, 32)), density)
    kept = pattern.gather(mask.astype(int)) > 0
    if isinstance(pattern, Blocks):
        flat = kept.reshape(-1)
        assert (np.diff(flat.astype(int)) >= 0).all()
    else:
        assert kept[:, pattern.m - pattern.n : pattern.m].all()
        assert not kept[:, : pattern.m - pattern.n].any()


def test_a_kernel_group_spans_all_taps():
    weights = np.ones((4, 6))  # 3 taps of 2 inputs
    weights[:2, [1, 3, 5]] = 5
    mask = Pattern.parse("kernel-2").mask(weights, 0.25, taps=3)
    assert mask.tolist() == [[False, True] * 3] * 2 + [[False, False] * 3] * 2


def test_misfit_says_what_is_padded():
    assert (
        Pattern.parse("16x4").misfit((40, 6))
        == "40 outputs are padded to 48, 6 inputs are padded to 8"
    )
    assert Pattern.parse("16x4").misfit((32, 24), taps=3) is None
    assert Pattern.parse("2:4").misfit((1, 6)) == "6 inputs are padded to 8"
    assert Pattern.parse("rows").misfit((5, 5)) is None


def test_ramps_end_with_the_pattern_itself():
    for text in TEXTS:
        pattern = Pattern.parse(text)
        steps = list(pattern.ramp(0.1))
        assert steps[-1] == (pattern, 0.1)
        assert len(steps) < 20
    assert [p.text for p, _ in Pattern.parse("1:4").ramp(0.25)] == ["3:4", "2:4", "1:4"]


@pytest.mark.parametrize("text", ["16x4", "16x1", "8x1", "4x1", "2:4", "1:4", "unstructured"])
def test_detect_finds_the_pattern_of_the_zeros(text):
    pattern = Pattern.parse(text)
    density = pattern.fixed_density or 0.2
    weights = np.random.default_rng(1).standard_normal((64, 96))
    found, stored = detect(weights * pattern.mask(np.abs(weights), density))
    assert found == pattern
    assert stored == pytest.approx(density, abs=0.02)


def test_detect_calls_a_dense_matrix_dense():
    assert detect(np.ones((8, 8))) == (Blocks(1, 1), 1.0)


def test_the_fact_survives():
    import onnx_ir as ir

    value = ir.Value(name="w")
    facts.put(value, facts.Sparsity("16x1", 0.2))
    assert facts.get(value, facts.Sparsity) == facts.Sparsity("16x1", 0.2)


def test_n_of_m_counts_a_cut_off_group():
    mask = NOfM(2, 4).mask(np.arange(6.0).reshape(1, 6), 0.5)
    assert mask.tolist() == [[False, False, True, True, True, True]]
