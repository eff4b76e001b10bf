"""`Attention(q, k, v) -> MatMul, Softmax, ...`: operators that ONNX defines by others; exact.

Only those that nothing downstream knows as they stand. The body is the one in ONNX's schema, so the
meaning is ONNX's; it may depend on the types of the inputs, hence the inference round by round.
Where the schema takes a variance as E[x^2] - E[x]^2, which cancels in float32, the body is ours.
"""

from __future__ import annotations

import onnx
import onnx_ir as ir

from edgeseq.ir import definitions
from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import GraphPass

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
        """Expand until nothing is left to expand."""
        own = {
            "GroupNormalization": _group_normalization,
            "MeanVarianceNormalization": lambda _: onnx.parser.parse_function(_MEAN_VARIANCE),
        }
        done = definitions.expand(edit, OPS, own)
        for node in done.undefined:
            self.refuse(node, "ONNX has no definition of it for these types")
        return done.changed


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
