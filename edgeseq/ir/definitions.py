"""What ONNX defines operators by: functions of other operators, from the schemas."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence

import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import schema_of
from edgeseq.ir.passes import walk

Definition = Callable[[ir.Node], onnx.FunctionProto | None]


@dataclasses.dataclass
class Expanded:
    """Whether anything was replaced, and the nodes that have no definition for their types."""

    changed: bool = False
    undefined: list[ir.Node] = dataclasses.field(default_factory=list)


def expand(
    edit: Editor, names: Collection[str], own: Mapping[str, Definition] | None = None
) -> Expanded:
    """Replace ONNX's operators of these names by their definition; exact.

    The body may depend on the types of the inputs and may hold such an operator again, hence the
    inference round by round.

    Args:
        edit: Of the model, which is changed in place. Nodes have names.
        names: Operators of ONNX's own domain.
        own: Definitions that are taken instead of the schema's where they are one.
    """
    done = Expanded()
    while True:
        nodes = [n for n in walk(edit.model.graph) if _is_one_of(n, names)]
        if not nodes:
            return done
        edit.inference.infer_graph(edit.model.graph)
        done.undefined = []
        made = _call_definitions(edit.model, nodes, own or {}, done.undefined)
        if not made:
            return done
        _inline(edit.model, made)
        done.changed = True


def _call_definitions(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    own: Mapping[str, Definition],
    undefined: list[ir.Node],
) -> set[ir.OperatorIdentifier]:
    """Turn nodes into calls of functions, which the model gets; those without one are noted."""
    made: set[ir.OperatorIdentifier] = set()
    for node in nodes:
        if any(value is not None and value.dtype is None for value in node.inputs):
            continue  # its input comes from another of them
        body = _body(node, model.opset_imports[""], own)
        if body is None:
            undefined.append(node)
            continue
        node.overload = body.overload
        model.functions[body.identifier()] = body
        made.add(body.identifier())
    return made


def _inline(model: ir.Model, functions: Collection[ir.OperatorIdentifier]) -> None:
    common.InlinePass(lambda function: function.identifier() in functions)(model)


def _is_one_of(node: ir.Node, names: Collection[str]) -> bool:
    return node.op_type in names and node.domain == "" and not node.overload


def _body(node: ir.Node, opset: int, own: Mapping[str, Definition]) -> ir.Function | None:
    """The definition of a node as a function of its own: it holds the node's defaults."""
    schema = schema_of(node, opset)
    if schema is None:
        return None
    given = own.get(node.op_type)
    proto = (given and given(node)) or _from_schema(node, schema)
    if proto is None:
        return None
    proto.name, proto.domain, proto.overload = node.op_type, "", f"of {node.name}"
    stated = {a.name for a in proto.attribute_proto}
    proto.attribute_proto.extend(
        attribute.default_value
        for name, attribute in schema.attributes.items()
        if attribute.default_value.type and name not in stated
    )
    kept = [a for a in proto.attribute if a not in {p.name for p in proto.attribute_proto}]
    del proto.attribute[:]
    proto.attribute.extend(kept)
    # An output nobody asked for is not computed; what stands there is never read.
    computed = {name for inner in proto.node for name in inner.output}
    outputs = proto.output[: len(node.outputs)]
    del proto.output[:]
    proto.output.extend(name if name in computed else outputs[0] for name in outputs)
    del proto.opset_import[:]
    proto.opset_import.append(onnx.helper.make_opsetid("", opset))
    return ir.serde.deserialize_function(proto)


def _from_schema(node: ir.Node, schema: onnx.defs.OpSchema) -> onnx.FunctionProto | None:
    if schema.has_function:
        newest = max(schema.function_opset_versions)
        return onnx.FunctionProto.FromString(schema.get_function_with_opset_version(newest))
    if not schema.has_context_dependent_function:
        return None
    types = [b"" if v is None else ir.to_proto(v).type.SerializeToString() for v in node.inputs]
    newest = max(schema.context_dependent_function_opset_versions)
    data = schema.get_context_dependent_function_with_opset_version(
        newest, ir.to_proto(node).SerializeToString(), types
    )
    return onnx.FunctionProto.FromString(data) if data else None
