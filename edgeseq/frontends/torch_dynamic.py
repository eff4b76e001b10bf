"""The user's `dynamic={"x": {1: "T"}}` -> what `torch.export` takes, and names for its symbols.

torch invents a symbol (`s27`) for each dynamic dimension. The dimensions are exported under these,
so that torch derives their ranges itself, and renamed afterwards.
"""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import onnx_ir as ir
import torch
from torch.export import Dim, ExportedProgram

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.registry import hint

# The upper end of a dimension that nothing bounds.
OPEN_END = 4096
# What torch takes for infinity is at least this.
UNBOUNDED = 2**31 - 1
# An example of length 1 would make torch believe that the length is always 1.
_EXAMPLE_LENGTH = 8


@dataclasses.dataclass(frozen=True)
class Named:
    """One dimension the user named: its tensor among the flattened inputs, its axis, its range."""

    tensor: int
    axis: int
    name: str
    low: int | None
    high: int | None


@dataclasses.dataclass(frozen=True)
class Plan:
    """Arguments for `torch.export`.

    Args:
        inputs: Example values by parameter name, in order.
        args: The same, as positional arguments.
        kwargs: The same, as named arguments.
        shapes: `dynamic_shapes` of torch, or None when all shapes are static.
        named: All dimensions the user named.
    """

    inputs: dict[str, Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    shapes: dict[str, Any] | None
    named: tuple[Named, ...]


def plan(forward: Callable[..., Any], example_inputs: Any, dynamic: Any = None) -> Plan:
    """Bind the example inputs to the parameters of `forward` and read `dynamic` beside them."""
    bound = _bind(forward, example_inputs)
    inputs = bound.arguments
    if isinstance(dynamic, list | tuple):
        dynamic = dict(zip(inputs, dynamic, strict=False))
    wanted: Mapping[str, Any] = dynamic or {}
    for name in wanted:
        if name not in inputs:
            raise UsageError(f"dynamic names '{name}', which is no input", fix=hint(name, inputs))
    reader = _Reader()
    read = {name: reader.read(name, value, wanted.get(name)) for name, value in inputs.items()}
    bound.arguments.update((name, value) for name, (value, _) in read.items())
    return Plan(
        inputs=dict(bound.arguments),
        args=bound.args,
        kwargs=bound.kwargs,
        shapes={name: shape for name, (_, shape) in read.items()} if reader.named else None,
        named=tuple(reader.named),
    )


def symbols(program: ExportedProgram, named: Sequence[Named]) -> dict[str, Named]:
    """Return which of torch's symbols got which name; a symbol with two names keeps the first."""
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    names = [str(name) for name in program.graph_signature.user_inputs if name in nodes]
    tensors = [nodes[name] for name in names if isinstance(nodes[name].meta["val"], torch.Tensor)]
    found: dict[str, Named] = {}
    for one in named:
        size = tensors[one.tensor].meta["val"].shape[one.axis]
        if isinstance(size, torch.SymInt):
            found.setdefault(str(size), one)
    return found


def ranges(program: ExportedProgram, found: Mapping[str, Named]) -> list[facts.DimRange]:
    """Return the range of every named symbol: what torch derived, within what the user said."""
    limits = {str(symbol): limit for symbol, limit in program.range_constraints.items()}
    made = []
    for symbol, named in found.items():
        limit = limits.get(symbol)
        low = 1 if limit is None else max(1, int(limit.lower))
        upper = None if limit is None else limit.upper
        high = int(upper) if upper is not None and upper < UNBOUNDED else None
        made.append(facts.DimRange(named.name, low, high or max(OPEN_END, low)))
    return made


def rename_symbols(model: ir.Model, found: Mapping[str, Named]) -> None:
    """Put the user's names in place of torch's, in every shape of the model."""
    if not found:
        return
    names = {symbol: named.name for symbol, named in found.items()}
    pattern = re.compile(r"\b(" + "|".join(map(re.escape, names)) + r")\b")

    def renamed(dim: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
        if isinstance(dim, int) or dim.value is None:
            return dim
        return ir.SymbolicDim(pattern.sub(lambda match: names[match[1]], dim.value))

    for value in _values(model):
        if value.shape is not None:
            value.shape = ir.Shape([renamed(dim) for dim in value.shape])


def _values(model: ir.Model) -> Iterator[ir.Value]:
    graphs = [model.graph, *model.graph.subgraphs()]
    for graph in graphs:
        yield from graph.inputs
        for node in graph:
            yield from node.outputs


def _bind(forward: Callable[..., Any], example_inputs: Any) -> inspect.BoundArguments:
    if isinstance(example_inputs, torch.Tensor):
        example_inputs = (example_inputs,)
    signature = inspect.signature(forward)
    try:
        if isinstance(example_inputs, Mapping):
            return signature.bind(**example_inputs)
        return signature.bind(*example_inputs)
    except TypeError as error:
        raise UsageError(
            f"the example inputs do not fit forward{signature}: {error}",
            fix="give a tuple of positional arguments, or a dict of named ones",
        ) from None


class _Reader:
    """Walks an input and its part of `dynamic` together; counts tensors as torch flattens them."""

    def __init__(self) -> None:
        self.named: list[Named] = []
        self._tensors = 0
        self._sizes: dict[str, int] = {}

    def read(self, where: str, value: Any, wanted: Any) -> tuple[Any, Any]:
        """Return the example, long enough for tracing, and torch's form of `wanted`."""
        if isinstance(value, torch.Tensor):
            return self._tensor(where, value, wanted or {})
        if isinstance(value, Mapping):
            inner = {
                k: self.read(f"{where}.{k}", v, (wanted or {}).get(k)) for k, v in value.items()
            }
            return {k: v for k, (v, _) in inner.items()}, {k: s for k, (_, s) in inner.items()}
        if isinstance(value, list | tuple):
            wishes = [*(wanted or ()), *([None] * len(value))]
            pairs = [self.read(f"{where}.{i}", v, wishes[i]) for i, v in enumerate(value)]
            kind = list if isinstance(value, list) else tuple
            return kind(v for v, _ in pairs), kind(s for _, s in pairs)
        return value, None

    def _tensor(
        self, where: str, value: torch.Tensor, wanted: Any
    ) -> tuple[torch.Tensor, dict[int, Any] | None]:
        index, self._tensors = self._tensors, self._tensors + 1
        value = value.detach().clone()  # torch leaves marks on tensors with dynamic dimensions
        hints = {}
        entries = wanted.items() if isinstance(wanted, Mapping) else enumerate(wanted)
        for axis, dim in entries:
            if dim is None or isinstance(dim, int):
                continue
            if not isinstance(axis, int) or not -value.ndim <= axis < value.ndim:
                raise UsageError(f"dynamic: input '{where}' has {value.ndim} axes, no axis {axis}")
            one = _named(where, index, axis % value.ndim, dim)
            self._check_size(where, one, value.shape[one.axis])
            self.named.append(one)
            hints[one.axis] = Dim.DYNAMIC(min=one.low, max=one.high)
            if value.shape[one.axis] == 1:
                value = torch.cat([value] * _EXAMPLE_LENGTH, one.axis)
        return value, hints or None

    def _check_size(self, where: str, one: Named, size: int) -> None:
        known = self._sizes.setdefault(one.name, size)
        if size != known or size == 0:
            raise UsageError(
                f"dynamic: dimension '{one.name}' is {size} at axis {one.axis} of input '{where}'"
                + (f" and {known} elsewhere" if known != size else ""),
                fix="give example inputs whose sizes agree and are not zero",
            )


def _named(where: str, tensor: int, axis: int, dim: Any) -> Named:
    if isinstance(dim, str):
        if not dim.isidentifier():
            raise UsageError(f"dynamic: '{dim}' is no name for a dimension", fix="e.g. 'T'")
        return Named(tensor, axis, dim, None, None)
    if isinstance(dim, type(Dim.DYNAMIC)):
        return Named(tensor, axis, f"{where.replace('.', '_')}_{axis}", dim.min, dim.max)
    if isinstance(dim, Dim):
        high = int(dim.max) if dim.max < UNBOUNDED else None
        return Named(tensor, axis, dim.__name__, int(dim.min), high)
    raise UsageError(
        f"dynamic: axis {axis} of input '{where}' is {dim!r}",
        fix="name the dimension with a string or a torch.export.Dim",
    )
