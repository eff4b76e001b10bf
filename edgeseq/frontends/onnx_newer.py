"""Operators of opsets 27 and 28, said by older ones: linear attention, causal convolution.

`CausalConvWithState` and `SwiGLU` become what ONNX defines them by. So does `LinearAttention`, but
its scan is written over [batch, time, heads, ...] as it stands, with the queries that share a key
side by side: no transposes, no copies of the state, and a step that `ir/recurrence.py` knows.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgeseq.ir import definitions
from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import walk

OPS = frozenset({"CausalConvWithState", "LinearAttention", "SwiGLU"})


def expand(model: ir.Model) -> None:
    """Replace them in place, while the model still has the opset that they are of."""
    newer = [node for node in walk(model.graph) if node.op_type in OPS and not node.domain]
    if newer:
        _note_shapes(model, newer)
        definitions.expand(Editor(model), OPS, {"LinearAttention": _linear_attention})


def _note_shapes(model: ir.Model, nodes: list[ir.Node]) -> None:
    """What ONNX's own inference finds about their inputs: definitions depend on it.

    Ours wants every size of the inputs to be given, which is later.
    """
    inferred = model.clone()
    common.ShapeInferencePass(data_prop=True)(inferred)
    known = {value.name: value for node in walk(inferred.graph) for value in node.inputs if value}
    for node in nodes:
        for value in node.inputs:
            if value is not None and value.shape is None and value.name in known:
                found = known[value.name]
                value.dtype, value.shape = found.dtype, found.shape


def _linear_attention(node: ir.Node) -> onnx.FunctionProto | None:
    """The definition for float32 and sizes that are known, else ONNX's."""
    query, key, value, past, decay, beta = [*node.inputs, *[None] * 6][:6]
    widths = [_width(one) for one in (query, key, value)]
    given = [one for one in node.inputs if one is not None]
    if None in widths or any(one.dtype != ir.DataType.FLOAT for one in given):
        return None
    queries = node.attributes["q_num_heads"].as_int()
    heads = node.attributes["kv_num_heads"].as_int()
    keys, values = (int(width or 0) // heads for width in widths[1:])
    scale = node.attributes.get_float("scale", 0.0) or keys**-0.5
    rule = node.attributes.get_string("update_rule", "gated_delta")
    gated, delta = "gated" in rule, "delta" in rule
    if (gated and decay is None) or (delta and beta is None):
        return None
    sequences = ["q", "k", "v", *(["g"] if gated else []), *(["b"] if delta else [])]
    axes = ", ".join("1" for _ in sequences)
    return onnx.parser.parse_function(f"""<domain: "", opset_import: ["" : 26]>
LinearAttention <chunk_size, kv_num_heads, q_num_heads, scale, update_rule>
    (query, key, value, past_state, decay, beta) => (output, present_state) {{
    by_group = Constant <value_ints = [0, 0, {heads}, {queries // heads}, {keys}]> ()
    by_head = Constant <value_ints = [0, 0, {heads}, -1]> ()
    flat = Constant <value_ints = [0, 0, {queries * values}]> ()
    q = Reshape (query, by_group)
    k = Reshape (key, by_head)
    v = Reshape (value, by_head)
    {"g = Reshape (decay, by_head)" if gated else ""}
    {"by_rate = Constant <value_ints = [0, 0, -1, 1, 1]> ()" if delta else ""}
    {"b = Reshape (beta, by_rate)" if delta else ""}
    {_ZEROS.format(heads, keys, values) if past is None else "first = Identity (past_state)"}
    present_state, result = Scan <
        num_scan_inputs = {len(sequences)}, scan_input_axes = [{axes}], scan_output_axes = [1],
        body = step (state, {", ".join(f"{name}_t" for name in sequences)}) => (next, y_t) {{
            row = Constant <value_ints = [-2]> ()
            column = Constant <value_ints = [-1]> ()
            factor = Constant <value_float = {scale!r}> ()
            k_column = Unsqueeze (k_t, column)
            v_row = Unsqueeze (v_t, row)
            {"g_column = Unsqueeze (g_t, column) a = Exp (g_column)" if gated else ""}
            kept = {"Mul (state, a)" if gated else "Identity (state)"}
            {"k_row = Unsqueeze (k_t, row) known = MatMul (k_row, kept)" if delta else ""}
            {"error = Sub (v_row, known)" if delta else ""}
            written = {"Mul (b_t, error)" if delta else "Identity (v_row)"}
            new = MatMul (k_column, written)
            next = Add (kept, new)
            scaled = MatMul (q_t, next)
            y_t = Mul (scaled, factor)
        }}> (first, {", ".join(sequences)})
    output = Reshape (result, flat)
}}""")


_ZEROS = """
    batch = Shape <start = 0, end = 1> (query)
    sizes = Constant <value_ints = [{}, {}, {}]> ()
    shape = Concat <axis = 0> (batch, sizes)
    first = ConstantOfShape (shape)"""


def _width(value: ir.Value | None) -> int | None:
    last = None if value is None or value.shape is None else value.shape[-1]
    return last if isinstance(last, int) else None
