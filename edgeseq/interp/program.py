"""Turns a graph into a flat list of steps once, so that running it does no look-ups by name."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import onnx_ir as ir
import torch

from edgeseq.errors import UnsupportedModelError
from edgeseq.interp import dtypes
from edgeseq.interp.call import Call, Op
from edgeseq.interp.ops import table

_STANDARD = ("", "ai.onnx")


@dataclasses.dataclass(frozen=True)
class Step:
    """One node: an operator, or the body of a function (then `op` is None)."""

    name: str
    call: Call
    inputs: tuple[ir.Value | None, ...]
    outputs: tuple[ir.Value, ...]
    op: Op | None
    body: Program | None = None

    @functools.cached_property
    def control(self) -> bool:
        """Whether the node has subgraphs."""
        return any(isinstance(value, Program) for value in self.call.attributes.values())


@dataclasses.dataclass(frozen=True)
class Program:
    """A graph ready to run."""

    inputs: tuple[ir.Value, ...]
    steps: tuple[Step, ...]
    outputs: tuple[ir.Value, ...]


class Compiler:
    """Compiles the graphs of one model and notes all it cannot run.

    Args:
        model: The model.
        working: Type of every float, None for the model's own.
        keep: Called with each constant found; the interpreter owns them.
        rounding: What `Call.round` is.
    """

    def __init__(
        self,
        model: ir.Model,
        working: torch.dtype | None,
        keep: Callable[[ir.Value, torch.Tensor, bool], None],
        rounding: Callable[[torch.Tensor], torch.Tensor] = torch.round,
    ) -> None:
        self._rounding = rounding
        self._functions = model.functions
        self._working = working
        self._keep = keep
        self._table = table()
        self._unsupported: list[str] = []

    def compile(self, graph: ir.Graph) -> Program:
        """Compile the main graph.

        Raises:
            UnsupportedModelError: names every operator that is missing, not only the first.
        """
        program = self._graph(graph, graph.opset_imports, {})
        if self._unsupported:
            raise UnsupportedModelError(
                f"the interpreter has no {_count(self._unsupported)}",
                at=self._unsupported,
                why="it runs standard ONNX operators and functions that the model itself defines",
                fix="export the model without these operators",
            )
        return program

    def _graph(
        self, graph: ir.Graph | ir.Function, opsets: Mapping[str, int], given: Mapping[str, Any]
    ) -> Program:
        if isinstance(graph, ir.Graph):
            for value in graph.initializers.values():
                self._keep(value, dtypes.constant(value.const_value, self._working), True)
        steps = [self._step(node, opsets, given) for node in graph]
        kept = tuple(step for step in steps if step is not None)
        return Program(tuple(graph.inputs), kept, tuple(graph.outputs))

    def _step(
        self, node: ir.Node, opsets: Mapping[str, int], given: Mapping[str, Any]
    ) -> Step | None:
        if self._is_constant(node):
            value = node.attributes["value"].value
            self._keep(node.outputs[0], dtypes.constant(value, self._working), False)
            return None
        attributes = self._attributes(node, opsets, given)
        domain = "" if node.domain in _STANDARD else node.domain
        opset = node.version or opsets.get(domain) or opsets.get("ai.onnx") or 1
        kinds = tuple("" if v is None or v.dtype is None else v.dtype.name for v in node.inputs)
        call = Call(
            *(node.op_type, attributes, opset, len(node.outputs), self._working, kinds),
            round=self._rounding,
        )
        function = self._functions.get(node.op_identifier())
        op = self._table.get(node.op_type) if domain == "" and function is None else None
        if op is None and function is None:
            full = f"{domain}.{node.op_type}" if domain else node.op_type
            self._unsupported.append(f"node '{node.name}': {full}")
        body = None
        if function is not None:
            defaults = {a.name: self._plain(a, opsets, {}) for a in function.attributes.values()}
            body = self._graph(function, function.opset_imports, defaults | attributes)
        return Step(node.name or "", call, tuple(node.inputs), tuple(node.outputs), op, body)

    def _is_constant(self, node: ir.Node) -> bool:
        value = node.attributes.get("value")
        plain = value is not None and not value.is_ref()
        return node.op_type == "Constant" and node.domain in _STANDARD and plain

    def _attributes(
        self, node: ir.Node, opsets: Mapping[str, int], given: Mapping[str, Any]
    ) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, attribute in node.attributes.items():
            if not attribute.is_ref():
                found[name] = self._plain(attribute, opsets, given)
            elif attribute.ref_attr_name in given:  # else: not given to the function, so absent
                found[name] = given[attribute.ref_attr_name]
        return found

    def _plain(
        self, attribute: ir.Attr, opsets: Mapping[str, int], given: Mapping[str, Any]
    ) -> Any:
        if attribute.type == ir.AttributeType.GRAPH:
            return self._graph(attribute.value, opsets, given)
        if attribute.type == ir.AttributeType.TENSOR:
            return dtypes.constant(attribute.value, self._working)
        return attribute.value


def _count(items: list[str]) -> str:
    return "operator for one node" if len(items) == 1 else f"operators for {len(items)} nodes"
