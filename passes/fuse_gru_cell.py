"""A GRU cell written out `-> GRU(X[1, ...], W, R, B, h)`; exact but for summation order.

Recognised from its end: `h' = n + z*(h - n)` or `z*h + (1 - z)*n`, where `n = tanh(xn + r*hn)`,
`r = sigmoid(xr + hr)` and `z = sigmoid(xz + hz)`; xr, xz, xn are equal parts, in any order, of
`x W + b`, and hr, hz, hn of `h R + c` (MatMul or Gemm). That is torch's cell, and Keras' with
`reset_after`. Refused when the parts come from elsewhere or weights are not constants.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.cells import Gates, Part, gate_of, linear_gates, producer
from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.passes import NodePass

Array = npt.NDArray[Any]
Pair = tuple[ir.Value, ir.Value]


class FuseGruCell(NodePass):
    """Recognise a GRU cell by the sum that is its output."""

    ops = ("Add",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Find the cell, its gates and its weights."""
        cell = _cell(node)
        if cell is None:
            return False
        order = _order(cell)
        if isinstance(order, str):
            return order
        x, h = linear_gates(order.x, products=1), linear_gates(order.h, products=1)
        if isinstance(x, str) or isinstance(h, str):
            return x if isinstance(x, str) else str(h)
        if h.operands[0].value is not cell.h:
            return "the state it keeps is not the one its gates see"
        if x.rows != 3 * order.size or h.rows != x.rows:
            return "its gates are not three equal parts"
        _emit(node, cell, x, h, order, edit)
        return True


PASS = FuseGruCell


@dataclasses.dataclass(frozen=True)
class _Cell:
    """The old state, and the two sides of each gate; those of `new` are (from x, from h)."""

    h: ir.Value
    update: Pair
    reset: Pair
    new: Pair


@dataclasses.dataclass(frozen=True)
class _Order:
    """The two sums, and where the rows of z, r and n start in each."""

    x: ir.Value
    h: ir.Value
    size: int
    x_starts: list[int]
    h_starts: list[int]


def _swaps(node: ir.Node | None) -> list[tuple[ir.Value | None, ir.Value | None]]:
    """The operands of a sum or product in both orders."""
    if node is None:
        return []
    return [(node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])]


def _cell(node: ir.Node) -> _Cell | None:
    for left, right in _swaps(node):
        for h, update, new in [*_blended(left, right), *_weighted(left, right)]:
            z, n = producer(update, "Sigmoid"), producer(new, "Tanh")
            sides = None if z is None else _sides(z.inputs[0])
            rest = None if n is None else _reset_sides(n.inputs[0])
            if h is not None and sides is not None and rest is not None:
                return _Cell(h, sides, *rest)
    return None


_Mix = tuple[ir.Value | None, ir.Value | None, ir.Value | None]


def _blended(new: ir.Value | None, product: ir.Value | None) -> list[_Mix]:
    """Match `n + z*(h - n)`; return (h, z, n)."""
    found: list[_Mix] = []
    for gate, difference in _swaps(producer(product, "Mul")):
        minus = producer(difference, "Sub")
        if minus is not None and minus.inputs[1] is new:
            found.append((minus.inputs[0], gate, new))
    return found


def _weighted(kept: ir.Value | None, added: ir.Value | None) -> list[_Mix]:
    """Match `z*h + (1 - z)*n`; return (h, z, n)."""
    found: list[_Mix] = []
    for gate, h in _swaps(producer(kept, "Mul")):
        for rest, new in _swaps(producer(added, "Mul")):
            minus = producer(rest, "Sub")
            one = None if minus is None else data_of(minus.inputs[0])
            if (
                minus is not None
                and minus.inputs[1] is gate
                and one is not None
                and (one == 1).all()
            ):
                found.append((h, gate, new))
    return found


def _sides(value: ir.Value | None) -> Pair | None:
    add = producer(value, "Add")
    if add is None or add.inputs[0] is None or add.inputs[1] is None:
        return None
    return add.inputs[0], add.inputs[1]


def _reset_sides(value: ir.Value | None) -> tuple[Pair, Pair] | None:
    """Match `xn + sigmoid(..) * hn`; return the reset gate's sides and (xn, hn)."""
    for from_x, product in _swaps(producer(value, "Add")):
        for gate, from_h in _swaps(producer(product, "Mul")):
            sigmoid = producer(gate, "Sigmoid")
            sides = None if sigmoid is None else _sides(sigmoid.inputs[0])
            if sides is not None and from_x is not None and from_h is not None:
                return sides, (from_x, from_h)
    return None


def _order(cell: _Cell) -> _Order | str:
    x, h = gate_of(cell.new[0]), gate_of(cell.new[1])
    if x is None or h is None:
        return "its new state is not made of parts of two sums"
    starts_x, starts_h = [], []
    for pair in (cell.update, cell.reset):
        parts = [gate_of(value) for value in pair]
        from_x, from_h = _part_of(parts, x.sum), _part_of(parts, h.sum)
        if from_x is None or from_h is None:
            return "its gates are not parts of the same two sums"
        starts_x.append(from_x.start)
        starts_h.append(from_h.start)
    starts_x.append(x.start)
    starts_h.append(h.start)
    places = [0, x.size, 2 * x.size]
    if sorted(starts_x) != places or sorted(starts_h) != places:
        return "its gates are not three equal parts"
    return _Order(x.sum, h.sum, x.size, starts_x, starts_h)


def _part_of(parts: list[Part | None], value: ir.Value) -> Part | None:
    return next((part for part in parts if part is not None and part.sum is value), None)


def _emit(node: ir.Node, cell: _Cell, x: Gates, h: Gates, order: _Order, edit: Editor) -> None:
    rows_x, rows_h = (
        np.concatenate([np.arange(start, start + order.size) for start in starts])
        for starts in (order.x_starts, order.h_starts)
    )
    from_x, from_h = x.operands[0], h.operands[0]
    bias = np.concatenate([_full(x)[rows_x], _full(h)[rows_h]]).astype(from_x.weight.dtype)
    lead = edit.ints([0])
    steps = [edit.emit(node, "Unsqueeze", [value, lead]) for value in (from_x.value, cell.h)]
    inputs = [
        steps[0],
        edit.constant(from_x.weight[rows_x][None], f"{node.name}.W", from_x.source),
        edit.constant(from_h.weight[rows_h][None], f"{node.name}.R", from_h.source),
        edit.constant(bias[None], f"{node.name}.B"),
        None,
        steps[1],
    ]
    attributes = {"hidden_size": order.size, "linear_before_reset": 1}
    _, state = edit.emit_many(node, "GRU", inputs, attributes, count=2, name=f"{node.name}.gru")
    edit.replace_node(node, edit.emit(node, "Squeeze", [state, lead]))


def _full(gates: Gates) -> Array:
    return np.broadcast_to(gates.bias, (gates.rows,))
