"""The kernel benchmarks: both sides compute the same, and what is off is said."""

from __future__ import annotations

import dataclasses
import json
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

from edgeseq.bench import memory
from edgeseq.bench.harness import Latency, Spread
from edgeseq.bench.suite import fit, native, plot, problem, run
from edgeseq.bench.suite.cases import CASES, FAMILIES, Case
from edgeseq.errors import NumericsError, UsageError
from edgeseq.lower import work

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="needs a C compiler")
LEAST = run.Effort(rounds=2, seconds=1e-4, single=3, cold=1)
SMALL = (
    Case("gru", {"I": 5, "H": 12, "T": 1}),
    Case("gru", {"I": 5, "H": 12, "T": 1}, peer="ncnn"),
    Case("lstm", {"I": 8, "H": 20, "T": 7}),
    Case("lstm", {"I": 8, "H": 20, "T": 7}, peer="ncnn"),
    Case("lstm", {"I": 8, "H": 16, "T": 1}, "i8", peer="dynamic-quantize-lstm"),
    Case("rnn", {"I": 16, "H": 32, "T": 1}, "i8_b16x4", 0.3),
    Case("gemv", {"K": 40, "N": 33}, peer=""),
    Case("pointwise", {"K": 8, "N": 20, "pixels": 36}, "f32_b4x1", 0.4, least=1e9),
    Case("pointwise", {"K": 8, "N": 20, "pixels": 36}, "f32_b16x1", 0.4, "litert"),
    Case("scan", {"C": 6, "T": 9}),
    Case("scan", {"C": 6, "N": 4, "T": 9}),
)


@pytest.mark.parametrize("case", SMALL, ids=lambda c: c.name)
def test_a_case_is_measured_and_compared(case: Case) -> None:
    (row,) = run.measure([case], LEAST)
    assert row.missing == ""
    assert row.kernel.startswith({"gemv": "gemm", "pointwise": "spmm"}.get(case.family, ""))
    sides = {"edgeseq", case.peer} - {""}
    assert row.microseconds.keys() == row.latency.keys() == row.cold.keys() == sides
    assert row.ratio is not None
    assert 0 < row.ratio.p10 <= row.ratio.median <= row.ratio.p90
    assert 0 <= row.difference <= problem.TOLERANCE[case.form.partition("_")[0]]
    assert row.moved > 0
    assert row.bandwidth > 0
    assert row.reached is (False if case.least else None)
    json.dumps(dataclasses.asdict(row))


def test_sides_that_differ_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    build = run.BUILDERS["gru"]

    def other(case: Case, rng: np.random.Generator) -> problem.Problem:
        found = build(case, rng)
        assert found is not None
        x = {"x": found.frames[0]["x"] + 1}
        return dataclasses.replace(found, frames=[x, *found.frames[1:]])

    monkeypatch.setattr(run, "BUILDERS", {"gru": other})
    with pytest.raises(NumericsError, match="edgeseq and onnxruntime differ after 16 calls"):
        run.measure(SMALL[:1], LEAST)


def test_denormal_numbers_are_not_timed(monkeypatch: pytest.MonkeyPatch) -> None:
    build = run.BUILDERS["gemv"]

    def tiny(case: Case, rng: np.random.Generator) -> problem.Problem:
        found = build(case, rng)
        assert found is not None
        frames = [{"x": (f["x"] * 1e-39).astype(np.float32)} for f in found.call.frames]
        return dataclasses.replace(found, call=dataclasses.replace(found.call, frames=frames))

    monkeypatch.setattr(run, "BUILDERS", {"gemv": tiny})
    with pytest.raises(NumericsError, match="denormal or not finite"):
        run.measure([next(c for c in SMALL if c.family == "gemv")], LEAST)


def test_a_kernel_that_does_not_exist_is_said_to_be_missing() -> None:
    cases = [Case("gru", {"I": 4, "H": 4, "T": 1}, "f64"), Case("nothing", {})]
    assert [r.missing for r in run.measure(cases, LEAST)] == ["there is no such kernel yet"] * 2


def test_a_peer_that_cannot_run_is_said_to_be_missing() -> None:
    case = dataclasses.replace(SMALL[0], peer="abacus")
    (row,) = run.measure([case], LEAST)
    assert row.missing == "there is no way to run abacus"


def test_the_registry() -> None:
    assert len({(c.name, c.peer) for c in CASES}) == len(CASES)
    assert all(c.least > 0 for c in CASES)
    assert {c.family for c in run.choose(["gru", "scan"])} == {"gru", "scan"}
    assert run.choose([]) == list(CASES)
    with pytest.raises(UsageError, match="no case is of the family 'gro'") as caught:
        run.choose(["gro"])
    assert caught.value.fix.startswith("did you mean 'gru'?")
    assert set(FAMILIES) <= set(run.BUILDERS)


