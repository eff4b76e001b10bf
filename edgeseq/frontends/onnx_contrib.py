"""Quantized operators of ONNX Runtime (`com.microsoft`) -> the standard ones they are made of.

    QLinearAdd(a, .., b, .., y) -> QuantizeLinear(Add(DequantizeLinear(a), DequantizeLinear(b)))
    QGemm(a, .., b, .., c)      -> QuantizeLinear(Gemm(DequantizeLinear(a), DequantizeLinear(b), c))
    MatMulIntegerToFloat, DynamicQuantizeMatMul -> MatMulInteger, Cast, Mul, Add
    DynamicQuantizeLSTM         -> QuantizedLSTM with scales of each step and row, where the
                                   original has one for all rows and steps of an input

The graph says what the file says; the passes make integers of it (`lift-quantized-products`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir import dialect
from edgeseq.ir.edit import Array, Editor, data_of
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import walk

DOMAIN = "com.microsoft"
Values = Sequence[ir.Value | None]


def expand(model: ir.Model) -> None:
    """Replace every quantized operator of ONNX Runtime that is known, in place.

    Raises:
        UnsupportedModelError: one is used in a way that has no equivalent.
    """
    edit = Editor(model)
    for node in list(walk(model.graph)):
        expansion = _TABLE.get(node.op_type) if node.domain == DOMAIN else None
        if expansion is not None:
            if node.graph is not model.graph:
                raise _refused(node, "it stands in the body of a loop or a branch")
            expansion(edit, node)
    edit.sweep()
    if not any(node.domain == DOMAIN for node in walk(model.graph)):
        model.opset_imports.pop(DOMAIN, None)


def _refused(node: ir.Node, why: str) -> UnsupportedModelError:
    return UnsupportedModelError(
        f"{node.op_type} of ONNX Runtime cannot be said in standard ONNX here",
        at=describe(node),
        why=why,
        fix="quantize the model in the QDQ format (QuantFormat.QDQ)",
    )


def _given(node: ir.Node, count: int) -> list[ir.Value | None]:
    return [*node.inputs, *[None] * count][:count]


def _floats(edit: Editor, node: ir.Node, levels: Values, axis: int | None = None) -> ir.Value:
    """DequantizeLinear of (levels, scale, zero point)."""
    x, scale, zero = levels
    attributes = {} if axis is None else {"axis": axis}
    floats = edit.emit(node, "DequantizeLinear", [x, scale, *_optional(zero)], attributes)
    floats.const_value = None  # weights stay levels, for the passes to multiply
    return floats


def _optional(value: ir.Value | None) -> list[ir.Value]:
    return [] if value is None else [value]


def _finish(edit: Editor, node: ir.Node, y: ir.Value, scale: Values) -> None:
    """Quantize the result, where it has a scale."""
    if scale[0] is not None:
        y = edit.emit(node, "QuantizeLinear", [y, scale[0], *_optional(scale[1])])
    edit.replace_node(node, y)


def _binary(op_type: str) -> Callable[[Editor, ir.Node], None]:
    def expansion(edit: Editor, node: ir.Node) -> None:
        given = _given(node, 8)
        operands = [_floats(edit, node, given[i : i + 3]) for i in (0, 3)]
        _finish(edit, node, edit.emit(node, op_type, operands), given[6:])

    return expansion


def _unary(op_type: str, kept: Sequence[str] = ()) -> Callable[[Editor, ir.Node], None]:
    def expansion(edit: Editor, node: ir.Node) -> None:
        given = _given(node, 5)
        if node.attributes.get_int("channels_last", 0):
            raise _refused(node, "channels_last = 1")
        attributes = {name: node.attributes[name] for name in kept if name in node.attributes}
        x = _floats(edit, node, given[:3])
        _finish(edit, node, edit.emit(node, op_type, [x], attributes), given[3:])

    return expansion


def _mean(edit: Editor, node: ir.Node) -> None:
    given, get = _given(node, 5), node.attributes
    axes = [edit.ints(list(get.get_ints("axes", ())))] if "axes" in get else []
    operands = [_floats(edit, node, given[:3]), *axes]
    kept = {"keepdims": get.get_int("keepdims", 1)}
    _finish(edit, node, edit.emit(node, "ReduceMean", operands, kept), given[3:])


def _where(edit: Editor, node: ir.Node) -> None:
    condition, *given = _given(node, 9)
    operands = [condition, *(_floats(edit, node, given[i : i + 3]) for i in (0, 3))]
    _finish(edit, node, edit.emit(node, "Where", operands), given[6:])


def _concat(edit: Editor, node: ir.Node) -> None:
    scale, zero, *given = node.inputs
    parts = [_floats(edit, node, given[i : i + 3]) for i in range(0, len(given), 3)]
    axis = {"axis": node.attributes.get_int("axis", 0)}
    _finish(edit, node, edit.emit(node, "Concat", parts, axis), (scale, zero))


def _gemm(edit: Editor, node: ir.Node) -> None:
    """The bias is int32 in units of alpha times both scales."""
    given, get = _given(node, 9), node.attributes
    turned = get.get_int("transB", 0)
    a = _floats(edit, node, given[:3])
    b = _floats(edit, node, given[3:6], axis=0 if turned else 1)
    operands = [a, b]
    alpha = get.get_float("alpha", 1.0)
    if given[6] is not None:
        unit = edit.emit(node, "Mul", [given[1], given[4]])
        if alpha != 1.0:
            factor = edit.constant(np.float32(alpha), f"{node.name}.alpha")
            unit = edit.emit(node, "Mul", [unit, factor])
        axis = max(0, len(given[6].shape or (1,)) - 1)
        operands.append(edit.emit(node, "DequantizeLinear", [given[6], unit], {"axis": axis}))
    kept = {"alpha": alpha, "transA": get.get_int("transA", 0), "transB": turned}
    _finish(edit, node, edit.emit(node, "Gemm", operands, kept), given[7:])


def _to_float(edit: Editor, node: ir.Node) -> None:
    """MatMulIntegerToFloat(a, b, a_scale, b_scale, a_zero, b_zero, bias)."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = _given(node, 7)
    _integer_product(edit, node, (a, a_scale, a_zero), (b, b_scale, b_zero), bias)


