"""The linear part of a recurrent cell written out: `x W + h R + b`, cut into gates."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import axis_of, data_of
from edgeseq.ir.infer import describe

Array = npt.NDArray[Any]

_VIEWS = frozenset({"Reshape", "Squeeze", "Unsqueeze", "Slice", "Split", "Gather", "Transpose"})


@dataclasses.dataclass(frozen=True)
class Part:
    """Columns [`start`, `start + size`) of a matrix."""

    sum: ir.Value
    start: int
    size: int


@dataclasses.dataclass(frozen=True)
class Operand:
    """A matrix [batch, columns] and the rows x columns weight it is multiplied with."""

    value: ir.Value
    weight: Array
    source: str | None


@dataclasses.dataclass(frozen=True)
class Gates:
    """A sum of products and a bias of `rows` elements."""

    operands: tuple[Operand, ...]
    bias: Array
    rows: int


def producer(value: ir.Value | None, op_type: str) -> ir.Node | None:
    """Return the standard node of this operator that makes the value, or None."""
    node = None if value is None else value.producer()
    return node if node is not None and node.op_type == op_type and not node.domain else None


def view_source(value: ir.Value) -> ir.Value:
    """Follow slices and reshapes back to the value they look at."""
    node = value.producer()
    while node is not None and node.op_type in _VIEWS and not node.domain and node.inputs[0]:
        value = node.inputs[0]
        node = value.producer()
    return value


def gate_of(value: ir.Value) -> Part | None:
    """Say a value as columns of a matrix: one output of a Split, or a Slice."""
    node = value.producer()
    source = None if node is None else node.inputs[0]
    if node is None or source is None or source.shape is None or len(source.shape) != 2:
        return None
    if node.op_type == "Split" and axis_of(node, 0, 2) == 1:
        widths = [output.shape[1] for output in node.outputs if output.shape is not None]
        if all(isinstance(width, int) for width in widths):
            index = list(node.outputs).index(value)
            return Part(source, sum(widths[:index]), int(widths[index]))
    if node.op_type == "Slice":
        bounds = [data_of(one) for one in node.inputs[1:]]
        numbers = [one.tolist() for one in bounds if one is not None]
        width = source.shape[1]
        if (
            len(numbers) == len(bounds)
            and numbers[2:3] in ([[1]], [[-1]])
            and isinstance(width, int)
        ):
            start, end, _ = slice(numbers[0][0], numbers[1][0]).indices(width)
            return Part(source, start, end - start) if numbers[3:] in ([], [[1]]) else None
    return None


def linear_gates(value: ir.Value, products: int) -> Gates | str:
    """Take a matrix apart into so many products with constants and a bias, or say why not."""
    if value.shape is None or not isinstance(value.shape[-1], int):
        return "the number of its units is not known"
    rows = int(value.shape[-1])
    operands: list[Operand] = []
    bias = np.zeros(rows)
    for term in _terms(value):
        constant = data_of(term)
        if constant is not None:
            if constant.size not in (1, rows):
                return f"'{term.name}' is not a bias per unit"
            bias = bias + constant.reshape(-1)
            continue
        product = _product(term)
        if isinstance(product, str):
            return product
        found, extra = product
        operands += found
        bias = bias + extra
    if len(operands) != products:
        return f"its gates are {len(operands)} products, not {products}"
    if any(one.weight.shape[0] != rows or _rank(one.value) != 2 for one in operands):
        return "its products are not of matrices with all its gates"
    return Gates(tuple(operands), bias, rows)


def _rank(value: ir.Value) -> int:
    return -1 if value.shape is None else len(value.shape)


def _terms(value: ir.Value) -> list[ir.Value]:
    """Flatten a tree of additions."""
    add = producer(value, "Add")
    if add is None or None in add.inputs:
        return [value]
    return [term for one in add.inputs if one is not None for term in _terms(one)]


def _product(value: ir.Value) -> tuple[list[Operand], Array] | str:
    """Take one product apart; a product with a concatenation is two."""
    node = value.producer()
    if node is None or node.op_type not in ("MatMul", "Gemm") or node.domain:
        return f"'{value.name}' is no product with constant weights"
    weight = data_of(node.inputs[1])
    source, factor = node.inputs[0], _float(node, "alpha")
    if weight is None or weight.ndim != 2 or source is None:
        return f"the weights of {describe(node)} are not a constant matrix"
    if _int(node, "transA"):
        return f"{describe(node)} transposes its input"
    rows = weight if _int(node, "transB") else weight.T
    rows = rows if factor == 1 else rows * np.asarray(factor, rows.dtype)
    bias = np.zeros(1)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        data = data_of(node.inputs[2])
        if data is None or data.size not in (1, rows.shape[0]):
            return f"the bias of {describe(node)} is not constant"
        bias = data.reshape(-1) * _float(node, "beta")
    name = None if node.inputs[1] is None else node.inputs[1].name
    return _split_by_concat(source, rows, name), bias


def _split_by_concat(source: ir.Value, rows: Array, name: str | None) -> list[Operand]:
    concat = producer(source, "Concat")
    inputs = [] if concat is None else [v for v in concat.inputs if v is not None and v.shape]
    widths = [v.shape[-1] for v in inputs if v.shape is not None]
    two = concat is not None and len(inputs) == 2 and axis_of(concat, 0, 2) == 1
    if not two or not all(isinstance(width, int) for width in widths):
        return [Operand(source, rows, name)]
    edge = int(widths[0])
    return [Operand(inputs[0], rows[:, :edge], name), Operand(inputs[1], rows[:, edge:], name)]


def _float(node: ir.Node, name: str) -> float:
    attribute = node.attributes.get(name)
    return 1.0 if attribute is None else attribute.as_float()


def _int(node: ir.Node, name: str) -> int:
    attribute = node.attributes.get(name)
    return 0 if attribute is None else attribute.as_int()
