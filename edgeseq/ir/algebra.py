"""Sums of products with named axes: one form for all the ways to write the same recurrence.

`k[:, None] * v`, `MatMul(Unsqueeze(k), Unsqueeze(v))` and `Einsum("k,v->kv")` are one product of
two atoms. An axis of a result is named by its position; one that is summed by a negative
number. Axes of size one have no name (None), so that views that insert or drop them disappear.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import onnx_ir as ir

from edgeseq.ir.edit import data_of

Dim = int | str
Label = int | None

_MOST = 16  # products of a sum; a recurrence of ours has at most five
_VIEWS = frozenset({"Identity", "Unsqueeze", "Squeeze", "Reshape", "Expand"})
_FUNCTIONS = frozenset({"Exp", "Sigmoid", "Softplus", "Tanh", "Relu", "Reciprocal", "Abs", "Log"})


class NotASumError(Exception):
    """The value has no such form; the text says why."""


@dataclasses.dataclass(frozen=True)
class Atom:
    """A tensor, and the name of each of its axes."""

    value: ir.Value
    labels: tuple[Label, ...]


@dataclasses.dataclass(frozen=True)
class Applied:
    """A function of one argument, element by element, on a sum that shares the names."""

    function: str
    argument: Sum


@dataclasses.dataclass(frozen=True)
class Product:
    """A number times atoms; names below zero are summed over."""

    factor: float
    atoms: tuple[Atom | Applied, ...]

    def labels(self) -> frozenset[int]:
        """The names that occur."""
        return frozenset(itertools.chain.from_iterable(map(labels_of, self.atoms)))

    def tensors(self) -> Iterable[ir.Value]:
        """The tensors, those in arguments of functions too."""
        for atom in self.atoms:
            if isinstance(atom, Atom):
                yield atom.value
            else:
                yield from atom.argument.tensors()


@dataclasses.dataclass(frozen=True)
class Sum:
    """Products; `dims` are those of the result, whose axes are named 0, 1, ..."""

    products: tuple[Product, ...]
    dims: tuple[Dim, ...]

    def tensors(self) -> Iterable[ir.Value]:
        """All tensors in it."""
        for product in self.products:
            yield from product.tensors()


def labels_of(atom: Atom | Applied) -> frozenset[int]:
    """The names of an atom's axes."""
    if isinstance(atom, Atom):
        return frozenset(label for label in atom.labels if label is not None)
    return frozenset().union(*(product.labels() for product in atom.argument.products))


class Algebra:
    """Writes values as sums of products.

    Args:
        leaves: Values that stay whole.
    """

    def __init__(self, leaves: Iterable[ir.Value]) -> None:
        self._leaves = frozenset(leaves)
        self._known: dict[ir.Value, Sum] = {}
        self._names = itertools.count(1)

    def sum_of(self, value: ir.Value | None) -> Sum:
        """The value as a sum.

        Raises:
            NotASumError: it has too many products, or a shape is not known.
        """
        if value is None:
            raise NotASumError("an input is absent")
        if value not in self._known:
            self._known[value] = self._make(value)
        return self._known[value]

    def _make(self, value: ir.Value) -> Sum:
        data, node = data_of(value), value.producer()
        dims = _dims(value)
        if data is not None and data.size == 1 and value not in self._leaves:
            return Sum((Product(float(data.reshape(-1)[0]), ()),), dims)
        if node is None or value in self._leaves or node.domain:
            return _leaf(value, dims)
        if node.op_type in _VIEWS:
            return _view(self.sum_of(node.inputs[0]), dims)
        if node.op_type in _FUNCTIONS:
            return self._apply(node.op_type, self.sum_of(node.inputs[0]), value, dims)
        rule = _RULES.get(node.op_type)
        return _leaf(value, dims) if rule is None else rule(self, node, dims)

    def _apply(self, function: str, argument: Sum, value: ir.Value, dims: tuple[Dim, ...]) -> Sum:
        if any(label < 0 for p in argument.products for label in p.labels()):
            return _leaf(value, dims)  # a sum inside could not be told from one outside
        return Sum((Product(1.0, (Applied(function, argument),)),), dims)

    def fresh(self) -> int:
        """A new name to sum over."""
        return -next(self._names)

    def operands(self, node: ir.Node) -> tuple[Sum, Sum]:
        """Both inputs of an operator with two."""
        return self.sum_of(node.inputs[0]), self.sum_of(node.inputs[1])

    def times(
        self, left: Sum, right: Sum, dims: tuple[Dim, ...], shared: Collection[int] = ()
    ) -> Sum:
        """Every product of one with every product of the other, summed over `shared`."""
        if len(left.products) * len(right.products) > _MOST:
            raise NotASumError("it multiplies out to many products")
        return Sum(
            tuple(
                Product(a.factor * b.factor, (*a.atoms, *self._apart(b, shared).atoms))
                for a in left.products
                for b in right.products
            ),
            dims,
        )

    def _apart(self, product: Product, shared: Collection[int]) -> Product:
        """The product with fresh names for what it sums over by itself."""
        summed = {label for label in product.labels() if label < 0 and label not in shared}
        own = {label: self.fresh() for label in sorted(summed)}
        return renamed_product(product, own) if own else product


