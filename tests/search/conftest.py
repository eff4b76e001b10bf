"""A small recurrent model with weights to spare, and what it is searched with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeseq.frontends import load
from edgeseq.frontends.states import mark_states
from edgeseq.lower.costs import Cost, CostTable
from edgeseq.search.space import Costs

INPUTS, HIDDEN, OUTPUTS = 16, 32, 16
TEXT = f"""
<ir_version: 10, opset_import: ["": 20]>
small (float[1,1,{INPUTS}] x, float[1,1,{HIDDEN}] h, float[1,1,{HIDDEN}] c)
    => (float[1,1,{OUTPUTS}] out, float[1,1,{HIDDEN}] h_out, float[1,1,{HIDDEN}] c_out) {{
  y, h_out, c_out = LSTM <hidden_size: int = {HIDDEN}> (x, W, R, B, , h, c)
  s = Reshape (y, shape)
  f = MatMul (s, middle)
  g = Relu (f)
  out = MatMul (g, head)
}}
"""
_KERNELS = ("gemm_f32", "gemm_bf16", "gemm_i8", "lstm_f32", "lstm_bf16", "lstm_i8")
_SPMV = ("spmv_f32_b16x1", "spmv_bf16_b16x1", "spmv_i8_b16x4")
_N_OF_M = ("lstm_f32_nm8", "lstm_bf16_nm8", "lstm_bf16_nm16")
_CELLS = ("lstm_f32_b16x1", "lstm_bf16_b16x1", "lstm_i8_b16x4")


@pytest.fixture(scope="session")
def small() -> onnx.ModelProto:
    """Three of four blocks of the recurrence hardly matter, as in a model trained too large."""
    model = onnx.parser.parse_model(TEXT)
    rng = np.random.default_rng(0)

    def add(name: str, array: np.ndarray) -> None:
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))

    for name, inputs in (("W", INPUTS), ("R", HIDDEN)):
        weight = rng.normal(0, 1 / np.sqrt(inputs), (4 * HIDDEN // 16, 16, inputs // 4, 4))
        row, column = np.ogrid[: len(weight), : inputs // 4]
        weight *= np.where((row + column) % 4 == 0, 1.0, 1e-4)[:, None, :, None]
        add(name, weight.reshape(1, 4 * HIDDEN, inputs).astype(np.float32))
    add("B", rng.normal(0, 0.1, (1, 8 * HIDDEN)).astype(np.float32))
    add("middle", rng.normal(0, 0.2, (HIDDEN, HIDDEN)).astype(np.float32))
    add("head", rng.normal(0, 0.2, (HIDDEN, OUTPUTS)).astype(np.float32))
    add("shape", np.array([1, 1, HIDDEN]))
    return model


@pytest.fixture
def prepared(small: onnx.ModelProto) -> ir.Model:
    model = load.from_proto(small).model
    mark_states(model, ["h=h_out", "c=c_out"])
    return model


@pytest.fixture
def clip(tmp_path: Path) -> str:
    rng = np.random.default_rng(1)
    x = np.tanh(np.cumsum(rng.normal(0, 0.3, (200, 1, 1, INPUTS)), axis=0))
    np.savez(tmp_path / "x.npz", x=x.astype(np.float32))
    return str(tmp_path / "x.npz")


@pytest.fixture
def costs() -> Costs:
    """Time goes with the weights that are read."""
    cost = Cost(1e-8, 1e-9, 1e-9, 1e-9, 1e-10, 0.0)
    table = CostTable(
        "a test", (0, 0), {"level": dict.fromkeys((*_KERNELS, *_SPMV, *_N_OF_M, *_CELLS), cost)}
    )
    return Costs(table, ("level",))
