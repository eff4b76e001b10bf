"""The prepared graph -> Relax.

Nodes that `select` gave to hand-written kernels become opaque `call_dps_packed` calls, and so do
concatenations, which the memory plan turns into writes to slots. For all else the converters of
TVM's ONNX importer are used, one node at a time.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir
import tvm
from tvm import relax, tirx
from tvm.relax.frontend.onnx import onnx_frontend

from edgeseq.errors import UnsupportedModelError
from edgeseq.lower import scan, select, threads
from edgeseq.lower.costs import Costing
from edgeseq.lower.interface import CTYPES
from edgeseq.lower.relax_ops import OPS, SHAPED
from edgeseq.lower.scan_functions import FUNCTIONS
from edgeseq.lower.size import Size

CONCAT = "edgeseq.concat"
# TVM's importer knows these, but their results depend on data, or they end in calls of TVM's
# runtime, or they are other domains' operators of that name.
REFUSED = frozenset(
    """
    AllClassNMS Attention BiasGelu Compress ConcatFromSequence EmbedLayerNormalization FastGelu If
    MaxRoiPool MaxUnpool NonMaxSuppression NonZero Optional OptionalGetElement OptionalHasElement
    RoiAlign Scatter ScatterElements ScatterND SequenceAt SequenceConstruct SequenceEmpty
    SequenceErase SequenceInsert SequenceLength SkipLayerNormalization SplitToSequence TopK Unique
    """.split()
)
OPSET = 26
# Several in a byte: TVM has no such arrays; our kernels read them, or `stored` widens them.
_PACKED = (ir.DataType.INT4, ir.DataType.UINT4, ir.DataType.INT2, ir.DataType.UINT2)


@dataclasses.dataclass(frozen=True)
class Imported:
    """A Relax module whose `main` returns a tuple of the graph's outputs.

    Args:
        module: The IRModule.
        externs: Opaque call name -> the kernel call behind it.
        reasons: Why other nodes have no kernel of ours, in bodies too.
        loops: Opaque call name -> the loop behind it.
    """

    module: Any
    externs: Mapping[str, select.Choice]
    reasons: Mapping[ir.Node, str]
    loops: Mapping[str, Loop]


@dataclasses.dataclass(frozen=True)
class Loop:
    """A Scan, how often it runs its body, and the body's module."""

    scan: scan.Scan
    trips: Size
    imported: Imported


def supported_ops() -> frozenset[str]:
    """Names of the operators that can be lowered."""
    return (
        (frozenset(onnx_frontend._get_convert_map()) - REFUSED)
        | frozenset(OPS)
        | select.ops()
        | FUNCTIONS
        | {"Concat", "Scan"}
    )


def import_graph(
    model: ir.Model, bind: Mapping[str, int], costing: Costing | None = None
) -> Imported:
    """Translate a prepared model.

    Args:
        model: Contract of `edgeseq.pipeline.prepare`.
        bind: Values for symbolic dimensions; a symbol that is not bound stays symbolic.
        costing: What the formats of weights are priced with; without it they stay dense.
    """
    shapes = select.Shapes(bind, costing)
    return _Importer(model.graph, shapes).run(model.graph.inputs, model.graph.outputs)