def _dynamic_product(edit: Editor, node: ir.Node) -> None:
    """DynamicQuantizeMatMul(x, b, b_scale, b_zero, bias)."""
    x, b, b_scale, b_zero, bias = _given(node, 5)
    levels, scale, zero = edit.emit_many(node, "DynamicQuantizeLinear", [x], count=3)
    _integer_product(edit, node, (levels, scale, zero), (b, b_scale, b_zero), bias)


def _integer_product(
    edit: Editor, node: ir.Node, left: Values, right: Values, bias: ir.Value | None
) -> None:
    operands = [left[0], right[0], left[2], right[2]]
    while operands[-1] is None:
        operands.pop()
    total = edit.emit(node, "MatMulInteger", operands)
    real = edit.emit(node, "Cast", [total], {"to": ir.DataType.FLOAT})
    y = edit.emit(node, "Mul", [real, edit.emit(node, "Mul", [left[1], right[1]])])
    edit.replace_node(node, y if bias is None else edit.emit(node, "Add", [y, bias]))


def _lstm(edit: Editor, node: ir.Node) -> None:
    """DynamicQuantizeLSTM, whose weights are [directions, inputs, rows]."""
    x, w, r, b, lens, h0, c0, peepholes, w_scale, w_zero, r_scale, r_zero = _given(node, 12)
    parts = [_Weights.of(node, *one) for one in ((w, w_scale, w_zero), (r, r_scale, r_zero))]
    attributes = dict(node.attributes.items())
    if peepholes is None and _plain(node) and all(p.fits for p in parts):
        levels = [edit.constant(p.levels.astype(np.int8), f"{p.name}.int8", p.name) for p in parts]
        scales = [edit.constant(p.scales, f"{p.name}.scale") for p in parts]
        operands = [x, *levels, *scales, b, lens, h0, c0]
        kept = {n: a.value for n, a in attributes.items() if n in ("direction", "hidden_size")}
        scaled = {**kept, "x_scale": 0.0, "h_scale": 0.0}
        made = dialect.node(edit.model, "QuantizedLSTM", operands, scaled, outputs=3)
    else:
        floats = [edit.constant(p.floats(), f"{p.name}.floats", p.name) for p in parts]
        operands = [x, *floats, b, lens, h0, c0, peepholes]
        while operands[-1] is None:
            operands.pop()
        made = ir.node("LSTM", operands, attributes=attributes, num_outputs=3)
    assert node.graph is not None
    node.graph.insert_before(node, made)
    edit.inherit(made, node)
    for new in made.outputs:
        new.name = edit.name(f"{made.name}.out")
    edit.inference.infer(made)
    for old, new in zip(list(node.outputs), made.outputs, strict=False):
        edit.replace(old, new)
    edit.remove(node)


