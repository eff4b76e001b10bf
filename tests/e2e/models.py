"""Two tiny models as ONNX text: one that is a single step, one over whole sequences."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir

_HEADER = '<ir_version: 10, opset_import: ["" : 20]>\n'

# A GRU step, with generated code before and after it.
STEP = """
tiny (float[1, 4] x, float[1, 1, 3] h) => (float[1, 2] y, float[1, 1, 3] h_out)
<float[1, 9, 4] W, float[1, 9, 3] R, float[1, 18] B, float[3, 2] V>
{
    scaled = Softsign(x)
    axis = Constant <value_ints = [0]> ()
    sequence = Unsqueeze(scaled, axis)
    all, h_out = GRU <hidden_size = 3, linear_before_reset = 1> (sequence, W, R, B, , h)
    last = Squeeze(h_out, axis)
    product = MatMul(last, V)
    y = Tanh(product)
}
"""

# The same over time, and a mean over neighbours that looks ahead: there is no step.
SEQUENCE = """
whole (float[T, 1, 4] x) => (float[T, 1, 3] y)
<float[1, 9, 4] W, float[1, 9, 3] R, float[1, 18] B>
{
    all, last = GRU <hidden_size = 3, linear_before_reset = 1> (x, W, R, B)
    axis = Constant <value_ints = [1]> ()
    forward = Squeeze(all, axis)
    total = ReduceMax <keepdims = 1> (forward)
    y = Sub(forward, total)
}
"""

# Rows of a table by number.
LOOKUP = """
lookup (int64[3] i) => (float[3, 2] y, float[2, 3] z)
<float[4, 2] V>
{
    y = Gather(V, i)
    turned = Transpose <perm = [1, 0]> (V)
    z = Gather <axis = -1> (turned, i)
}
"""


def build(text: str) -> onnx.ModelProto:
    """Give the declared weights small random numbers."""
    model = onnx.parser.parse_model(_HEADER + text)
    random = np.random.default_rng(3)
    kept = [i for i in model.graph.value_info if i.name in "WRBV"]
    for info in kept:
        shape = [d.dim_value for d in info.type.tensor_type.shape.dim]
        numbers = (random.standard_normal(shape) * 0.4).round(2).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(numbers, info.name))
    return ir.to_proto(ir.from_proto(model))
