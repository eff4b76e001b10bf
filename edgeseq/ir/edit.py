"""Small edits that keep names unique and every value typed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.infer import Inference, bodies, tensor_of

Array = npt.NDArray[Any]

_END = np.iinfo(np.int64).max
Attribute = Any  # a number, a string, a list of them, a tensor, a graph, or an ir.Attr
Attributes = Mapping[str, Attribute]


class Editor:
    """Edits of one model during one pass."""

    def __init__(self, model: ir.Model) -> None:
        self.model = model
        self.inference = Inference(model)
        self._names = set(_all_names(model.graph))

    def name(self, wish: str) -> str:
        """Return a name no value or node has: the wish itself when it is free."""
        name, count = wish, 0
        while name in self._names:
            count += 1
            name = f"{wish}_{count}"
        self._names.add(name)
        return name

    def release(self, names: Sequence[str | None]) -> None:
        """Make names free again."""
        self._names.difference_update(name for name in names if name)

    def constant(self, data: npt.ArrayLike, wish: str, source: str | None = None) -> ir.Value:
        """Add an initializer; `source` is the user's own name for it."""
        array = np.asarray(data)
        name = self.name(wish)
        tensor = tensor_of(array, name)
        value = ir.Value(
            name=name,
            type=ir.TensorType(tensor.dtype),
            shape=ir.Shape(array.shape),
            const_value=tensor,
        )
        if source:
            facts.put(value, facts.SourceName(source))
        self.model.graph.register_initializer(value)
        return value

    def ints(self, data: Sequence[int] | int, wish: str | None = None) -> ir.Value:
        """Return an int64 initializer, shared by all that need the same shape, axes or bounds."""
        array = np.array(data, np.int64)
        words = ["end" if i == _END else str(i) for i in array.ravel().tolist()]
        name = wish or "_".join(["ints" if array.ndim else "int", *words])
        known = data_of(self.model.graph.initializers.get(name))
        if known is not None and known.dtype == np.int64 and np.array_equal(known, array):
            return self.model.graph.initializers[name]
        return self.constant(array, name)

    def emit(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        name: str | None = None,
    ) -> ir.Value:
        """Insert a node with one output before another, named and typed; return its output."""
        return self.emit_many(before, op_type, inputs, attributes, count=1, name=name)[0]

    def emit_many(
        self,
        before: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
        *,
        count: int,
        name: str | None = None,
    ) -> list[ir.Value]:
        """Insert a node with `count` outputs before another; return the outputs."""
        wish = name or f"{before.name or before.op_type}.{op_type}"
        node = ir.node(op_type, inputs, attributes=dict(attributes or {}), num_outputs=count)
        node.name = self.name(wish)
        node.metadata_props.update(before.metadata_props)
        for output in node.outputs:
            output.name = self.name(f"{node.name}.out")
        if before.graph is None:
            raise ValueError("the anchor is not in a graph")
        before.graph.insert_before(before, node)
        self.inference.infer(node)
        return list(node.outputs)

    def slice(
        self, before: ir.Node, value: ir.Value, axis: int, start: int, end: int, step: int = 1
    ) -> ir.Value:
        """Insert `value[..., start:end:step, ...]`."""
        bounds = [self.ints([number]) for number in (start, end, axis, step)]
        return self.emit(before, "Slice", [value, *bounds[: 4 if step != 1 else 3]])

    def reshape(self, before: ir.Node, value: ir.Value, dims: Sequence[int]) -> ir.Value:
        """Insert a Reshape to constant dimensions."""
        return self.emit(before, "Reshape", [value, self.ints(dims)])

    def remake(
        self,
        node: ir.Node,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        attributes: Attributes | None = None,
    ) -> ir.Node:
        """Put another operator in a node's place: the names stay, shapes are computed anew."""
        if node.graph is None:
            raise ValueError("the node is not in a graph")
        new = ir.node(
            op_type, inputs, attributes=dict(attributes or {}), num_outputs=len(node.outputs)
        )
        new.name, node.name = node.name, None
        new.metadata_props.update(node.metadata_props)
        node.graph.insert_before(node, new)
        for old, output in zip(node.outputs, new.outputs, strict=True):
            wish, old.name = old.name, self.name(f"{new.name}.old")
            output.name = wish
            output.metadata_props.update(old.metadata_props)
            output.type, output.shape = old.type, old.shape
            old.replace_all_uses_with(output, replace_graph_outputs=True)
        node.graph.remove(node, safe=True)
        self.inference.infer(new)
        return new

    def inherit(self, node: ir.Node, from_node: ir.Node) -> None:
        """Let a node take over the name and the facts of one whose work it does now."""
        node.name, from_node.name = from_node.name, node.name
        node.metadata_props.clear()
        node.metadata_props.update(from_node.metadata_props)

    def replace(self, old: ir.Value, new: ir.Value) -> None:
        """Let every user of `old` use `new`; a graph output keeps its name."""
        graph = _graph_of(old)
        if not old.is_graph_output():
            old.replace_all_uses_with(new)
            return
        producer = new.producer()
        if producer is None or new.is_graph_output() or producer.graph is not graph:
            # An output must be a node's own: graph inputs and constants need a copy.
            anchor = old.producer()
            if anchor is None:
                raise ValueError("a graph input cannot be replaced")
            new = self.emit(anchor, "Identity", [new])
        name = old.name
        old.replace_all_uses_with(new, replace_graph_outputs=True)
        old.name, new.name = self.name(f"{name}.old"), name
        new.metadata_props.update(old.metadata_props)

    def replace_node(self, node: ir.Node, new: ir.Value) -> None:
        """Replace a node with one output by a value, and remove it."""
        self.replace(node.outputs[0], new)
        self.remove(node)

    def remove(self, node: ir.Node) -> None:
        """Remove a node whose outputs have no users."""
        if node.graph is None:
            raise ValueError("the node is not in a graph")
        node.graph.remove(node, safe=True)

    def sweep(self) -> bool:
        """Remove nodes and initializers that nothing uses; return whether there were any."""
        return sweep(self.model.graph)


