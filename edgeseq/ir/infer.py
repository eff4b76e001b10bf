"""Type, shape and known data of node outputs, one node at a time.

`Inference` asks ONNX's own rules for shapes and ONNX's reference evaluator for data. Whatever
depends on time is computed at several lengths (see `samples`).
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx.reference
import onnx.reference.op_run
import onnx_ir as ir

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir import dialect
from edgeseq.ir.samples import Samples

Array = npt.NDArray[Any]
Dims = tuple[int, ...]

# Data is computed up to this many elements: larger results are the work of the compiled code.
LARGEST_CONSTANT = 1 << 22
# Data that depends on time only ever describes shapes, which are short; ranges over time are not.
LARGEST_VARYING = 1 << 14
# ONNX's shape rules look at data only where it is a shape, axes, pads, scales and the like.
_LARGEST_SHAPE_DATA = 1 << 10

_RANDOM = {
    "RandomNormal",
    "RandomNormalLike",
    "RandomUniform",
    "RandomUniformLike",
    "Multinomial",
    "Bernoulli",
}
_WITH_BODY = {"If", "Loop", "Scan"}


class GatherElements(onnx.reference.op_run.OpRun):  # type: ignore[misc] # onnx has no types
    """In place of onnx 1.23's, which fails on axes of 64 or more elements, and on few indices."""

    op_domain = ""

    def _run(self, data: Array, indices: Array, axis: int = 0) -> tuple[Array]:
        axis %= data.ndim
        sizes = enumerate(indices.shape)
        inside = tuple(slice(None if i == axis else size) for i, size in sizes)
        return (np.take_along_axis(data[inside], indices, axis),)


def schema_of(node: ir.Node, opset: int) -> onnx.defs.OpSchema | None:
    """Return ONNX's definition of a standard operator, or None."""
    if node.domain not in ("", "ai.onnx"):
        return None
    try:
        return onnx.defs.get_schema(node.op_type, opset, "")
    except onnx.defs.SchemaError:
        return None


