"""`Conv(x[N, C, k], W[O, C, k]) -> Gemm(x, W)`: a convolution with one place to stand; exact.

Models that take one frame at a time say their linear layers as convolutions of one pixel. As
products they read their weights in one stream, and can be pruned and quantized as such. Taps that
lie in the padding are dropped.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, static_shape
from edgeseq.ir.passes import NodePass

Array = npt.NDArray[np.generic]


class ConvToGemm(NodePass):
    """Say a convolution whose output is one pixel as a product."""

    ops = ("Conv",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Spread the weight over the whole input, and flatten both."""
        before, after = node.inputs[0], node.outputs[0].shape
        dims, weight = static_shape(before), data_of(node.inputs[1])
        if before is None or dims is None or after is None:
            return False
        if any(dim != 1 for dim in list(after)[2:]):
            return False
        if weight is None:
            return "its weights are not constants"
        if node.attributes.get_int("group", 1) != 1:
            return "it has groups"
        if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
            return "its padding is not explicit"
        matrix = _spread(node, weight, dims[2:]).reshape(len(weight), -1)
        source = node.inputs[1].name if node.inputs[1] is not None else None
        flat = edit.emit(node, "Reshape", [before, edit.ints([dims[0], math.prod(dims[1:])])])
        operands = [flat, edit.constant(matrix, f"{node.name}.matrix", source), *node.inputs[2:]]
        product = edit.emit(node, "Gemm", operands, {"transB": 1})
        shape = edit.ints([dims[0], len(weight), *[1] * (len(dims) - 2)])
        edit.replace_node(node, edit.emit(node, "Reshape", [product, shape]))
        return True


PASS = ConvToGemm


def _spread(node: ir.Node, weight: Array, lengths: tuple[int, ...]) -> Array:
    """The weight [O, C, taps...] as [O, C, lengths...]: each tap where it reads."""
    rank = len(lengths)
    pads = list(node.attributes.get_ints("pads", [0] * 2 * rank))
    dilations = list(node.attributes.get_ints("dilations", [1] * rank))
    for axis, length in enumerate(lengths):
        at = np.arange(weight.shape[2 + axis]) * dilations[axis] - pads[axis]
        inside = np.flatnonzero((at >= 0) & (at < length))
        whole = np.zeros(
            (*weight.shape[: 2 + axis], length, *weight.shape[3 + axis :]), weight.dtype
        )
        np.moveaxis(whole, 2 + axis, 0)[at[inside]] = np.moveaxis(weight, 2 + axis, 0)[inside]
        weight = whole
    return weight
