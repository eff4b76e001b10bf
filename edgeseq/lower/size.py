"""Sizes that may depend on the number of time steps."""

from __future__ import annotations

import ast
import dataclasses
import operator
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

_PRODUCT = re.compile(r"\((.*) \* (\d+)\)")  # by a number


@dataclasses.dataclass(frozen=True)
class Size:
    """An integer: a number, or a C expression in the symbol when it is not known yet.

    The expression uses `+ - * /` on non-negative int64 values only, so that Python's `//` and C's
    `/` agree, and is kept fully parenthesised. A product has one number, which stands behind, so
    that the bytes of `[T, 2, 32]` and of `[T, 64]` are equal.
    """

    constant: int
    expression: str | None = None

    @staticmethod
    def of(value: int) -> Size:
        """A known size."""
        return Size(int(value))

    @staticmethod
    def product(dims: Iterable[Any], bind: Callable[[Any], Size] | None = None) -> Size:
        """Product of TIR or Python integers; `bind` as in `from_tir`."""
        total = Size.of(1)
        for dim in dims:
            total = total * Size.from_tir(dim, bind)
        return total

    @staticmethod
    def from_tir(value: Any, bind: Callable[[Any], Size] | None = None) -> Size:
        """From an int or a TIR expression.

        Args:
            value: The expression.
            bind: Size of a variable; without it variables keep their names.
        """
        if isinstance(value, int):
            return Size.of(value)
        kind = type(value).__name__
        if kind == "IntImm":
            return Size.of(int(value))
        if kind == "Var":
            return bind(value) if bind else Size(0, str(value.name))
        if kind == "Cast":
            return Size.from_tir(value.value, bind)
        if kind in _OPERATIONS:
            sign, known = _OPERATIONS[kind]
            return Size.from_tir(value.a, bind)._combine(Size.from_tir(value.b, bind), sign, known)
        raise ValueError(f"a dimension of the form {value} ({kind}) is not supported")

    def __add__(self, other: Size | int) -> Size:
        return self._combine(other, "+", operator.add)

    def __mul__(self, other: Size | int) -> Size:
        return self._combine(other, "*", operator.mul)

    def _combine(self, other: Size | int, sign: str, known: Callable[[int, int], int]) -> Size:
        right = other if isinstance(other, Size) else Size.of(other)
        if self.expression is None and right.expression is None:
            return Size.of(known(self.constant, right.constant))
        identity = 0 if sign in "+-" else 1
        if right == Size.of(identity):
            return self
        if sign in "+*" and self == Size.of(identity):
            return right
        if sign == "*" and Size.of(0) in (self, right):
            return Size.of(0)
        if sign == "*" and self.known:
            return right * self
        if sign == "*" and right.known and (product := _PRODUCT.fullmatch(self.c())):
            return Size(0, f"({product[1]} * {int(product[2]) * right.constant})")
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


_OPERATIONS: Mapping[str, tuple[str, Callable[[int, int], int]]] = {
    "Add": ("+", operator.add),
    "Sub": ("-", operator.sub),
    "Mul": ("*", operator.mul),
    "FloorDiv": ("/", operator.floordiv),
    "Div": ("/", operator.floordiv),
}