def renamed(whole: Sum, names: Mapping[int, Label], dims: tuple[Dim, ...]) -> Sum:
    """The sum with other names; those not in `names` stay."""
    return Sum(tuple(renamed_product(p, names) for p in whole.products), dims)


def renamed_product(product: Product, names: Mapping[int, Label]) -> Product:
    """The product with other names."""
    return Product(product.factor, tuple(renamed_atom(a, names) for a in product.atoms))


def renamed_atom(atom: Atom | Applied, names: Mapping[int, Label]) -> Atom | Applied:
    """The atom with other names."""
    if isinstance(atom, Applied):
        argument = renamed(atom.argument, names, atom.argument.dims)
        return Applied(atom.function, argument)
    new = tuple(names.get(label, label) if label is not None else None for label in atom.labels)
    return Atom(atom.value, new)


def _dims(value: ir.Value) -> tuple[Dim, ...]:
    if value.shape is None:
        raise NotASumError(f"the shape of '{value.name}' is not known")
    return tuple(d if isinstance(d, int) else str(d.value) for d in value.shape)


def _leaf(value: ir.Value, dims: tuple[Dim, ...]) -> Sum:
    labels = tuple(None if dim == 1 else i for i, dim in enumerate(dims))
    return Sum((Product(1.0, (Atom(value, labels),)),), dims)


def _shifted(whole: Sum, rank: int) -> Sum:
    """Aligned on the right with a result of a higher rank."""
    by = rank - len(whole.dims)
    return renamed(whole, {i: i + by for i in range(len(whole.dims))}, whole.dims)


def _view(source: Sum, dims: tuple[Dim, ...]) -> Sum:
    """Another place for axes of size one, or their expansion."""
    rank = len(source.dims)
    if len(dims) >= rank and all(
        old in (1, new) for old, new in zip(source.dims, dims[len(dims) - rank :], strict=True)
    ):
        return _replaced(source, [len(dims) - rank + i for i in range(rank)], dims)
    old = [i for i, dim in enumerate(source.dims) if dim != 1]
    new = [i for i, dim in enumerate(dims) if dim != 1]
    if [source.dims[i] for i in old] != [dims[i] for i in new]:
        raise NotASumError("a Reshape merges or splits axes")
    places = [0] * rank
    for a, b in zip(old, new, strict=True):
        places[a] = b
    return _replaced(source, places, dims)


def _replaced(source: Sum, places: Sequence[int], dims: tuple[Dim, ...]) -> Sum:
    return renamed(source, dict(enumerate(places)), dims)


