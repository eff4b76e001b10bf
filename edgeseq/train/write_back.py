"""Puts pruned weights back into the file they came from: its opset, names and order stay."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgeseq.ir import facts


def write(pruned: ir.Model, source: Path | None, output: Path) -> tuple[str, ...]:
    """Save a pruned model as ONNX.

    Args:
        pruned: The imported model after pruning.
        source: The .onnx file it was imported from; None where it was a PyTorch module.
        output: The file to write.

    Returns:
        What the user should know.
    """
    original = None if source is None else _restored(pruned, source)
    if original is None:
        ir.save(pruned, output)
        if source is None:
            return ()
        return ("a weight is not in the input file under its name: the imported model is written",)
    ir.save(original, output)
    return ()


def _restored(pruned: ir.Model, source: Path) -> ir.Model | None:
    """Return the original model with the new weights; None where one has no place in it."""
    original = ir.load(source)
    ir.external_data.load_to_model(original)
    for name, value in pruned.graph.initializers.items():
        marked = facts.get(value, facts.Sparsity)
        place = original.graph.initializers.get(name)
        if place is None or place.const_value is None:
            if marked is not None and not _constant_node(original, name, value):
                return None
            continue
        if not _fits(place.const_value, value.const_value):
            if marked is not None:
                return None
            continue
        before, after = place.const_value.numpy(), value.const_value.numpy()
        if not np.array_equal(before, after.astype(before.dtype)):
            place.const_value = ir.tensor(after.astype(before.dtype), name=name)
        if marked is not None:
            facts.put(place, marked)
    return original


def _constant_node(original: ir.Model, name: str, value: ir.Value) -> bool:
    """Replace the value of a Constant node; its place for facts is the value it makes."""
    for node in original.graph:
        if (
            node.op_type == "Constant"
            and node.outputs[0].name == name
            and "value" in node.attributes
        ):
            before = node.attributes["value"].value
            if not _fits(before, value.const_value):
                return False
            after = value.const_value.numpy().astype(before.numpy().dtype)
            node.attributes["value"] = ir.AttrTensor("value", ir.tensor(after, name=name))
            marked = facts.get(value, facts.Sparsity)
            if marked is not None:
                facts.put(node.outputs[0], marked)
            return True
    return False


def _fits(before: ir.TensorProtocol, after: ir.TensorProtocol) -> bool:
    same = tuple(before.shape) == tuple(after.shape)
    return bool(same and before.dtype.is_floating_point())
