"""Quantized operands as a graph states them, and their product as `QuantizedMatMul`.

A model that comes quantized says `DequantizeLinear(levels, scale, zero)`; the kernels want unsigned
levels of the input and signed ones of the weights. Signed inputs are raised by 128, weights that do
not fit int8 once their zero point is gone are lowered by what the sum of the inputs gives back.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import dialect
from edgeseq.ir.edit import Array, Editor, data_of, static_shape

_INT8 = np.iinfo(np.int8)
# Raised by so much, levels of the type are unsigned.
RAISED = {ir.DataType.UINT8: 0, ir.DataType.INT8: 128}
TOP = 255
_FLOAT = {"to": ir.DataType.FLOAT}
_VIEWS = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice"})


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How an input of a product is quantized.

    Args:
        scale: One number for all of it.
        zero_point: Of unsigned levels, 0..255.
    """

    scale: float
    zero_point: int

    def attributes(self) -> dict[str, dialect.quantized.Attribute]:
        """Those of a product whose input it is."""
        return {"x_scale": self.scale, "x_zero_point": self.zero_point, "x_top": TOP}


@dataclasses.dataclass(frozen=True, eq=False)
class Matrix:
    """Levels of a constant matrix, zero points subtracted.

    Args:
        levels: int32 [inputs, outputs]; of a convolution [outputs, inputs, ...].
        scales: float32 [outputs].
        source: The initializer that holds them.
    """

    levels: Array
    scales: Array
    source: ir.Value


