"""`(x - mean) / sqrt(mean((x - mean)^2) + eps) * s + b -> LayerNormalization(x, s, b)`.

The means run over the last axes. Exact but for rounding. Without `* s` the scale is ones. Refused
when a part has other users, or when the axes are not the last ones or vary with time.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, sole_user
from edgeseq.ir.passes import NodePass

Array = npt.NDArray[Any]


class FuseLayerNorm(NodePass):
    """Recognise a layer normalisation by its square root."""

    ops = ("Sqrt",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Go up to the input and down to the scale and bias."""
        core = _core(node)
        if core is None or isinstance(core, str):
            return core or False
        ends = _scale_and_bias(core)
        size = core.size
        scale = np.ones(size, ends.dtype) if ends.scale is None else ends.scale
        inputs = [core.source, edit.constant(scale, f"{node.name}.scale", ends.scale_name)]
        if ends.bias is not None:
            inputs.append(edit.constant(ends.bias, f"{node.name}.bias", ends.bias_name))
        attributes = {"axis": -len(size), "epsilon": core.epsilon}
        edit.remake(ends.last, "LayerNormalization", inputs, attributes)
        return True


PASS = FuseLayerNorm


@dataclasses.dataclass(frozen=True)
class _Core:
    """The normalisation itself: what goes in, over which sizes, and the node that divides."""

    source: ir.Value
    size: tuple[int, ...]
    epsilon: float
    divide: ir.Node


@dataclasses.dataclass(frozen=True)
class _Ends:
    """The last node, and the constants it applies after dividing."""

    last: ir.Node
    dtype: npt.DTypeLike
    scale: Array | None = None
    scale_name: str | None = None
    bias: Array | None = None
    bias_name: str | None = None


def _core(root: ir.Node) -> _Core | str | None:
    add = _producer(root.inputs[0], "Add")
    if add is None:
        return None
    mean, epsilon = _with_constant(add)
    square_mean = _producer(mean, "ReduceMean")
    if epsilon is None or epsilon.size != 1 or square_mean is None:
        return None
    centred = _squared(square_mean.inputs[0])
    subtract = _producer(centred, "Sub")
    if subtract is None or centred is None or subtract.inputs[0] is None:
        return None
    source = subtract.inputs[0]
    first_mean = _producer(subtract.inputs[1], "ReduceMean")
    if first_mean is None or first_mean.inputs[0] is not source:
        return None
    size = _last_axes(first_mean, source)
    if size is None or size != _last_axes(square_mean, source):
        return "its means are not over the last axes, kept, of sizes that are known"
    divide = _division(centred, root)
    if divide is None:
        return "its root does not divide what it was computed from, and nothing else"
    return _Core(source, size, float(epsilon.item()), divide)


def _producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and not node.domain else None


def _with_constant(node: ir.Node) -> tuple[ir.Value | None, Array | None]:
    """Return the operand that varies and the one that does not."""
    left, right = node.inputs[0], node.inputs[1]
    if data_of(right) is not None:
        return left, data_of(right)
    return right, data_of(left)


def _squared(value: ir.Value | None) -> ir.Value | None:
    node = None if value is None else value.producer()
    if node is None:
        return None
    if node.op_type == "Mul" and node.inputs[0] is node.inputs[1]:
        return node.inputs[0]
    power = data_of(node.inputs[1]) if node.op_type == "Pow" else None
    return node.inputs[0] if power is not None and power.size == 1 and power.item() == 2 else None


def _last_axes(reduce: ir.Node, source: ir.Value) -> tuple[int, ...] | None:
    """Return the sizes reduced, when they are the last ones and kept as ones."""
    axes = data_of(reduce.inputs[1]) if len(reduce.inputs) > 1 else None
    keep = reduce.attributes.get("keepdims")
    if axes is None or source.shape is None or (keep is not None and keep.as_int() == 0):
        return None
    rank = len(source.shape)
    places = sorted(int(axis) % rank for axis in axes)
    sizes = [source.shape[place] for place in places]
    if places != list(range(rank - len(places), rank)):
        return None
    return tuple(s for s in sizes if isinstance(s, int)) if _all_ints(sizes) else None


def _all_ints(sizes: list[Any]) -> bool:
    return all(isinstance(size, int) for size in sizes)


def _division(centred: ir.Value, root: ir.Node) -> ir.Node | None:
    """Find `centred / root`, or `centred * (1 / root)`."""
    user = sole_user(root.outputs[0])
    if user is not None and user.op_type == "Reciprocal":
        product = sole_user(user.outputs[0])
        operands = [] if product is None or product.op_type != "Mul" else list(product.inputs)
        return product if centred in operands else None
    divides = user is not None and user.op_type == "Div" and user.inputs[0] is centred
    return user if divides else None


def _scale_and_bias(core: _Core) -> _Ends:
    """Follow the division into a product and a sum with constants of the normalised sizes."""
    dtype = core.source.dtype.numpy() if core.source.dtype is not None else np.float32
    ends = _Ends(core.divide, dtype)
    follower = sole_user(ends.last.outputs[0])
    if follower is not None and follower.op_type == "Mul":
        scale = _fitting(follower, core)
        if scale is not None:
            ends = dataclasses.replace(ends, last=follower, scale=scale, scale_name=_name(follower))
    follower = sole_user(ends.last.outputs[0])
    if follower is not None and follower.op_type == "Add":
        bias = _fitting(follower, core)
        if bias is not None:
            ends = dataclasses.replace(ends, last=follower, bias=bias, bias_name=_name(follower))
    return ends


def _fitting(node: ir.Node, core: _Core) -> Array | None:
    """Return the constant of a product or sum, spread over the normalised sizes."""
    _, constant = _with_constant(node)
    if constant is None or node.outputs[0].shape != core.source.shape:
        return None
    rank = len(core.size)
    extra = constant.shape[: max(0, constant.ndim - rank)]
    if any(size != 1 for size in extra):
        return None
    return np.array(np.broadcast_to(constant.reshape(constant.shape[len(extra) :]), core.size))


def _name(node: ir.Node) -> str | None:
    constant = next(v for v in reversed(node.inputs) if v is not None and data_of(v) is not None)
    name: str | None = constant.name
    return name
