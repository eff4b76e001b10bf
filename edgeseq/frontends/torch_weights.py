"""Parameters of a recurrent layer, rearranged as ONNX wants them.

A parameter that is a plain tensor becomes a new constant that keeps the user's name. One that the
module computes (weight normalisation, tied or masked weights) is rearranged in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.edit import Array, Editor, data_of

Order = Sequence[int]


class Weights:
    """Rearranges the weights of one model; what is shared stays shared."""

    def __init__(self, edit: Editor) -> None:
        self._edit = edit
        self._made: dict[tuple[object, ...], ir.Value] = {}
        self._wishes: list[tuple[ir.Value, str]] = []

    def stack(self, node: ir.Node, parts: Sequence[ir.Value], order: Order) -> ir.Value:
        """One [G*H, X] matrix a direction -> [D, G*H, X], gates reordered."""
        return self._make(node, [[part] for part in parts], order, stacked=True)

    def flat(self, node: ir.Node, part: ir.Value, order: Order) -> ir.Value:
        """[G*H, X] -> [G*H, X], gates reordered."""
        return self._make(node, [[part]], order, stacked=False)

    def biases(
        self, node: ir.Node, pairs: Sequence[Sequence[ir.Value]], order: Order
    ) -> ir.Value | None:
        """Input and recurrent bias of each direction -> [D, 2*G*H]; None where there are none."""
        return self._make(node, pairs, order, stacked=True) if pairs[0] else None

    def flat_bias(
        self, node: ir.Node, pair: Sequence[ir.Value], like: ir.Value, order: Order
    ) -> ir.Value:
        """Input and recurrent bias of one direction -> [2*G*H]; zeros where there are none."""
        if pair:
            return self._make(node, [pair], order, stacked=False)
        if like.dtype is None:
            raise ValueError(f"the type of {like.name} is unknown")
        zeros = np.zeros(2 * rows(like), like.dtype.numpy())
        return self._edit.constant(zeros, f"{node.name}.no_bias")

    def settle_names(self) -> None:
        """Give the new constants the user's names, once the originals are gone."""
        taken = self._edit.model.graph.initializers
        for value, wish in self._wishes:
            if wish not in taken:
                value.name = wish

    def _make(
        self, node: ir.Node, groups: Sequence[Sequence[ir.Value]], order: Order, *, stacked: bool
    ) -> ir.Value:
        values = [value for group in groups for value in group]
        data = {value: found for value in values if (found := data_of(value)) is not None}
        if len(data) < len(set(values)):
            return self._compute(node, groups, order, stacked)
        key = (stacked, *order, *values)
        if key not in self._made:
            rows = [np.concatenate([_reorder(data[v], order) for v in g]) for g in groups]
            self._made[key] = self._constant(np.stack(rows) if stacked else rows[0], values)
        return self._made[key]

    def _constant(self, array: Array, sources: Sequence[ir.Value]) -> ir.Value:
        names = [_source(value) for value in sources]
        value = self._edit.constant(array, names[0], source=", ".join(names))
        self._wishes.append((value, names[0]))
        return value

    def _compute(
        self, node: ir.Node, groups: Sequence[Sequence[ir.Value]], order: Order, stacked: bool
    ) -> ir.Value:
        rows = [
            self._join(node, [gate for v in group for gate in self._gates(node, v, order)])
            for group in groups
        ]
        if not stacked:
            return rows[0]
        axis = self._edit.ints([0])
        return self._join(node, [self._edit.emit(node, "Unsqueeze", [r, axis]) for r in rows])

    def _gates(self, node: ir.Node, value: ir.Value, order: Order) -> list[ir.Value]:
        if len(order) == 1:
            return [value]
        attributes = {"axis": 0, "num_outputs": len(order)}
        gates = self._edit.emit_many(node, "Split", [value], attributes, count=len(order))
        return [gates[gate] for gate in order]

    def _join(self, node: ir.Node, parts: Sequence[ir.Value]) -> ir.Value:
        return parts[0] if len(parts) == 1 else self._edit.emit(node, "Concat", parts, {"axis": 0})


def rows(weight: ir.Value) -> int:
    """Length of the first axis of a weight."""
    size = None if weight.shape is None else weight.shape[0]
    if not isinstance(size, int):
        raise ValueError(f"the shape of {weight.name} is unknown")
    return size


def is_zero(value: ir.Value) -> bool:
    """Whether this state is zeros made in the graph, as `nn.GRU` does without an initial state."""
    producer = value.producer()
    if producer is not None and producer.op_type in _FILLERS and producer.inputs[0] is not None:
        return is_zero(producer.inputs[0])
    if producer is not None and producer.op_type == "ConstantOfShape":
        filler = producer.attributes.get("value")
        return filler is None or not np.any(filler.as_tensor().numpy())
    tensor = ir.convenience.get_const_tensor(value)
    return tensor is not None and not value.is_graph_input() and not np.any(tensor.numpy())


# Operators that only repeat or rearrange their first input.
_FILLERS = {"Expand", "Cast", "CastLike", "Identity", "Unsqueeze", "Squeeze", "Reshape"}


def _reorder(array: Array, order: Order) -> Array:
    gates = np.split(array, len(order))
    return np.concatenate([gates[gate] for gate in order])


def _source(value: ir.Value) -> str:
    fact = facts.get(value, facts.SourceName)
    return fact.name if fact else str(value.name)