class Inference:
    """What is known about the values of one model."""

    def __init__(self, model: ir.Model) -> None:
        self.samples = Samples.of(model)
        self._model = model
        self._opset = model.opset_imports.get("", 0)
        self._opsets = [
            onnx.helper.make_opsetid(domain, version)
            for domain, version in model.opset_imports.items()
        ]
        self._varying: dict[ir.Value, tuple[Array, ...]] = {}

    def shapes(self, value: ir.Value) -> tuple[Dims, ...] | None:
        """Return the value's shape at every sample point, or None when it is not known."""
        return None if value.shape is None else self.samples.shape_values(value.shape)

    def data(self, value: ir.Value) -> tuple[Array, ...] | None:
        """Return the value's data at every sample point, or None when it is not known."""
        if value.const_value is not None:
            return (value.const_value.numpy(),) * len(self.samples.points)
        return self._varying.get(value)

    def infer(self, node: ir.Node) -> None:
        """Set dtype and shape of a node's outputs where they follow from its inputs."""
        if node.op_type in _WITH_BODY and node.domain == "":
            self._infer_body(node)
            return
        if node.domain == dialect.DOMAIN and node.op_type in dialect.OPS:
            dialect.infer(node)
            return
        if node.op_identifier() in self._model.functions:
            self._infer_call(node)
            return
        types = self._types(node)
        if types is None:
            return
        for output in node.outputs:
            if output.name:
                self._annotate(output, [point.get(output.name) for point in types], node)
        if (known := self.evaluate(node)) is not None:
            for index, output in enumerate(node.outputs):
                self._remember(output, [point[index] for point in known])

    def infer_graph(self, graph: ir.Graph | ir.Function) -> None:
        """Infer every node of a graph in order."""
        for node in graph:
            self.infer(node)

    def evaluate(self, node: ir.Node) -> list[list[Array]] | None:
        """Compute a node's outputs at every point from known data, or return None."""
        if node.op_type in ("Shape", "Size") and node.domain == "" and node.inputs[0] is not None:
            inputs = self._stand_ins(node.inputs[0])
        else:
            inputs = self._known_inputs(node)
        if inputs is None or node.op_type in _RANDOM or not self._worth_computing(node):
            return None
        if any(output.name and not _is_numeric(output) for output in node.outputs):
            return None
        if all(one is first for one, first in zip(inputs[-1], inputs[0], strict=True)):
            return [self.compute(node, inputs[0])] * len(inputs)
        return [self.compute(node, point) for point in inputs]

    def compute(self, node: ir.Node, inputs: Sequence[Array]) -> list[Array]:
        """Run a standard node on data; absent inputs are left out of `inputs`."""
        names = [value.name for value in node.inputs if value is not None]
        opsets = self._model.opset_imports
        proto = ir.serde.serialize_node(node)
        run = onnx.reference.ReferenceEvaluator(proto, opsets=opsets, new_ops=[GatherElements])
        with np.errstate(all="ignore"):
            results = run.run(None, dict(zip(names, inputs, strict=True)))
        return [np.asarray(result) for result in results]

    def _known_inputs(self, node: ir.Node) -> list[list[Array]] | None:
        columns = [self.data(value) for value in node.inputs if value is not None]
        if schema_of(node, self._opset) is None or any(column is None for column in columns):
            return None
        return [[c[i] for c in columns if c is not None] for i in range(len(self.samples.points))]

    def _stand_ins(self, value: ir.Value) -> list[list[Array]] | None:
        """Arrays without memory that have the value's shape: enough for Shape and Size."""
        shapes = self.shapes(value)
        if shapes is None:
            return None
        return [[np.broadcast_to(np.uint8(0), shape)] for shape in shapes]

    def _worth_computing(self, node: ir.Node) -> bool:
        if stores_half(node) or stores_levels(node):
            return False
        for output in node.outputs:
            shapes = self.shapes(output)
            if shapes is None:
                continue
            limit = LARGEST_CONSTANT if len(set(shapes)) == 1 else LARGEST_VARYING
            if max(math.prod(shape) for shape in shapes) > limit:
                return False
        return True

    def _types(self, node: ir.Node) -> list[dict[str, onnx.TypeProto]] | None:
        """Run ONNX's shape rule at every point."""
        schema = schema_of(node, self._opset)
        inputs = [value for value in node.inputs if value is not None]
        if schema is None or not all(_is_tensor(value) for value in inputs):
            return None
        proto = ir.serde.serialize_node(node)
        shapes = [self.shapes(value) for value in inputs]
        data = [self._shape_data(value) for value in inputs]
        static = all(s is not None and len(set(s)) == 1 for s in shapes) and not any(
            value in self._varying for value in inputs
        )
        points = range(1 if static else len(self.samples.points))
        found = []
        for i in points:
            types = {
                str(value.name): onnx.helper.make_tensor_type_proto(
                    int(value.dtype or 0), None if shape is None else shape[i]
                )
                for value, shape in zip(inputs, shapes, strict=True)
            }
            known = {
                str(value.name): onnx.numpy_helper.from_array(array[i])
                for value, array in zip(inputs, data, strict=True)
                if array is not None
            }
            found.append(self._apply(schema, proto, node, types, known, self.samples.points[i]))
        return found * len(self.samples.points) if static else found

    def _shape_data(self, value: ir.Value) -> tuple[Array, ...] | None:
        if value.const_value is not None and value.const_value.size > _LARGEST_SHAPE_DATA:
            return None
        return self.data(value)

    def _apply(
        self,
        schema: onnx.defs.OpSchema,
        proto: onnx.NodeProto,
        node: ir.Node,
        types: dict[str, onnx.TypeProto],
        data: dict[str, onnx.TensorProto],
        point: int,
    ) -> dict[str, onnx.TypeProto]:
        try:
            found: dict[str, onnx.TypeProto] = onnx.shape_inference.infer_node_outputs(
                schema, proto, types, data, opset_imports=self._opsets
            )
        except (
            onnx.shape_inference.InferenceError,
            onnx.checker.ValidationError,
            RuntimeError,
        ) as error:
            raise _bad_shapes(node, self.samples.symbol, point, str(error)) from None
        for kind in found.values():
            dims = kind.tensor_type.shape.dim
            if any(dim.HasField("dim_value") and dim.dim_value < 0 for dim in dims):
                raise _bad_shapes(node, self.samples.symbol, point, "a dimension below zero")
        return found

    def _annotate(
        self, value: ir.Value, types: Sequence[onnx.TypeProto | None], node: ir.Node
    ) -> None:
        first = types[0]
        if first is None or not first.HasField("tensor_type"):
            return
        value.dtype = ir.DataType(first.tensor_type.elem_type)
        shapes = [_dims(kind) for kind in types]
        if any(shape is None for shape in shapes):
            return
        known = [shape for shape in shapes if shape is not None]
        if len({len(shape) for shape in known}) != 1:
            raise UnsupportedModelError(
                f"the rank of '{value.name}' depends on {self.samples.symbol}", at=describe(node)
            )
        value.shape = self.samples.shape(known) if known[0] else ir.Shape([])

    def _remember(self, value: ir.Value, arrays: Sequence[Array]) -> None:
        first = arrays[0]
        if all(
            one is first or np.array_equal(first, one, equal_nan=_floats(one)) for one in arrays
        ):
            if not value.is_graph_input():
                value.const_value = tensor_of(first, value.name)
            return
        self._varying[value] = tuple(arrays)

    def _infer_body(self, node: ir.Node) -> None:
        """If: both branches; Scan and Loop: the body once, as its state keeps its shape."""
        if node.op_type == "If":
            self._infer_branches(node)
            return
        for graph in bodies(node):
            if node.op_type == "Scan":
                self._enter_scan(node, graph)
            else:
                self._enter_loop(node, graph)
            self.infer_graph(graph)
        if node.op_type == "Scan":
            self._leave_scan(node)
        else:
            self._leave_loop(node)

    def _enter_scan(self, node: ir.Node, body: ir.Graph) -> None:
        scanned = node.attributes["num_scan_inputs"].as_int()
        carried = len(node.inputs) - scanned
        axes = scan_axes(node, "scan_input_axes", scanned)
        for index, (inner, outer) in enumerate(zip(body.inputs, node.inputs, strict=True)):
            if outer is None or outer.shape is None:
                continue
            dims = list(outer.shape)
            if index >= carried:
                del dims[axes[index - carried]]
            inner.dtype, inner.shape = outer.dtype, ir.Shape(dims)

    def _leave_scan(self, node: ir.Node) -> None:
        body = node.attributes["body"].as_graph()
        scanned = node.attributes["num_scan_inputs"].as_int()
        carried = len(node.inputs) - scanned
        first = node.inputs[carried]
        axis = scan_axes(node, "scan_input_axes", scanned)[0]
        length = None if first is None or first.shape is None else first.shape[axis]
        axes = scan_axes(node, "scan_output_axes", len(node.outputs) - carried)
        for index, (inner, outer) in enumerate(zip(body.outputs, node.outputs, strict=True)):
            outer.type = inner.type
            if inner.shape is None:
                continue
            dims = list(inner.shape)
            if index >= carried:
                at = axes[index - carried]
                dims.insert(at if at >= 0 else at + len(dims) + 1, length)
            outer.shape = ir.Shape(dims)

    def _enter_loop(self, node: ir.Node, body: ir.Graph) -> None:
        body.inputs[0].dtype, body.inputs[0].shape = ir.DataType.INT64, ir.Shape([])
        body.inputs[1].dtype, body.inputs[1].shape = ir.DataType.BOOL, ir.Shape([])
        for inner, outer in zip(body.inputs[2:], node.inputs[2:], strict=True):
            if outer is not None:
                inner.type, inner.shape = outer.type, outer.shape

    def _leave_loop(self, node: ir.Node) -> None:
        body = node.attributes["body"].as_graph()
        carried = len(node.inputs) - 2
        for index, (inner, outer) in enumerate(zip(body.outputs[1:], node.outputs, strict=True)):
            outer.type = inner.type
            if index < carried:
                outer.shape = inner.shape
            elif inner.shape is not None:
                outer.shape = ir.Shape([None, *inner.shape])

    def _infer_call(self, node: ir.Node) -> None:
        """A call of a function: infer a copy of the body with the arguments' types."""
        body = self._model.functions[node.op_identifier()].clone()
        for inner, outer in zip(body.inputs, node.inputs, strict=False):
            if outer is not None:
                inner.type, inner.shape = outer.type, outer.shape
        self.infer_graph(body)
        for inner, outer in zip(body.outputs, node.outputs, strict=False):
            outer.type, outer.shape = inner.type, inner.shape

    def _infer_branches(self, node: ir.Node) -> None:
        graphs = bodies(node)
        for graph in graphs:
            # A branch that is never taken may not fit; nobody asked for it then.
            with contextlib.suppress(UnsupportedModelError):
                self.infer_graph(graph)
        for index, output in enumerate(node.outputs):
            ends = [graph.outputs[index] for graph in graphs]
            output.type = ends[0].type
            if ends[0].shape is not None and ends[0].shape == ends[1].shape:
                output.shape = ends[0].shape


