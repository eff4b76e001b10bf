"""Which convolutions multiply integers, and what that takes.

Those that are too small for it (`edgeseq/ir/dialect/conv.py`) have int8 weights and a float input.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir.dialect.conv import SMALL, is_small
from edgeseq.ir.edit import data_of
from edgeseq.kernels import _quantized, conv_i8
from edgeseq.quantize.layers import CONVOLUTION, Array, Layer
from edgeseq.quantize.observers import Encoding

_MOSTLY_ZERO = 0.5  # of the weights of single pixels: they are left out in blocks instead


def refusal(layer: Layer) -> str:
    """Why a convolution cannot or should not have an integer input; empty where it should."""
    node = layer.node
    ((_, w),) = layer.weights()
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if node.op_type != "Conv" or w.ndim > 4:
        return f"a {node.op_type} of rank {w.ndim - 2} has no integer form"
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return "auto_pad is not resolved to pads"
    if bias is not None and data_of(bias) is None:
        return "its bias is not constant"
    if w[0].size > _quantized.MOST_INPUTS:
        return f"{w[0].size} products do not fit 32 bits"
    if is_small(w.shape, node.attributes.get_int("group", 1)):
        return SMALL
    if w[0, 0].size == 1 and np.count_nonzero(w) < (1 - _MOSTLY_ZERO) * w.size:
        return "most of its weights are zero"
    return ""


def notes(layers: Sequence[Layer]) -> list[str]:
    """One line about those that are too small, of layers whose input may be an integer."""
    small = [la.name for la in layers if la.kind == CONVOLUTION and refusal(la) == SMALL]
    if not small:
        return []
    names = ", ".join(small[:3]) + (", ..." if len(small) > 3 else "")
    return [f"{len(small)} convolutions: weights only, {SMALL} ({names})"]


def has_known_image(layer: Layer) -> bool:
    """Whether each step has a whole input of its own, which a dynamic scale can be that of."""
    dims = list(layer.x.shape or ("",))
    return all(isinstance(d, int) for d in dims)


def shift(w: Array, w8: Array, seen: Array, how: Encoding, groups: int) -> Array:
    """The mean error of the sums over the samples, [O]; padding is left out of account.

    Args:
        w: Weights [O, C / groups, ...].
        w8: What they are rounded to.
        seen: Rows of the input, [count, C ...].
        how: Of the input.
        groups: ONNX `group`.
    """
    channels = groups * w.shape[1]

    def mean(rows: Array, taps: Array) -> Array:
        by_channel = rows.reshape(len(rows), channels, -1).mean(axis=(0, 2)).reshape(groups, -1)
        own = np.repeat(by_channel, len(w) // groups, axis=0)
        return np.asarray((taps.reshape(*w.shape[:2], -1).sum(axis=2) * own).sum(axis=1))

    return mean(how.round_trip(seen), w8) - mean(seen, w)


def in_order(w: Array, node: ir.Node) -> Array:
    """Weights [O, inputs] in the order in which kernels add up pairs of products."""
    return conv_i8.ordered(_image(w), _dilation(node, w.ndim))


def inputs_in_order(rows: Array, w: Array, node: ir.Node) -> Array:
    """Inputs [..., inputs] in the order that `in_order` has the weights in; zeros where it pads."""
    places = np.arange(1, w[0].size + 1).reshape(1, *w.shape[1:])
    padded = np.concatenate([np.zeros_like(rows[..., :1]), rows], axis=-1)
    return np.asarray(padded[..., in_order(places, node)[0]])


def restored(rows: Array, w: Array, node: ir.Node) -> Array:
    """Undo `in_order`, in the shape of `w`."""
    return conv_i8.restored(rows, _image(w).shape, _dilation(node, w.ndim)).reshape(w.shape)


def _image(w: Array) -> Array:
    return w if w.ndim == 4 else w[:, :, None]


def _dilation(node: ir.Node, ndim: int) -> int:
    return int(node.attributes.get_ints("dilations", (1,) * (ndim - 2))[-1])
