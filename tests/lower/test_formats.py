"""How weights are stored: what the graph says and what the cost table finds cheapest."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper

from edgeseq import api, validate
from edgeseq.ir.patterns import Pattern
from edgeseq.lower import select
from edgeseq.lower.costs import Cost, Costing, CostTable, dumps
from edgeseq.options import CompileOptions
from edgeseq.runtime import host_target

LEVEL = "x86-64-v3"
BF16 = ml_dtypes.bfloat16
FLAT = Cost(**{f.name: 1e-9 for f in dataclasses.fields(Cost)})
SLOW = Cost(**{f.name: 1e-7 for f in dataclasses.fields(Cost)})
NAMES = [
    f"{family}_{form}"
    for family in ("gru", "lstm", "rnn", "gemm", "spmv")
    for form in ("f32", "bf16", "f16", "f32_b16x1", "f32_b8x1", "bf16_b16x1", "bf16_b8x1")
]
N_OF_M = [
    f"{family}_{form}"
    for family in ("gru", "lstm", "rnn", "spmv")
    for form in ("f32_nm8", "f32_nm16", "bf16_nm8", "bf16_nm16")
]


def table(**other: Cost) -> CostTable:
    """Every kernel costs the same per block, but for those named."""
    kernels = dict.fromkeys((*NAMES, *N_OF_M), FLAT) | other
    return CostTable("test", (1 << 15, 1 << 20), {LEVEL: kernels})


def pruned(outputs: int, inputs: int, density: float, pattern: str, seed: int = 0) -> np.ndarray:
    """[outputs, inputs] with weights gone at random, by a pattern."""
    rng = np.random.default_rng(seed)
    mask = Pattern.parse(pattern).mask(rng.random((outputs, inputs)), density)
    return (rng.standard_normal((outputs, inputs)) / 8 * mask).astype(np.float32)


def model(
    op: str, density: float, pattern: str = "16x1", *, half: Any = None, units: int = 48
) -> onnx.ModelProto:
    """One layer of `op`, streaming where it is recurrent."""
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1, "MatMul": 1}[op]
    parts = [pruned(units, 32, density, pattern, i) for i in range(gates)]
    recurrent = [pruned(units, units, density, pattern, 9 + i) for i in range(gates)]
    weights = {"w": np.concatenate(parts)[None], "r": np.concatenate(recurrent)[None]}
    if op == "MatMul":
        weights = {"w": np.ascontiguousarray(parts[0].T)}
    nodes, initializers = [], []
    for name, array in weights.items():
        if half is not None:
            array = array.astype(half)
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
    forms = ("f32_b16x1", "f32_b8x1", "f32_nm8", "f32_nm16")
    costs = table(**{f"gru_{form}": SLOW for form in forms})
    choice = chosen(model("GRU", 0.2), costs)
    assert choice.kernel.name == "gru_f32"
    assert "gru_f32_b16x1" in choice.why


@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN", "MatMul"])
@pytest.mark.parametrize(
    ("pattern", "form"),
    [("2:4", "f32_nm8"), ("1:4", "f32_nm8"), ("4:8", "f32_nm8"), ("4:16", "f32_nm16")],
)
def test_n_of_m_weights_are_stored_as_such(op: str, pattern: str, form: str) -> None:
    choice = chosen(model(op, 0.5, pattern), table())
    family = {"MatMul": "spmv"}.get(op, op.lower())
    assert choice.kernel.name == f"{family}_{form}"


def test_zeros_in_no_pattern_are_stored_as_n_of_m_if_few_are_left() -> None:
    assert chosen(model("GRU", 0.05, "unstructured"), table()).kernel.name == "gru_f32_nm16"
    choice = chosen(model("GRU", 0.7, "unstructured"), table())
    assert choice.kernel.name == "gru_f32"
    assert "_nm" not in choice.why  # not worth a look


def test_n_of_m_stays_dense_where_that_is_faster() -> None:
    costs = table(gru_f32_nm8=SLOW, gru_f32_nm16=SLOW)
    choice = chosen(model("GRU", 0.5, "2:4"), costs)
    assert choice.kernel.name == "gru_f32"
    assert "gru_f32_nm8" in choice.why


def test_n_of_m_stores_less_than_blocks_or_is_not_looked_at() -> None:
    choice = chosen(model("GRU", 0.2), table(gru_f32_b16x1=SLOW, gru_f32_b8x1=SLOW))
    assert "_nm" not in choice.why


def test_halves_stay_halves() -> None:
    assert chosen(model("LSTM", 1.0, half=BF16), table()).kernel.name == "lstm_bf16"
    assert chosen(model("LSTM", 0.2, half=BF16), table()).kernel.name == "lstm_bf16_b16x1"
    assert chosen(model("MatMul", 1.0, half=BF16), table()).kernel.name == "gemm_bf16"
    assert chosen(model("LSTM", 0.2, half=np.float16), table()).kernel.name == "lstm_f16_b16x1"


def test_float16_has_the_prices_of_bfloat16_until_it_is_measured() -> None:
    priced = table()
    sizes = {"T": 1, "B": 1, "I": 32, "H": 48, "blocks": 100}
    del priced.levels[LEVEL]["gru_f16"]
    for form in ("", "_b16x1"):
        halves = [priced.seconds(f"gru_{kind}{form}", sizes, LEVEL) for kind in ("f16", "bf16")]
        assert halves[0] == halves[1]
        assert halves[0]


def test_halves_of_n_of_m_stay_halves() -> None:
    assert chosen(model("GRU", 0.5, "2:4", half=BF16), table()).kernel.name == "gru_bf16_nm8"


def test_without_a_table_nothing_is_sparse() -> None:
    assert chosen(model("GRU", 0.2), CostTable("", (0, 0), {})).kernel.name == "gru_f32"


@pytest.mark.slow
@pytest.mark.parametrize("op", ["GRU", "LSTM", "RNN", "MatMul"])
@pytest.mark.parametrize(
    ("pattern", "half", "form"),
    [
        ("16x1", None, "f32_b16x1"),
        ("16x1", BF16, "bf16_b16x1"),
        ("16x1", np.float16, "f16_b16x1"),
        ("1:4", None, "f32_nm8"),
        ("4:16", BF16, "bf16_nm16"),
    ],
)
def test_sparse_libraries_compute_the_same(
    op: str, pattern: str, half: Any, form: str, tmp_path: Path
) -> None:
    file = tmp_path / "table.json"
    file.write_text(dumps(table()))
    options = CompileOptions(
        tmp_path / "dist", (host_target(),), isa=LEVEL, name="m", cost_table=file, cache=False
    )
    folder = api.compile_model(model(op, 0.2, pattern, half=half), options).folder
    text = (folder / "manifest.json").read_text()
    assert form in text
    validate.require([validate.check(folder, host_target())])