def stores_half(node: ir.Node) -> bool:
    """Whether this Cast is how the graph says that a matrix is stored as a half: it is kept."""
    if node.op_type != "Cast" or node.domain or node.inputs[0] is None:
        return False
    half, wide = node.inputs[0], node.outputs[0]
    users = [(use.node.op_type, use.idx) for use in wide.uses()]
    return (
        half.dtype in _HALVES
        and half.const_value is not None
        and len(half.const_value.shape) >= 2
        and wide.dtype == ir.DataType.FLOAT
        and bool(users)
        and all(index in MATRICES.get(op, ()) for op, index in users)
    )


def stores_levels(node: ir.Node) -> bool:
    """Whether this DequantizeLinear is how the graph says that a matrix is stored as integers.

    It is kept where kernels take them: in products, and in convolutions of what is quantized.
    """
    levels = node.inputs[0] if node.op_type == "DequantizeLinear" and not node.domain else None
    if levels is None or levels.const_value is None or len(levels.const_value.shape) < 2:
        return False
    users = list(node.outputs[0].uses())
    for use in [use for use in users if use.node.op_type == "Transpose" and not use.node.domain]:
        users.remove(use)
        users += use.node.outputs[0].uses()
    return bool(users) and all(
        use.idx == 1 and not use.node.domain and _multiplies_levels(use.node) for use in users
    )


