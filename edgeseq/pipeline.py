"""The passes in order, and the runner that records and checks each of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence

import onnx
import onnx_ir as ir

from edgeseq import registry
from edgeseq.errors import EdgeseqError, InternalError, UsageError
from edgeseq.ir import facts
from edgeseq.ir.infer import describe, unknown_values
from edgeseq.ir.names import name_nodes
from edgeseq.ir.passes import GraphPass, Refusal, walk
from edgeseq.ir.settings import Settings

PASSES: tuple[str, ...] = (
    "bind-shapes",
    "expand-functions",
    "expand-quantized",
    "fold-constants",
    "if-to-where",
    "fold-constants",
    "constant-bounds",
    "eliminate-identity",
    "eliminate-common",
    "lift-quantized-products",
    # Convolutions and their surroundings.
    "fourier-to-matmul",
    "fold-to-sum",
    "conv-transpose-to-conv",
    "fuse-conv-batchnorm",
    "unfold-conv",
    "gather-to-slice",
    "scatter-to-concat",
    "explicit-pads",
    "lift-quantized-convolutions",
    "conv-to-gemm",
    "matmul-to-conv",
    # Operators written out.
    "pow-to-mul",
    "normalize-prelu",
    "fuse-layer-norm",
    "fuse-lstm-cell",
    "fuse-gru-cell",
    "recurrent-layout",
    "split-scan",
    "drop-expand",
    # Views, before and after state is exposed: it adds slices and concatenations of its own.
    "views-to-reshape",
    "merge-transposes",
    "merge-reshapes",
    "expose-recurrent-state",
    "widen-half",
    "merge-slices",
    "merge-concats",
    "eliminate-identity",
    "eliminate-common",
    "eliminate-dead",
    "mark-time-axes",
)
AFTER_PRUNING: tuple[str, ...] = ("shrink-units",)


@dataclasses.dataclass(frozen=True)
class PassRecord:
    """What one pass did.

    Args:
        name: The pass.
        seconds: How long it took.
        nodes_before: Nodes before, bodies included.
        nodes_after: Nodes after.
        modified: Whether it changed anything.
        refusals: Nodes that looked right and were left alone.
        notes: Decisions the user should know of.
    """

    name: str
    seconds: float
    nodes_before: int
    nodes_after: int
    modified: bool
    refusals: tuple[Refusal, ...] = ()
    notes: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A model ready for lowering, and how it came about."""

    model: ir.Model
    records: tuple[PassRecord, ...]


def prepare(
    model: ir.Model,
    settings: Settings | None = None,
    *,
    passes: Sequence[str] = PASSES,
    check: bool = False,
    stop_after: str | None = None,
    progress: Callable[[PassRecord], None] | None = None,
) -> Prepared:
    """Run the passes over a model, in place.

    Args:
        model: As a frontend returns it.
        settings: Sizes, constants and streaming.
        passes: Names of the passes, in order.
        check: Let ONNX check the model after each pass, and compare what it claims to have
            changed with what it changed.
        stop_after: The last pass to run.
        progress: Called with each record as soon as it is there.

    Raises:
        UsageError: a dimension has no size, or a flag names what does not exist.
        UnsupportedModelError: the model's shapes do not fit together.
        InternalError: a pass broke the model.
    """
    settings = settings or Settings()
    if stop_after is not None and stop_after not in passes:
        raise UsageError(f"unknown stage '{stop_after}'", fix=registry.hint(stop_after, passes))
    name_nodes(model)
    done: list[PassRecord] = []
    warnings = facts.get(model, facts.Warnings)
    if warnings is not None:
        count = _count(model)
        notes = tuple(warnings.text.splitlines())
        done.append(PassRecord("import", 0.0, count, count, False, notes=notes))
    for name in passes:
        done.append(_run(model, name, settings, check, [record.name for record in done], passes))
        if progress is not None:
            progress(done[-1])
        if name == stop_after:
            break
    return Prepared(model, tuple(done))


