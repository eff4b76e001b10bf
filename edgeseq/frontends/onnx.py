"""Read an ONNX file: `x.onnx -> onnx_ir.Model` at the internal opset, whole and self-contained."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir
from onnx_ir.passes import common

from edgeseq.errors import InternalError, UnsupportedModelError, UsageError
from edgeseq.frontends import onnx_contrib, quantized_checks
from edgeseq.frontends.onnx_external import load_external
from edgeseq.frontends.onnx_opset import INTERNAL_OPSET, OLDEST_OPSET, upgrade
from edgeseq.ir import facts
from edgeseq.ir.infer import bodies, describe
from edgeseq.ir.names import name_nodes
from edgeseq.ir.origins import origins
from edgeseq.ir.passes import walk

OWN_DOMAIN = "edgeseq"


def import_onnx(path: str | Path) -> ir.Model:
    """Load, check and convert an ONNX file.

    Args:
        path: The `.onnx` file; external data lies in its folder or below.

    Returns:
        The model at the internal opset, every node named, functions inlined but those of our
        own domain, and every initializer and node marked with its name in the file.

    Raises:
        UsageError: the file is missing, no ONNX model, damaged, of an opset too old or new, or
            quantized with scales that cannot be right.
        UnsupportedModelError: its operators cannot be said at the internal opset.
    """
    path = Path(path)
    proto = _read(path)
    _check_opset(proto, path)
    load_external(proto, path)
    _check(proto, path)
    model = ir.from_proto(proto)
    _forget_placeholders(model.graph)
    _drop_default_inputs(model.graph)
    common.InlinePass(lambda function: function.domain != OWN_DOMAIN)(model)
    name_nodes(model)
    _note_weights(model)
    _upgrade(model, path)
    onnx_contrib.expand(model)
    quantized_checks.check(model)
    _warn_of_known_errors(model)
    return model


def check_supported(model: ir.Model, supported: Collection[str]) -> None:
    """Raise one error that lists every node whose operator is not in `supported`.

    Args:
        model: The model about to be lowered.
        supported: Operator names; those outside ONNX's own domain as `domain.Name`.
    """
    bad = list(_unsupported(model.graph, supported))
    if bad:
        names = sorted({operator(node) for node in bad})
        raise UnsupportedModelError(
            f"{_counted(bad, 'node')} of {_counted(names, 'operator')} "
            f"{'is' if len(bad) == 1 else 'are'} not supported: {', '.join(names)}",
            at=[describe(node) + _advice(node) for node in bad],
            why="edgeseq has no lowering for these operators",
            fix=_way_out(bad),
        )


def _counted(things: Sequence[object], noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _unsupported(graph: ir.Graph, supported: Collection[str]) -> Iterator[ir.Node]:
    """Yield unsupported nodes; bodies of such a node are only reached once it is mended."""
    for node in graph:
        if operator(node) not in supported:
            yield node
            continue
        for body in bodies(node):
            yield from _unsupported(body, supported)


def operator(node: ir.Node) -> str:
    """`Conv`, or `com.microsoft.FusedConv` outside ONNX's own domain."""
    return f"{node.domain}.{node.op_type}" if node.domain else node.op_type


def _advice(node: ir.Node) -> str:
    if node.op_type != "If" or node.domain:
        return ""
    return f" whose condition comes from {_origin(node.inputs[0])}"


def _origin(value: ir.Value | None) -> str:
    """Name the graph inputs that a condition depends on."""
    inputs = sorted(str(one.name) for one in origins(value))
    return " and ".join(f"input '{name}'" for name in inputs) or "constants"


def _way_out(bad: list[ir.Node]) -> str:
    inputs: set[str] = set()
    for node in bad:
        if node.op_type == "If":
            inputs |= {str(one.name) for one in origins(node.inputs[0])}
    flags = " ".join(f"--const {name}=VALUE" for name in sorted(inputs))
    if flags:
        return f"fix the condition with {flags}; rewrite other operators or remove them"
    return "rewrite the model with supported operators (docs/operators.md), or open an issue"