def _multiplies_levels(node: ir.Node) -> bool:
    """Whether a node may become an integer product of the levels it is given as a weight."""
    if node.op_type != "Conv":
        return node.op_type in ("MatMul", "Gemm")
    before = None if node.inputs[0] is None else node.inputs[0].producer()
    while before is not None and before.op_type in _MOVES and not before.domain:
        before = None if before.inputs[0] is None else before.inputs[0].producer()
    return before is not None and before.op_type == "DequantizeLinear" and not before.domain


# What stands between numbers and a convolution of them, its padding included.
_MOVES = frozenset({"Pad", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice"})


_HALVES = frozenset({ir.DataType.BFLOAT16, ir.DataType.FLOAT16})
# Operators whose kernels take halves, and the operands that they take as such.
MATRICES = {"GRU": (1, 2), "Gemm": (1,), "LSTM": (1, 2), "MatMul": (0, 1), "RNN": (1, 2)}


def tensor_of(array: Array, name: str | None) -> ir.Tensor:
    """Wrap an array, row-major, for an initializer."""
    # ascontiguousarray turns a scalar into a vector, hence the reshape.
    return ir.Tensor(np.ascontiguousarray(array).reshape(array.shape), name=name)


def bodies(node: ir.Node) -> list[ir.Graph]:
    """Return the subgraphs of a node."""
    return [
        attribute.as_graph()
        for attribute in node.attributes.values()
        if attribute.type == ir.AttributeType.GRAPH
    ]


def scan_axes(node: ir.Node, name: str, count: int) -> list[int]:
    """Return the axes attribute of a Scan, which is all zeros when absent."""
    attribute = node.attributes.get(name)
    return [0] * count if attribute is None else list(attribute.as_ints())


def describe(node: ir.Node) -> str:
    """`node 'a/b' (Conv)`: how messages name a node."""
    name = node.name or next((o.name for o in node.outputs if o.name), None) or "unnamed"
    kind = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return f"node '{name}' ({kind})"


def unknown_values(graph: ir.Graph) -> Iterator[tuple[ir.Node, ir.Value]]:
    """Yield node outputs whose dtype or shape is not known, in order."""
    for node in graph:
        for value in node.outputs:
            if value.name and (value.dtype is None or value.shape is None):
                yield node, value


def _dims(kind: onnx.TypeProto | None) -> Dims | None:
    if kind is None or not kind.tensor_type.HasField("shape"):
        return None
    dims = kind.tensor_type.shape.dim
    if not all(dim.HasField("dim_value") for dim in dims):
        return None
    return tuple(dim.dim_value for dim in dims)


def _is_tensor(value: ir.Value) -> bool:
    return isinstance(value.type, ir.TensorType)


def _is_numeric(value: ir.Value) -> bool:
    return _is_tensor(value) and value.dtype != ir.DataType.STRING


def _floats(array: Array) -> bool:
    return bool(np.issubdtype(array.dtype, np.inexact))


def _bad_shapes(
    node: ir.Node, symbol: str | None, point: int, message: str
) -> UnsupportedModelError:
    where = f" at {symbol}={point}" if symbol else ""
    inputs = [f"{v.name}: {v.dtype}{list(v.shape or [])}" for v in node.inputs if v is not None]
    return UnsupportedModelError(
        f"the inputs of {describe(node)} do not fit{where}",
        at=inputs,
        why=message.strip().splitlines()[0] if message else "",
        fix=f"bound the range, as in --dim {symbol}={point + 1}:..."
        if symbol
        else "give the shapes the model was made for, as in --shape input=1,512",
    )
