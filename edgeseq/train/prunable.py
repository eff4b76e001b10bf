"""The weight matrices of a model: [outputs, inputs] of each linear map, however they are stored.

A recurrent weight is one matrix per direction and gate. A Transpose between the weight and its node
is followed. What is left alone, and why, is part of the answer.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.passes import walk
from edgeseq.ir.patterns import Mask, Pattern

Array = npt.NDArray[Any]

GATES = {"GRU": "zrh", "LSTM": "iofc", "RNN": ""}  # in the order in which ONNX stores them
LINEAR, CONVOLUTION, DEPTHWISE, INPUT, RECURRENT = (
    "linear",
    "convolution",
    "depthwise",
    "input",
    "recurrent",
)
_COPIES = frozenset({"Transpose", "Identity"})


@dataclasses.dataclass(frozen=True)
class Use:
    """A node that multiplies by the matrix: `node.inputs[slot]` leads to the weight.

    Args:
        node: The node.
        slot: Which of its inputs.
        direction: Of a recurrence: 0, or 1 for the second.
        gate: Of a recurrence: its letter, "" where there is one.
    """

    node: ir.Node
    slot: int
    direction: int = 0
    gate: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class Matrix:
    """One linear map with constant weights.

    Args:
        name: The user's name of the weight, and the gate where there are several: `gru.R[z]`.
        kind: `linear`, `convolution`, `depthwise`, `input` or `recurrent` (of a recurrence).
        weight: The initializer; others may be slices of it (gates) or multiply by it (shared).
        index: Where entry [output, input] lies in the flat weight.
        taps: How many runs of inputs a row has (the cells of a convolution's kernel).
        groups: Groups of a convolution: row r sees the inputs of group `r * groups // outputs`.
        uses: The nodes.
    """

    name: str
    kind: str
    weight: ir.Value
    index: npt.NDArray[np.int64]
    taps: int
    groups: int
    uses: tuple[Use, ...]

    @property
    def shape(self) -> tuple[int, int]:
        """Outputs and inputs (of all taps)."""
        return self.index.shape[0], self.index.shape[1]

    @property
    def size(self) -> int:
        """Number of weights."""
        return self.index.size

    def get(self) -> Array:
        """Return a copy of the weights, [outputs, inputs], float32 or wider."""
        values = _data(self.weight).reshape(-1)[self.index]
        return values if values.dtype == np.float64 else values.astype(np.float32)

    def set(self, array: Array) -> None:
        """Replace the weights; they are stored in their own type."""
        if array.shape != self.shape:
            raise ValueError(f"{self.name} is {self.shape}, not {array.shape}")
        full = _data(self.weight).copy()
        full.reshape(-1)[self.index] = array.astype(full.dtype)
        self.weight.const_value = ir.tensor(full, name=self.weight.name)


@dataclasses.dataclass(frozen=True)
class Skipped:
    """A constant weight that is no matrix to prune, and why."""

    name: str
    reason: str


def find(model: ir.Model) -> list[Matrix]:
    """Return all matrices, in the order of the graph."""
    return survey(model)[0]


def survey(model: ir.Model) -> tuple[list[Matrix], list[Skipped]]:
    """Return all matrices in the order of the graph, and the weights left alone."""
    found: dict[tuple[ir.Value, bytes], Matrix] = {}
    skipped: dict[str, Skipped] = {}
    for node in walk(model.graph):
        for made in _of_node(node):
            if isinstance(made, Skipped):
                skipped[made.name] = made
                continue
            key = (made.weight, made.index.tobytes())
            if (same := found.get(key)) is not None:
                made = dataclasses.replace(same, uses=(*same.uses, *made.uses))
            found[key] = made
    kept = []
    for matrix in found.values():
        reason = _shared(matrix, found.values())
        if reason is None:
            kept.append(matrix)
        else:
            skipped[matrix.name] = Skipped(matrix.name, reason)
    return kept, list(skipped.values())


def mark(matrices: Sequence[Matrix], pattern: Pattern) -> None:
    """Attach to each weight how its zeros are arranged; matrices of one weight share a pattern."""
    by_weight: dict[ir.Value, list[Matrix]] = {}
    for matrix in matrices:
        by_weight.setdefault(matrix.weight, []).append(matrix)
    for weight, parts in by_weight.items():
        stored = sum(pattern.stored(m.get(), m.taps) * m.size for m in parts)
        density = stored / sum(m.size for m in parts)
        facts.put(weight, facts.Sparsity(pattern.text, round(density, 6)))


def apply(matrix: Matrix, mask: Mask) -> None:
    """Set what the mask does not keep to zero."""
    matrix.set(np.where(mask, matrix.get(), 0))


def _of_node(node: ir.Node) -> Iterator[Matrix | Skipped]:
    if node.domain not in ("", "ai.onnx"):
        return
    match node.op_type:
        case "MatMul":
            for slot in (0, 1):
                yield from _matrix(node, slot, functools.partial(_matmul, slot), LINEAR)
        case "Gemm":
            for slot in (0, 1):
                turned = bool(_integer(node, "transA" if slot == 0 else "transB"))
                rows = functools.partial(_gemm, turned == (slot == 0))
                yield from _matrix(node, slot, rows, LINEAR)
        case "Conv" | "ConvTranspose":
            yield from _convolution(node)
        case "GRU" | "LSTM" | "RNN":
            yield from _recurrent(node)


def _gemm(turn: bool, order: Array) -> Array | str:
    return order.T if turn else order


def _matmul(slot: int, order: Array) -> Array | str:
    if order.ndim < 2 or math.prod(order.shape[:-2]) != 1:
        return f"a weight of shape {list(order.shape)} is no single matrix"
    matrix = order.reshape(order.shape[-2:])
    return matrix if slot == 0 else matrix.T


def _convolution(node: ir.Node) -> Iterator[Matrix | Skipped]:
    groups = _integer(node, "group", 1)
    transposed = node.op_type == "ConvTranspose"
    taps = 1

    def rows(order: Array) -> Array | str:
        nonlocal taps
        taps = math.prod(order.shape[2:])
        if transposed:  # [inputs, outputs / groups, taps...]
            order = order.reshape(groups, -1, order.shape[1], taps)
            order = order.transpose(0, 2, 3, 1)
        else:  # [outputs, inputs / groups, taps...]
            order = order.reshape(*order.shape[:2], -1).transpose(0, 2, 1)
            order = order.reshape(groups, -1, *order.shape[1:])
        return order.reshape(-1, order.shape[2] * order.shape[3])

    for made in _matrix(node, 1, rows, CONVOLUTION):
        if isinstance(made, Matrix):
            narrow = groups > 1 and made.shape[1] == taps
            kind = DEPTHWISE if narrow else CONVOLUTION
            made = dataclasses.replace(made, taps=taps, groups=groups, kind=kind)
        yield made


def _recurrent(node: ir.Node) -> Iterator[Matrix | Skipped]:
    letters = GATES[node.op_type] or " "
    both = "direction" in node.attributes and node.attributes["direction"].value == "bidirectional"
    for slot, kind in ((1, INPUT), (2, RECURRENT)):
        for direction in range(1 + both):
            for number, letter in enumerate(letters):

                def rows(
                    order: Array, number: int = number, direction: int = direction
                ) -> Array | str:
                    gates = order[direction].reshape(len(letters), -1, order.shape[2])
                    one: Array = gates[number]
                    return one

                words = ["backward"] * (direction == 1) + [letter] * (letter != " ")
                suffix = f"[{'.'.join(words)}]" if words else ""
                use = Use(node, slot, direction, letter.strip())
                yield from _matrix(node, slot, rows, kind, suffix, use)


def _matrix(
    node: ir.Node,
    slot: int,
    rows: Callable[[Array], Array | str],
    kind: str,
    suffix: str = "",
    use: Use | None = None,
) -> Iterator[Matrix | Skipped]:
    """Yield the matrix of one input of a node, if that is a constant of floats."""
    value = node.inputs[slot] if slot < len(node.inputs) else None
    traced = None if value is None else _trace(value)
    if traced is None:
        return
    weight, order = traced
    name = _name(weight)
    if weight.is_graph_input():
        yield Skipped(name, "it is also an input of the graph, so it may change")
        return
    index = rows(order)
    if isinstance(index, str):
        yield Skipped(name, index)
        return
    index = np.ascontiguousarray(index)
    yield Matrix(name + suffix, kind, weight, index, 1, 1, (use or Use(node, slot),))


def _trace(value: ir.Value) -> tuple[ir.Value, npt.NDArray[np.int64]] | None:
    """Follow copies back to a float initializer; the array says where each entry lies in it."""
    moves: list[Sequence[int] | None] = []
    while (node := value.producer()) is not None:
        if node.op_type not in _COPIES or node.domain not in ("", "ai.onnx") or not node.inputs[0]:
            return None
        if node.op_type == "Transpose":
            perm = node.attributes.get("perm")
            moves.append(None if perm is None else tuple(perm.value))
        value = node.inputs[0]
    tensor = value.const_value
    if tensor is None or not tensor.dtype.is_floating_point() or len(tensor.shape) < 2:
        return None
    sizes = [int(n) for n in tensor.shape]
    order = np.arange(math.prod(sizes), dtype=np.int64).reshape(sizes)
    for perm in reversed(moves):
        order = order.transpose(perm)
    return value, order


def _shared(matrix: Matrix, others: Any) -> str | None:
    """Say why a weight cannot be pruned for one of its users alone."""
    used = {use.node for use in matrix.uses}
    turned = [
        m for m in others if m.weight is matrix.weight and not used & {use.node for use in m.uses}
    ]
    if turned:
        return f"node '{turned[0].uses[0].node.name}' uses the same weight in another way"
    for node in _users(matrix.weight):
        if node not in used:
            return f"node '{node.name}' ({node.op_type}) uses the same weight, too"
    if matrix.weight.is_graph_output():
        return "it is also an output of the graph"
    return None


def _users(value: ir.Value) -> Iterator[ir.Node]:
    for use in value.uses():
        if use.node.op_type in _COPIES and use.node.domain in ("", "ai.onnx"):
            yield from _users(use.node.outputs[0])
        else:
            yield use.node


def _name(weight: ir.Value) -> str:
    source = facts.get(weight, facts.SourceName)
    return str(weight.name) if source is None else source.name


def _integer(node: ir.Node, name: str, default: int = 0) -> int:
    return int(node.attributes[name].value) if name in node.attributes else default


def _data(weight: ir.Value) -> Array:
    array: Array = weight.const_value.numpy()
    return array
