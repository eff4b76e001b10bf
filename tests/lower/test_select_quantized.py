"""How int8 weights are stored: dense or in blocks, by the cost table where it has their times."""

from __future__ import annotations

import dataclasses

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper, shape_inference

from edgeseq.lower import select, stored
from edgeseq.lower.costs import Cost, Costing, CostTable
from edgeseq.quantize import quantize

LEVEL = "x86-64-v3"
FLAT = Cost(**{f.name: 1e-9 for f in dataclasses.fields(Cost)})
SLOW = Cost(**{f.name: 1e-7 for f in dataclasses.fields(Cost)})
DENSE = {"GRU": "gru_i8", "LSTM": "lstm_i8", "RNN": "rnn_i8", "MatMul": "gemm_i8"}
BLOCKS = {
    "GRU": "gru_i8_b16x4",
    "LSTM": "lstm_i8_b16x4",
    "RNN": "rnn_i8_b16x4",
    "MatMul": "spmv_i8_b16x4",
}
NONE = CostTable("", (0, 0), {})


def table(**other: Cost) -> CostTable:
    names = (*DENSE.values(), *BLOCKS.values())
    return CostTable("test", (1 << 15, 1 << 20), {LEVEL: dict.fromkeys(names, FLAT) | other})


def weight(outputs: int, inputs: int, density: float) -> np.ndarray:
    """Blocks of 16 x 4 that are kept in turn: exactly this share of them."""
    rng = np.random.default_rng(0)
    row, column = np.ogrid[: outputs // 16, : inputs // 4]
    mask = (row + column) % 16 < 16 * density
    whole = np.repeat(np.repeat(mask, 16, axis=0), 4, axis=1)
    return (rng.uniform(0.1, 1, (outputs, inputs)) / 8 * whole).astype(np.float32)


def chosen(op: str, density: float, costs: CostTable) -> select.Choice:
    units = 64
    gates = {"GRU": 3, "LSTM": 4, "RNN": 1, "MatMul": 1}[op]
    one = np.tile(weight(units, 64, density), (gates, 1))
    arrays = {"w": one.T} if op == "MatMul" else {"w": one[None], "r": one[None]}
    extra = {} if op == "MatMul" else {"hidden_size": units}
    node = helper.make_node(op, ["x", *arrays], ["y"], name="layer", **extra)
    recurrent = op != "MatMul"
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, 64][1 - recurrent :])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(np.ascontiguousarray(a), n) for n, a in arrays.items()],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=13)
    model = ir.from_proto(shape_inference.infer_shapes(proto))
    quantize(model, "int8")
    shapes = select.Shapes({}, Costing(costs, (LEVEL,)))
    (choice,) = select.choose(model.graph, shapes).choices.values()
    return choice


@pytest.mark.parametrize("op", list(DENSE))
def test_blocks_where_they_are_faster(op: str) -> None:
    choice = chosen(op, 0.25, table())
    assert choice.kernel.name == BLOCKS[op]
    assert len([c for c in choice.consts if c is not None]) == 4
    assert "25% of the blocks stored" in choice.why
    assert "cost table" in choice.why


@pytest.mark.parametrize("op", list(DENSE))
def test_dense_where_the_table_says_so(op: str) -> None:
    choice = chosen(op, 0.25, table(**{BLOCKS[op]: SLOW}))
    assert choice.kernel.name == DENSE[op]
    assert BLOCKS[op] in choice.why
    assert chosen(op, 1.0, table()).kernel.name == DENSE[op]


@pytest.mark.parametrize(("density", "names"), [(0.25, BLOCKS), (0.75, DENSE)])
def test_without_times_the_share_decides(density: float, names: dict[str, str]) -> None:
    for op, name in names.items():
        choice = chosen(op, density, NONE)
        assert choice.kernel.name == name
        assert choice.why.endswith("the cost table has no time of them")


def test_int4_stores_its_scales_in_halves() -> None:
    choice = by_levels(np.float16)
    assert choice.kernel.name == "gemv_i4_f16"
    arrays = [np.asarray(c) for c in choice.consts if c is not None]
    assert sum(a.nbytes for a in arrays) <= 0.141 * 4 * 256 * 64 + 8 * 64


def test_int4_scales_that_no_half_holds_stay_floats() -> None:
    assert by_levels(np.float32).kernel.name == "gemv_i4"


def by_levels(kind: type) -> select.Choice:
    """A product with int4 levels of groups of 32, as another tool may have written it."""
    rng = np.random.default_rng(3)
    levels = rng.integers(-7, 8, (256, 64)).astype(ml_dtypes.int4)
    scales = rng.uniform(0.01, 0.02, (8, 64)).astype(kind).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("DequantizeLinear", ["w", "s"], ["f"], axis=0, block_size=32),
            helper.make_node("MatMul", ["x", "f"], ["y"]),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 256])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 64])],
        [ir.to_proto(ir.tensor(a, name=n)) for n, a in (("w", levels), ("s", scales))],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 26)], ir_version=13)
    model = ir.from_proto(shape_inference.infer_shapes(proto))
    stored.resolve(model)
    (choice,) = select.choose(model.graph, select.Shapes({})).choices.values()
    return choice
