"""Scan as the import sees it: what it carries, what it cuts into steps, what its body captures.

The node becomes one opaque call `edgeseq.scan.<k>`. Operands: initial states, sequences with time
in front, captured values. Results: final states, then the sequences that somebody wants. The body
is imported as a graph of its own, with the captured values as further inputs.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import onnx_ir as ir

from edgeseq.ir.infer import bodies, scan_axes
from edgeseq.lower.select import wanted

SCAN = "edgeseq.scan"


@dataclasses.dataclass(frozen=True)
class Sequenced:
    """A value that is read or written one step at a time.

    Args:
        outer: The whole sequence.
        inner: One step of it.
        axis: Its time axis, counted from the front.
        backwards: Whether the last step comes first.
    """

    outer: ir.Value
    inner: ir.Value
    axis: int
    backwards: bool


@dataclasses.dataclass(frozen=True)
class Scan:
    """A Scan, taken apart.

    Args:
        node: The node.
        body: Its body: states and steps in, new states and steps out.
        initial: First states.
        final: Last states; None where nobody wants it.
        inputs: The sequences that are read.
        outputs: The sequences that are written and wanted.
        captured: Values of the outer graphs, other than constants, that the body reads.
        constants: The constants among them.
    """

    node: ir.Node
    body: ir.Graph
    initial: tuple[ir.Value, ...]
    final: tuple[ir.Value | None, ...]
    inputs: tuple[Sequenced, ...]
    outputs: tuple[Sequenced, ...]
    captured: tuple[ir.Value, ...]
    constants: tuple[ir.Value, ...]

    @property
    def results(self) -> tuple[ir.Value, ...]:
        """What the body computes in a step, less what nobody wants."""
        states = self.body.outputs[: len(self.initial)]
        return (*states, *(s.inner for s in self.outputs))


def describe(node: ir.Node) -> Scan:
    """Take a Scan (opset 9 or later) apart."""
    body = node.attributes["body"].as_graph()
    scanned = node.attributes["num_scan_inputs"].as_int()
    states = len(node.inputs) - scanned
    outer = _outer_values(body)
    outputs = _sequences(node, "output", node.outputs[states:], body.outputs[states:])
    return Scan(
        node=node,
        body=body,
        initial=tuple(v for v in node.inputs[:states] if v is not None),
        final=tuple(v if wanted(v) else None for v in node.outputs[:states]),
        inputs=_sequences(node, "input", node.inputs[states:], body.inputs[states:]),
        outputs=tuple(s for s in outputs if wanted(s.outer)),
        captured=tuple(v for v in outer if v.const_value is None),
        constants=tuple(v for v in outer if v.const_value is not None),
    )


def _sequences(
    node: ir.Node, kind: str, outer: Sequence[ir.Value | None], inner: Sequence[ir.Value]
) -> tuple[Sequenced, ...]:
    axes = scan_axes(node, f"scan_{kind}_axes", len(inner))
    directions = scan_axes(node, f"scan_{kind}_directions", len(inner))
    return tuple(
        Sequenced(whole, step, axis % (len(step.shape or ()) + 1), bool(direction))
        for whole, step, axis, direction in zip(outer, inner, axes, directions, strict=True)
        if whole is not None
    )


def _outer_values(body: ir.Graph) -> list[ir.Value]:
    """What the body and the bodies inside it use but do not define, in order of first use."""
    own = set(_defined(body))
    return [value for value in dict.fromkeys(_used(body)) if value not in own]


def _defined(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs
        for inner in bodies(node):
            yield from _defined(inner)


def _used(graph: ir.Graph) -> Iterator[ir.Value]:
    for node in graph:
        yield from (value for value in node.inputs if value is not None)
        for inner in bodies(node):
            yield from _used(inner)
    yield from graph.outputs
