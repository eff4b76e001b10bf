"""How weights are stored: what the graph says and what the cost table finds cheapest."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgeseq import api, validate
from edgeseq.lower import select
from edgeseq.lower.costs import Cost, Costing, CostTable, dumps
from edgeseq.options import CompileOptions
from edgeseq.runtime import host_target

LEVEL = "x86-64-v3"
FLAT = Cost(**{f.name: 1e-9 for f in dataclasses.fields(Cost)})
SLOW = Cost(**{f.name: 1e-7 for f in dataclasses.fields(Cost)})
NAMES = [
    f"{family}_{form}"
    for family in ("gru", "lstm", "rnn", "gemm", "spmv")
    for form in ("f32", "bf16", "f16", "f32_b16x1", "f32_b8x1", "bf16_b16x1", "bf16_b8x1")
]


def table(**other: Cost) -> CostTable:
    """Every kernel costs the same per block, but for those named."""
    return CostTable("test", (1 << 15, 1 << 20), {LEVEL: dict.fromkeys(NAMES, FLAT) | other})


def pruned(outputs: int, inputs: int, density: float, width: int, seed: int = 0) -> np.ndarray:
    """[outputs, inputs] with blocks of width x 1 gone."""
    rng = np.random.default_rng(seed)
    alive = rng.random((-(-outputs // width), inputs)) < density
    mask = np.repeat(alive, width, axis=0)[:outputs]
    return (rng.standard_normal((outputs, inputs)) / 8 * mask).astype(np.float32)


def model(op: str, density: float, *, half: bool = False, units: int = 48) -> onnx.ModelProto:
    """One layer of `op`, streaming where it is recurrent."""
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1, "MatMul": 1}[op]
    parts = [pruned(units, 32, density, 16, i) for i in range(gates)]
    recurrent = [pruned(units, units, density, 16, 9 + i) for i in range(gates)]
    weights = {"w": np.concatenate(parts)[None], "r": np.concatenate(recurrent)[None]}
    if op == "MatMul":
        weights = {"w": np.ascontiguousarray(parts[0].T)}
    nodes, initializers = [], []
    for name, array in weights.items():
        if half:
            array = array.astype(ml_dtypes.bfloat16)
            nodes.append(helper.make_node("Cast", [f"{name}.half"], [name], to=TensorProto.FLOAT))
            name = f"{name}.half"
        initializers.append(ir.to_proto(ir.tensor(array, name=name)))
    extra = {} if op == "MatMul" else {"hidden_size": units}
    if op == "GRU":
        extra["linear_before_reset"] = 1
    nodes.append(helper.make_node(op, ["x", *weights], ["y"], name="layer", **extra))
    shape = ["T", units] if op == "MatMul" else ["T", 1, 1, units]
    x = ["T", 32] if op == "MatMul" else ["T", 1, 32]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, x)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        initializers,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=13)


def chosen(proto: onnx.ModelProto, costs: CostTable) -> select.Choice:
    shapes = select.Shapes({"T": 1}, Costing(costs, (LEVEL,)))
    graph = ir.from_proto(onnx.shape_inference.infer_shapes(proto)).graph
    (choice,) = select.choose(graph, shapes).choices.values()
    return choice


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN", "MatMul"])
def test_a_pruned_weight_is_stored_in_blocks(op: str) -> None:
    choice = chosen(model(op, 0.2), table())
    family = {"MatMul": "spmv"}.get(op, op.lower())
    assert choice.kernel.name == f"{family}_f32_b16x1"
    assert len([c for c in choice.consts if c is not None]) == 3
    assert "cost table" in choice.why


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN", "MatMul"])
def test_a_full_weight_stays_dense(op: str) -> None:
    family = {"MatMul": "gemm"}.get(op, op.lower())
    assert chosen(model(op, 1.0), table()).kernel.name == f"{family}_f32"


def test_dense_is_kept_where_blocks_are_slower() -> None:
    costs = table(gru_f32_b16x1=SLOW, gru_f32_b8x1=SLOW)
    choice = chosen(model("GRU", 0.2), costs)
    assert choice.kernel.name == "gru_f32"
    assert "gru_f32_b16x1" in choice.why


def test_halves_stay_halves() -> None:
    assert chosen(model("LSTM", 1.0, half=True), table()).kernel.name == "lstm_bf16"
    assert chosen(model("LSTM", 0.2, half=True), table()).kernel.name == "lstm_bf16_b16x1"
    assert chosen(model("MatMul", 1.0, half=True), table()).kernel.name == "gemm_bf16"


def test_without_a_table_nothing_is_sparse() -> None:
    assert chosen(model("GRU", 0.2), CostTable("", (0, 0), {})).kernel.name == "gru_f32"


@pytest.mark.slow
@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN", "MatMul"])
@pytest.mark.parametrize("half", [False, True])
def test_sparse_libraries_compute_the_same(op: str, half: bool, tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    file.write_text(dumps(table()))
    options = CompileOptions(
        tmp_path / "dist", (host_target(),), isa=LEVEL, name="m", cost_table=file, cache=False
    )
    folder = api.compile_model(model(op, 0.2, half=half), options).folder
    text = (folder / "manifest.json").read_text()
    assert ("bf16_b16x1" if half else "f32_b16x1") in text
    validate.require([validate.check(folder, host_target())])
