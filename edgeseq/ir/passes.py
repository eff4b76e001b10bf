"""What every pass is: a rewrite of the graph that says what it refused, and why."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Iterator
from typing import ClassVar

import onnx_ir as ir

from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import bodies, describe
from edgeseq.ir.settings import Settings


@dataclasses.dataclass(frozen=True)
class Refusal:
    """A node that looked like a pass's pattern and was left alone."""

    node: str
    reason: str


class GraphPass(ir.passes.InPlacePass):  # type: ignore[misc]
    """A pass over the whole model; nodes that lose their last use are removed after it."""

    def __init__(self, settings: Settings | None = None) -> None:
        super().__init__()
        self.settings = settings or Settings()
        self.refusals: list[Refusal] = []
        self.notes: list[str] = []

    def call(self, model: ir.Model) -> ir.passes.PassResult:
        """Run the pass and sweep up after it."""
        edit = Editor(model)
        changed = self.run(edit)
        if changed:
            edit.sweep()
        return ir.passes.PassResult(model, changed)

    @abc.abstractmethod
    def run(self, edit: Editor) -> bool:
        """Rewrite `edit.model`; return whether anything changed."""

    def refuse(self, node: ir.Node, reason: str) -> None:
        """Record why a node that looked right was left alone."""
        self.refusals.append(Refusal(describe(node), reason))


class NodePass(GraphPass):
    """A pass that looks at each node of some operators, in order, bodies of Scan included."""

    ops: ClassVar[tuple[str, ...]]

    def run(self, edit: Editor) -> bool:
        """Visit every matching node once."""
        changed = False
        for node in list(walk(edit.model.graph)):
            if node.op_type in self.ops and node.domain == "" and node.graph is not None:
                outcome = self.rewrite(node, edit)
                if isinstance(outcome, str):
                    self.refuse(node, outcome)
                else:
                    changed |= outcome
        return changed

    @abc.abstractmethod
    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Rewrite one node.

        Returns:
            True when rewritten, False when the node is not the pattern, and the reason when it
            is the pattern but cannot be rewritten.
        """


def walk(graph: ir.Graph) -> Iterator[ir.Node]:
    """Yield the nodes of a graph and, before each node, those of its bodies."""
    for node in graph:
        for body in bodies(node):
            yield from walk(body)
        yield node