def _run(
    model: ir.Model,
    name: str,
    settings: Settings,
    check: bool,
    before: Sequence[str],
    passes: Sequence[str],
) -> PassRecord:
    one: GraphPass = registry.find("passes", name).PASS(settings)
    nodes, snapshot = _count(model), _skeleton(model) if check else b""
    start = time.perf_counter()
    try:
        modified = one(model).modified
        if check:
            _check(model, modified, snapshot)
    except EdgeseqError:
        raise
    except Exception as error:
        place = f"{passes.index(name) + 1} of {len(passes)}"
        after = f", after {', '.join(before)}" if before else ""
        raise InternalError(f"pass '{name}' ({place}{after}) broke: {error}") from error
    seconds = time.perf_counter() - start
    refusals, notes = tuple(one.refusals), tuple(one.notes)
    return PassRecord(name, seconds, nodes, _count(model), modified, refusals, notes)


def _check(model: ir.Model, modified: bool, snapshot: bytes) -> None:
    proto = ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    if modified != (_skeleton(model) != snapshot):
        raise ValueError(f"it says modified={modified}, which is not so")


def _skeleton(model: ir.Model) -> bytes:
    """The model without the types of inner values and outputs, which follow from the rest."""
    proto = ir.to_proto(model)
    _strip_types(proto.graph)
    return bytes(proto.SerializeToString(deterministic=True))


def _strip_types(graph: onnx.GraphProto) -> None:
    del graph.value_info[:]
    for output in graph.output:
        output.ClearField("type")
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _strip_types(attribute.g)


def _count(model: ir.Model) -> int:
    return sum(1 for _ in walk(model.graph))


def verify(model: ir.Model) -> None:
    """Check what lowering relies on (docs/architecture.md, "Pipeline").

    Raises:
        InternalError: lists every violation.
    """
    problems = [*_check_values(model), *_check_nodes(model), *_check_states(model)]
    if problems:
        raise InternalError("the prepared model breaks its contract:\n" + "\n".join(problems))


def _check_values(model: ir.Model) -> Iterable[str]:
    span = facts.get(model, facts.DimRange)
    symbols = {span.symbol} if span is not None else set()
    for node, value in unknown_values(model.graph):
        yield f"{describe(node)}: '{value.name}' has no dtype or shape"
    values = [*model.graph.inputs, *(v for node in model.graph for v in node.outputs if v.name)]
    for value in values:
        for dim in value.shape or ():
            if isinstance(dim, ir.SymbolicDim) and (
                dim.value is None or not dim.free_symbols() <= symbols
            ):
                yield f"'{value.name}': dimension {dim} is not made of {symbols or 'numbers'}"


_GONE = frozenset({"If", "Constant", "Dropout"})
_STATIC_ONLY = frozenset({"Shape", "Size", "ConstantOfShape", "Range"})


def _check_nodes(model: ir.Model) -> Iterable[str]:
    for node in walk(model.graph):
        if node.domain:
            continue
        constant = all(v is None or v.const_value is not None for v in node.inputs)
        copies = node.op_type == "Identity" and not node.outputs[0].is_graph_output()
        if node.op_type in _GONE or copies or (node.op_type in _STATIC_ONLY and constant):
            yield f"{describe(node)} should be gone"
        if not any(o.uses() or o.is_graph_output() for o in node.outputs):
            yield f"{describe(node)} is dead"


def _check_states(model: ir.Model) -> Iterable[str]:
    outputs = {value.name: value for value in model.graph.outputs}
    for value in model.graph.inputs:
        state = facts.get(value, facts.State)
        if state is None:
            continue
        target = outputs.get(state.output)
        if target is None:
            yield f"state '{value.name}' has no output '{state.output}'"
        elif (target.shape, target.dtype) != (value.shape, value.dtype):
            yield f"state '{value.name}' and '{state.output}' differ in shape or dtype"
