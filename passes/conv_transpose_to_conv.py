"""`ConvTranspose(x, W), stride 1 -> Conv(x, W mirrored), pads d*(k-1) - p`; exact.

Refused with strides, with output padding, and where the new padding would be negative.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.passes import NodePass


class ConvTransposeToConv(NodePass):
    """Say a transposed convolution without strides as a convolution."""

    ops = ("ConvTranspose",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Mirror the weight and swap its channels."""
        weight = data_of(node.inputs[1])
        if weight is None:
            return "its weights are not constants"
        rank = weight.ndim - 2
        strides = _ints(node, "strides", [1] * rank)
        if any(stride != 1 for stride in strides):
            return f"its strides are {strides}"
        if any(_ints(node, "output_padding", [0])) or "output_shape" in node.attributes:
            return "it fixes its output size"
        auto = node.attributes.get("auto_pad")
        if auto is not None and auto.as_string() not in ("NOTSET", "VALID"):
            return f"its padding is {auto.as_string()}"
        kernel, dilations = weight.shape[2:], _ints(node, "dilations", [1] * rank)
        reach = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pads = [r - p for r, p in zip(reach * 2, _ints(node, "pads", [0] * 2 * rank), strict=True)]
        if min(pads, default=0) < 0:
            return f"the convolution would need pads {pads}"
        groups = _ints(node, "group", [1])[0]
        # [groups * inputs, outputs, ...] -> [groups * outputs, inputs, ...]
        split = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
        swapped = split.swapaxes(1, 2).reshape(-1, weight.shape[0] // groups, *kernel)
        mirrored = np.flip(swapped, axis=tuple(range(2, 2 + rank)))
        source = node.inputs[1].name if node.inputs[1] is not None else None
        inputs = [node.inputs[0], edit.constant(mirrored, f"{node.name}.weight", source)]
        attributes = {
            "kernel_shape": list(kernel),
            "pads": pads,
            "strides": [1] * rank,
            "dilations": dilations,
            "group": groups,
        }
        edit.remake(node, "Conv", [*inputs, *node.inputs[2:]], attributes)
        return True


PASS = ConvTransposeToConv


def _ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    attribute = node.attributes.get(name)
    if attribute is None:
        return default
    return [attribute.as_int()] if name == "group" else list(attribute.as_ints())
