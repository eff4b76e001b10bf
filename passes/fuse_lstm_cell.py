"""An LSTM cell written out `-> LSTM(X[1, ...], W, R, B, h, c)`; exact but for summation order.

Recognised from its end: `h' = sigmoid(o) * tanh(c')`, `c' = sigmoid(f) * c + sigmoid(i) * tanh(g)`
where i, f, g and o are equal parts, in any order, of one sum of products `x W + h R + b` (MatMul or
Gemm, or one product with `Concat(x, h)`). Refused when the gates do not come from one sum, when
weights are not constants, or when there are more than two products.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from edgeseq.ir.cells import Gates, Operand, gate_of, linear_gates, producer, view_source
from edgeseq.ir.edit import Editor
from edgeseq.ir.passes import NodePass


class FuseLstmCell(NodePass):
    """Recognise an LSTM cell by the product that is its output."""

    ops = ("Mul",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Find the cell, its gates and its weights."""
        cell = _cell(node)
        if cell is None:
            return False
        parts = [gate_of(value) for value in (cell.i, cell.o, cell.f, cell.g)]
        known = [part for part in parts if part is not None]
        if len(known) != 4 or len({part.sum for part in known}) != 1:
            return "its four gates are not parts of one sum"
        gates = linear_gates(known[0].sum, products=2)
        if isinstance(gates, str):
            return gates
        hidden = gates.rows // 4
        order = [part.start for part in known]
        if sorted(order) != [k * hidden for k in range(4)] or any(p.size != hidden for p in known):
            return "its gates are not four equal parts"
        if cell.c.shape is None or len(cell.c.shape) != 2:
            return "its cell state is not a matrix"
        x, h = _who_is_who(gates, cell.c)
        rows = np.concatenate([np.arange(start, start + hidden) for start in order])
        if h.weight.shape[1] != hidden:
            return f"no operand of its products has {hidden} columns, as its state must"
        _emit(node, cell, gates, x, h, rows, edit)
        return True


PASS = FuseLstmCell


@dataclasses.dataclass(frozen=True)
class _Cell:
    """The values of a cell: gates before their activation, the old cell state, the new one."""

    i: ir.Value
    o: ir.Value
    f: ir.Value
    g: ir.Value
    c: ir.Value
    new_c: ir.Value


def _cell(node: ir.Node) -> _Cell | None:
    """Match `sigmoid(o) * tanh(f' * c + i' * tanh(g))`, operands in any order."""
    for out, squashed in (tuple(node.inputs), tuple(reversed(node.inputs))):
        sigmoid, tanh = producer(out, "Sigmoid"), producer(squashed, "Tanh")
        add = None if tanh is None else producer(tanh.inputs[0], "Add")
        if sigmoid is None or add is None:
            continue
        for kept, added in (tuple(add.inputs), tuple(reversed(add.inputs))):
            old, new = _gated_state(kept), _gated_input(added)
            if old is not None and new is not None and sigmoid.inputs[0] is not None:
                return _Cell(new[0], sigmoid.inputs[0], old[0], new[1], old[1], add.outputs[0])
    return None


def _gated_state(value: ir.Value | None) -> tuple[ir.Value, ir.Value] | None:
    """Match `sigmoid(f) * c`."""
    product = producer(value, "Mul")
    if product is None:
        return None
    for gate, state in (tuple(product.inputs), tuple(reversed(product.inputs))):
        sigmoid = producer(gate, "Sigmoid")
        if sigmoid is not None and sigmoid.inputs[0] is not None and state is not None:
            return sigmoid.inputs[0], state
    return None


def _gated_input(value: ir.Value | None) -> tuple[ir.Value, ir.Value] | None:
    """Match `sigmoid(i) * tanh(g)`."""
    product = producer(value, "Mul")
    if product is None:
        return None
    for gate, squashed in (tuple(product.inputs), tuple(reversed(product.inputs))):
        sigmoid, tanh = producer(gate, "Sigmoid"), producer(squashed, "Tanh")
        if sigmoid is None or tanh is None:
            continue
        if sigmoid.inputs[0] is not None and tanh.inputs[0] is not None:
            return sigmoid.inputs[0], tanh.inputs[0]
    return None


def _who_is_who(gates: Gates, c: ir.Value) -> tuple[Operand, Operand]:
    """Return (x, h). Both are right; the state should be h, so that it can be carried.

    It has as many columns as units, and comes from where the cell state comes from, or else from
    a graph input.
    """
    first, second = gates.operands
    widths = [one.weight.shape[1] == gates.rows // 4 for one in (first, second)]
    if widths.count(True) == 1:
        return (first, second) if widths[1] else (second, first)
    home = view_source(c)
    for x, h in ((first, second), (second, first)):
        if view_source(h.value) is home:
            return x, h
    if view_source(first.value).is_graph_input() and not view_source(second.value).is_graph_input():
        return second, first
    return first, second


def _emit(
    node: ir.Node, cell: _Cell, gates: Gates, x: Operand, h: Operand, rows: np.ndarray, edit: Editor
) -> None:
    dtype, hidden, name = x.weight.dtype, gates.rows // 4, node.name
    # Other nodes may use the cell state before the output is computed.
    before = cell.new_c.producer() or node
    bias = np.concatenate([gates.bias[rows], np.zeros(gates.rows)]).astype(dtype)
    lead = edit.ints([0])
    steps = [edit.emit(before, "Unsqueeze", [value, lead]) for value in (x.value, h.value, cell.c)]
    inputs = [
        steps[0],
        edit.constant(x.weight[rows][None], f"{name}.W", x.source),
        edit.constant(h.weight[rows][None], f"{name}.R", h.source),
        edit.constant(bias[None], f"{name}.B"),
        None,
        *steps[1:],
    ]
    attributes = {"hidden_size": hidden}
    _, new_h, new_c = edit.emit_many(
        before, "LSTM", inputs, attributes, count=3, name=f"{name}.lstm"
    )
    for old, new in ((node.outputs[0], new_h), (cell.new_c, new_c)):
        edit.replace(old, edit.emit(before, "Squeeze", [new, lead]))
