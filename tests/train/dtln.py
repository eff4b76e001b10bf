"""DTLN's two ONNX models as the one streaming model they are: 128 samples in, 128 samples out.

Around them its authors' loop, as ONNX: a frame of four hops, a DFT, the first model's mask on it,
the inverse DFT, the second model, and the sum of four overlapping frames.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir

from edgeseq import pipeline
from edgeseq.frontends.onnx import import_onnx
from edgeseq.frontends.states import mark_states

HOP, FRAME, BINS = 128, 512, 257

_BEFORE = """
<ir_version: 10, opset_import: ["" : 26]>
before (float[1, 1, 128] x, float[1, 1, 128] x1, float[1, 1, 128] x2, float[1, 1, 128] x3)
  => (float[1, 1, 257] magnitude)
<float[512, 257] dft_real, float[512, 257] dft_imag, float tiny = {1e-14}>
{
    frame = Concat <axis = 2> (x3, x2, x1, x)
    real = MatMul(frame, dft_real)
    imag = MatMul(frame, dft_imag)
    real2 = Mul(real, real)
    imag2 = Mul(imag, imag)
    power2 = Add(real2, imag2)
    power = Add(power2, tiny)
    magnitude = Sqrt(power)
    x1_out = Identity(x)
    x2_out = Identity(x1)
    x3_out = Identity(x2)
}
"""
_BETWEEN = """
<ir_version: 10, opset_import: ["" : 26]>
between (float[1, 1, 257] mask, float[1, 1, 257] real, float[1, 1, 257] imag)
  => (float[1, 1, 512] estimate)
<float[257, 512] back_real, float[257, 512] back_imag>
{
    masked_real = Mul(real, mask)
    masked_imag = Mul(imag, mask)
    part_real = MatMul(masked_real, back_real)
    part_imag = MatMul(masked_imag, back_imag)
    estimate = Add(part_real, part_imag)
}
"""
_AFTER = """
<ir_version: 10, opset_import: ["" : 26]>
after (float[1, 1, 512] block, float[1, 1, 128] o1a, float[1, 1, 128] o1b, float[1, 1, 128] o1c,
       float[1, 1, 128] o2b, float[1, 1, 128] o2c, float[1, 1, 128] o3c)
  => (float[1, 1, 128] y)
<int64[4] hops = {128, 128, 128, 128}>
{
    now, o1a_out, o1b_out, o1c_out = Split <axis = 2> (block, hops)
    y1 = Add(now, o1a)
    y2 = Add(y1, o2b)
    y = Add(y2, o3c)
    o2b_out = Identity(o1b)
    o2c_out = Identity(o1c)
    o3c_out = Identity(o2c)
}
"""
_HOPS = ["x1", "x2", "x3", "o1a", "o1b", "o1c", "o2b", "o2c", "o3c"]


def build(folder: Path) -> ir.Model:
    """Return the prepared model, states marked."""
    first = _renamed(
        folder / "model_1.onnx", "first/", {"input_2": "magnitude", "activation_2": "mask"}
    )
    second = _renamed(
        folder / "model_2.onnx", "second/", {"input_4": "estimate", "conv1d_3": "block"}
    )
    glue = [onnx.parser.parse_model(text) for text in (_BEFORE, _BETWEEN, _AFTER)]
    graphs = [glue[0].graph, first, glue[1].graph, second, glue[2].graph]
    hop = [1, 1, HOP]
    states = {
        "first/input_3": "first/tf_op_layer_stack_2",
        "second/input_5": "second/tf_op_layer_stack_5",
    }
    carried = [(name, f"{name}_out", hop) for name in _HOPS]
    carried += [(name, output, [1, 2, HOP, 2]) for name, output in states.items()]
    inputs = [("x", hop), *((name, shape) for name, _, shape in carried)]
    outputs = [("y", hop), *((name, shape) for _, name, shape in carried)]
    graph = onnx.helper.make_graph(
        [node for part in graphs for node in part.node],
        "dtln",
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in inputs],
        [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, s) for n, s in outputs],
        [*_transforms(), *(t for part in graphs for t in part.initializer)],
    )
    proto = onnx.helper.make_model(graph, opset_imports=glue[0].opset_import, ir_version=10)
    onnx.checker.check_model(proto)
    model = ir.from_proto(proto)
    mark_states(model, [f"{name}={output}" for name, output, _ in carried])
    pipeline.prepare(model)
    return model


def frames(wave: np.ndarray) -> dict[str, np.ndarray]:
    """Cut a wave into the hops of a sample."""
    return {"x": wave[: len(wave) // HOP * HOP].reshape(-1, 1, 1, HOP).astype(np.float32)}


def _renamed(file: Path, prefix: str, names: dict[str, str]) -> onnx.GraphProto:
    proto = ir.to_proto(import_onnx(file))
    made = onnx.compose.add_prefix(proto, prefix)
    fixed = {f"{prefix}{old}": new for old, new in names.items()}
    for node in made.graph.node:
        node.input[:] = [fixed.get(name, name) for name in node.input]
        node.output[:] = [fixed.get(name, name) for name in node.output]
    return made.graph


def _transforms() -> list[onnx.TensorProto]:
    angle = 2 * np.pi / FRAME * np.outer(np.arange(FRAME), np.arange(BINS))
    weight = np.full((BINS, 1), 2 / FRAME)
    weight[[0, -1]] = 1 / FRAME
    tables = {
        "dft_real": np.cos(angle),
        "dft_imag": -np.sin(angle),
        "back_real": weight * np.cos(angle).T,
        "back_imag": -weight * np.sin(angle).T,
    }
    return [
        onnx.numpy_helper.from_array(np.ascontiguousarray(t, np.float32), name)
        for name, t in tables.items()
    ]
