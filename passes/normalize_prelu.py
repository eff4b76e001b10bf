"""`PRelu(x, slopes) -> PRelu(x, fewest slopes)`; exact.

Slopes that are equal along an axis are stored once for that axis, and axes of size 1 in front are
dropped: one number is a [1], one a channel is [channels, 1, ...].
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.passes import NodePass


class NormalizePrelu(NodePass):
    """Give the slopes of a PRelu their smallest shape."""

    ops = ("PRelu",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Shorten each axis along which nothing changes."""
        slopes, value = data_of(node.inputs[1]), node.inputs[1]
        if slopes is None or value is None:
            return "its slopes are not constants"
        small = slopes
        for axis in range(slopes.ndim):
            head = np.take(small, [0], axis)
            small = head if (small == head).all() else small
        while small.ndim > 1 and small.shape[0] == 1:
            small = small[0]
        small = small.reshape(small.shape or (1,))
        if small.shape == slopes.shape:
            return False
        name = f"{node.name}.slope"
        edit.remake(node, "PRelu", [node.inputs[0], edit.constant(small, name, value.name)])
        return True


PASS = NormalizePrelu
