"""`Attention(q, k, v) -> MatMul, Softmax, ...`: operators that ONNX defines by others; exact.

Only those that nothing downstream knows as they stand. The body is the one in ONNX's schema, so the
meaning is ONNX's; it may depend on the types of the inputs, hence the inference round by round.
Where the schema takes a variance as E[x^2] - E[x]^2, which cancels in float32, the body is ours.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import schema_of
from edgeseq.ir.passes import GraphPass, walk

OPS = frozenset(
    {
        "Attention",
        "BlackmanWindow",
        "Celu",
        "CenterCropPad",
        "GroupNormalization",
        "HammingWindow",
        "HannWindow",
        "MeanVarianceNormalization",
        "NegativeLogLikelihoodLoss",
        "RotaryEmbedding",
        "SoftmaxCrossEntropyLoss",
        "Swish",
    }
)


class ExpandFunctions(GraphPass):
    """Replace operators by their definition."""

    def run(self, edit: Editor) -> bool:
        """Expand until nothing is left to expand: a body may hold such an operator again."""
        changed = False
        while any(_is_ours(node) for node in walk(edit.model.graph)):
            edit.inference.infer_graph(edit.model.graph)
            if not self._expand(edit.model):
                break
            changed = True
        return changed

    def _expand(self, model: ir.Model) -> bool:
        made: set[ir.OperatorIdentifier] = set()
        for node in list(walk(model.graph)):
            if not _is_ours(node):
                continue
            if any(value is not None and value.dtype is None for value in node.inputs):
                continue  # its input comes from another of them
            body = _body(node, model.opset_imports[""])
            if body is None:
                self.refuse(node, "ONNX has no definition of it for these types")
                continue
            node.overload = body.overload
            model.functions[body.identifier()] = body
            made.add(body.identifier())
        if made:
            common.InlinePass(lambda function: function.identifier() in made)(model)
        return bool(made)


def _is_ours(node: ir.Node) -> bool:
    return node.op_type in OPS and node.domain == "" and not node.overload


def _body(node: ir.Node, opset: int) -> ir.Function | None:
    """The definition of a node as a function of its own: it holds the node's defaults."""
    schema = schema_of(node, opset)
    if schema is None:
        return None
    proto = _definition(node, schema)
    if proto is None:
        return None
    proto.name, proto.domain, proto.overload = node.op_type, "", f"of {node.name}"
    given = {a.name for a in proto.attribute_proto}
    proto.attribute_proto.extend(
        attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type and name not in given
    )
    kept = [a for a in proto.attribute if a not in {p.name for p in proto.attribute_proto}]
    del proto.attribute[:]
    proto.attribute.extend(kept)
    # An output nobody asked for is not computed; what stands there is never read.
    computed = {name for inner in proto.node for name in inner.output}
    outputs = proto.output[: len(node.outputs)]
    del proto.output[:]
    proto.output.extend(name if name in computed else outputs[0] for name in outputs)
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid("", opset))
    return ir.serde.deserialize_function(proto)


def _definition(node: ir.Node, schema: onnx.defs.OpSchema) -> onnx.FunctionProto | None:
    if node.op_type == "GroupNormalization":
        return _group_normalization(node)
    if node.op_type == "MeanVarianceNormalization":
        return onnx.parser.parse_function(_MEAN_VARIANCE)
    if schema.has_function:
        newest = max(schema.function_opset_versions)
        return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(newest))
    if not schema.has_context_dependent_function:
        return None
    types = [b"" if v is None else ir.to_proto(v).type.SerializeToString() for v in node.inputs]
    newest = max(schema.context_dependent_function_opset_versions)
    data = schema.get_context_dependent_function_with_opset_version(
        newest, ir.to_proto(node).SerializeToString(), types
    )
    return onnx.FunctionProto.FromString(data) if data else None


def _group_normalization(node: ir.Node) -> onnx.FunctionProto | None:
    value = node.inputs[0]
    if value is None or value.shape is None:
        return None
    return onnx.parser.parse_function(
        _GROUP.format(
            groups=node.attributes.get_int("num_groups", 1),
            channel=", ".join(["-1", *["1"] * (len(value.shape) - 2)]),
        )
    )


_GROUP = """<domain: "", opset_import: ["" : 26]>
GroupNormalization <num_groups, epsilon, stash_type> (X, scale, bias) => (Y) {{
    shape = Shape (X)
    grouped_shape = Constant <value_ints = [0, {groups}, -1]> ()
    grouped = Reshape (X, grouped_shape)
    axis = Constant <value_ints = [2]> ()
    mean = ReduceMean (grouped, axis)
    centred = Sub (grouped, mean)
    squares = Mul (centred, centred)
    variance = ReduceMean (squares, axis)
    wide_epsilon = Constant <value_float: float = @epsilon> ()
    small = CastLike (wide_epsilon, X)
    raised = Add (variance, small)
    deviation = Sqrt (raised)
    normal = Div (centred, deviation)
    flat = Reshape (normal, shape)
    per_channel = Constant <value_ints = [{channel}]> ()
    scales = Reshape (scale, per_channel)
    biases = Reshape (bias, per_channel)
    scaled = Mul (flat, scales)
    Y = Add (scaled, biases)
}}"""

_MEAN_VARIANCE = """<domain: "", opset_import: ["" : 26]>
MeanVarianceNormalization <axes> (X) => (Y) {
    dims = Constant <value_ints: ints = @axes> ()
    mean = ReduceMean (X, dims)
    centred = Sub (X, mean)
    squares = Mul (centred, centred)
    variance = ReduceMean (squares, dims)
    deviation = Sqrt (variance)
    wide_epsilon = Constant <value_float = 1e-9> ()
    small = CastLike (wide_epsilon, X)
    raised = Add (deviation, small)
    Y = Div (centred, raised)
}"""


PASS = ExpandFunctions