_ACTIVATIONS = ("sigmoid", "tanh", "tanh")


def _plain(node: ir.Node) -> bool:
    """Whether it is the cell that QuantizedLSTM is."""
    get = node.attributes
    given = [name.lower() for name in get.get_strings("activations", _ACTIVATIONS)]
    usual = given == [*_ACTIVATIONS] * (len(given) // 3)
    coupled = get.get_int("input_forget", 0) or get.get_int("layout", 0)
    clipped = get.get_float("clip", 0.0) or "activation_alpha" in get or "activation_beta" in get
    return bool(usual and not coupled and not clipped)


@dataclasses.dataclass(frozen=True, eq=False)
class _Weights:
    """Levels of recurrent weights, zero points subtracted, as ONNX's LSTM takes them.

    Args:
        name: The initializer.
        levels: int32 [directions, rows, inputs].
        scales: float32 [directions, rows].
    """

    name: str
    levels: Array
    scales: Array

    @property
    def fits(self) -> bool:
        """Whether int8 holds the levels."""
        info = np.iinfo(np.int8)
        return int(self.levels.min()) >= info.min and int(self.levels.max()) <= info.max

    def floats(self) -> Array:
        """The weights."""
        return np.asarray(self.levels.astype(np.float32) * self.scales[..., None])

    @classmethod
    def of(
        cls,
        node: ir.Node,
        levels: ir.Value | None,
        scale: ir.Value | None,
        zero: ir.Value | None,
    ) -> _Weights:
        stored, factors, shift = data_of(levels), data_of(scale), data_of(zero)
        if stored is None or factors is None or levels is None:
            raise _refused(node, "its weights or their scales are not constant")
        if zero is not None and shift is None:
            raise _refused(node, "the zero points of its weights are not constant")
        turned = stored.astype(np.int32).transpose(0, 2, 1)
        rows = turned.shape[:2]

        def spread(one: Array) -> Array:
            return np.broadcast_to(one.reshape(rows[0], -1), rows)

        if shift is not None:
            turned = turned - spread(shift.astype(np.int32))[..., None]
        return cls(str(levels.name), np.ascontiguousarray(turned), spread(factors).copy())


_POOL = (
    "auto_pad",
    "ceil_mode",
    "count_include_pad",
    "dilations",
    "kernel_shape",
    "pads",
    "strides",
)
_TABLE: dict[str, Callable[[Editor, ir.Node], None]] = {
    "DynamicQuantizeLSTM": _lstm,
    "DynamicQuantizeMatMul": _dynamic_product,
    "MatMulIntegerToFloat": _to_float,
    "QGemm": _gemm,
    "QLinearAdd": _binary("Add"),
    "QLinearAveragePool": _unary("AveragePool", _POOL),
    "QLinearConcat": _concat,
    "QLinearGlobalAveragePool": _unary("GlobalAveragePool"),
    "QLinearLeakyRelu": _unary("LeakyRelu", ("alpha",)),
    "QLinearMul": _binary("Mul"),
    "QLinearReduceMean": _mean,
    "QLinearSigmoid": _unary("Sigmoid"),
    "QLinearSoftmax": _unary("Softmax", ("axis",)),
    "QLinearWhere": _where,
}
OPS = frozenset(f"{DOMAIN}.{name}" for name in _TABLE)
