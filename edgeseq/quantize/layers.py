"""The layers of a model that can be quantized, and why others cannot."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import facts, filter_banks
from edgeseq.ir.edit import data_of
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import walk

Array = npt.NDArray[Any]

GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
_USUAL = {
    "GRU": (("Sigmoid", "Tanh"),),
    "LSTM": (("Sigmoid", "Tanh", "Tanh"),),
    "RNN": (("Tanh",), ("Relu",)),
}
RECURRENT, LINEAR, CONVOLUTION, EMBEDDING = "recurrent", "linear", "convolution", "embedding"


@dataclasses.dataclass(frozen=True, eq=False)
class Layer:
    """One node with constant weights.

    Args:
        node: The node.
        kind: `recurrent`, `linear`, `convolution` or `embedding`.
        slots: Which of its inputs are the weights.
        why_float: Why its activations cannot or should not be quantized; empty otherwise.
    """

    node: ir.Node
    kind: str
    slots: tuple[int, ...]
    why_float: str = ""

    @property
    def name(self) -> str:
        """The user's own name, as far as it is known."""
        weight = self.node.inputs[self.slots[0]]
        source = None if weight is None else facts.get(weight, facts.SourceName)
        return source.name if source is not None else str(self.node.name)

    @property
    def names(self) -> tuple[str, str]:
        """What a user may call it: its own name, and its node's."""
        return self.name, str(self.node.name)

    @property
    def x(self) -> ir.Value:
        """What the weights are multiplied by."""
        value = self.node.inputs[1 if self.kind == EMBEDDING else 0]
        assert value is not None
        return value

    def weights(self) -> list[tuple[ir.Value, Array]]:
        """Each weight and its data as it is stored."""
        found = [self.node.inputs[slot] for slot in self.slots]
        return [(v, data) for v in found if v is not None and (data := data_of(v)) is not None]

    def matrix(self, data: Array) -> tuple[int, int]:
        """Outputs and inputs of a weight (rows and width of an embedding)."""
        match self.kind:
            case "recurrent":
                return data.shape[0] * data.shape[1], data.shape[2]
            case "linear":
                rows = self.node.op_type == "Gemm" and _int(self.node, "transB")
                return (data.shape[0], data.shape[1]) if rows else (data.shape[1], data.shape[0])
        return data.shape[0], math.prod(data.shape[1:])


@dataclasses.dataclass(frozen=True)
class Left:
    """A layer that stays as it is, and why."""

    name: str
    reason: str


def find(model: ir.Model) -> tuple[list[Layer], list[Left]]:
    """Return the layers in the order of the graph, and those that cannot be quantized at all."""
    layers: list[Layer] = []
    left: list[Left] = []
    for node in walk(model.graph):
        found = _layer(node)
        if isinstance(found, Layer):
            layers.append(found)
        elif found:
            left.append(Left(describe(node), found))
    return layers, left


def _layer(node: ir.Node) -> Layer | str:
    """The layer of a node; why it is none, or an empty text where it has no weights."""
    if node.domain not in ("", "ai.onnx"):
        return ""
    match node.op_type:
        case "GRU" | "LSTM" | "RNN":
            return _recurrent(node)
        case "MatMul" | "Gemm":
            return _linear(node)
        case "Conv" | "ConvTranspose":
            return _convolution(node)
        case "Gather":
            return _embedding(node)
    return ""


def _convolution(node: ir.Node) -> Layer | str:
    weight = data_of(node.inputs[1])
    if weight is None or weight.dtype != np.float32:
        return ""
    if weight.ndim < 3:
        return f"its weight has rank {weight.ndim}"
    return Layer(node, CONVOLUTION, (1,), _bank(weight.reshape(len(weight), -1)))


def _embedding(node: ir.Node) -> Layer | str:
    """A table of rows; small constants that are only rearranged are none."""
    table = data_of(node.inputs[0])
    axis = node.attributes.get_int("axis", 0)
    if table is None or table.dtype != np.float32 or table.ndim != 2 or axis != 0:
        return ""
    return "" if data_of(node.inputs[1]) is not None else Layer(node, EMBEDDING, (0,))


def _linear(node: ir.Node) -> Layer | str:
    weight = data_of(node.inputs[1])
    if weight is None:
        left = data_of(node.inputs[0])
        return "" if left is None or left.dtype != np.float32 else "its weight stands on the left"
    if weight.dtype != np.float32:
        return ""
    if weight.ndim != 2:
        return f"its weight has rank {weight.ndim}"
    why = [*_odd_gemm(node), _bank(weight)]
    return Layer(node, LINEAR, (1,), "; ".join(filter(None, why)))


def _bank(matrix: Array) -> str:
    """Small numbers beside large ones matter to a filter bank: logarithms follow it."""
    kind = filter_banks.kind(matrix)
    return f"it is {kind}" if kind else ""


def _odd_gemm(node: ir.Node) -> Iterator[str]:
    """What the integer product does not have."""
    if node.op_type != "Gemm":
        return
    if _int(node, "transA"):
        yield "transA = 1"
    added = node.inputs[2] if len(node.inputs) > 2 else None
    row = data_of(added)
    if added is not None and (row is None or math.prod(row.shape[:-1]) != 1):
        yield "what it adds is no constant row"


def _recurrent(node: ir.Node) -> Layer | str:
    w, r = data_of(node.inputs[1]), data_of(node.inputs[2])
    if w is None or r is None:
        return "its weights are not constant"
    if w.dtype != np.float32:
        return f"its weights are {w.dtype}"
    return Layer(node, RECURRENT, (1, 2), "; ".join(_odd(node)))


def _odd(node: ir.Node) -> Iterator[str]:
    """What the integer cells do not have."""
    directions = 2 if node.attributes.get_string("direction", "forward") == "bidirectional" else 1
    given = tuple(a.capitalize() for a in node.attributes.get_strings("activations", ()))
    usual = [one * directions for one in _USUAL[node.op_type]]
    if given and given not in usual:
        yield f"activations {', '.join(given)}"
    if node.attributes.get_float("clip", 0.0):
        yield "clip"
    if _int(node, "layout"):
        yield "layout = 1"
    if _int(node, "input_forget"):
        yield "input_forget = 1"
    if len(node.inputs) > 7 and node.inputs[7] is not None:
        yield "peepholes"
    bias = node.inputs[3] if len(node.inputs) > 3 else None
    if bias is not None and data_of(bias) is None:
        yield "its bias is not constant"


def _int(node: ir.Node, name: str) -> int:
    return int(node.attributes.get_int(name, 0))