class _Importer:
    def __init__(self, graph: ir.Graph, shapes: select.Shapes) -> None:
        self.graph = graph
        self.shapes = shapes
        self.symbols: dict[str, Any] = {}
        self.builder = relax.BlockBuilder()
        self.values: dict[str, Any] = {}
        self.externs: dict[str, select.Choice] = {}
        self.loops: dict[str, Loop] = {}
        self.reasons: Mapping[ir.Node, str] = {}
        self.converters = onnx_frontend._get_convert_map()

    def run(
        self,
        given: Sequence[ir.Value],
        wanted: Sequence[ir.Value],
        constants: Sequence[ir.Value] = (),
    ) -> Imported:
        """Make `main` from the values it is given to those that are wanted."""
        chosen = threads.shared(select.choose(self.graph, self.shapes), self.shapes.costing)
        self.reasons = chosen.reasons
        inputs = [relax.Var(v.name, self.tensor_type(v)) for v in given]
        for value, var in zip(given, inputs, strict=True):
            self.values[_name(value)] = var
        for value in (*constants, *self.graph.initializers.values()):
            if value.dtype not in _PACKED:
                self.values[_name(value)] = _constant(value)
        with self.builder.function("main", params=inputs):
            with self.builder.dataflow():
                self.emit_nodes(wanted, chosen)
                outputs = [self.values[_name(v)] for v in wanted]
                result = self.builder.emit_output(relax.Tuple(outputs))
            self.builder.emit_func_output(result)
        reasons = dict(chosen.reasons)
        for loop in self.loops.values():
            reasons.update(loop.imported.reasons)
        return Imported(self.builder.get(), self.externs, reasons, self.loops)

    def emit_nodes(self, wanted: Sequence[ir.Value], chosen: select.Selection) -> None:
        needed = self.needed(wanted, chosen)
        for node in self.graph:
            if node in chosen.choices:
                self.emit_choice(chosen.choices[node])
            elif node not in chosen.covered and node in needed:
                self.emit_node(node)

    def needed(self, wanted: Sequence[ir.Value], chosen: select.Selection) -> set[ir.Node]:
        """Nodes that results depend on; what only computes a shape that is known is not."""
        makers = {v: c.node for c in chosen.choices.values() for v in c.live_outputs}
        found: set[ir.Node] = set()
        todo: list[ir.Value | None] = list(wanted)
        while todo:
            value = todo.pop()
            node = None if value is None else makers.get(value, value.producer())
            if node is None or node in found or node.graph is not self.graph:
                continue
            found.add(node)
            if node in chosen.choices:
                todo += chosen.choices[node].live_inputs
            elif node.op_type == "Scan":
                described = scan.describe(node)
                todo += [*node.inputs, *described.captured]
            else:
                todo += node.inputs[: SHAPED.get(node.op_type)]
        return found

    def tensor_type(self, value: ir.Value) -> Any:
        return relax.TensorType(self.dims(value), dtype_of(value))

    def dims(self, value: ir.Value | None) -> list[Any]:
        """Shape of a value as TIR expressions."""
        return [self.dim(d) for d in self.shapes.of(value)]

    def dim(self, dim: int | str) -> Any:
        if isinstance(dim, int):
            return tirx.IntImm("int64", dim)
        return select.to_expression(dim, self.symbol)

    def symbol(self, name: str) -> Any:
        return self.symbols.setdefault(name, tirx.Var("T", "int64"))  # time's name in C

    def opaque(self, name: str, inputs: Sequence[Any], outputs: Sequence[ir.Value]) -> None:
        results = self.call_opaque(name, inputs, [self.tensor_type(v) for v in outputs])
        for value, result in zip(outputs, results, strict=True):
            self.values[_name(value)] = result

    def call_opaque(self, name: str, inputs: Sequence[Any], types: list[Any]) -> list[Any]:
        result = self.builder.emit(relax.call_dps_packed(name, tuple(inputs), out_ty=types))
        if len(types) == 1:
            return [result]
        return [self.builder.emit(relax.TupleGetItem(result, i)) for i in range(len(types))]

    def emit_choice(self, choice: select.Choice) -> None:
        name = f"edgeseq.kernel.{len(self.externs)}"
        self.externs[name] = choice
        inputs = [self.values[_name(v)] for v in choice.live_inputs]
        self.opaque(name, inputs, choice.live_outputs)

    def emit_node(self, node: ir.Node) -> None:
        if node.op_type == "Scan":
            self.emit_scan(scan.describe(node))
            return
        count = SHAPED.get(node.op_type)
        inputs = [None if v is None else self.values[_name(v)] for v in node.inputs[:count]]
        if node.op_type == "Concat" and not any(_is_shape(v) for v in inputs):
            axis = node.attributes["axis"].as_int() % len(self.shapes.of(node.outputs[0]))
            self.opaque(f"{CONCAT}.{axis}", inputs, [node.outputs[0]])
            return
        try:
            result = self.convert(node, inputs)
        except UnsupportedModelError:
            raise
        except Exception as error:
            raise UnsupportedModelError(
                f"cannot lower operator {node.op_type}",
                at=f"node '{node.name}'",
                why=_last_line(error),
                fix="replace the operator in the source model, or report this with the model",
            ) from error
        self.bind_results(node, result)

    def emit_scan(self, found: scan.Scan) -> None:
        first = found.inputs[0]
        trips = self.shapes.of(first.outer)[first.axis]
        body = _Importer(found.body, self.shapes.alone())
        given = (*found.body.inputs, *found.captured)
        imported = body.run(given, found.results, found.constants)
        name = f"{scan.SCAN}.{len(self.loops)}"
        self.loops[name] = Loop(found, select.size(trips), imported)
        operands = [self.values[_name(v)] for v in found.initial]
        operands += [self.time_first(s) for s in found.inputs]
        operands += [self.values[_name(v)] for v in found.captured]
        types = [self.tensor_type(v) for v in found.results[: len(found.final)]]
        for one in found.outputs:
            dims = [self.dim(trips), *self.dims(one.inner)]
            types.append(relax.TensorType(dims, dtype_of(one.inner)))
        results = self.call_opaque(name, operands, types)
        for value, result in zip(found.final, results, strict=False):
            if value is not None:
                self.values[_name(value)] = result
        for one, result in zip(found.outputs, results[len(found.final) :], strict=True):
            self.values[_name(one.outer)] = self.time_at(one.axis, result)

    def time_first(self, sequence: scan.Sequenced) -> Any:
        value, axis = self.values[_name(sequence.outer)], sequence.axis
        if axis == 0:
            return value
        others = [i for i in range(len(value.ty.shape)) if i != axis]
        return self.builder.emit(relax.op.permute_dims(value, [axis, *others]))

    def time_at(self, axis: int, value: Any) -> Any:
        if axis == 0:
            return value
        order = list(range(1, len(value.ty.shape)))
        order.insert(axis, 0)
        return self.builder.emit(relax.op.permute_dims(value, order))

    def convert(self, node: ir.Node, inputs: list[Any]) -> Any:
        if node.op_type in OPS and not any(_is_shape(v) for v in inputs):
            return OPS[node.op_type](self, node, inputs)
        if node.op_type not in self.converters or node.op_type in REFUSED:
            raise ValueError(self.reasons.get(node, "there is no kernel for it"))
        converter = self.converters[node.op_type].get_converter(OPSET)
        attributes: dict[str, Any] = {n: _attribute(a) for n, a in node.attributes.items()}
        attributes["tvm_custom"] = {"name": node.name, "num_outputs": len(node.outputs)}
        return converter(
            self.builder, onnx_frontend.onnx_input(inputs), attributes, [self.values, {}]
        )

    def bind_results(self, node: ir.Node, result: Any) -> None:
        if isinstance(result, relax.Tuple):
            parts = list(result.fields)
        else:
            result = self.builder.normalize(result)
            if isinstance(result.ty, relax.TupleType):
                count = len(result.ty.fields)
                result = self.builder.emit(result)
                parts = [self.builder.emit(relax.TupleGetItem(result, i)) for i in range(count)]
            else:
                parts = [result]
        missing = [v.name for v in node.outputs[len(parts) :] if select.wanted(v)]
        if missing:
            raise UnsupportedModelError(
                f"{node.op_type} cannot give its output '{missing[0]}'",
                at=f"node '{node.name}'",
                why=f"only its first {len(parts)} of {len(node.outputs)} outputs are computed",
                fix="compute it with other operators in the source model",
            )
        for value, part in zip(node.outputs, parts, strict=False):
            if value.name:
                self.values[_name(value)] = part if _is_shape(part) else self.builder.emit(part)


