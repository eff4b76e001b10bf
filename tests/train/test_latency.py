"""A budget of time becomes densities, by the shipped cost table."""

import json

import numpy as np
import onnx_ir as ir
import pytest

from edgeseq.errors import BudgetError, UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.lower import costs
from edgeseq.options import SparsityOptions
from edgeseq.train import budget, calibration, compress, latency, prunable
from edgeseq.train.pruning import Pruner, Request
from tests.train.conftest import model, tensor, value
from tests.train.test_allocation import lstm_model


def table():
    """A table in which a step takes 1 us, and a block of weights 1 ns."""
    names = ("lstm_f32", "lstm_f32_b16x1", "gemm_f32", "spmv_f32_b16x1")
    one = costs.Cost(call=1e-6, panel=0.0, load=1e-9, mac=0.0, near=0.0, far=0.0)
    levels = {"x86-64-v4": dict.fromkeys(names, one), "x86-64-v4-vnni": {"lstm_i8": one}}
    return costs.CostTable("none", (1 << 15, 1 << 20), levels)


@pytest.mark.parametrize(("text", "value"), [("0.2ms", 2e-4), ("3 us", 3e-6), ("1s", 1)])
def test_times_are_read(text, value):
    assert latency.seconds(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "5", "0ms", "-1ms", "1 hour"])
def test_what_is_no_time_is_refused(text):
    with pytest.raises(UsageError, match="cannot read --budget"):
        latency.seconds(text)


def masks(matrices, pattern, density):
    """Random ones of a pattern."""
    random = np.random.default_rng(0)
    one = Pattern.parse(pattern)
    return {m: one.mask(random.random(m.shape), density, m.taps) for m in matrices}


def test_sparser_is_faster_and_all_matrices_of_a_kernel_count():
    matrices = prunable.find(lstm_model())
    cost = latency.model(table())
    lstm = [m for m in matrices if m.weight.name in ("ih0", "hh0")]
    whole = cost(masks(lstm, "16x1", 1.0))
    (steps, *_) = lstm[0].uses[0].node.inputs[0].shape
    sizes = {"T": 1, "B": 1, "I": 64, "H": 128}
    one = table().seconds("lstm_f32", sizes, "x86-64-v4")
    assert whole == pytest.approx(steps * one)
    assert cost(masks(lstm, "16x1", 0.1)) < 0.5 * whole
    # Without a mask a matrix is dense, and in time its blocks add up.
    halves = [[m for m in lstm if m.weight.name == name] for name in ("ih0", "hh0")]
    saved = [whole - cost(masks(half, "16x1", 0.1)) for half in halves]
    assert whole - cost(masks(lstm, "16x1", 0.1)) == pytest.approx(sum(saved), rel=0.02)
    # No kernel leaves out the zeros of 3x1: they save nothing.
    assert cost(masks(lstm, "3x1", 0.3)) == pytest.approx(whole)


def test_what_hardly_pays_stays_dense_as_it_does_when_lowered():
    lstm = [m for m in prunable.find(lstm_model()) if m.weight.name in ("ih0", "hh0")]
    cost = latency.model(table())
    assert cost(masks(lstm, "16x1", 0.75)) == cost(masks(lstm, "16x1", 1.0))


@pytest.mark.parametrize(("pattern", "left"), [("2:4", 0.5), ("1:4", 0.25), ("3:16", 3 / 16)])
def test_n_of_m_has_kernels_of_its_own(pattern, left):
    one = costs.Cost(call=0.0, panel=0.0, load=1e-9, mac=0.0, near=0.0, far=0.0)
    names = ("lstm_f32", "lstm_f32_b16x1", "lstm_f32_nm16")
    priced = costs.CostTable("none", (0, 0), {"x86-64-v4": dict.fromkeys(names, one)})
    lstm = [m for m in prunable.find(lstm_model()) if m.weight.name in ("ih0", "hh0")]
    cost = latency.model(priced)
    assert cost(masks(lstm, pattern, left)) == pytest.approx(left * cost(masks(lstm, pattern, 1.0)))


