"""A budget of time becomes densities, by the shipped cost table."""

import json

import onnx_ir as ir
import pytest

from edgeseq.errors import BudgetError, UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.lower import costs
from edgeseq.options import SparsityOptions
from edgeseq.train import compress, latency, prunable
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


def test_sparser_is_faster_and_the_parts_add_up_to_the_kernel():
    matrices = prunable.find(lstm_model())
    block = Pattern.parse("16x1")
    cost = latency.model(table(), matrices)
    lstm = [m for m in matrices if m.weight.name in ("ih0", "hh0")]
    whole = sum(cost(m, block, 1.0) for m in lstm)
    assert whole == pytest.approx(table().layer_seconds("lstm", 512, 192, 1.0, "f32", "x86-64-v4"))
    assert sum(cost(m, block, 0.1) for m in lstm) < 0.5 * whole
    # No kernel leaves out the zeros of 3x1: they save nothing.
    assert sum(cost(m, Pattern.parse("3x1"), 0.1) for m in lstm) == pytest.approx(whole)


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
    cost = latency.model(table(), matrices)
    dense = sum(cost(m, Pattern.parse("16x1"), 1.0) for m in matrices)
    (tmp_path / "costs.json").write_text(costs.dumps(table()))
    flags = ["prune", str(tmp_path / "m.onnx"), "-q", "--json", "-o", str(tmp_path / "s.onnx")]
    flags += ["--cost-table", str(tmp_path / "costs.json")]
    found = main([*flags, "--budget", f"{dense * 0.5e6:.3f}us", "--criterion", "magnitude"])
    said = capfd.readouterr()
    assert found == 0, said.err
    report = json.loads(said.out)
    by_name = {r["name"]: r for r in report["matrices"]}
    spent = sum(
        cost(m, Pattern.parse(by_name[m.name]["pattern"]), by_name[m.name]["density"])
        for m in matrices
        if m.name in by_name
    )
    assert spent <= 0.5 * dense * 1.01
    found = main([*flags, "--force", "--budget", "1ns", "--criterion", "magnitude"])
    assert found == 5
    assert "is not reachable, the best is" in capfd.readouterr().err


@pytest.mark.parametrize("recover", [0, 10])
def test_a_budget_of_the_whole_model_counts_what_cannot_be_pruned(step_model, tmp_path, recover):
    (tmp_path / "costs.json").write_text(costs.dumps(gru_table()))
    matrices = [m for m in prunable.find(step_model) if m.kind != "linear"]
    layers = sum(
        latency.model(gru_table(), matrices)(m, Pattern.parse("8x1"), 1.0) for m in matrices
    )
    rest = 5e-6

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
            lambda _: layers + rest,
        )

    done = run(rest + 0.6 * layers)
    assert done.pruned.density < 0.9
    assert "is predicted to take" in done.notes[0]
    assert run(rest + layers * 1.01).pruned.density == 1
    with pytest.raises(BudgetError, match="not reachable, the best is 5"):
        run(rest * 0.99)


def gru_table():
    """A table in which all of a GRU's time is its blocks."""
    one = costs.Cost(call=0.0, panel=0.0, load=1e-8, mac=0.0, near=0.0, far=0.0)
    kernels = dict.fromkeys(("gru_f32", "gru_f32_b8x1"), one)
    return costs.CostTable("none", (1 << 15, 1 << 20), {"x86-64-v4": kernels})