def sweep(graph: ir.Graph) -> bool:
    """Remove nodes and initializers that nothing uses, in bodies too."""
    changed = False
    for node in reversed(graph):
        if not any(output.uses() or output.is_graph_output() for output in node.outputs):
            graph.remove(node, safe=True)
            changed = True
            continue
        for body in bodies(node):
            changed |= sweep(body)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output() and not value.is_graph_input():
            del graph.initializers[name]
            changed = True
    return changed


def reshape_target(shape: ir.Shape | None) -> list[int] | None:
    """Return the constant a Reshape to this shape takes: -1 for a dimension that varies."""
    if shape is None or any(isinstance(d, ir.SymbolicDim) and d.value is None for d in shape):
        return None
    target = [dim if isinstance(dim, int) else -1 for dim in shape]
    # Two unknowns, or one beside an empty axis, cannot be told apart.
    return None if target.count(-1) > 1 or (-1 in target and 0 in target) else target


def axis_of(node: ir.Node, default: int, rank: int) -> int:
    """Return the `axis` attribute counted from the front."""
    attribute = node.attributes.get("axis")
    axis = default if attribute is None else attribute.as_int()
    return axis + rank if axis < 0 else axis


def data_of(value: ir.Value | None) -> Array | None:
    """Return the data of an initializer, or None."""
    if value is None or value.const_value is None or value.is_graph_input():
        return None
    array: Array = value.const_value.numpy()
    return array


def static_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    """Return a shape of ints only, or None."""
    if value is None or value.shape is None or not all(isinstance(d, int) for d in value.shape):
        return None
    return tuple(int(dim) for dim in value.shape)


def sole_user(value: ir.Value | None) -> ir.Node | None:
    """Return the only node that uses the value, when nothing else does."""
    if value is None or value.is_graph_output() or len(value.uses()) != 1:
        return None
    return value.consumers()[0]


def _graph_of(value: ir.Value) -> ir.Graph | None:
    producer = value.producer()
    graph = value.graph if producer is None else producer.graph
    return graph if isinstance(graph, ir.Graph) else None


def _all_names(graph: ir.Graph) -> list[str]:
    names = [value.name for value in graph.inputs] + list(graph.initializers)
    for node in graph:
        names += [node.name, *(output.name for output in node.outputs)]
        for body in bodies(node):
            names += _all_names(body)
    return [name for name in names if name]
