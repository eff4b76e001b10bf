"""What each operator does along time: one rule an operator (see `timeline`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import onnx_ir as ir

from edgeseq.ir import time_memory
from edgeseq.ir.edit import axis_of, data_of
from edgeseq.ir.time_memory import only_data, rank_of
from edgeseq.ir.timeline import Along, Latest, MixesTimeError, Timeline, Track

Rule = Callable[[ir.Node, Timeline], Sequence[Track]]


def rule_of(node: ir.Node) -> Rule | None:
    """Return the rule of a node's operator, or None when there is none."""
    if node.domain:
        return RULES.get(f"{node.domain}.{node.op_type}")
    return RULES.get(node.op_type, _pointwise if node.op_type in POINTWISE else None)


def _pointwise(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """Broadcasting aligns axes from the right; time must meet time or size 1."""
    rank = max(len(value.shape or ()) for value in node.inputs if value is not None)
    from_right = set()
    for value in node.inputs:
        track = line.track(value)
        if isinstance(track, Along) and value is not None:
            from_right.add((len(value.shape or ()) - track.axis, track.lead))
    if len(from_right) != 1:
        raise MixesTimeError("its inputs have time on different axes")
    distance, lead = from_right.pop()
    for value in node.inputs:
        if value is None or line.track(value) is not None or value.shape is None:
            continue
        if len(value.shape) >= distance and value.shape[len(value.shape) - distance] != 1:
            raise MixesTimeError("it combines each step with a different constant")
    return [Along(rank - distance, lead)] * len(node.outputs)


def _transpose(node: ir.Node, line: Timeline) -> Sequence[Track]:
    time, given = only_data(node, line), node.attributes.get("perm")
    perm = list(given.as_ints()) if given else list(reversed(range(rank_of(node))))
    return [Along(perm.index(time.axis), time.lead)]


def _reshape(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """Time stays an axis of its own, with as many elements before it."""
    time = only_data(node, line)
    before, after = node.inputs[0], node.outputs[0]
    if before is None or before.shape is None or after.shape is None:
        raise MixesTimeError("its shapes are not known")
    ahead = [dim for dim in list(before.shape)[: time.axis] if isinstance(dim, int)]
    for axis, dim in enumerate(after.shape):
        prefix = [size for size in list(after.shape)[:axis] if isinstance(size, int)]
        same = dim == before.shape[time.axis] and len(prefix) == axis
        if same and math.prod(prefix) == math.prod(ahead):
            return [Along(axis, time.lead)]
    raise MixesTimeError("it mixes time with another axis")


def _reduce(node: ir.Node, line: Timeline) -> Sequence[Track]:
    time, rank = only_data(node, line), rank_of(node)
    if node.op_type.startswith("Arg"):
        axes = [axis_of(node, 0, rank)]
    else:
        data = data_of(node.inputs[1]) if len(node.inputs) > 1 else None
        axes = list(range(rank)) if data is None else [int(axis) % rank for axis in data]
    if time.axis in axes:
        raise MixesTimeError(f"its {node.op_type} runs over all of time")
    keep = node.attributes.get("keepdims")
    gone = 0 if keep is None or keep.as_int() else sum(axis < time.axis for axis in axes)
    return [Along(time.axis - gone, time.lead)]


def _on_one_axis(default: int) -> Rule:
    def rule(node: ir.Node, line: Timeline) -> Sequence[Track]:
        time = only_data(node, line)
        if axis_of(node, default, rank_of(node)) == time.axis:
            raise MixesTimeError(f"its {node.op_type} runs over all of time")
        return [time] * len(node.outputs)

    return rule


def _cumulative(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """A sum from the first step on goes on from a state."""
    time, axis = only_data(node, line), data_of(node.inputs[1])
    if axis is None:
        raise MixesTimeError("its axis is not a constant")
    if int(axis.item()) % rank_of(node) == time.axis:
        if node.attributes.get_int("reverse", 0) or node.attributes.get_int("exclusive", 0):
            raise MixesTimeError("it sums up from the end of time, or leaves out the present")
        if time.lead:
            raise MixesTimeError("its input is longer than time")
        line.sums.append(node)
    return [time]


def _layer_norm(node: ir.Node, line: Timeline) -> Sequence[Track]:
    time = only_data(node, line)
    if axis_of(node, -1, rank_of(node)) <= time.axis:
        raise MixesTimeError("it normalises over all of time")
    return [time] * len(node.outputs)


def _channel_norm(node: ir.Node, line: Timeline) -> Sequence[Track]:
    time = only_data(node, line)
    if time.axis != 0 and node.op_type != "BatchNormalization":
        raise MixesTimeError("it normalises over all of time")
    if time.axis == 1:
        raise MixesTimeError("its channels are time")
    return [time]


def _mat_mul(node: ir.Node, line: Timeline) -> Sequence[Track]:
    left, right = line.along(node, 0), line.along(node, 1)
    ranks = [len(value.shape or ()) for value in node.inputs[:2] if value is not None]
    if (left and left.axis == ranks[0] - 1) or (right and right.axis == max(0, ranks[1] - 2)):
        raise MixesTimeError("its product sums over all of time")
    if left and right:
        batch = left.axis - ranks[0] == right.axis - ranks[1] and left.axis < ranks[0] - 2
        if not batch or left.lead != right.lead:
            raise MixesTimeError("it multiplies each step with every other")
    found = left or right
    if found is None:
        raise MixesTimeError("an input other than its data changes with time")
    return [Along(found.axis + max(ranks) - ranks[0 if left else 1], found.lead)]


def _gemm(node: ir.Node, line: Timeline) -> Sequence[Track]:
    time, transposed = only_data(node, line), node.attributes.get("transA")
    rows = 1 if transposed is not None and transposed.as_int() else 0
    if time.axis != rows:
        raise MixesTimeError("its product sums over all of time")
    return [Along(0, time.lead)]


def _gather(node: ir.Node, line: Timeline) -> Sequence[Track]:
    indices, rank, axis = line.along(node, 1), rank_of(node), axis_of(node, 0, rank_of(node))
    if indices is not None:
        if line.track(node.inputs[0]) is not None:
            raise MixesTimeError("it picks from changing data by changing indices")
        return [Along(axis + indices.axis, indices.lead)]
    time, chosen = only_data(node, line), data_of(node.inputs[1])
    if axis == time.axis:
        if chosen is not None and chosen.size == 1 and int(chosen.item()) == -1:
            return [Latest()]
        raise MixesTimeError("it picks steps by their place in the input")
    index_rank = len(node.inputs[1].shape or ()) if node.inputs[1] is not None else 0
    after = rank and axis < time.axis
    return [Along(time.axis + (index_rank - 1 if after else 0), time.lead)]


def _split(node: ir.Node, line: Timeline) -> Sequence[Track]:
    time = only_data(node, line)
    if axis_of(node, 0, rank_of(node)) == time.axis:
        raise MixesTimeError("it cuts time into pieces")
    return [time] * len(node.outputs)


def _expand(node: ir.Node, line: Timeline) -> Sequence[Track]:
    time = only_data(node, line)
    grown = len(node.outputs[0].shape or ()) - rank_of(node)
    return [Along(time.axis + grown, time.lead)]


POINTWISE = frozenset(
    """
    Abs Acos Acosh Add And Asin Asinh Atan Atanh BitShift BitwiseAnd BitwiseNot BitwiseOr
    BitwiseXor Cast CastLike Ceil Celu Clip Cos Cosh DequantizeLinear Div Dropout Elu Equal
    Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid HardSwish Identity IsInf IsNaN
    LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg Not Or PRelu Pow
    QuantizeLinear Reciprocal Relu Round Selu Sigmoid Sign Sin Sinh Softplus Softsign Sqrt
    Sub Sum Swish Tan Tanh ThresholdedRelu Where Xor
    """.split()
)

_SLIDING = ("AveragePool", "MaxPool", "LpPool", "ConvTranspose", "Conv")
_NORMS = ("BatchNormalization", "InstanceNormalization", "GroupNormalization")
_REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

RULES: dict[str, Rule] = {
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Squeeze": _reshape,
    "Unsqueeze": _reshape,
    "Flatten": _reshape,
    **{f"Reduce{kind}": _reduce for kind in _REDUCTIONS},
    "ArgMax": _reduce,
    "ArgMin": _reduce,
    **{name: _on_one_axis(-1) for name in ("Softmax", "LogSoftmax", "Hardmax")},
    **{name: _on_one_axis(-1) for name in ("LpNormalization", "TopK")},
    "CumSum": _cumulative,
    "LayerNormalization": _layer_norm,
    "RMSNormalization": _layer_norm,
    **dict.fromkeys(_NORMS, _channel_norm),
    "MatMul": _mat_mul,
    "Gemm": _gemm,
    **dict.fromkeys(_SLIDING, time_memory.conv),
    "Slice": time_memory.cut,
    "Pad": time_memory.pad,
    "Concat": time_memory.concat,
    "Gather": _gather,
    **dict.fromkeys(("GRU", "LSTM", "RNN"), time_memory.recurrence),
    "Scan": time_memory.scan,
    "edgeseq.LSTMP": time_memory.projected,
    "edgeseq.QuantizedMatMul": _mat_mul,
    "edgeseq.QuantizedConv": time_memory.quantized_conv,
    "Split": _split,
    "Expand": _expand,
}