@pytest.mark.parametrize("steps", [1, 40])
def test_convolutions_leave_blocks_out(steps):
    x, w = value("x", 1, 64, steps + 2), tensor("w", 96, 64, 3)
    node = ir.node("Conv", [x, w], name="conv")
    node.outputs[0].shape, node.outputs[0].name = ir.Shape([1, 96, steps]), "y"
    node.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    matrices = prunable.find(model([x], [node], node.outputs))
    cost = latency.model(table())
    whole = cost(masks(matrices, "16x1", 1.0))
    assert whole > 0
    assert cost(masks(matrices, "16x1", 0.1)) < 0.7 * whole
    assert cost(masks(matrices, "16x1", 0.7)) == whole


def test_rows_and_steps_of_a_node_count():
    one = costs.Cost(call=0.0, panel=0.0, load=0.0, mac=1e-9, near=0.0, far=0.0)
    priced = costs.CostTable("none", (0, 0), {"l": {"gemm_f32": one, "gru_f32": one}})
    cost = latency.model(priced)
    rows = ir.node("MatMul", [value("x", 2, 9, 32), tensor("w", 32, 48)])
    made = model(rows.inputs[:1], [rows], rows.outputs)
    assert cost(masks(prunable.find(made), "16x1", 1.0)) == pytest.approx(18 * 3 * 32e-9)
    weights = [tensor("ih", 1, 48, 8), tensor("hh", 1, 48, 16)]
    gru = ir.node("GRU", [value("x", 33, 2, 8), *weights], attributes={"hidden_size": 16})
    made = model(gru.inputs[:1], [gru], gru.outputs)
    assert cost(masks(prunable.find(made), "16x1", 1.0)) == pytest.approx(66 * 3 * 24e-9)


def test_layers_are_what_kernels_share():
    shared = tensor("shared", 32, 32)
    x = value("x", 1, 32)
    one = ir.node("MatMul", [x, shared])
    two = ir.node("MatMul", [one.outputs[0], shared])
    three = ir.node("MatMul", [two.outputs[0], tensor("own", 32, 32)])
    matrices = prunable.find(model([x], [one, two, three], three.outputs))
    found = latency.layers(matrices)
    assert [[m.name for m in parts] for parts in found.values()] == [["shared"], ["own"]]
    lstm = latency.layers(prunable.find(lstm_model()))
    assert {m.weight.name for m in next(iter(lstm.values()))} == {"ih0", "hh0"}


@pytest.mark.parametrize("given", [True, False])
def test_a_budget_is_met_or_refused(step_model, given):
    def cost(masks):
        return sum(mask.sum() for mask in masks.values()) / 100

    samples = calibration.synthetic(step_model, count=1, steps=20) if given else []
    pruner = Pruner(step_model, Request(0.0, pattern="unstructured"), samples)
    scores = pruner.scores()
    found = budget.steps(pruner, scores, cost)
    masks = pruner.apply(scores, found.within(1.5))
    assert cost(masks) <= 1.5
    with pytest.raises(BudgetError, match="not reachable, the best is"):
        found.within(0.01)


@pytest.mark.parametrize("slower", [0.5, 1.25, 3.0])
def test_what_the_table_is_wrong_by_is_made_up_for(step_model, slower):
    """The layers take that much longer on this machine, and the rest of the model a little."""
    cost = latency.model(gru_table())

    def clock(masks):
        return slower * cost(masks) + 1e-8

    def measure(model):
        return clock({m: m.get() != 0 for m in prunable.find(model) if m.kind != "linear"})

    def meet(share):
        pruner = Pruner(step_model.clone(), Request(0.0, keep_dense=("head.weight",)))
        return budget.meet(pruner, gru_table(), f"{share * dense * 1e9:.1f}ns", measure)

    dense = measure(step_model)
    met = meet(0.6)
    assert clock(met.masks) <= 0.6 * dense
    assert "when measured, dense" in met.note
    assert all(mask.all() for mask in meet(1.01).masks.values())
    with pytest.raises(BudgetError, match="not reachable, the best is"):
        meet(0.01)


