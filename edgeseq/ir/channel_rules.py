"""For each operator, which positions of its inputs and outputs belong together.

An operator without a rule fixes all it touches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import data_of
from edgeseq.ir.ties import Axis, Ties, rank

Rule = Callable[[ir.Node, Ties], bool]

_ELEMENTWISE = frozenset(
    "Abs Add And Ceil Clip Cos Div Elu Equal Erf Exp Floor Gelu Greater GreaterOrEqual HardSigmoid "
    "HardSwish Identity IsInf IsNaN LeakyRelu Less LessOrEqual Log Max Mean Min Mish Mod Mul Neg "
    "Not Or PRelu Pow Reciprocal Relu Round Selu Sigmoid Sign Sin Softplus Softsign Sqrt Sub Sum "
    "Swish Tanh ThresholdedRelu Where Xor Cast".split()
)
_GATES = {"RNN": 1, "GRU": 3, "LSTM": 4}


def apply(node: ir.Node, ties: Ties) -> None:
    """Note what a node ties together; what it does not tie it fixes."""
    values = [v for v in (*node.inputs, *node.outputs) if v is not None and v.name]
    known = all(v.shape is not None for v in values) and node.domain in ("", "ai.onnx")
    for value in values:
        for number in range(rank(value)):
            ties.positions(value, number)
    rule = _RULES.get(node.op_type)
    if rule is None and node.op_type.startswith("Reduce"):
        rule = _reduce
    if not known or rule is None or not rule(node, ties):
        ties.mixers.add(node)
        for value in values:
            ties.fix(value)


def weight_axis(value: ir.Value | None, number: int) -> Axis | None:
    """Follow copies back to the initializer whose axis this is; None: it is not constant."""
    while value is not None and (node := value.producer()) is not None:
        if node.op_type == "Transpose":
            number = _perm(node)[number % rank(value)]
        elif node.op_type != "Identity":
            return None
        value = node.inputs[0]
    if value is None or data_of(value) is None:
        return None
    return Axis(value, number % rank(value))


def axes_of(node: ir.Node, slot: int) -> list[int] | None:
    """Return `axes`, an attribute or an input; None where it is not constant or not given."""
    if "axes" in node.attributes:
        return [int(a) for a in node.attributes["axes"].as_ints()]
    data = data_of(node.inputs[slot]) if len(node.inputs) > slot else None
    return None if data is None else [int(a) for a in data.ravel()]


def cuts(node: ir.Node) -> dict[int, range] | None:
    """Return the positions a Slice takes of each axis it names; None where that varies."""
    x = node.inputs[0]
    parts = [data_of(value) for value in node.inputs[1:]]
    if x is None or x.shape is None or len(parts) < 2 or any(p is None for p in parts):
        return None
    starts, ends, *rest = [[int(n) for n in p.ravel()] for p in parts if p is not None]
    axes = rest[0] if rest else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    found = {}
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = x.shape[axis]
        if isinstance(size, int):
            found[axis % rank(x)] = range(*slice(start, end, step).indices(size))
        else:
            found[axis % rank(x)] = range(0)  # of time: no position of it is anyone's channel
    return found


def _elementwise(node: ir.Node, ties: Ties) -> bool:
    y = node.outputs[0]
    return all(_broadcast(value, y, ties, 0) for value in node.inputs if value is not None)


def _broadcast(x: ir.Value, y: ir.Value, ties: Ties, inner: int) -> bool:
    """Tie the axes of `x`, but the last `inner`, to those of `y`, aligned at the end."""
    assert x.shape is not None
    assert y.shape is not None
    for back in range(inner + 1, rank(x) + 1):
        if x.shape[-back] == y.shape[-back]:
            ties.tie(ties.positions(x, rank(x) - back), ties.positions(y, rank(y) - back))
        elif x.shape[-back] != 1:
            return False
        else:
            ties.fix(x, [rank(x) - back])
    return True


def _matmul(node: ir.Node, ties: Ties) -> bool:
    (a, b), y = _given(node)[:2], node.outputs[0]
    if rank(a) < 2 or rank(b) < 2:
        return False
    ties.tie(ties.positions(a, rank(a) - 2), ties.positions(y, rank(y) - 2))
    ties.tie(ties.positions(b, rank(b) - 1), ties.positions(y, rank(y) - 1))
    _contract(Axis(a, rank(a) - 1), Axis(b, rank(b) - 2), ties)
    _write(Axis(a, rank(a) - 2), ties)
    _write(Axis(b, rank(b) - 1), ties)
    return _broadcast(a, y, ties, 2) and _broadcast(b, y, ties, 2)


def _gemm(node: ir.Node, ties: Ties) -> bool:
    (a, b), y = _given(node)[:2], node.outputs[0]
    turned = [_integer(node, name) for name in ("transA", "transB")]
    rows, columns = Axis(a, turned[0]), Axis(b, 1 - turned[1])
    ties.tie(ties.positions(a, rows.number), ties.positions(y, 0))
    ties.tie(ties.positions(b, columns.number), ties.positions(y, 1))
    _contract(Axis(a, 1 - rows.number), Axis(b, 1 - columns.number), ties)
    _write(rows, ties)
    _write(columns, ties)
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    return bias is None or _broadcast(bias, y, ties, 0)


def _contract(left: Axis, right: Axis, ties: Ties) -> None:
    """What is multiplied and summed up: channels, where one side is a weight."""
    ties.tie(ties.positions(left.value, left.number), ties.positions(right.value, right.number))
    readers = [weight_axis(side.value, side.number) for side in (left, right)]
    found = [reader for reader in readers if reader is not None]
    ties.reads += found
    if not found:
        ties.fix(left.value, [left.number])


def _write(axis: Axis, ties: Ties) -> None:
    found = weight_axis(axis.value, axis.number)
    if found is not None:
        ties.writes.append(found)


def _convolution(node: ir.Node, ties: Ties) -> bool:
    (x, w), y = _given(node)[:2], node.outputs[0]
    groups, transposed = _integer(node, "group", 1), node.op_type == "ConvTranspose"
    assert x.shape is not None
    assert y.shape is not None
    ties.tie(ties.positions(x, 0), ties.positions(y, 0))
    for value in (x, y, w):
        ties.fix(value, range(2, rank(value)))
    out, into = (1, 0) if transposed else (0, 1)
    if groups == 1:
        ties.tie(ties.positions(w, out), ties.positions(y, 1))
        _contract(Axis(x, 1), Axis(w, into), ties)
        _write(Axis(w, out), ties)
    elif groups == x.shape[1] == y.shape[1]:  # depthwise: position by position
        ties.tie(ties.positions(x, 1), ties.positions(y, 1))
        ties.tie(ties.positions(w, 0), ties.positions(y, 1))
        ties.fix(w, [1])
    else:
        return False
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        ties.tie(ties.positions(node.inputs[2], 0), ties.positions(y, 1))
    return True


def _recurrent(node: ir.Node, ties: Ties) -> bool:
    """Gates are stacked; features come last in either layout."""
    gates = _GATES[node.op_type]
    inputs = [*node.inputs, *[None] * (8 - len(node.inputs))]
    x, w, r, bias, lengths, *states = inputs
    peepholes = states.pop()
    if x is None or w is None or r is None:
        return False
    hidden = ties.positions(r, 2)
    if hidden is None:
        return False
    ties.tie(ties.positions(w, 1), np.tile(hidden, gates))
    ties.tie(ties.positions(r, 1), np.tile(hidden, gates))
    for value, copies in ((bias, 2 * gates), (peepholes, 3)):
        if value is not None:
            ties.tie(ties.positions(value, 1), np.tile(hidden, copies))
            ties.fix(value, [0])
    for value in (*states, *node.outputs):
        if value is not None and value.name:
            ties.tie(ties.positions(value, rank(value) - 1), hidden)
            ties.fix(value, range(rank(value) - 1))
    for value in (w, r, lengths):
        ties.fix(value, [0])
    ties.fix(x, [0, 1])
    _contract(Axis(x, 2), Axis(w, 2), ties)
    for weight in (w, r):
        _write(Axis(weight, 1), ties)
    reader = weight_axis(r, 2)
    if reader is None:
        return False
    ties.reads.append(reader)
    return True


def _normalization(node: ir.Node, ties: Ties) -> bool:
    """Channels apart from each other, on axis 1, all parameters along them."""
    x, *parameters = _given(node)
    for value in parameters:
        ties.tie(ties.positions(value, 0), ties.positions(x, 1))
    ties.same(x, node.outputs[0])
    if node.op_type == "InstanceNormalization":
        ties.fix(x, range(2, rank(x)))
    return len([v for v in node.outputs if v.name]) == 1


def _layer_normalization(node: ir.Node, ties: Ties) -> bool:
    """The mean over an axis is another one without some of its positions."""
    x, *parameters = _given(node)
    ties.mixers.add(node)
    ties.same(x, node.outputs[0])
    ties.fix(x, range(_integer(node, "axis", -1) % rank(x), rank(x)))
    for value in parameters:
        ties.fix(value)
    return len([v for v in node.outputs if v.name]) == 1


def _along_axis(node: ir.Node, ties: Ties) -> bool:
    x = _given(node)[0]
    ties.mixers.add(node)
    ties.same(x, node.outputs[0])
    ties.fix(x, [_integer(node, "axis", -1) % rank(x)])
    return True


def _reduce(node: ir.Node, ties: Ties) -> bool:
    x, y = _given(node)[0], node.outputs[0]
    axes = axes_of(node, 1)
    if axes is None:
        return False
    gone = {axis % rank(x) for axis in axes}
    ties.mixers.add(node)
    ties.fix(x, sorted(gone))
    kept = [n for n in range(rank(x)) if n not in gone]
    places = kept if _integer(node, "keepdims", 1) else range(len(kept))
    for number, place in zip(kept, places, strict=True):
        ties.tie(ties.positions(x, number), ties.positions(y, place))
    return True


def _pool(node: ir.Node, ties: Ties) -> bool:
    x, y = _given(node)[0], node.outputs[0]
    for number in (0, 1):
        ties.tie(ties.positions(x, number), ties.positions(y, number))
    for value in (x, y):
        ties.fix(value, range(2, rank(value)))
    return len(node.outputs) == 1


def _pad(node: ir.Node, ties: Ties) -> bool:
    x, y = _given(node)[0], node.outputs[0]
    assert x.shape is not None
    assert y.shape is not None
    for number in range(rank(x)):
        if x.shape[number] == y.shape[number]:
            ties.tie(ties.positions(x, number), ties.positions(y, number))
        else:
            ties.fix(x, [number])
            ties.fix(y, [number])
    return data_of(node.inputs[1]) is not None


def _transpose(node: ir.Node, ties: Ties) -> bool:
    x, y = _given(node)[0], node.outputs[0]
    for place, number in enumerate(_perm(node)):
        ties.tie(ties.positions(x, number), ties.positions(y, place))
    return True


def _concat(node: ir.Node, ties: Ties) -> bool:
    parts, y = _given(node), node.outputs[0]
    axis = _integer(node, "axis") % rank(y)
    along = [ties.positions(part, axis) for part in parts]
    known = [one for one in along if one is not None]
    ties.tie(np.concatenate(known) if len(known) == len(along) else None, ties.positions(y, axis))
    for part in parts:
        if len(known) < len(along):
            ties.fix(part, [axis])
        for number in range(rank(y)):
            if number != axis:
                ties.tie(ties.positions(part, number), ties.positions(y, number))
    return True


def _split(node: ir.Node, ties: Ties) -> bool:
    x = _given(node)[0]
    axis = _integer(node, "axis") % rank(x)
    positions, start = ties.positions(x, axis), 0
    if positions is None:
        return False
    for y in node.outputs:
        for number in range(rank(x)):
            if number != axis:
                ties.tie(ties.positions(x, number), ties.positions(y, number))
        own = ties.positions(y, axis)
        assert own is not None
        ties.tie(positions[start : start + len(own)], own)
        start += len(own)
    # A count of equal parts cannot say that they have become unequal.
    return len(node.inputs) > 1 and data_of(node.inputs[1]) is not None


def _slice(node: ir.Node, ties: Ties) -> bool:
    x, y, taken = _given(node)[0], node.outputs[0], cuts(node)
    if taken is None:
        return False
    for number in range(rank(x)):
        before, after = ties.positions(x, number), ties.positions(y, number)
        if before is not None and number in taken:
            if taken[number].step != 1:
                ties.fix(x, [number])
            before = before[list(taken[number])]
        ties.tie(before, after)
    return True


def _reshape(node: ir.Node, ties: Ties) -> bool:
    """Walk over both shapes; where sizes differ, one axis of one side is several of the other."""
    x, y = _given(node)[0], node.outputs[0]
    if node.op_type == "Reshape" and data_of(node.inputs[1]) is None:
        return False
    i = j = 0
    while i < rank(x) or j < rank(y):
        left, right = _part(x, i), _part(y, j)
        if left == right and left is not None:
            ties.tie(ties.positions(x, i), ties.positions(y, j))
            i, j = i + 1, j + 1
        elif left == 1:
            ties.fix(x, [i])
            i += 1
        elif right == 1:
            ties.fix(y, [j])
            j += 1
        else:
            ends = _group(x, y, i, j)
            if ends is None:
                return False
            _regroup(x, range(i, ends[0]), y, range(j, ends[1]), ties)
            i, j = ends
    return True


def _part(value: ir.Value, number: int) -> int | str | None:
    assert value.shape is not None
    if number >= len(value.shape):
        return None
    size = value.shape[number]
    return size if isinstance(size, int) else str(size)


def _group(x: ir.Value, y: ir.Value, i: int, j: int) -> tuple[int, int] | None:
    """Return the ends of the shortest runs of axes from here that hold equally much."""
    left, right = _part(x, i), _part(y, j)
    i, j = i + 1, j + 1
    while left != right:
        if not isinstance(left, int) or not isinstance(right, int):
            return None
        grow_left = left < right
        more = _part(x, i) if grow_left else _part(y, j)
        if not isinstance(more, int):
            return None
        left, right = (left * more, right) if grow_left else (left, right * more)
        i, j = i + grow_left, j + (not grow_left)
    return i, j


def _regroup(x: ir.Value, left: range, y: ir.Value, right: range, ties: Ties) -> None:
    sides = [[Axis(v, n) for n in run if _part(v, n) != 1] for v, run in ((x, left), (y, right))]
    flat, parts = sorted(sides, key=len)
    if len(flat) == 1:
        ties.folded(flat[0], parts)
    else:
        for axis in (*flat, *parts):
            ties.fix(axis.value, [axis.number])


def _given(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None]


def _perm(node: ir.Node) -> Sequence[int]:
    perm = node.attributes.get("perm")
    own = range(rank(node.outputs[0]) - 1, -1, -1)
    return list(own) if perm is None else [int(n) for n in perm.as_ints()]


def _integer(node: ir.Node, name: str, default: int = 0) -> int:
    return int(node.attributes[name].as_int()) if name in node.attributes else default


_RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_ELEMENTWISE, _elementwise),
    **dict.fromkeys(_GATES, _recurrent),
    **dict.fromkeys(("Conv", "ConvTranspose"), _convolution),
    **dict.fromkeys(("BatchNormalization", "InstanceNormalization"), _normalization),
    **dict.fromkeys(("Softmax", "LogSoftmax", "LpNormalization"), _along_axis),
    **dict.fromkeys(("MaxPool", "AveragePool", "GlobalAveragePool", "GlobalMaxPool"), _pool),
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
    "LayerNormalization": _layer_normalization,
    "MatMul": _matmul,
    "Gemm": _gemm,
    "Pad": _pad,
    "Transpose": _transpose,
    "Concat": _concat,
    "Split": _split,
    "Slice": _slice,
}