def _transpose(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    order = node.attributes.get_ints("perm", tuple(reversed(range(len(dims)))))
    return renamed(
        algebra.sum_of(node.inputs[0]), {old: new for new, old in enumerate(order)}, dims
    )


def _add(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    left, right = (_shifted(one, len(dims)) for one in algebra.operands(node))
    sign = -1.0 if node.op_type == "Sub" else 1.0
    negated = tuple(Product(sign * p.factor, p.atoms) for p in right.products)
    return Sum((*left.products, *negated), dims)


def _mul(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    left, right = (_shifted(one, len(dims)) for one in algebra.operands(node))
    return algebra.times(left, right, dims)


def _neg(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    source = algebra.sum_of(node.inputs[0])
    return Sum(tuple(Product(-p.factor, p.atoms) for p in source.products), dims)


def _div(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    left, right = (_shifted(one, len(dims)) for one in algebra.operands(node))
    only = right.products[0]
    if len(right.products) > 1 or only.atoms or not only.factor:
        return _leaf(node.outputs[0], dims)
    inverse = Sum((Product(1.0 / only.factor, ()),), right.dims)
    return algebra.times(left, inverse, dims)


def _matmul(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    left, right = algebra.operands(node)
    rank, inner = len(dims), algebra.fresh()
    a, b = len(left.dims), len(right.dims)
    rows, columns = int(a > 1), int(b > 1)  # whether each side keeps an axis of its own
    batch = rank - rows - columns
    left_names: dict[int, Label] = {i: batch - (a - 2) + i for i in range(max(a - 2, 0))}
    right_names: dict[int, Label] = {i: batch - (b - 2) + i for i in range(max(b - 2, 0))}
    left_names |= {a - 1: inner} | ({a - 2: batch} if rows else {})
    right_names |= {b - 1: rank - 1} if columns else {}
    right_names |= {b - 2 if columns else b - 1: inner}
    _summed(left, a - 1)
    return algebra.times(
        renamed(left, left_names, left.dims), renamed(right, right_names, right.dims), dims, [inner]
    )


def _reduce_sum(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    source = algebra.sum_of(node.inputs[0])
    rank = len(source.dims)
    given = data_of(node.inputs[1]) if len(node.inputs) > 1 else None
    if given is None:
        raise NotASumError("a ReduceSum over axes that are not constant")
    axes = {int(axis) % rank for axis in given.reshape(-1)}
    kept = [i for i in range(rank) if i not in axes]
    if node.attributes.get_int("keepdims", 1):
        names: dict[int, Label] = {i: i for i in kept}
    else:
        names = {old: new for new, old in enumerate(kept)}
    for axis in axes:
        _summed(source, axis)
        names[axis] = algebra.fresh()
    return renamed(source, names, dims)


def _summed(source: Sum, axis: int) -> None:
    """An axis that some product lacks would be counted, not summed."""
    if source.dims[axis] != 1 and any(axis not in p.labels() for p in source.products):
        raise NotASumError("a sum over an axis that was broadcast")


def _einsum(algebra: Algebra, node: ir.Node, dims: tuple[Dim, ...]) -> Sum:
    equation = node.attributes["equation"].as_string().replace(" ", "")
    if "." in equation or "->" not in equation:
        raise NotASumError("an Einsum without explicit axes")
    inputs, output = equation.split("->")
    names: dict[str, int] = {letter: i for i, letter in enumerate(output)}
    for letter in inputs.replace(",", ""):
        if letter not in names:
            names[letter] = algebra.fresh()
    result = Sum((Product(1.0, ()),), dims)
    for term, value in zip(inputs.split(","), node.inputs, strict=True):
        if len(set(term)) != len(term):
            raise NotASumError("an Einsum over a diagonal")
        source = algebra.sum_of(value)
        mapping = {i: names[letter] for i, letter in enumerate(term)}
        shared = [name for name in names.values() if name < 0]
        result = algebra.times(result, renamed(source, mapping, source.dims), dims, shared)
    return result


_RULES: Mapping[str, Callable[[Algebra, ir.Node, tuple[Dim, ...]], Sum]] = {
    "Add": _add,
    "Sub": _add,
    "Mul": _mul,
    "Neg": _neg,
    "Div": _div,
    "MatMul": _matmul,
    "Einsum": _einsum,
    "ReduceSum": _reduce_sum,
    "Transpose": _transpose,
}
