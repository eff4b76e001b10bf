"""Quantized models, compiled: the bits of their bodies in ONNX Runtime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

import edgeseq
from edgeseq import api
from edgeseq.errors import UsageError
from edgeseq.frontends.states import mark_states
from edgeseq.lower.costs import Cost, CostTable, dumps
from edgeseq.options import CompileOptions, QuantizeOptions
from edgeseq.quantize.calibrate import Runner
from edgeseq.runtime import host_target
from edgeseq.validate import vectors

Array = npt.NDArray[Any]

pytestmark = pytest.mark.slow

CELLS = """
<ir_version: 10, opset_import: ["" : 20]>
cells (float[1, 1, 20] x, float[1, 1, 24] h, float[1, 1, 16] k, float[1, 1, 16] c)
  => (float[1, 12] y, float[1, 1, 24] h_out, float[1, 1, 16] k_out, float[1, 1, 16] c_out)
<float[1, 72, 20] W, float[1, 72, 24] R, float[1, 144] B, float[1, 64, 24] W2, float[1, 64, 16] R2,
 float[16, 12] V, float[12] b>
{
    all, h_out = GRU <hidden_size = 24, linear_before_reset = 1> (x, W, R, B, , h)
    more, k_out, c_out = LSTM <hidden_size = 16> (h_out, W2, R2, , , k, c)
    axis = Constant <value_ints = [0]> ()
    flat = Squeeze (k_out, axis)
    product = MatMul (flat, V)
    biased = Add (product, b)
    y = Relu (biased)
}
"""


def build(sparse: bool) -> onnx.ModelProto:
    proto = onnx.parser.parse_model(CELLS)
    random = np.random.default_rng(11)
    for info in list(proto.graph.value_info):
        if len(info.name) <= 2 and info.name[0] in "WRBVb":
            shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
            numbers = random.standard_normal(shape) / np.sqrt(shape[-1])
            if sparse and len(shape) == 3:
                numbers[:, : shape[1] // 16 * 16, : shape[2] // 4 * 3] = 0
            tensor = onnx.numpy_helper.from_array(numbers.astype(np.float32), info.name)
            proto.graph.initializer.append(tensor)
    return proto


def samples(tmp_path: Path) -> str:
    x = np.random.default_rng(1).standard_normal((200, 1, 1, 20)).astype(np.float32)
    np.savez(tmp_path / "clip.npz", x=x)
    return str(tmp_path / "clip.npz")


@pytest.mark.parametrize("sparse", [False, True], ids=["dense", "blocks"])
@pytest.mark.parametrize("data", [False, True], ids=["dynamic", "static"])
def test_a_stream_has_the_bits_of_the_graph(tmp_path: Path, sparse: bool, data: bool) -> None:
    model = tmp_path / "cells.onnx"
    onnx.save(build(sparse), model)
    sparsity = {"calibrate": (samples(tmp_path),)} if data else {}
    times = tmp_path / "times.json"  # cells so small are faster dense: blocks are given times
    names = [f"{f}_i8{e}" for f in ("gru", "lstm", "gemm", "spmv") for e in ("", "_b16x4")]
    cost = Cost(1e-9, 1e-9, 1e-9, 1e-9, 1e-9, 1e-9)
    times.write_text(dumps(CostTable("test", (0, 0), {"any": dict.fromkeys(names, cost)})))
    options = CompileOptions(
        tmp_path / "dist",
        (host_target(),),
        cache=False,
        cost_table=times,
        quantize=QuantizeOptions("int8"),
        sparse=edgeseq.options.SparsityOptions(**sparsity),
    )
    artifact = api.compile_model(model, options)
    kernels = {kernel["name"] for kernel in artifact.manifest["kernels"]}
    ending = "_b16x4" if sparse else ""
    assert {f"gru_i8{ending}", f"lstm_i8{ending}"} <= kernels
    assert any(k.startswith(("gemm_i8", "spmv_i8")) for k in kernels)
    assert (artifact.folder / "quantization.html").exists()

    fed = vectors.load(artifact.folder / "verify/vectors.safetensors").inputs["x"]
    clip = np.load(samples(tmp_path))["x"]
    assert data == any(np.array_equal(clip[i : i + len(fed)], fed) for i in range(len(clip)))

    graph = ir.load(artifact.folder / "model.onnx")
    mark_states(graph)
    x = np.random.default_rng(5).standard_normal((3000, 1, 1, 20)).astype(np.float32)
    want = Runner(graph)({"x": x})
    stream = artifact.load().stream()
    got = [stream.step(frame) for frame in x]
    assert np.stack(got).tobytes() == np.stack(want["y"]).tobytes()
    for state in ("h", "k", "c"):
        assert stream.state(state).tobytes() == want[f"{state}_out"][-1].tobytes()


@pytest.mark.parametrize(
    ("scheme", "kernels"),
    [
        ("w8", {"gru_f32", "lstm_f32", "gemv_i8w"}),
        ("w4g32", {"gru_f32", "lstm_f32", "gemv_i4_f16"}),
        ("bf16", {"gru_bf16", "lstm_bf16", "gemm_bf16"}),
        ("fp16", {"gru_f16", "lstm_f16", "gemm_f16"}),
    ],
)
def test_weights_alone_compile(tmp_path: Path, scheme: str, kernels: set[str]) -> None:
    model = tmp_path / "cells.onnx"
    onnx.save(build(sparse=False), model)
    options = CompileOptions(
        tmp_path / "dist", (host_target(),), cache=False, quantize=QuantizeOptions(scheme)
    )
    artifact = api.compile_model(model, options)
    assert {kernel["name"] for kernel in artifact.manifest["kernels"]} == kernels
    graph = ir.load(artifact.folder / "model.onnx")
    mark_states(graph)
    x = np.random.default_rng(5).standard_normal((50, 1, 1, 20)).astype(np.float32)
    want = np.stack(Runner(graph)({"x": x})["y"])
    stream = artifact.load().stream()
    got = np.stack([stream.step(frame) for frame in x])
    assert np.abs(got - want).max() < 1e-5


def test_onnx_file_and_misuse(tmp_path: Path) -> None:
    model = tmp_path / "cells.onnx"
    onnx.save(build(sparse=False), model)
    out = tmp_path / "cells.int8.onnx"
    options = CompileOptions(out, quantize=QuantizeOptions("int8"))
    done = api.quantize_model(model, options)
    assert [c.op_type for c in done.quantized.changes] == ["GRU", "LSTM", "MatMul"]
    onnx.checker.check_model(onnx.load(out))
    with pytest.raises(UsageError, match="exists"):
        api.quantize_model(model, options)
    again = CompileOptions(out, force=True, quantize=QuantizeOptions("int8", rounding="gptq"))
    with pytest.raises(UsageError, match="needs calibration samples"):
        api.quantize_model(model, again)
    with pytest.raises(UsageError, match="unknown quantization 'int9'"):
        api.quantize_model(model, CompileOptions(out, force=True, quantize=QuantizeOptions("int9")))
