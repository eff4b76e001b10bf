"""Sizes that may depend on the number of time steps."""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any


@dataclasses.dataclass(frozen=True)
class Size:
    """An integer: a number, or a C expression in the symbol when it is not known yet.

    The expression uses `+ - * /` on non-negative int64 values only, so that Python's `//` and C's
    `/` agree, and is kept fully parenthesised.
    """

    constant: int
    expression: str | None = None

    @staticmethod
    def of(value: int) -> Size:
        """A known size."""
        return Size(int(value))

    @staticmethod
    def product(dims: Iterable[Any]) -> Size:
        """Product of TIR or Python integers."""
        total = Size.of(1)
        for dim in dims:
            total = total * Size.from_tir(dim)
        return total

    @staticmethod
    def from_tir(value: Any) -> Size:
        """From an int, an IntImm or a TIR expression in the symbol."""
        if isinstance(value, int):
            return Size.of(value)
        if type(value).__name__ == "IntImm":
            return Size.of(int(value))
        return Size(0, _c_text(value))

    def __add__(self, other: Size | int) -> Size:
        return self._combine(other, "+", lambda a, b: a + b)

    def __mul__(self, other: Size | int) -> Size:
        return self._combine(other, "*", lambda a, b: a * b)

    def _combine(self, other: Size | int, sign: str, known: Any) -> Size:
        right = other if isinstance(other, Size) else Size.of(other)
        if self.expression is None and right.expression is None:
            return Size.of(known(self.constant, right.constant))
        identity = 0 if sign == "+" else 1
        for a, b in ((self, right), (right, self)):
            if a.expression is None and a.constant == identity:
                return b
            if a.expression is None and a.constant == 0 and sign == "*":
                return Size.of(0)
        return Size(0, f"({self.c()} {sign} {right.c()})")

    @property
    def known(self) -> bool:
        """Whether it is a plain number."""
        return self.expression is None

    def c(self) -> str:
        """The C expression."""
        return str(self.constant) if self.expression is None else self.expression

    def at(self, symbols: Mapping[str, int]) -> int:
        """The number for given values of the symbols."""
        if self.expression is None:
            return self.constant
        return _evaluate(ast.parse(self.expression, mode="eval").body, symbols)


def _evaluate(node: ast.expr, symbols: Mapping[str, int]) -> int:
    if isinstance(node, ast.Constant):
        return int(node.value)  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return symbols[node.id]
    assert isinstance(node, ast.BinOp), ast.dump(node)
    a, b = _evaluate(node.left, symbols), _evaluate(node.right, symbols)
    match node.op:
        case ast.Add():
            return a + b
        case ast.Sub():
            return a - b
        case ast.Mult():
            return a * b
        case _:
            return a // b


_SIGNS = {"Add": "+", "Sub": "-", "Mul": "*", "FloorDiv": "/", "Div": "/"}


def _c_text(expr: Any) -> str:
    kind = type(expr).__name__
    if kind == "IntImm":
        return str(int(expr))
    if kind == "Var":
        return str(expr.name)
    if kind == "Cast":
        return _c_text(expr.value)
    if kind in _SIGNS:
        return f"({_c_text(expr.a)} {_SIGNS[kind]} {_c_text(expr.b)})"
    raise ValueError(f"a dimension of the form {expr} ({kind}) is not supported")
