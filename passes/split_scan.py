"""`Scan(x: s -> f(s, g(x)), p(s)) -> p(Scan(g(x): s -> f(s, .)))`: loops keep what is recurrent.

What a step computes from its inputs alone is computed for all steps at once before the loop, so
that a product with a weight is one product of matrices; what only results depend on, after it. A
loop whose step is a linear recurrence without it becomes one kernel. Exact but for the order of
sums. Left in the loop: what would make a larger sequence than it is made from (exp(dt * A) of a
selective scan), and operators other than elementwise ones, MatMul and views of axes of size one.
Refused where sequences do not have time in front, or run backwards.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of, static_shape
from edgeseq.ir.infer import scan_axes
from edgeseq.ir.passes import NodePass
from edgeseq.ir.recurrence import recognise
from edgeseq.ir.recurrence_step import NoRecurrenceError, Step

_UNARY = frozenset(
    {"Abs", "Exp", "Log", "Neg", "Reciprocal", "Relu", "Sigmoid", "Softplus", "Sqrt"}
)
_ELEMENTWISE = _UNARY | {"Tanh", "Add", "Sub", "Mul", "Div", "Max", "Min"}
_VIEWS = frozenset({"Unsqueeze", "Squeeze", "Identity"})
_MOST = 4  # a product with a weight may be this much larger than its input


class SplitScan(NodePass):
    """Move what is not recurrent out of loops."""

    ops = ("Scan",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Move nodes before the loop, then behind it."""
        loop = _Loop(node, edit)
        if not loop.states or loop.fits():
            return False
        before = loop.independent()
        if not before and not loop.results():
            return False
        if (reason := loop.refusal()) is not None:
            return reason
        loop.hoist(before)
        loop.sink(loop.results())
        return True


PASS = SplitScan


