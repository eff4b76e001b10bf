"""What each output of a convolution is a product with: a window of the input, as a row."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from edgeseq.quantize.layers import Array


def rows(x: Array, node: ir.Node, kernel: tuple[int, ...], most: int, first: int = 0) -> Array:
    """Return windows of an input.

    Args:
        x: The input [N, C, ...].
        node: A Conv whose pads are given.
        kernel: The last axes of its weight.
        most: No more than so many windows, evenly over the outputs.
        first: Which of the outputs between two windows to begin with.

    Returns:
        [groups, count, C / groups * taps], in the order of the weight's own elements.
    """
    get, rank = node.attributes, len(kernel)
    pads = np.array(get.get_ints("pads", (0,) * 2 * rank)).reshape(2, rank).T
    strides = get.get_ints("strides", (1,) * rank)
    dilations = get.get_ints("dilations", (1,) * rank)
    groups = int(get.get_int("group", 1))
    padded = np.pad(x, [(0, 0), (0, 0), *pads.tolist()])
    spans = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True))
    view = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + rank)))
    places = (slice(None), slice(None), *(slice(None, None, s) for s in strides))
    view = view[(*places, *(slice(None, None, d) for d in dilations))]
    at = np.moveaxis(view, 1, 1 + rank)  # [N, outputs ..., C, taps ...]
    count = math.prod(at.shape[: 1 + rank])
    step = max(1, -(-count // most))
    chosen = np.unravel_index(np.arange(first % step, count, step), at.shape[: 1 + rank])
    taken: Array = at[chosen].reshape(-1, groups, x.shape[1] // groups * math.prod(kernel))
    return taken.swapaxes(0, 1)


def known(node: ir.Node) -> bool:
    """Whether the windows of a convolution can be told."""
    resolved = node.attributes.get_string("auto_pad", "NOTSET") in ("NOTSET", "VALID")
    return node.op_type == "Conv" and resolved