def dequantizer(value: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear that makes the value, or None."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == "DequantizeLinear" else None


def operand(node: ir.Node, index: int) -> ir.Value | None:
    """An input of a node; None where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def dequantized(value: ir.Value | None) -> Array | None:
    """The floats of a constant, if need be behind a DequantizeLinear of one scale or of one row."""
    known, node = data_of(value), dequantizer(value)
    if known is not None or node is None:
        return known
    levels, scale = data_of(node.inputs[0]), data_of(node.inputs[1])
    if levels is None or scale is None or scale.size not in (1, levels.size):
        return None
    zero = data_of(operand(node, 2))
    if operand(node, 2) is not None and zero is None:
        return None
    shift = 0.0 if zero is None else zero.astype(np.float32).reshape(-1)
    row = (levels.astype(np.float32).reshape(-1) - shift) * scale.reshape(-1)
    return np.asarray(row, np.float32).reshape(levels.shape)


def origin(x: ir.Value | None) -> ir.Value | None:
    """The value that x is a view of: quantizing commutes with what only moves numbers."""
    node = None if x is None else x.producer()
    while node is not None and node.op_type in _VIEWS and not node.domain:
        x = node.inputs[0]
        node = None if x is None else x.producer()
    return x


def floats(x: ir.Value | None, how: Encoding) -> ir.Value:
    """What to quantize: x, or what it is the quantized form of."""
    assert x is not None
    back = dequantizer(x)
    there = None if back is None or back.inputs[0] is None else back.inputs[0].producer()
    if back is None or there is None or there.op_type != "QuantizeLinear" or there.domain:
        return x
    source = there.inputs[0]
    same = encoding(x) == how and _same(there, back)
    return source if same and source is not None and source.dtype == ir.DataType.FLOAT else x


def _same(there: ir.Node, back: ir.Node) -> bool:
    for index in (1, 2):
        one, other = (operand(n, index) for n in (there, back))
        left, right = data_of(one), data_of(other)
        if one is not other and (left is None or right is None or not np.array_equal(left, right)):
            return False
    return True


def keep_levels(edit: Editor, node: ir.Node, weights: Matrix, axis: int) -> bool:
    """Let a node read its weights as int8 around zero, one scale per output.

    Args:
        edit: Of the graph.
        node: Has the weights as its second input.
        weights: Their levels.
        axis: Of the outputs.

    Returns:
        False where int8 does not hold the levels; the node is as it was.
    """
    found = signed(weights.levels)
    if found is None or found[1]:
        return False
    levels = edit.constant(found[0], f"{weights.source.name}.int8")
    levels.metadata_props.update(weights.source.metadata_props)
    scales = edit.constant(weights.scales, f"{weights.source.name}.scale")
    floats = edit.emit(node, "DequantizeLinear", [levels, scales], {"axis": axis})
    floats.const_value = None  # it stays levels
    node.replace_input_with(1, floats)
    return True


def settle(edit: Editor, weights: ir.Value | None) -> bool:
    """Compute now the floats of a constant that is stored as levels, for all its users."""
    back = _levels_of(weights)
    arrays = [] if back is None else [a for v in back.inputs if (a := data_of(v)) is not None]
    known = None if back is None else edit.inference.compute(back, arrays)[0]
    if back is None or known is None:
        return False
    new = edit.constant(known, f"{back.outputs[0].name}.floats")
    if back.inputs[0] is not None:
        new.metadata_props.update(back.inputs[0].metadata_props)
    edit.replace(back.outputs[0], new)
    return True


def _levels_of(weights: ir.Value | None) -> ir.Node | None:
    """The DequantizeLinear of constants that a matrix comes from."""
    node = None if weights is None else weights.producer()
    if node is not None and node.op_type == "Transpose":
        weights = node.inputs[0]
    back = dequantizer(weights)
    constant = back is not None and all(v is None or data_of(v) is not None for v in back.inputs)
    return back if constant else None


def encoding(value: ir.Value | None) -> Encoding | str | None:
    """How a value is quantized; why the kernels cannot take it so; None: it is not quantized."""
    node = dequantizer(value)
    if node is None:
        return None
    x, scale, zero = node.inputs[0], data_of(node.inputs[1]), data_of(operand(node, 2))
    if scale is None or (operand(node, 2) is not None and zero is None):
        return "the scale of its input is not constant"
    if scale.size != 1 or scale.dtype != np.float32:
        return "its input has more than one scale, or scales that are not float32"
    if x is None or x.dtype not in RAISED:
        return (
            f"its input is {x.dtype.name if x is not None and x.dtype else 'unknown'}, not 8 bits"
        )
    shift = 0 if zero is None else int(zero.reshape(()))
    return Encoding(float(scale.reshape(())), shift + RAISED[x.dtype])


def matrix(value: ir.Value | None, *, outputs_first: bool = False) -> Matrix | str | None:
    """The levels of a matrix; why they are of no use; None: it is not quantized.

    Args:
        value: A DequantizeLinear of a constant, or a Transpose of one.
        outputs_first: It is [outputs, inputs], as Gemm takes it with transB.
    """
    turned = outputs_first
    node = None if value is None else value.producer()
    if node is not None and node.op_type == "Transpose" and not node.domain:
        turned ^= node.attributes.get_ints("perm", (1, 0)) == (1, 0)
        value = node.inputs[0]
    node = dequantizer(value)
    levels = data_of(node.inputs[0]) if node is not None else None
    if node is None or levels is None or levels.ndim != 2:
        return None
    found = _centred(node, levels, outputs_at=0 if turned else 1)
    if isinstance(found, str) or not turned:
        return found
    return dataclasses.replace(found, levels=np.ascontiguousarray(found.levels.T))


def taps(value: ir.Value | None) -> Matrix | str | None:
    """The levels of a convolution's weight; why they are of no use; None: it is not quantized."""
    node = dequantizer(value)
    levels = data_of(node.inputs[0]) if node is not None else None
    if node is None or levels is None or levels.ndim < 3:
        return None
    return _centred(node, levels, outputs_at=0)


def _centred(node: ir.Node, levels: Array, outputs_at: int) -> Matrix | str:
    scale, zero = data_of(node.inputs[1]), data_of(operand(node, 2))
    if scale is None or (operand(node, 2) is not None and zero is None):
        return "the scale of its weights is not constant"
    if scale.dtype != np.float32 or node.attributes.get_int("block_size", 0):
        return "its weights have scales of blocks, or scales that are not float32"
    axis = node.attributes.get_int("axis", 1) % levels.ndim
    if scale.size > 1 and axis != outputs_at:
        return "its weights have scales along the inputs"
    centred = levels.astype(np.int32)
    if zero is not None:
        shape = [1] * levels.ndim
        shape[axis] = zero.size
        centred = centred - zero.astype(np.int32).reshape(shape)
    source = node.inputs[0]
    assert source is not None
    scales = np.broadcast_to(scale.reshape(-1), (levels.shape[outputs_at],))
    return Matrix(centred, scales, source)


def signed(levels: Array) -> tuple[npt.NDArray[np.int8], int] | None:
    """Levels as int8 and what to add to them all; None: their range has more than 8 bits."""
    low, high = int(levels.min(initial=0)), int(levels.max(initial=0))
    if high - low > TOP:
        return None
    lowered = 0
    if low < _INT8.min or high > _INT8.max:
        # Where there is room, not down to -128: two of them side by side have no kernel.
        lowered = max(low + 127, high - _INT8.max)
    return (levels - lowered).astype(np.int8), lowered


def product(
    edit: Editor,
    before: ir.Node,
    x: ir.Value,
    how: Encoding,
    weights: Matrix,
    bias: Array | None = None,
) -> ir.Value | str:
    """Insert a QuantizedMatMul before a node.

    Args:
        edit: Of the model.
        before: The node; the new one takes over its name in the source.
        x: Floats that `how` quantizes.
        how: Scale and zero point of x.
        weights: What it is multiplied by.
        bias: float32 [outputs].

    Returns:
        The product, or why there is none.
    """
    found = signed(weights.levels)
    if found is None:
        return "its weights span more than 256 levels"
    levels, lowered = found
    name = str(before.name)
    stored = edit.constant(levels, f"{name}.int8")
    stored.metadata_props.update(weights.source.metadata_props)
    inputs = [x, stored, edit.constant(weights.scales.astype(np.float32), f"{name}.W_scale")]
    if bias is not None:
        inputs.append(edit.constant(bias.astype(np.float32), f"{name}.B"))
    y = call(edit, before, "QuantizedMatMul", inputs, how.attributes())
    return _raised(edit, before, x, y, lowered * weights.scales) if lowered else y


def call(
    edit: Editor,
    before: ir.Node,
    op_type: str,
    inputs: Sequence[ir.Value],
    attributes: Mapping[str, dialect.quantized.Attribute],
) -> ir.Value:
    """Insert a call of one of the dialect's products before a node; return its output."""
    made = dialect.node(edit.model, op_type, inputs, attributes)
    assert before.graph is not None
    before.graph.insert_before(before, made)
    made.name = edit.name(f"{before.name}.{op_type}")
    made.metadata_props.update(before.metadata_props)
    made.outputs[0].name = edit.name(f"{made.name}.out")
    edit.inference.infer(made)
    return made.outputs[0]


def _raised(edit: Editor, node: ir.Node, x: ir.Value, y: ir.Value, by: Array) -> ir.Value:
    """Give back what the weights were lowered by: as much for each unit of the input's sum."""
    total = edit.emit(node, "ReduceSum", [x, edit.ints([-1])], {"keepdims": 1})
    factors = edit.constant(by.astype(np.float32), f"{node.name}.lowered")
    return edit.emit(node, "Add", [y, edit.emit(node, "Mul", [total, factors])])


def count(value: ir.Value | None) -> int:
    """How many numbers a scale or a zero point has; an absent one is one, 0: not known."""
    if value is None:
        return 1
    shape = static_shape(value)
    return 0 if shape is None else math.prod(shape)


def level_sum(
    edit: Editor, before: ir.Node, x: ir.Value, zero: ir.Value | None, weights: Matrix
) -> ir.Value | str:
    """Insert the product of levels with a matrix, scales left out: whole numbers in float32.

    Args:
        edit: Of the model.
        before: The node to stand before.
        x: Levels, 8 bits.
        zero: Their zero point, which may be known to the run only.
        weights: What they are multiplied by.

    Returns:
        The sums, or why there is no kernel for them.
    """
    if x.dtype not in RAISED or count(zero) != 1:
        return "its input has no levels of 8 bits with one zero point"
    whole = dataclasses.replace(weights, scales=np.ones_like(weights.scales))
    plain = edit.emit(before, "Cast", [x], _FLOAT)
    known = np.zeros(1) if zero is None else data_of(zero)
    if known is None:
        made = product(edit, before, plain, Encoding(1.0, RAISED[x.dtype]), whole)
        if isinstance(made, str):
            return made
        sums = edit.constant(weights.levels.sum(axis=0).astype(np.float32), f"{before.name}.sums")
        shift = edit.emit(before, "Cast", [zero], _FLOAT)
        return edit.emit(before, "Sub", [made, edit.emit(before, "Mul", [shift, sums])])
    point = int(known.reshape(()))
    if point:
        shift = edit.constant(np.float32(point), f"{before.name}.zero_point")
        plain = edit.emit(before, "Sub", [plain, shift])
    return product(edit, before, plain, Encoding(1.0, point + RAISED[x.dtype]), whole)