class _Loop:
    def __init__(self, node: ir.Node, edit: Editor) -> None:
        self.node, self.edit = node, edit
        self.body = node.attributes["body"].as_graph()
        self.states = len(node.inputs) - node.attributes["num_scan_inputs"].as_int()
        self.outer: dict[ir.Value, ir.Value] = {}  # a step's value -> the whole sequence
        self.lifted: dict[ir.Value, ir.Value] = {}  # a constant of the body -> one outside
        for inner, whole in zip(
            list(self.body.inputs)[self.states :], node.inputs[self.states :], strict=True
        ):
            if whole is not None:
                self.outer[inner] = whole

    def fits(self) -> bool:
        """Whether the step is a recurrence with a kernel as it stands."""
        if self.states != 1:
            return False
        results = [
            o
            for o, w in zip(self._outputs(), self._wholes(), strict=True)
            if w.uses() or w.is_graph_output()
        ]
        step = Step(self.body.inputs[0], self.body.outputs[0], tuple(results))
        try:
            found = recognise(step)
        except NoRecurrenceError:
            return False
        read = (o.value for name, o in found.operands.items() if name != "y")
        return all(value.producer() not in set(self.body) for value in read)

    def refusal(self) -> str | None:
        """Why nothing can be moved."""
        scanned = len(self.node.inputs) - self.states
        made = len(self.node.outputs) - self.states
        for kind, count in (("input", scanned), ("output", made)):
            if any(scan_axes(self.node, f"scan_{kind}_axes", count)):
                return "time is not the first axis of its sequences"
            if any(scan_axes(self.node, f"scan_{kind}_directions", count)):
                return "its sequences run backwards"
        return None

    def independent(self) -> list[ir.Node]:
        """Nodes that can be computed before the loop, in order."""
        known = set(self.outer)
        found = []
        for node in self.body:
            inputs = [v for v in node.inputs if v is not None]
            sequences = [v for v in inputs if v in known]
            inside = [v for v in inputs if v not in known and self._inside(v)]
            if (
                sequences
                and not inside
                and self._vectorises(node, known)
                and _small(node, sequences)
            ):
                known.update(node.outputs)
                found.append(node)
        return _useful(found)

    def results(self) -> list[ir.Node]:
        """Nodes that can be computed behind the loop, in order."""
        outputs = set(self._outputs()) - set(list(self.body.outputs)[: self.states])
        chosen: list[ir.Node] = []
        for node in reversed(self.body):
            (value,) = node.outputs[:1]
            ends = value in outputs or bool(value.uses())
            only = all(use.node in chosen for use in value.uses())
            state = value in list(self.body.outputs)[: self.states]
            if ends and only and not state and self._vectorises(node, None):
                chosen.append(node)
        chosen = _useful(list(reversed(chosen)))
        gone = [node.outputs[0] for node in chosen if node.outputs[0] in outputs]
        larger = _elements(self._crossing(chosen)) > _MOST * _elements(gone)
        return [] if larger else chosen

    def _outputs(self) -> list[ir.Value]:
        return list(self.body.outputs)[self.states :]

    def _wholes(self) -> list[ir.Value]:
        return list(self.node.outputs)[self.states :]

    def _inside(self, value: ir.Value) -> bool:
        """Whether the body defines a value that is no constant."""
        if value.const_value is not None:
            return False
        producer = value.producer()
        return value in list(self.body.inputs) or (
            producer is not None and producer.graph is self.body
        )

    def _vectorises(self, node: ir.Node, sequences: set[ir.Value] | None) -> bool:
        """Whether the operator does the same to a sequence as to each of its steps."""
        if node.domain or len(node.outputs) != 1 or static_shape(node.outputs[0]) is None:
            return False
        if any(v is None or static_shape(v) is None for v in node.inputs):
            return False
        if node.op_type in _ELEMENTWISE:
            return True
        if node.op_type in _VIEWS:
            return node.op_type == "Identity" or (
                len(node.inputs) == 2 and data_of(node.inputs[1]) is not None
            )
        if node.op_type != "MatMul":
            return False
        left, right = node.inputs
        varies = (
            self._inside(right)
            if right is not None and sequences is None
            else right in (sequences or ())
        )
        return not varies and left is not None and right is not None and len(right.shape or ()) == 2

    # Moving

    def hoist(self, nodes: list[ir.Node]) -> None:
        """Compute nodes before the loop; what it still reads becomes a sequence of its own."""
        moved = set(nodes)
        for node in nodes:
            self.outer[node.outputs[0]] = self._vector(node, self.node)
        for node in nodes:
            value = node.outputs[0]
            users = [use for use in value.uses() if use.node not in moved]
            places = [i for i, out in enumerate(self.body.outputs) if out is value]
            if users or places:
                inner = self._feed(value)
                for use in users:
                    use.node.replace_input_with(use.idx, inner)
                for place in places:
                    self.body.outputs[place] = inner
        for node in reversed(nodes):
            self.body.remove(node, safe=True)
        self._drop_unread()

    def _drop_unread(self) -> None:
        """Take sequences away that no step reads any more; a loop needs one for its length."""
        steps = list(self.body.inputs)[self.states :]
        read = [v for v in steps if v.uses() or v in list(self.body.outputs)] or steps[:1]
        for place, inner in enumerate(read, self.states):
            self.node.replace_input_with(place, self.outer[inner])
        self.node.resize_inputs(self.states + len(read))
        self.body.inputs[self.states :] = read
        self._set_count(len(read))

    def _set_count(self, scanned: int) -> None:
        self.node.attributes["num_scan_inputs"] = ir.AttrInt64("num_scan_inputs", scanned)
        for name in ("scan_input_axes", "scan_input_directions"):
            if name in self.node.attributes:
                self.node.attributes[name] = ir.AttrInt64s(name, [0] * scanned)

    def _feed(self, value: ir.Value) -> ir.Value:
        """A new sequence that the loop reads."""
        whole = self.outer[value]
        inner = ir.Value(name=self.edit.name(f"{value.name}.step"), type=value.type)
        inner.shape = ir.Shape(list(value.shape or ()))
        self.body.inputs.append(inner)
        self.node.resize_inputs(len(self.node.inputs) + 1)
        self.node.replace_input_with(len(self.node.inputs) - 1, whole)
        self.outer[inner] = whole
        return inner

    def sink(self, nodes: list[ir.Node]) -> None:
        """Compute nodes behind a new loop, which gives what they read instead of their results."""
        if not nodes:
            return
        sunk = {node.outputs[0] for node in nodes}
        states = list(self.body.outputs)[: self.states]
        kept = [value for value in self._outputs() if value not in sunk]
        given = {v: self._shown(v, states + kept) for v in self._crossing(nodes)}
        olds = list(zip(self.body.outputs, self.node.outputs, strict=True))
        self.body.outputs[self.states :] = [*kept, *given.values()]
        old = self.node
        made = self.edit.emit_many(
            old,
            "Scan",
            list(old.inputs),
            dict(old.attributes.items()),
            count=len(self.body.outputs),
            name=f"{old.name}.loop",
        )
        for value, whole in zip(given, made[len(states) + len(kept) :], strict=True):
            self.outer[value] = whole
        wholes = dict(zip([*states, *kept], made, strict=False))
        for node in nodes:
            self.outer[node.outputs[0]] = self._vector(node, old)
        for value, whole in olds:
            self.edit.replace(whole, wholes.get(value) or self.outer[value])
        self.edit.remove(old)
        for node in reversed(nodes):
            self.body.remove(node, safe=True)

    def _crossing(self, nodes: list[ir.Node]) -> list[ir.Value]:
        """What the nodes read from the loop itself, in order."""
        own = {node.outputs[0] for node in nodes} | set(self.outer)
        read = (v for node in nodes for v in node.inputs if v is not None)
        return [v for v in dict.fromkeys(read) if v not in own and self._inside(v)]

    def _shown(self, value: ir.Value, taken: list[ir.Value]) -> ir.Value:
        """The value as a result of the loop: a copy where it is one already, or an old state."""
        if value not in taken and value not in list(self.body.inputs):
            return value
        copy = ir.node("Identity", [value], num_outputs=1)
        copy.name = self.edit.name(f"{value.name}.shown")
        shown = copy.outputs[0]
        shown.name, shown.type = self.edit.name(f"{copy.name}.out"), value.type
        shown.shape = ir.Shape(list(value.shape or ()))
        self.body.append(copy)
        return shown

    def _vector(self, node: ir.Node, before: ir.Node) -> ir.Value:
        """The node on whole sequences."""
        rank = len(node.outputs[0].shape or ())
        attributes = dict(node.attributes.items())
        name = f"{self.node.name}.{node.name}"
        if node.op_type in _VIEWS and node.op_type != "Identity":
            source, axes = node.inputs
            data = data_of(axes)
            assert source is not None
            assert data is not None
            moved = [int(a) + (a >= 0) for a in data.reshape(-1)]
            inputs: list[ir.Value | None] = [self.outer[source], self.edit.ints(moved)]
            return self.edit.emit(before, node.op_type, inputs, attributes, name=name)
        aligned = rank if node.op_type in _ELEMENTWISE else 0
        operands = [self._aligned(v, aligned, before) for v in node.inputs if v is not None]
        return self.edit.emit(before, node.op_type, operands, attributes, name=name)

    def _constant(self, value: ir.Value) -> ir.Value:
        """A value from outside; a constant of the body gets a copy there."""
        data = data_of(value)
        if data is None or value not in self.body.initializers.values():
            return value
        if value not in self.lifted:
            self.lifted[value] = self.edit.constant(data, f"{value.name}.shared")
        return self.lifted[value]

    def _aligned(self, value: ir.Value, rank: int, before: ir.Node) -> ir.Value:
        """A sequence with axes of one behind time, so that it broadcasts as its steps did."""
        whole = self.outer.get(value)
        if whole is None:
            return self._constant(value)
        lack = rank - len(value.shape or ())
        if lack <= 0:
            return whole
        return self.edit.emit(before, "Unsqueeze", [whole, self.edit.ints(range(1, lack + 1))])


def _elements(values: Iterable[ir.Value]) -> int:
    return sum(math.prod(static_shape(value) or (1,)) for value in values)


def _small(node: ir.Node, sequences: Iterable[ir.Value]) -> bool:
    """Whether a node's result is about as small as the sequences it reads."""
    most = _MOST if node.op_type == "MatMul" else 1
    return _elements(node.outputs) <= most * _elements(sequences)


def _useful(nodes: list[ir.Node]) -> list[ir.Node]:
    """The nodes without views that none of the others needs, or that need none."""
    while True:
        made = {node.outputs[0] for node in nodes}
        read = {value for node in nodes for value in node.inputs}
        idle = [
            node
            for node in nodes
            if node.op_type in _VIEWS and not (made & set(node.inputs) or read & set(node.outputs))
        ]
        if not idle:
            return nodes if any(node.op_type not in _VIEWS for node in nodes) else []
        nodes = [node for node in nodes if node not in idle]
