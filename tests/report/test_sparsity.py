from __future__ import annotations

import pytest

from edgeseq.ir.patterns import Pattern
from edgeseq.options import SparsityOptions
from edgeseq.report import render, sparsity
from edgeseq.report.sweep_plot import svg
from edgeseq.train import analysis, compress
from tests.report.test_render import MANIFEST, text_of
from tests.train.conftest import gru_model


def section(**wanted: object) -> str:
    """The section of a small model that is pruned as asked."""
    options = SparsityOptions(**wanted)  # type: ignore[arg-type]
    dense = gru_model(1)
    study = analysis.study(dense, options, 0)
    done = compress.compress(dense.clone(), options, 0, lambda _: None)
    return sparsity.section(done, study)


def test_densities_the_sweep_and_every_layer_are_on_the_page() -> None:
    page = render(MANIFEST, sections=[section(sparsity=0.5, pattern="4x1")])
    text = text_of(page)
    assert "gru.w[z] input 8 6 4x1" in text
    assert "head.weight linear 5 8 4x1" in text
    assert "of them stay" in text
    assert "random inputs: not accuracy-checked" in text
    assert "sparsity magnitude random 30.0%" in text
    assert "layer to 50.0% to 20.0% to 10.0% gru.w -" in text
    assert page.count("<polyline") == 2
    assert ("knee, the essential sparsity, is at" in text) != ("has no knee" in text)


def test_a_pattern_of_one_density_has_a_table_and_no_line() -> None:
    page = section(pattern="2:4")
    assert "<polyline" not in page
    assert "50.0%" in page


def test_whole_units_have_densities_alone() -> None:
    model = gru_model(1)
    assert analysis.study(model, SparsityOptions(0.3, "units"), 0) is None
    done = compress.compress(model, SparsityOptions(0.5, "4x1"), 0, lambda _: None)
    page = sparsity.section(done, None)
    assert "gru.r[h]" in page
    assert "pruned alone" not in page


def test_what_is_named_stays_dense_in_the_sweep() -> None:
    study = analysis.study(
        gru_model(1), SparsityOptions(0.5, "4x1", densities={"gru.r": 0.9}, keep_diagonal=True), 0
    )
    assert study is not None
    assert set(study.layers) == {"gru.w", "head.weight"}
    named = dict.fromkeys(("gru.w", "gru.r", "head.weight"), 0.5)
    assert analysis.study(gru_model(1), SparsityOptions(pattern="4x1", densities=named), 0) is None


def test_the_study_leaves_the_model_alone() -> None:
    model = gru_model(1)
    before = {n: v.const_value.numpy().copy() for n, v in model.graph.initializers.items()}
    analysis.study(model, SparsityOptions(0.5, "4x1"), 0)
    after = {n: v.const_value.numpy() for n, v in model.graph.initializers.items()}
    assert all((before[n] == after[n]).all() for n in before)


def test_the_knee_is_marked_on_its_line() -> None:
    line = [(0.1, 0.01), (0.5, 0.1), (0.9, 1.0)]
    drawn = svg({"a<b": line, "random": line}, {"a<b": 0.5})
    assert drawn.count("<circle") == 1
    assert "knee" in drawn
    assert "a&lt;b" in drawn
    assert "<circle" not in svg({"a": line})


@pytest.mark.parametrize(("error", "text"), [(0.1, "-10.0 dB"), (0.0, "none")])
def test_decibels(error: float, text: str) -> None:
    assert compress.decibels(error) == text


def test_names_are_escaped() -> None:
    model = gru_model(1)
    weight = model.graph.initializers["head.weight"]
    weight.name = "<head>"
    options = SparsityOptions(0.5, "4x1")
    study = analysis.study(model, options, 0)
    page = sparsity.section(compress.compress(model, options, 0, lambda _: None), study)
    assert "<head>" not in page
    assert "&lt;head&gt;" in page
    assert Pattern.parse("4x1").text in page
