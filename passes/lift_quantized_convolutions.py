"""`Conv(DequantizeLinear(x), DequantizeLinear(W), b) -> QuantizedConv(x, W, b)`.

What comes quantized keeps its scales and is multiplied as integers: exact, where floats round every
product. The input is handed over as it is for products (`lift-quantized-products`). Where floats
are as fast, the weights stay int8, for kernels that expand them, and the input is float; where no
kernel can, the weights are float, too.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeseq.ir import dialect, integers
from edgeseq.ir.edit import Array, Editor
from edgeseq.ir.integers import Matrix
from edgeseq.ir.passes import NodePass

_MOST_PRODUCTS = 32767  # of an output: their sum fits 32 bits


class LiftQuantizedConvolutions(NodePass):
    """Convolve what is quantized on both sides as integers."""

    ops = ("Conv",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Replace a convolution, or compute its weights."""
        weights = integers.taps(node.inputs[1])
        if weights is None:
            return False
        if isinstance(weights, str):
            return self._in_floats(node, edit, weights)
        found = _lifted(node, edit, weights)
        if isinstance(found, ir.Value):
            edit.replace_node(node, found)
            return True
        if found == dialect.conv.SMALL and _levels_alone(node, edit, weights):
            self.refuse(node, found)
            return True
        return self._in_floats(node, edit, found)

    def _in_floats(self, node: ir.Node, edit: Editor, why: str) -> bool | str:
        """Refuse a node, and compute its weights now."""
        if not integers.settle(edit, node.inputs[1]):
            return why
        self.refuse(node, why)
        return True


def _lifted(node: ir.Node, edit: Editor, weights: Matrix) -> ir.Value | str:
    """The integer convolution, or why there is none."""
    x, levels = node.inputs[0], integers.signed(weights.levels)
    how, bias = integers.encoding(integers.origin(x)), integers.operand(node, 2)
    shift = integers.dequantized(bias)
    if not isinstance(how, integers.Encoding):
        return how or "its input is not quantized"
    if bias is not None and shift is None:
        return "its bias is not constant"
    if levels is None or levels[1]:
        return "its weights less their zero point do not fit 8 bits"
    if node.attributes.get_string("auto_pad", "NOTSET") != "NOTSET":
        return "its automatic padding depends on time"
    if why := _refusal(levels[0], node.attributes.get_int("group", 1)):
        return why
    name, w = str(node.name), edit.constant(levels[0], f"{node.name}.int8")
    w.metadata_props.update(weights.source.metadata_props)
    inputs = [integers.floats(x, how), w, edit.constant(weights.scales, f"{name}.W_scale")]
    if shift is not None:
        inputs.append(edit.constant(shift.astype(np.float32), f"{name}.B"))
    usual = dialect.conv.attributes(node, weights.levels.ndim - 2)
    return integers.call(edit, node, "QuantizedConv", inputs, {**usual, **how.attributes()})


def _levels_alone(node: ir.Node, edit: Editor, weights: Matrix) -> bool:
    """Let a convolution of several columns expand its levels itself."""
    image = list(node.outputs[0].shape or ())[2:]
    several = any(dim != 1 for dim in image)
    return several and integers.keep_levels(edit, node, weights, axis=0)


def _refusal(w: Array, group: int) -> str:
    """Why no kernel takes these weights, or should not; empty where one does."""
    if w.ndim > 4:
        return f"a convolution of rank {w.ndim - 2} has no kernel"
    if w[0].size > _MOST_PRODUCTS:
        return f"{w[0].size} products of an output do not fit 32 bits"
    if dialect.conv.is_small(w.shape, group):
        return dialect.conv.SMALL
    return "two neighbouring weights are -128" if _neighbours(w == -128) else ""


def _neighbours(at: Array) -> bool:
    """Whether two are side by side, over the channels or along the width."""
    along = at[..., 1:] & at[..., :-1]
    return bool(along.any() or (at[:, 1:] & at[:, :-1]).any())


PASS = LiftQuantizedConvolutions
