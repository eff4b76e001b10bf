"""LSTM with projection as two functions of the `edgeseq` domain: `LSTMP` and `ReverseLSTMP`.

    c' = sigmoid(f) * c + sigmoid(i) * tanh(z)
    h' = (sigmoid(o) * tanh(c')) @ P^T          i, o, f, z = x @ W^T + h @ R^T + bias

ONNX's LSTM has no projection. The functions take one direction, in the layout of ONNX's LSTM
without its direction axis: X [T, B, I], W [4H, I], R [4H, Q], B [8H], gates in the order i, o, f,
z, P [Q, H], h0 [B, Q], c0 [B, H]; they return Y [T, B, Q] and the last h and c. The body projects
the input of all steps with one MatMul and leaves only the recurrence to Scan.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx
import onnx_ir as ir

from edgeseq.ir.edit import Editor

DOMAIN = "edgeseq"
FORWARD = "LSTMP"
REVERSE = "ReverseLSTMP"

_TEXT = """
<domain: "edgeseq", opset_import: ["" : {opset}]>
{name} (X, W, R, B, P, h0, c0) => (Y, h_last, c_last)
{{
  Wt = Transpose<perm = [1, 0]> (W)
  Rt = Transpose<perm = [1, 0]> (R)
  Pt = Transpose<perm = [1, 0]> (P)
  bias_w, bias_r = Split<axis = 0, num_outputs = 2> (B)
  bias = Add (bias_w, bias_r)
  projected = MatMul (X, Wt)
  gates_x = Add (projected, bias)
  h_last, c_last, Y = Scan <
    num_scan_inputs = 1,
    scan_input_directions = [{direction}],
    scan_output_directions = [{direction}],
    body = step (h, c, gate_x) => (h_next, c_next, y) {{
      gate_h = MatMul (h, Rt)
      gates = Add (gate_x, gate_h)
      i, o, f, z = Split<axis = -1, num_outputs = 4> (gates)
      i_open = Sigmoid (i)
      o_open = Sigmoid (o)
      f_open = Sigmoid (f)
      new = Tanh (z)
      kept = Mul (f_open, c)
      written = Mul (i_open, new)
      c_next = Add (kept, written)
      c_bounded = Tanh (c_next)
      shown = Mul (o_open, c_bounded)
      h_next = MatMul (shown, Pt)
      y = Identity (h_next)
    }}
  > (h0, c0, gates_x)
}}
"""


def function(name: str, opset: int) -> ir.Function:
    """Return `LSTMP` or `ReverseLSTMP` for a version of the standard operators (18 or later)."""
    text = _TEXT.format(name=name, opset=opset, direction=int(name == REVERSE))
    return ir.serde.deserialize_function(onnx.parser.parse_function(text))


def call(
    edit: Editor, before: ir.Node, name: str, inputs: Sequence[ir.Value], wish: str
) -> tuple[ir.Value, ir.Value, ir.Value]:
    """Insert a call of the function before a node; return Y, h and c."""
    model = edit.model
    body = function(name, model.opset_imports[""])
    model.functions.setdefault(body.identifier(), body)
    model.opset_imports.setdefault(DOMAIN, 1)
    node = ir.node(name, inputs, domain=DOMAIN, num_outputs=3)
    node.name = edit.name(f"{wish}.{name}")
    node.metadata_props.update(before.metadata_props)
    x, h0, c0 = inputs[0], inputs[5], inputs[6]
    for output, like in zip(node.outputs, (x, h0, c0), strict=True):
        output.name, output.type = edit.name(f"{node.name}.out"), like.type
        output.shape = None if like.shape is None else ir.Shape(like.shape)
    if x.shape is not None and h0.shape is not None:
        node.outputs[0].shape = ir.Shape([*x.shape[:2], h0.shape[-1]])
    if before.graph is None:
        raise ValueError("the anchor is not in a graph")
    before.graph.insert_before(before, node)
    y, h, c = node.outputs
    return y, h, c