def _read(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        raise UsageError(f"{path} is a folder, not an ONNX file", fix="name the .onnx file in it")
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise UsageError(f"{path}: no such file", fix="check the path") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read", why=error.strerror or str(error)) from None
    try:
        proto = onnx.ModelProto.FromString(data)
    except google.protobuf.message.DecodeError:
        raise _not_a_model(path, f"{len(data)} bytes that do not parse as a model") from None
    if not proto.HasField("graph") or not proto.opset_import:
        raise _not_a_model(path, f"{len(data)} bytes without a graph and an opset")
    return proto


def _not_a_model(path: Path, why: str) -> UsageError:
    return UsageError(
        f"{path} is not an ONNX model, or is cut short",
        why=why,
        fix="copy or export it again; Git LFS pointers need `git lfs pull`",
    )


def _check_opset(proto: onnx.ModelProto, path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and not OLDEST_OPSET <= entry.version <= newest:
            raise UsageError(
                f"{path} uses ONNX opset {entry.version}",
                why=f"opsets {OLDEST_OPSET} to {newest} can be read",
                fix=f"export again with opset_version={INTERNAL_OPSET}",
            )


def _check(proto: onnx.ModelProto, path: Path) -> None:
    """Let ONNX check the file.

    Operators it does not know are `check_supported`'s to report; deprecated ones are adapted.
    """
    try:
        onnx.checker.check_model(proto)
    except onnx.checker.ValidationError as error:
        message = str(error).strip()
        if any(words in message for words in _NOT_OURS_TO_JUDGE):
            return
        first, *context = message.splitlines()
        raise UsageError(
            f"{path} is not a valid ONNX model",
            at=[line.removeprefix("==> ").strip() for line in context if line.strip()],
            why=first,
            fix="export it again, or report it to whoever made it",
        ) from None


def _upgrade(model: ir.Model, path: Path) -> None:
    """Bring the model to the internal opset, down from a newer one where it uses nothing new."""
    version = model.opset_imports.get("", INTERNAL_OPSET)
    upgrade(model)
    try:
        onnx.checker.check_model(ir.to_proto(model))
    except onnx.checker.ValidationError as error:
        message = str(error).strip().splitlines()[0]
        if version <= INTERNAL_OPSET and not any(words in message for words in _NOT_OURS_TO_JUDGE):
            raise InternalError(f"opset {version} was brought over badly: {error}") from error
        if version > INTERNAL_OPSET:
            raise UnsupportedModelError(
                f"{path} uses what ONNX opset {version} added",
                why=message,
                fix=f"export again with opset_version={INTERNAL_OPSET}",
            ) from None


_NOT_OURS_TO_JUDGE = ("No Op registered", "No opset import", "is deprecated in domain_version")


def _forget_placeholders(graph: ir.Graph) -> None:
    """Some exporters write -1 or `?` where a size is not known, and mean another one each time."""
    nodes = graph.all_nodes()
    for value in (*graph.inputs, *(output for node in nodes for output in node.outputs)):
        dims = list(value.shape or ())
        if any(_is_placeholder(dim) for dim in dims):
            value.shape = ir.Shape(None if _is_placeholder(dim) else dim for dim in dims)


def _is_placeholder(dim: int | ir.SymbolicDim) -> bool:
    if isinstance(dim, int):
        return dim < 0
    return dim.value is not None and not any(c.isalpha() or c == "_" for c in str(dim.value))


def _drop_default_inputs(graph: ir.Graph) -> None:
    """Initializers that are inputs too (IR version 3) become plain initializers."""
    for value in [value for value in graph.inputs if value.is_initializer()]:
        graph.inputs.remove(value)


def _note_weights(model: ir.Model) -> None:
    """Note the names of initializers as the user's."""
    for graph in [model.graph, *(body for node in walk(model.graph) for body in bodies(node))]:
        for name, value in graph.initializers.items():
            facts.put(value, facts.SourceName(name))


def _warn_of_known_errors(model: ir.Model) -> None:
    """The GRU of torch resets after the product; onnxscript < 0.7.2 wrote that it does before."""
    lines = []
    for node in walk(model.graph):
        after = node.attributes.get("linear_before_reset")
        from_torch = any(key.startswith("pkg.torch") for key in node.metadata_props)
        if node.op_type == "GRU" and from_torch and (after is None or after.as_int() == 0):
            lines.append(
                f"{describe(node)} was exported from torch with linear_before_reset=0: torch "
                "computes 1, and onnxscript before 0.7.2 wrote 0. Outputs will differ from "
                "torch's; export again with onnxscript >= 0.7.2"
            )
    if lines:
        facts.put(model, facts.Warnings("\n".join(lines)))


__all__ = ["INTERNAL_OPSET", "check_supported", "import_onnx", "operator"]
