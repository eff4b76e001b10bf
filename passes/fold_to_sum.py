"""`Col2Im(x) -> Pad(part) + Pad(part) + ...`: overlapping blocks, added; exact.

What adds the frames of an inverse STFT (`torch.nn.functional.fold`). Along each axis a block is cut
into pieces as long as the distance between two blocks; each sort of piece makes a whole line by
itself, and the lines are added.
"""

from __future__ import annotations

import math

import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, static_shape
from edgeseq.ir.passes import NodePass


class FoldToSum(NodePass):
    """Add overlapping blocks as shifted lines."""

    ops = ("Col2Im",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Fold one axis after the other, the last one first."""
        image, block = (data_of(node.inputs[index]) for index in (1, 2))
        dims = static_shape(node.inputs[0])
        if image is None or block is None or dims is None:
            return "the sizes of its input, image or blocks are not known"
        rank, get = len(image), node.attributes.get_ints
        strides = list(get("strides", [1] * rank))
        dilations = list(get("dilations", [1] * rank))
        pads = list(get("pads", [0] * 2 * rank))
        if any(s > 1 and d > 1 for s, d in zip(strides, dilations, strict=True)):
            return "its blocks are dilated and apart"
        sizes = [int(n) + pads[i] + pads[rank + i] for i, n in enumerate(image)]
        blocks = [int(k) for k in block]
        counts = [
            (n - d * (k - 1) - 1) // s + 1
            for n, k, s, d in zip(sizes, blocks, strides, dilations, strict=True)
        ]
        outer = [dims[0], dims[1] // math.prod(blocks)]
        value = node.inputs[0]
        assert value is not None
        # [outer, blocks, counts, folded axes]; the last block and count go behind, and are folded
        done: list[int] = []
        for axis in reversed(range(rank)):
            if blocks[axis] == 1 and counts[axis] == int(image[axis]):
                done = [counts[axis], *done]  # no blocks along it
                continue
            shape = [*outer, *blocks[: axis + 1], *counts[: axis + 1], *done]
            lead = len(outer) + axis
            order = [i for i in range(len(shape)) if i not in (lead, lead + axis + 1)]
            split = edit.emit(node, "Reshape", [value, edit.ints(shape)])
            turned = _transposed(node, edit, split, [*order, lead, lead + axis + 1])
            rows = math.prod(shape[i] for i in order)
            flat = [rows, blocks[axis], counts[axis]]
            line = edit.emit(node, "Reshape", [turned, edit.ints(flat)])
            line = _fold(node, edit, line, flat, strides[axis], dilations[axis], sizes[axis])
            line = _cut(node, edit, line, 1, pads[axis], pads[axis] + int(image[axis]))
            kept = [shape[i] for i in order]
            value = edit.emit(node, "Reshape", [line, edit.ints([*kept, int(image[axis])])])
            # the axes folded before stand in front of the new one: behind it they belong
            before, behind = len(kept) - len(done), len(kept)
            value = _transposed(node, edit, value, [*range(before), behind, *range(before, behind)])
            done = [int(image[axis]), *done]
        edit.replace_node(node, edit.emit(node, "Reshape", [value, edit.ints([*outer, *done])]))
        return True


PASS = FoldToSum


def _fold(
    node: ir.Node,
    edit: Editor,
    value: ir.Value,
    shape: list[int],
    stride: int,
    dilation: int,
    size: int,
) -> ir.Value:
    """[rows, block, count] -> [rows, size]."""
    rows, block, count = shape
    apart = dilation if stride == 1 else 1  # lines from one piece to the next
    pieces = -(-block // stride)
    if pieces * stride > block:
        missing = edit.ints([0, 0, 0, 0, pieces * stride - block, 0])
        value = edit.emit(node, "Pad", [value, missing])
    split = edit.emit(node, "Reshape", [value, edit.ints([rows, pieces, stride, count])])
    lines = count + (pieces - 1) * apart
    total: ir.Value | None = None
    for piece in range(pieces):
        part = _cut(node, edit, split, 1, piece, piece + 1)
        part = edit.emit(node, "Reshape", [part, edit.ints([rows, stride, count])])
        start = piece * apart
        part = edit.emit(node, "Pad", [part, edit.ints([0, 0, start, 0, 0, lines - count - start])])
        total = part if total is None else edit.emit(node, "Add", [total, part])
    assert total is not None
    whole = _transposed(node, edit, total, [0, 2, 1])
    line = edit.emit(node, "Reshape", [whole, edit.ints([rows, lines * stride])])
    if lines * stride < size:  # what no block reaches
        return edit.emit(node, "Pad", [line, edit.ints([0, 0, 0, size - lines * stride])])
    return line


def _cut(node: ir.Node, edit: Editor, value: ir.Value, axis: int, start: int, end: int) -> ir.Value:
    if start == 0 and value.shape is not None and value.shape[axis] == end:
        return value
    return edit.emit(node, "Slice", [value, *(edit.ints([i]) for i in (start, end, axis))])


def _transposed(node: ir.Node, edit: Editor, value: ir.Value, perm: list[int]) -> ir.Value:
    if perm == sorted(perm):
        return value
    return edit.emit(node, "Transpose", [value], {"perm": ir.AttrInt64s("perm", perm)})