def test_n_of_m_goes_with_a_budget(step_model, tmp_path):
    one = costs.Cost(call=0.0, panel=0.0, load=1e-8, mac=0.0, near=0.0, far=0.0)
    names = ("gru_f32", "gru_f32_nm8")
    priced = costs.CostTable("none", (0, 0), {"x86-64-v4": dict.fromkeys(names, one)})
    (tmp_path / "costs.json").write_text(costs.dumps(priced))
    options = SparsityOptions(budget="0.3us", pattern="2:4", keep_dense=("head.weight",))
    given = (options, 0, lambda _: None, tmp_path / "costs.json")
    done = compress.compress(step_model, *given)
    assert {(r.pattern, round(r.density, 2)) for r in done.pruned.rows} == {
        *(("2:4", 0.5), ("2:4", 0.67))
    }


def test_the_command_meets_the_budget_or_says_what_is_best(tmp_path, capfd):
    from edgeseq.cli import main

    weights = [tensor("ih", 1, 512, 64), tensor("hh", 1, 512, 128)]
    lstm = ir.node(
        "LSTM", [value("x", 1, 1, 64), *weights], attributes={"hidden_size": 128}, num_outputs=2
    )
    lstm.outputs[0].name, lstm.outputs[1].name = "", "y"
    lstm.outputs[1].type, lstm.outputs[1].shape = lstm.inputs[0].type, ir.Shape([1, 1, 128])
    one = model([lstm.inputs[0]], [lstm], [lstm.outputs[1]])
    ir.save(one, tmp_path / "m.onnx")
    matrices = prunable.find(one)
    cost = latency.model(table())
    dense = cost(masks(matrices, "16x1", 1.0))
    (tmp_path / "costs.json").write_text(costs.dumps(table()))
    flags = ["prune", str(tmp_path / "m.onnx"), "-q", "--json", "-o", str(tmp_path / "s.onnx")]
    flags += ["--cost-table", str(tmp_path / "costs.json")]
    found = main([*flags, "--budget", f"{dense * 0.5e6:.3f}us", "--criterion", "magnitude"])
    said = capfd.readouterr()
    assert found == 0, said.err
    report = json.loads(said.out)
    by_name = {r["name"]: r for r in report["matrices"]}
    written = prunable.find(ir.load(tmp_path / "s.onnx"))
    assert cost({m: m.get() != 0 for m in written}) <= 0.5 * dense
    assert {m.name: round((m.get() != 0).mean(), 6) for m in written} == {
        name: row["density"] for name, row in by_name.items()
    }
    found = main([*flags, "--force", "--budget", "1ns", "--criterion", "magnitude"])
    assert found == 5
    assert "is not reachable, the best is" in capfd.readouterr().err


@pytest.mark.parametrize("recover", [0, 10])
def test_a_budget_of_the_whole_model_counts_what_cannot_be_pruned(step_model, tmp_path, recover):
    (tmp_path / "costs.json").write_text(costs.dumps(gru_table()))
    matrices = [m for m in prunable.find(step_model) if m.kind != "linear"]
    layers = latency.model(gru_table())(masks(matrices, "8x1", 1.0))
    rest = 5e-6

    def measure(model):
        zeros = {m: m.get() != 0 for m in prunable.find(model) if m.kind != "linear"}
        return rest + latency.model(gru_table())(zeros)

    def run(budget):
        options = SparsityOptions(
            budget=f"{budget * 1e9:.3f}ns", recover=recover, keep_dense=("head.weight",)
        )
        return compress.compress(
            step_model.clone(),
            options,
            0,
            lambda _: None,
            tmp_path / "costs.json",
            measure,
        )

    done = run(rest + 0.6 * layers)
    assert done.pruned.density < 0.9
    assert "a step takes" in done.notes[0]
    assert run(rest + layers * 1.01).pruned.density == 1
    with pytest.raises(BudgetError, match="not reachable, the best is 5"):
        run(rest * 0.99)


def gru_table():
    """A table in which all of a GRU's time is its blocks."""
    one = costs.Cost(call=0.0, panel=0.0, load=1e-8, mac=0.0, near=0.0, far=0.0)
    kernels = dict.fromkeys(("gru_f32", "gru_f32_b8x1"), one)
    return costs.CostTable("none", (1 << 15, 1 << 20), {"x86-64-v4": kernels})
