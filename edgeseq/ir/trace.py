"""Follow time through a graph, from its inputs to every value."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.edit import data_of
from edgeseq.ir.infer import bodies
from edgeseq.ir.time_rules import rule_of
from edgeseq.ir.timeline import Along, Latest, Length, MixesTimeError, Timeline, Track


def trace(model: ir.Model) -> Timeline:
    """Follow time from the graph inputs with a `TimeAxis` to every value."""
    line = Timeline()
    for value in model.graph.inputs:
        time = facts.get(value, facts.TimeAxis)
        if time is not None:
            line.tracks[value] = Along(time.axis)
    for node in model.graph:
        try:
            found = _visit(node, line)
        except MixesTimeError as problem:
            line.problems.append((node, str(problem)))
            found = _guess(node, model)
        for output, track in zip(node.outputs, found, strict=False):
            line.tracks[output] = track
    for value in model.graph.outputs:
        track, producer = line.track(value), value.producer()
        if isinstance(track, Along) and track.lead and producer is not None:
            line.problems.append((producer, f"output '{value.name}' is longer than its input"))
    return line


def _guess(node: ir.Node, model: ir.Model) -> list[Track]:
    """After a problem, go on with what the shapes suggest, so that all problems are found."""
    span = facts.get(model, facts.DimRange)
    symbol = None if span is None else span.symbol
    return [
        next((Along(i) for i, dim in enumerate(output.shape or ()) if dim == symbol), None)
        for output in node.outputs
    ]


def _visit(node: ir.Node, line: Timeline) -> Sequence[Track]:
    tracks = [line.track(value) for value in node.inputs]
    captured = [
        line.track(value)
        for body in bodies(node)
        for inner in body
        for value in inner.inputs
        if value is not None and value.graph is not body
    ]
    if all(track is None for track in tracks + captured):
        return [None] * len(node.outputs)
    if any(track is not None for track in captured):
        raise MixesTimeError("its body uses values that change with time")
    if node.op_type in ("Shape", "Size"):
        return [Length()]
    if any(isinstance(track, Length) for track in tracks):
        return _of_lengths(node, tracks, line)
    rule = rule_of(node)
    if rule is None:
        raise MixesTimeError("what it does along time is not known")
    if any(isinstance(track, Latest) for track in tracks):
        if any(isinstance(track, Along) for track in tracks):
            raise MixesTimeError("it uses at every step what is known only after the last")
        return [Latest()] * len(node.outputs)
    return rule(node, line)


def _of_lengths(node: ir.Node, tracks: list[Track], line: Timeline) -> Sequence[Track]:
    """Lengths may become the shapes of constants, and the end of a Range with an entry a step."""
    if node.op_type == "Range" and _counts_steps(node):
        line.sums.append(node)
        return [Along(0)]
    if node.op_type in ("Range", "CumSum"):
        raise MixesTimeError("it counts steps from the start of the input")
    if any(isinstance(track, (Along, Latest)) for track in tracks):
        raise MixesTimeError("it depends on how long the input is")
    if node.op_type not in ("ConstantOfShape", "Expand"):
        return [Length()] * len(node.outputs)
    varying = [
        i for i, d in enumerate(node.outputs[0].shape or ()) if isinstance(d, ir.SymbolicDim)
    ]
    if len(varying) > 1:
        raise MixesTimeError("more than one of its axes depends on time")
    return [Along(varying[0]) if varying else None]


def _counts_steps(node: ir.Node) -> bool:
    """Whether a Range has one entry for each step, from a constant on."""
    start, _, delta = node.inputs
    size = node.outputs[0].shape[0] if node.outputs[0].shape else None
    graph = node.graph
    symbols = {
        time.symbol
        for value in (graph.inputs if isinstance(graph, ir.Graph) else [])
        if (time := facts.get(value, facts.TimeAxis)) is not None
    }
    constants = data_of(start) is not None and data_of(delta) is not None
    return constants and isinstance(size, ir.SymbolicDim) and size.value in symbols
