"""A constant weight that the graph stores as int8 or int4 levels, for kernels that read them."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import onnx_ir as ir

from edgeseq.ir.passes import walk
from edgeseq.kernels import conv_w8
from edgeseq.lower import formats
from edgeseq.lower.select import Array, all_int, constant

_STORED = "edgeseq.stored"
AS_FLOATS = "only int8 of few weights that many columns share is expanded at each call"


@dataclasses.dataclass(frozen=True, eq=False)
class Levels:
    """Levels and scales of a matrix [inputs, outputs].

    Args:
        values: int8 [inputs, outputs]; of a convolution as ONNX stores them.
        scales: float32 [groups, outputs].
        group: Inputs that share a scale; 0: all.
    """

    values: Array
    scales: Array
    group: int


def levels(value: ir.Value | None, *, outputs_first: bool) -> Levels | None:
    """The levels behind a DequantizeLinear of constants without a zero point, or None.

    Args:
        value: The float matrix.
        outputs_first: It is [outputs, inputs], as Gemm takes it with transB.
    """
    node = None if value is None else value.producer()
    if node is None or node.op_type != "DequantizeLinear" or node.domain:
        return None
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        return None
    stored, factors = constant(node.inputs[0]), formats.weight(node.inputs[1])
    if stored is None or factors is None or stored.ndim != 2:
        return None
    scales = factors.array
    kind = stored.dtype.name
    group = int(node.attributes.get_int("block_size", 0))
    axis = int(node.attributes.get_int("axis", 1)) % 2
    # One scale per output for int8; for int4 groups along the inputs.
    wanted_axis = int(outputs_first) if group else 1 - int(outputs_first)
    if axis != wanted_axis or (kind, bool(group)) not in (("int8", False), ("int4", True)):
        return None
    if not group and scales.ndim != 1:
        return None
    values = stored.astype(np.int8)
    if outputs_first:
        values, scales = values.T, scales.T
    rows = scales if group else scales[None]
    return Levels(np.ascontiguousarray(values), np.ascontiguousarray(rows), group)


def channel_levels(node: ir.Node) -> Levels | None:
    """The int8 levels of a convolution's weight in its own layout, where a kernel reads them.

    Enough columns must share a weight, and the weights be few enough, to expand them at each call.
    """
    behind = None if node.inputs[1] is None else node.inputs[1].producer()
    if behind is None or behind.op_type != "DequantizeLinear" or behind.domain:
        return None
    if len(behind.inputs) > 2 and behind.inputs[2] is not None:
        return None
    stored, scales = constant(behind.inputs[0]), constant(behind.inputs[1])
    outputs_at = int(node.op_type == "ConvTranspose")
    if stored is None or scales is None or stored.ndim not in (3, 4) or scales.ndim != 1:
        return None
    axis = int(behind.attributes.get_int("axis", 1)) % stored.ndim
    if stored.dtype != np.int8 or scales.dtype != np.float32 or axis != outputs_at:
        return None
    few = stored.size <= conv_w8.MOST_WEIGHTS and _columns(node) >= conv_w8.LEAST_COLUMNS
    return Levels(stored, scales[None], 0) if few else None


def _columns(node: ir.Node) -> int:
    """Columns that share a weight; 0 where their number is not known."""
    value = node.inputs[0] if node.op_type == "ConvTranspose" else node.outputs[0]
    dims = list(value.shape or ())[2:] if value is not None else []
    return math.prod(d for d in dims if isinstance(d, int)) if all_int(tuple(dims)) else 0


def resolve(model: ir.Model) -> None:
    """Let every dequantized constant be known: what no kernel reads as levels is a float constant.

    Kernels find the floats as they find those of an initializer; a node that still needs the value
    itself gets an initializer.
    """
    for node in list(walk(model.graph)):
        if node.op_type != "DequantizeLinear" or node.domain:
            continue
        stored, factors = constant(node.inputs[0]), formats.weight(node.inputs[1])
        zero = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if stored is None or factors is None or stored.ndim == 0:
            continue
        out = node.outputs[0]
        floats = _floats(node, stored, factors.array, zero)
        out.const_value = ir.Tensor(floats, name=f"{out.name}.floats")
        for use in list(out.uses()):
            if not _reads_levels(use.node, use.idx):
                kept = f"{out.name}.floats"
                _settle(model, use.node, use.idx, floats, kept, stored.dtype.name)


def was(value: ir.Value | None) -> str:
    """How the graph stored a constant that is floats now: `int8`, `int4`, or nothing."""
    return "" if value is None else value.metadata_props.get(_STORED, "")


def _settle(
    model: ir.Model, user: ir.Node, index: int, floats: Array, name: str, kind: str
) -> None:
    """Give a user the floats as an initializer; what only reshapes them goes with them."""
    if user.op_type == "Reshape" and not user.domain and index == 0:
        shape = user.outputs[0].shape
        if shape is not None and all(isinstance(d, int) for d in shape):
            whole = np.ascontiguousarray(floats.reshape([int(d) for d in shape]))
            for use in list(user.outputs[0].uses()):
                _settle(model, use.node, use.idx, whole, f"{name}.whole", kind)
            return
    known = model.graph.initializers.get(name)
    if known is None:
        known = ir.Value(
            name=name,
            type=ir.TensorType(ir.DataType.FLOAT),
            shape=ir.Shape(floats.shape),
            const_value=ir.Tensor(floats, name=name),
            metadata_props={_STORED: kind},
        )
        model.graph.register_initializer(known)
    user.replace_input_with(index, known)


def _reads_levels(user: ir.Node, index: int) -> bool:
    """Whether a kernel takes the levels for this operand."""
    if user.domain or index != 1:
        return False
    if user.op_type in ("Conv", "ConvTranspose"):
        return channel_levels(user) is not None
    if user.op_type not in ("MatMul", "Gemm"):
        return False
    turned = bool(user.attributes.get_int("transB", 0))
    plain = user.attributes.get_float("alpha", 1.0) == 1.0
    return plain and levels(user.inputs[1], outputs_first=turned) is not None


def _floats(node: ir.Node, stored: Array, scales: Array, zero: Array | None) -> Array:
    """What a DequantizeLinear of constants gives."""
    axis = int(node.attributes.get_int("axis", 1))
    group = int(node.attributes.get_int("block_size", 0))
    whole = stored.astype(np.float32)

    def spread(one: Array) -> Array:
        if group:
            longer = np.repeat(one, group, axis=axis)
            return longer.take(range(stored.shape[axis]), axis=axis)
        if one.size == 1:
            return one.reshape(())
        shape = [1] * stored.ndim
        shape[axis] = -1
        return one.reshape(shape)

    if zero is not None:
        whole = whole - spread(zero.astype(np.float32))
    return np.ascontiguousarray(whole * spread(scales), np.float32)