def test_masks_keep_whole_blocks_and_the_density() -> None:
    form = work.parse("gru_i8_b16x4")
    assert form is not None
    kept = problem.mask(np.random.default_rng(0), 50, 30, form, 0.25)
    assert kept.shape == (50, 30)
    blocks = np.pad(kept, ((0, 14), (0, 2)), mode="edge").reshape(4, 16, 8, 4)
    assert set(np.unique(blocks.mean(axis=(1, 3)))) == {0.0, 1.0}
    assert blocks[:, 0, :, 0].sum() == 8


@pytest.mark.parametrize("weights", ["f32", "bf16", "f16", "i8"])
def test_what_a_format_holds_stays_as_it_is(weights: str) -> None:
    values = np.random.default_rng(0).standard_normal((2, 9, 7)).astype(np.float32)
    once = problem.representable(values, weights)
    assert np.abs(once - values).max() < 0.02
    np.testing.assert_allclose(problem.representable(once, weights), once, rtol=1e-6)


def test_a_fit_finds_the_costs_it_was_made_from() -> None:
    caches, true = (10_000, 200_000), np.array([1e-7, 0.0, 1e-9, 3e-10, 0.0, 5e-11])
    points = []
    for inputs, hidden, _ in fit.DENSE:
        for steps, batch in ((1, 1), (10, 4)):
            sizes = {"T": steps, "B": batch, "I": inputs, "H": hidden}
            counted = work.of("gru_f32", sizes)
            assert counted is not None
            amounts = fit.costs.units(counted, caches)
            points.append(fit.Point(sizes, float(np.dot(true, amounts))))
    found = fit.fit("gru_f32", points, caches)
    np.testing.assert_allclose(dataclasses.astuple(found), true, rtol=0.02, atol=1e-12)


def test_a_kernel_is_measured_at_every_sample() -> None:
    isa = native.best_isa("gemm_f32")
    points = fit._points("gemm_f32", isa, 1e-5, 1)
    assert len(points) == len(fit.DENSE) + 1
    assert all(p.seconds > 0 for p in points)
    with pytest.raises(UsageError, match="'conv' is not in a cost table"):
        fit.kernels(["conv"])
    assert {"gru_f32", "lstm_f32", "gemm_f32"} <= set(fit.kernels([]))


def test_bandwidth_falls_with_the_footprint_and_caches_are_emptied() -> None:
    assert memory.read_bandwidth(8 << 10) > memory.read_bandwidth(64 << 20) > 1e8
    memory.evict()
    assert memory.last_level() > 1 << 16


def test_the_plot_is_svg_with_a_bar_for_every_ratio() -> None:
    one = Spread(2.0, 1.5, 2.5)
    rows = [
        run.Row("a & b", "onnxruntime", 4.0, ratio=one),
        run.Row("c", "onnxruntime", 1.0, ratio=dataclasses.replace(one, median=200.0, p90=250.0)),
        run.Row("d", "", 0.5, ratio=one),
        run.Row("e", "onnxruntime", 1.0, missing="no"),
    ]
    text = plot.draw(rows, "here")
    root = ET.fromstring(text)
    assert len(root.findall(".//{*}rect")) == 2
    assert plot.MISSED in text
    assert plot.REACHED in text
    assert "a &amp; b" in text
    assert "1000x" in text


def test_the_command_prints_a_table(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from click.testing import CliRunner

    from edgeseq.cli.bench import bench

    missing = dataclasses.replace(SMALL[0], form="f64", least=2.0)
    monkeypatch.setattr(run, "CASES", (SMALL[0], missing))
    monkeypatch.setattr(run, "QUICK", LEAST)
    svg = tmp_path / "o.svg"
    done = CliRunner().invoke(bench, ["kernels", "--quick", "--plot", str(svg)])
    assert done.exit_code == 0, done.output
    assert "gru 5,12 f32 " in done.stdout
    assert "gru 5,12 f64 against onnxruntime: there is no such kernel yet" in done.stdout
    assert svg.read_text().startswith("<svg")
    done = CliRunner().invoke(bench, ["kernels", "--quick", "--json"])
    cases = json.loads(done.stdout)["cases"]
    assert [c["case"] for c in cases] == ["gru 5,12 f32", "gru 5,12 f64"]
    assert cases[0]["latency"]["edgeseq"]["p99"] > 0


def test_latency() -> None:
    assert Latency.of(np.arange(101.0)) == Latency(50, 99)
