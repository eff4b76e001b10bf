"""`BatchNormalization(Conv(x, W, b)) -> Conv(x, W*f, (b - mean)*f + beta)`.

Here f = scale / sqrt(variance + epsilon). Also after ConvTranspose (any groups), Gemm and MatMul,
and before a Conv without padding: `Conv(BatchNormalization(x))`. Exact but for rounding; the folded
weights are computed in float64. A padded Conv after the normalisation is refused: its border would
see the shift instead of zero.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, sole_user
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import NodePass

Array = npt.NDArray[Any]


class FuseConvBatchnorm(NodePass):
    """Fold a normalisation by constants into the linear operator beside it."""

    ops = ("BatchNormalization",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Fold into the operator before, or else into the one after."""
        affine = _affine(node)
        if affine is None:
            return "its statistics are not constants"
        source = node.inputs[0]
        linear = None if source is None else source.producer()
        if linear is not None and linear.op_type in _OUTPUT_SIDE:
            if sole_user(source) is not node:
                return f"{describe(linear)} has other users"
            return _into_previous(linear, node, affine, edit)
        follower = sole_user(node.outputs[0])
        if follower is not None and follower.op_type == "Conv":
            return _into_next(node, follower, affine, edit)
        return "no linear operator before it and no Conv after it"


PASS = FuseConvBatchnorm

_OUTPUT_SIDE = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclasses.dataclass(frozen=True)
class _Affine:
    """`x * factor + shift`, per channel, in float64."""

    factor: Array
    shift: Array


def _affine(node: ir.Node) -> _Affine | None:
    data = [data_of(value) for value in node.inputs[1:5]]
    scale, bias, mean, variance = (None if d is None else d.astype(np.float64) for d in data)
    if scale is None or bias is None or mean is None or variance is None:
        return None
    epsilon = node.attributes.get("epsilon")
    factor = scale / np.sqrt(variance + (1e-5 if epsilon is None else epsilon.as_float()))
    return _Affine(factor, bias - mean * factor)


def _into_previous(linear: ir.Node, node: ir.Node, affine: _Affine, edit: Editor) -> bool | str:
    weight = data_of(linear.inputs[1])
    bias = data_of(linear.inputs[2]) if _has_bias(linear) else np.zeros(1)
    if weight is None or bias is None:
        return f"the weights of {describe(linear)} are not constants"
    if linear.op_type == "MatMul" and (weight.ndim != 2 or len(node.outputs[0].shape or ()) != 2):
        return f"the channels of {describe(linear)} are not its columns"
    scaled = weight * _along_output(linear, weight, affine.factor)
    beta = linear.attributes.get("beta")
    share = bias * (beta.as_float() if beta is not None else 1.0)
    shifted = share * affine.factor + affine.shift
    inputs = [
        linear.inputs[0],
        edit.constant(scaled.astype(weight.dtype), f"{linear.name}.weight", _name(linear, 1)),
        edit.constant(shifted.astype(weight.dtype), f"{linear.name}.bias"),
    ]
    attributes = {name: one for name, one in linear.attributes.items() if name != "beta"}
    op_type = "Gemm" if linear.op_type == "MatMul" else linear.op_type
    edit.inherit(edit.remake(node, op_type, inputs, attributes), linear)
    return True


def _along_output(linear: ir.Node, weight: Array, factor: Array) -> Array:
    """Shape the factor so that it scales the weight's output channels."""
    if linear.op_type == "Conv":
        return factor.reshape(-1, *[1] * (weight.ndim - 1))
    if linear.op_type == "ConvTranspose":
        # Weights are [groups * inputs, outputs of one group, ...].
        per_group = factor.reshape(_groups(linear), 1, weight.shape[1])
        rows = np.repeat(per_group, weight.shape[0] // _groups(linear), axis=1)
        return rows.reshape(*weight.shape[:2], *[1] * (weight.ndim - 2))
    transposed = linear.attributes.get("transB")
    return factor[:, None] if transposed is not None and transposed.as_int() else factor


def _into_next(node: ir.Node, conv: ir.Node, affine: _Affine, edit: Editor) -> bool | str:
    pads, auto = conv.attributes.get("pads"), conv.attributes.get("auto_pad")
    padded = pads is not None and any(pads.as_ints())
    if padded or (auto is not None and auto.as_string() not in ("NOTSET", "VALID")):
        return f"{describe(conv)} pads with zeros, not with the shift"
    weight = data_of(conv.inputs[1])
    bias = data_of(conv.inputs[2]) if _has_bias(conv) else np.zeros(1)
    if weight is None or bias is None:
        return f"the weights of {describe(conv)} are not constants"
    # Row o of the weight reads the channels of its group.
    group = np.repeat(np.arange(_groups(conv)), weight.shape[0] // _groups(conv))
    factor = affine.factor.reshape(_groups(conv), -1)[group]
    shift = affine.shift.reshape(_groups(conv), -1)[group]
    extra = [1] * (weight.ndim - 2)
    scaled = weight * factor.reshape(*factor.shape, *extra)
    moved = (weight * shift.reshape(*shift.shape, *extra)).reshape(weight.shape[0], -1).sum(1)
    inputs = [
        node.inputs[0],
        edit.constant(scaled.astype(weight.dtype), f"{conv.name}.weight", _name(conv, 1)),
        edit.constant((bias + moved).astype(weight.dtype), f"{conv.name}.bias"),
    ]
    edit.remake(conv, "Conv", inputs, conv.attributes)
    return True


def _has_bias(node: ir.Node) -> bool:
    return len(node.inputs) > 2 and node.inputs[2] is not None


def _groups(node: ir.Node) -> int:
    group = node.attributes.get("group")
    return 1 if group is None else group.as_int()


def _name(node: ir.Node, place: int) -> str | None:
    value = node.inputs[place]
    return None if value is None else value.name