def _last_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1] if isinstance(error, ValueError) else f"{type(error).__name__}: {lines[-1]}"


def _is_shape(value: Any) -> bool:
    return isinstance(value, relax.ShapeExpr)


def _name(value: ir.Value | None) -> str:
    assert value is not None
    assert value.name is not None
    return str(value.name)


def dtype_of(value: ir.Value) -> str:
    """Numpy's name of a value's element type.

    Raises:
        UnsupportedModelError: a type that C has no arrays of, such as float8.
    """
    assert value.dtype is not None, value.name
    name = "bfloat16" if value.dtype == ir.DataType.BFLOAT16 else str(value.dtype.numpy())
    if name not in CTYPES:
        raise UnsupportedModelError(
            f"'{value.name}' has elements of type {value.dtype.name}",
            at=f"value '{value.name}'",
            why=f"compiled code has {', '.join(sorted(CTYPES))}",
            fix="cast it to one of these types in the source model",
        )
    return name


def symbolic_shape(value: ir.Value) -> tuple[int | str, ...]:
    """A graph input's or output's shape, the time symbol written as T."""
    dims = select.Shapes({}).of(value)
    return tuple(d if isinstance(d, int) else select.size(d).c() for d in dims)


def symbols_of(model: ir.Model) -> list[str]:
    """Symbols left in the shapes of a model's inputs, sorted."""
    found = set()
    for value in model.graph.inputs:
        for dim in value.shape or ():
            if not isinstance(dim, int):
                found |= {
                    n.id for n in ast.walk(ast.parse(str(dim.value))) if isinstance(n, ast.Name)
                }
    return sorted(found)


def static_shape(value: ir.Value) -> tuple[int, ...]:
    """A shape that must be known."""
    shape = select.Shapes({}).known(value)
    assert shape is not None, value.name
    return shape


def _constant(value: ir.Value) -> Any:
    assert value.const_value is not None
    array = np.ascontiguousarray(value.const_value.numpy()).reshape(value.const_value.shape.numpy())
    return relax.const(tvm.runtime.tensor(array))


def _attribute(attribute: ir.Attr) -> Any:
    """Return what TVM's ONNX importer expects: bytes for strings, numpy for tensors."""
    if attribute.type == ir.AttributeType.STRING:
        return attribute.as_string().encode()
    if attribute.type == ir.AttributeType.TENSOR:
        return tvm.runtime.tensor(attribute.as_tensor().numpy())
    if attribute.type in (ir.AttributeType.INTS, ir.AttributeType.FLOATS):
        return tuple(attribute.value)
    return attribute.value
