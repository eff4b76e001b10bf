"""`SequenceAt(SplitToSequence(x), i) -> Slice(x)`: how exporters write `chunk`, `split`, `unbind`.

A sequence of tensors has no fixed size, so nothing after it would have a shape. Sequences that are
built or read in any other way stay, and are reported with the operators that cannot be lowered.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import walk

_AT_END = np.iinfo(np.int64).max


def drop_sequences(edit: Editor) -> None:
    """Rewrite every element that a constant index takes out of a split."""
    for node in list(walk(edit.model.graph)):
        if node.op_type == "SequenceAt" and not node.domain:
            _rewrite(node, edit)


def _rewrite(node: ir.Node, edit: Editor) -> None:
    sequence = node.inputs[0]
    split = None if sequence is None else sequence.producer()
    index = _constant(node.inputs[1])
    if split is None or split.op_type != "SplitToSequence" or index is None:
        return
    source, bounds = split.inputs[0], _bounds(split, int(index))
    if source is None or bounds is None:
        return
    axis = _int(split, "axis", 0)
    part = edit.slice(node, source, axis, *bounds)
    if len(split.inputs) < 2 and not _int(split, "keepdims", 1):
        part = edit.emit(node, "Squeeze", [part, edit.ints([axis])])
    if part.shape is None:  # cut from an axis that is not known yet: what the exporter said
        part.shape = node.outputs[0].shape
    edit.replace_node(node, part)
    if not split.outputs[0].uses() and not split.outputs[0].is_graph_output():
        edit.remove(split)


def _bounds(split: ir.Node, index: int) -> tuple[int, int] | None:
    """Start and end of one part; None where they depend on a length that is not known."""
    given = _constant(split.inputs[1]) if len(split.inputs) > 1 else np.array(1)
    if given is None:
        return None
    if given.ndim == 1:
        edges = [0, *np.cumsum(given).tolist()]
        at = index + len(given) if index < 0 else index
        return (edges[at], edges[at + 1]) if 0 <= at < len(given) else None
    size = int(given)
    if index >= 0:
        return index * size, (index + 1) * size
    # Only parts of one element can be counted from the end of a length that is not known.
    return (index, index + 1 or _AT_END) if size == 1 else None


def _constant(value: ir.Value | None) -> npt.NDArray[Any] | None:
    """The data of an initializer, or of a Constant node: they are not folded yet."""
    if value is None or value.is_graph_input():
        return None
    tensor = ir.convenience.get_const_tensor(value)
    return None if tensor is None else tensor.numpy()


def _int(node: ir.Node, name: str, default: int) -> int:
    attribute = node.attributes.get(name)
    return default if attribute is None else int(attribute.as_int())
