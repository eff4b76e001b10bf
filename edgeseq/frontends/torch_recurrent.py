"""A recurrent layer of torch -> one ONNX GRU, LSTM or RNN for each of its layers.

Torch stacks layers and directions in one call; ONNX has one operator for each layer, which holds
both directions. Gates are reordered (GRU r, z, n -> z, r, h; LSTM i, f, g, o -> i, o, f, c) and the
two biases of a direction are concatenated. A GRU of torch applies the reset gate after the
recurrent product: `linear_before_reset = 1`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from edgeseq.frontends import torch_lstmp
from edgeseq.frontends.torch_ops import GATES, NAMESPACE
from edgeseq.frontends.torch_weights import Weights, is_zero, rows
from edgeseq.ir import facts
from edgeseq.ir.edit import Attribute, Editor

_ORDER = {"gru": (1, 0, 2), "lstm": (0, 3, 1, 2), "rnn_tanh": (0,), "rnn_relu": (0,)}
_OP_TYPE = {"gru": "GRU", "lstm": "LSTM", "rnn_tanh": "RNN", "rnn_relu": "RNN"}


def expand_recurrent(model: ir.Model) -> None:
    """Replace every recurrent call of torch in the model, Scan bodies included."""
    edit = Editor(model)
    weights = Weights(edit)
    for node in list(model.graph.all_nodes()):
        if node.domain == NAMESPACE:
            _Expansion(edit, weights, node).run()
    edit.sweep()
    weights.settle_names()
    model.opset_imports.pop(NAMESPACE, None)


@dataclasses.dataclass(frozen=True)
class _Direction:
    """The parameters of one layer in one direction, as torch holds them."""

    w_ih: ir.Value
    w_hh: ir.Value
    biases: tuple[ir.Value, ...]
    w_hr: ir.Value | None


class _Expansion:
    def __init__(self, edit: Editor, weights: Weights, node: ir.Node) -> None:
        self.edit, self.weights, self.node = edit, weights, node
        source = facts.get(node, facts.SourceName)
        self.name = source.name if source else str(node.name)
        self.kind = "lstm" if node.op_type == "lstm" else node.attributes["kind"].as_string()
        self.layers = node.attributes["num_layers"].as_int()
        self.directions = 2 if node.attributes["bidirectional"].as_int() else 1
        self.batch_first = bool(node.attributes["batch_first"].as_int())
        self.has_biases = bool(node.attributes["has_biases"].as_int())
        inputs = [value for value in node.inputs if value is not None]
        self.x = inputs[0]
        self.states = inputs[1:3] if self.kind == "lstm" else inputs[1:2]
        self.params = inputs[1 + len(self.states) :]

    def run(self) -> None:
        """Emit the layers one after the other and let their results take over."""
        x = self.x
        if self.batch_first:
            x = self._emit("Transpose", [x], {"perm": (1, 0, 2)})
        last: list[list[ir.Value]] = [[] for _ in self.states]
        for index, layer in enumerate(self._grouped()):
            run = self._projected if layer[0].w_hr is not None else self._standard
            x, ends = run(x, layer, index)
            for collected, end in zip(last, ends, strict=True):
                collected.append(end)
        if self.batch_first:
            x = self._emit("Transpose", [x], {"perm": (1, 0, 2)})
        self._take_over(self.node.outputs[0], x)
        for output, ends in zip(self.node.outputs[1:], last, strict=True):
            if output.uses() or output.is_graph_output():
                whole = ends[0] if len(ends) == 1 else self._emit("Concat", ends, {"axis": 0})
                self._take_over(output, whole)
        self.edit.remove(self.node)

    def _standard(
        self, x: ir.Value, layer: Sequence[_Direction], index: int
    ) -> tuple[ir.Value, list[ir.Value]]:
        order = _ORDER[self.kind]
        bias = self.weights.biases(self.node, [d.biases for d in layer], order)
        inputs = [
            x,
            self.weights.stack(self.node, [d.w_ih for d in layer], order),
            self.weights.stack(self.node, [d.w_hh for d in layer], order),
            bias,
            None,
            *(self._initial(state, index) for state in self.states),
        ]
        while inputs[-1] is None:
            inputs.pop()
        count = 1 + len(self.states)
        y, *ends = self.edit.emit_many(
            self.node,
            _OP_TYPE[self.kind],
            inputs,
            self._attributes(),
            count=count,
            name=f"{self.name}.l{index}",
        )
        return self._merge_directions(y), ends

    @property
    def hidden(self) -> int:
        """Units of one direction."""
        return rows(self.params[1]) // GATES[self.kind]

    def _attributes(self) -> dict[str, Attribute]:
        attributes: dict[str, Attribute] = {
            "hidden_size": self.hidden,
            "direction": "bidirectional" if self.directions == 2 else "forward",
        }
        if self.kind == "gru":
            attributes["linear_before_reset"] = 1
        if self.kind == "rnn_relu":
            attributes["activations"] = ["Relu"] * self.directions
        return attributes

    def _projected(
        self, x: ir.Value, layer: Sequence[_Direction], index: int
    ) -> tuple[ir.Value, list[ir.Value]]:
        """One function call for each direction; their results side by side."""
        order = _ORDER[self.kind]
        ys, ends = [], []
        for direction, part in enumerate(layer):
            if part.w_hr is None:
                raise ValueError(f"{self.name} projects in one direction only")
            name = torch_lstmp.REVERSE if direction else torch_lstmp.FORWARD
            rows = [self._row(state, index * self.directions + direction) for state in self.states]
            inputs = [
                x,
                self.weights.flat(self.node, part.w_ih, order),
                self.weights.flat(self.node, part.w_hh, order),
                self.weights.flat_bias(self.node, part.biases, part.w_ih, order),
                part.w_hr,
                *rows,
            ]
            y, *last = torch_lstmp.call(self.edit, self.node, name, inputs, self.name)
            ys.append(y)
            zero = self._ints(0)
            ends.append([self._emit("Unsqueeze", [end, zero]) for end in last])
        if len(layer) == 1:
            return ys[0], ends[0]
        joined = [self._emit("Concat", list(pair), {"axis": 0}) for pair in zip(*ends, strict=True)]
        return self._emit("Concat", ys, {"axis": -1}), joined

    def _merge_directions(self, y: ir.Value) -> ir.Value:
        """[T, D, B, H] -> [T, B, D * H]."""
        if self.directions == 1:
            return self._emit("Squeeze", [y, self._ints(1)])
        y = self._emit("Transpose", [y], {"perm": (0, 2, 1, 3)})
        return self._emit("Reshape", [y, self._ints(0, 0, self.directions * self.hidden)])

    def _initial(self, state: ir.Value, layer: int) -> ir.Value | None:
        if is_zero(state):
            return None
        if self.layers == 1:
            return state
        return self._rows(state, layer * self.directions, self.directions)

    def _row(self, state: ir.Value, row: int) -> ir.Value:
        part = self._rows(state, row, 1)
        return self._emit("Squeeze", [part, self._ints(0)])

    def _rows(self, state: ir.Value, start: int, count: int) -> ir.Value:
        bounds = [self._ints(start), self._ints(start + count)]
        return self._emit("Slice", [state, *bounds, self._ints(0)])

    def _grouped(self) -> Iterator[list[_Direction]]:
        """Cut torch's flat list of parameters into layers of directions."""
        count = len(self.params) // (self.layers * self.directions)
        size = 2 + 2 * self.has_biases
        for layer in range(self.layers):
            starts = [count * (layer * self.directions + d) for d in range(self.directions)]
            yield [
                _Direction(
                    w_ih=self.params[start],
                    w_hh=self.params[start + 1],
                    biases=tuple(self.params[start + 2 : start + size]),
                    w_hr=self.params[start + size] if count > size else None,
                )
                for start in starts
            ]

    def _take_over(self, old: ir.Value, new: ir.Value) -> None:
        new.type, new.shape = old.type, old.shape
        self.edit.replace(old, new)

    def _emit(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: dict[str, int | tuple[int, ...]] | None = None,
    ) -> ir.Value:
        return self.edit.emit(self.node, op_type, inputs, attributes, name=f"{self.name}.{op_type}")

    def _ints(self, *numbers: int) -> ir.Value:
        return self.edit.ints(numbers)
