"""`MatMulInteger(a, B) -> QuantizedMatMul(a - za, B - zb)`: operators on integers as floats.

    MatMulInteger(a, b)      -> MatMul(a - za, b - zb) where b is not constant
    ConvInteger(x, w)        -> Conv(x - zx, w - zw), DequantizeLinear where zx and zw are constant
    QLinearX(x, w, .., y)    -> the same, then round(sum * (sx sw / sy)) + zy, clipped to its type
    DynamicQuantizeLinear(x) -> its definition, with a scale of 1 where all is zero

Floats hold the integers exactly: sums that a kernel adds up are rounded once, others are exact
below 2^24. A product with a zero point that only the run knows is that of the levels, less the
zero point times the sums of the weights.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from edgeseq.ir import integers
from edgeseq.ir.edit import Editor, data_of, sole_user
from edgeseq.ir.integers import Matrix, operand
from edgeseq.ir.passes import NodePass, walk

_FLOAT = {"to": ir.DataType.FLOAT}


class ExpandQuantized(NodePass):
    """Say integer operators with floats, of which the kernels make integers again."""

    ops = ("ConvInteger", "DynamicQuantizeLinear", "MatMulInteger", "QLinearConv", "QLinearMatMul")

    def run(self, edit: Editor) -> bool:
        """Visit the nodes, their types known: this pass comes before anyone has asked for them."""
        if any(node.op_type in self.ops and not node.domain for node in walk(edit.model.graph)):
            edit.inference.infer_graph(edit.model.graph)
        return super().run(edit)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Replace one operator."""
        if node.graph is not edit.model.graph:
            return "it stands in the body of a loop"
        match node.op_type:
            case "DynamicQuantizeLinear":
                _dynamic(edit, node)
            case "MatMulInteger" | "ConvInteger":
                x, w, x_zero, w_zero = (operand(node, i) for i in range(4))
                total = _total(edit, node, _Pair(x, x_zero, w, w_zero))
                _settle(edit, node, total)
            case _:
                x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = node.inputs[:8]
                total = _total(edit, node, _Pair(x, x_zero, w, w_zero), operand(node, 8))
                scale = edit.emit(node, "Mul", [x_scale, w_scale])
                factor = edit.emit(node, "Div", [scale, y_scale])
                edit.replace_node(node, _requantized(edit, node, total, factor, y_zero))
        return True


@dataclasses.dataclass(frozen=True)
class _Pair:
    """The factors of a product and their zero points."""

    x: ir.Value | None
    x_zero: ir.Value | None
    w: ir.Value | None
    w_zero: ir.Value | None


def _total(edit: Editor, node: ir.Node, pair: _Pair, bias: ir.Value | None = None) -> ir.Value:
    """The sum of products of integers, as floats."""
    if "Conv" in node.op_type:
        return _convolution(edit, node, pair, bias)
    weights = _matrix(pair)
    if weights is not None and pair.x is not None:
        found = integers.level_sum(edit, node, pair.x, pair.x_zero, weights)
        if isinstance(found, ir.Value):
            return found
    left = _centred(edit, node, pair.x, pair.x_zero, [-1, 1])
    right = _centred(edit, node, pair.w, pair.w_zero, [-1])
    return edit.emit(node, "MatMul", [left, right])


def _matrix(pair: _Pair) -> Matrix | None:
    """A constant matrix without its zero points."""
    levels, zero = data_of(pair.w), data_of(pair.w_zero)
    if levels is None or levels.ndim != 2 or (pair.w_zero is not None and zero is None):
        return None
    centred = levels.astype(np.int32)
    if zero is not None:
        centred = centred - zero.astype(np.int32).reshape(-1)
    assert pair.w is not None
    return Matrix(centred, np.ones(levels.shape[1], np.float32), pair.w)


def _convolution(edit: Editor, node: ir.Node, pair: _Pair, bias: ir.Value | None) -> ir.Value:
    rank = len(pair.w.shape) if pair.w is not None and pair.w.shape is not None else 4
    if data_of(pair.w) is not None and _known(pair.x_zero) and _known(pair.w_zero):
        x = _by_one(edit, node, pair.x, pair.x_zero)
        w = _by_one(edit, node, pair.w, pair.w_zero)
    else:
        x = _centred(edit, node, pair.x, pair.x_zero, [])
        w = _centred(edit, node, pair.w, pair.w_zero, [-1, *[1] * (rank - 1)])
    more = [] if bias is None else [edit.emit(node, "Cast", [bias], _FLOAT)]
    return edit.emit(node, "Conv", [x, w, *more], dict(node.attributes.items()))


def _known(zero: ir.Value | None) -> bool:
    return zero is None or data_of(zero) is not None


def _by_one(edit: Editor, node: ir.Node, value: ir.Value | None, zero: ir.Value | None) -> ir.Value:
    """Levels less their constant zero point, said as quantized by 1: kernels read them as such."""
    known = data_of(zero)
    points = np.zeros(()) if known is None else known.reshape(-1 if known.size > 1 else ())
    inputs = [value, edit.constant(np.ones(points.shape, np.float32), f"{node.name}.one")]
    if known is not None:
        inputs.append(edit.constant(points, f"{node.name}.zero_point"))
    floats = edit.emit(node, "DequantizeLinear", inputs, {"axis": 0} if points.ndim else {})
    floats.const_value = None  # weights stay levels, for the passes to multiply
    return floats


def _centred(
    edit: Editor, node: ir.Node, value: ir.Value | None, zero: ir.Value | None, along: list[int]
) -> ir.Value:
    """Levels less their zero point, as floats; `along`: where several of those lie."""
    plain = edit.emit(node, "Cast", [value], _FLOAT)
    known = data_of(zero)
    if zero is None or (known is not None and not known.any()):
        return plain
    shift = edit.emit(node, "Cast", [zero], _FLOAT)
    if integers.count(zero) != 1 and zero.shape is not None and len(zero.shape) == 1 and along:
        shift = edit.reshape(node, shift, along)
    elif integers.count(zero) == 1 and len(zero.shape or ()):
        shift = edit.emit(node, "Reshape", [shift, edit.constant(np.zeros(0, np.int64), "scalar")])
    return edit.emit(node, "Sub", [plain, shift])


def _settle(edit: Editor, node: ir.Node, total: ir.Value) -> None:
    """Give a sum to whoever wants it: as it is to a Cast to float, else as int32."""
    user = sole_user(node.outputs[0])
    if user is not None and user.op_type == "Cast" and user.attributes.get_int("to", 0) == 1:
        edit.replace_node(user, total)
        edit.remove(node)
        return
    edit.replace_node(node, edit.emit(node, "Cast", [total], {"to": ir.DataType.INT32}))


def _requantized(
    edit: Editor, node: ir.Node, total: ir.Value, factor: ir.Value, zero: ir.Value | None
) -> ir.Value:
    """round(total * factor) + zero, clipped: what ONNX Runtime computes, rounding for rounding."""
    if "Conv" in node.op_type and integers.count(factor) != 1:
        rank = len(node.inputs[3].shape or ()) if node.inputs[3] is not None else 4
        factor = edit.reshape(node, factor, [-1, *[1] * (rank - 2)])
    scaled = edit.emit(node, "Mul", [total, factor])
    whole = edit.emit(node, "Round", [scaled])
    assert zero is not None
    assert zero.dtype is not None
    kind = zero.dtype
    shifted = edit.emit(node, "Add", [whole, edit.emit(node, "Cast", [zero], _FLOAT)])
    low, high = (edit.constant(np.float32(end), f"{kind.name}.{name}") for name, end in _ends(kind))
    return edit.emit(node, "Cast", [edit.emit(node, "Clip", [shifted, low, high])], {"to": kind})


def _ends(kind: ir.DataType) -> list[tuple[str, int]]:
    info = np.iinfo(kind.numpy())
    return [("least", int(info.min)), ("most", int(info.max))]


def _dynamic(edit: Editor, node: ir.Node) -> None:
    """The levels, the scale and the zero point of all of x."""
    x = node.inputs[0]
    emit = edit.emit

    def number(value: float, name: str) -> ir.Value:
        return edit.constant(np.float32(value), f"{node.name}.{name}")

    zero, most, one = number(0, "zero"), number(255, "most"), number(1, "one")
    ends = [
        emit(node, clip, [emit(node, reduce, [x], {"keepdims": 0}), zero])
        for clip, reduce in (("Min", "ReduceMin"), ("Max", "ReduceMax"))
    ]
    span = emit(node, "Sub", [ends[1], ends[0]])
    flat = emit(node, "Equal", [span, zero])
    scale = emit(node, "Where", [flat, one, emit(node, "Div", [span, most])])
    start = emit(node, "Sub", [zero, emit(node, "Div", [ends[0], scale])])
    bounded = emit(node, "Round", [emit(node, "Clip", [start, zero, most])])
    point = emit(node, "Cast", [bounded], {"to": ir.DataType.UINT8})
    levels = emit(node, "QuantizeLinear", [x, scale, point])
    for old, new in zip(list(node.outputs), (levels, scale, point), strict=True):
        edit.replace(old, new)
    edit.remove(node)


PASS = ExpandQuantized
