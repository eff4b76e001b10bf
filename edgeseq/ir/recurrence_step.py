"""A step of a recurrence taken apart: what it keeps, adds and reads, as sums of products."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import onnx_ir as ir

from edgeseq.ir.algebra import (
    Algebra,
    Applied,
    Atom,
    Label,
    Product,
    Sum,
    renamed_atom,
)

Leaf = Atom | Applied


class NoRecurrenceError(Exception):
    """The step is none of ours; the text says why."""


@dataclasses.dataclass(frozen=True)
class Operand:
    """A tensor of the step, with its axes named as the state's.

    Args:
        value: A value that the step is given.
        labels: For each of its axes the axis of the state, -1 for the one y has besides, or None.
        factor: A number that it is multiplied by.
        log: The operand is the logarithm of what is meant.
    """

    value: ir.Value
    labels: tuple[Label, ...]
    factor: float = 1.0
    log: bool = False


@dataclasses.dataclass(frozen=True)
class Recurrence:
    """What a step computes.

    Args:
        kind: `diagonal`, `selective`, `outer` or `delta`.
        operands: By the names that the kernels give them.
        scale: Factor of y.
        decay: Constant factor of the state where no operand gives it.
        axes: The axes of the state that are: channel and state (selective), key and value.
        scaled: Selective: x is multiplied by the step size already.
    """

    kind: str
    operands: Mapping[str, Operand]
    scale: float = 1.0
    decay: float = 1.0
    axes: tuple[int, ...] = ()
    scaled: bool = False


@dataclasses.dataclass(frozen=True)
class Step:
    """One step: the state and what it becomes, the other results, and what it is given."""

    state: ir.Value
    new: ir.Value
    results: tuple[ir.Value, ...]


@dataclasses.dataclass(frozen=True)
class Parts:
    """A step as sums of products.

    Args:
        step: The step.
        kept: The products of the new state that contain the old one.
        added: The others.
        results: What else the step makes.
    """

    step: Step
    kept: Sequence[Product]
    added: Sequence[Product]
    results: Sequence[Sum]

    @property
    def own(self) -> tuple[Label, ...]:
        """The names of the state's axes."""
        return tuple(None if d == 1 else i for i, d in enumerate(self.step.state.shape or ()))


def sums(step: Step) -> tuple[Sum, list[Sum]]:
    """The new state and the results.

    Raises:
        NoRecurrenceError: one of them is not linear in the state.
        NotASumError: one of them is no sum of products.
    """
    new = step.new
    while (node := new.producer()) is not None and node.op_type == "Identity" and node.inputs[0]:
        new = node.inputs[0]
    update = Algebra([step.state]).sum_of(new)
    algebra = Algebra([step.state, new])
    results = [_with_new(algebra.sum_of(value), new, step.new) for value in step.results]
    dependent = _dependent(step)
    for one in (update, *results):
        for tensor in one.tensors():
            if tensor in dependent and tensor not in (step.state, step.new):
                raise NoRecurrenceError(f"it is not linear: '{tensor.name}' depends on the state")
        for product in one.products:
            if any(isinstance(a, Applied) and _inside(a, step) for a in product.atoms):
                raise NoRecurrenceError("it is not linear: a function of the state")
            if (
                sum(
                    isinstance(a, Atom) and a.value in (step.state, step.new) for a in product.atoms
                )
                > 1
            ):
                raise NoRecurrenceError("it is not linear: the state times itself")
    return update, results


def _with_new(whole: Sum, core: ir.Value, new: ir.Value) -> Sum:
    """The sum with the new state by its name as an output."""
    products = tuple(
        Product(
            p.factor,
            tuple(
                Atom(new, a.labels) if isinstance(a, Atom) and a.value is core else a
                for a in p.atoms
            ),
        )
        for p in whole.products
    )
    return Sum(products, whole.dims)


def _inside(applied: Applied, step: Step) -> bool:
    return any(value in (step.state, step.new) for value in applied.argument.tensors())


def _dependent(step: Step) -> set[ir.Value]:
    found, todo = {step.state}, [step.state]
    while todo:
        for node in todo.pop().consumers():
            fresh = [value for value in node.outputs if value not in found]
            found.update(fresh)
            todo += fresh
    return found


def has(product: Product, value: ir.Value) -> bool:
    """Whether a tensor is an atom of a product."""
    return any(isinstance(a, Atom) and a.value is value for a in product.atoms)


def others(product: Product, value: ir.Value) -> tuple[tuple[Label, ...], list[Leaf]]:
    """The names under which a product reads a tensor, and its other atoms."""
    labels: tuple[Label, ...] = ()
    rest: list[Leaf] = []
    for atom in product.atoms:
        if isinstance(atom, Atom) and atom.value is value:
            labels = atom.labels
        else:
            rest.append(atom)
    return labels, rest


def atoms_of(leaves: Iterable[Leaf]) -> list[Atom] | None:
    """The tensors, or None if there are functions among them."""
    found = list(leaves)
    return [a for a in found if isinstance(a, Atom)] if not functions_of(found) else None


def functions_of(leaves: Iterable[Leaf]) -> list[Applied]:
    """The functions among the atoms of a product."""
    return [a for a in leaves if isinstance(a, Applied)]


def _plain(leaf: Leaf) -> Operand | None:
    """A tensor, or exp of a tensor times a number."""
    if isinstance(leaf, Atom):
        return Operand(leaf.value, leaf.labels)
    products = leaf.argument.products
    if leaf.function != "Exp" or len(products) != 1 or len(products[0].atoms) != 1:
        return None
    (atom,) = products[0].atoms
    if not isinstance(atom, Atom):
        return None
    return Operand(atom.value, atom.labels, products[0].factor, log=True)


def decay_of(parts: Parts, product: Product) -> tuple[Operand | None, float] | str:
    """What a product multiplies the state by: nothing, a number, or an operand."""
    labels, rest = others(product, parts.step.state)
    if labels != parts.own:
        return "the state is mixed along an axis"
    if not rest:
        return None, product.factor
    operand = _plain(rest[0]) if len(rest) == 1 else None
    if operand is None or product.factor != 1.0:
        return "the state is multiplied by more than one tensor"
    return operand, 1.0


@dataclasses.dataclass(frozen=True)
class Reading:
    """A result: which state is read, old or new; the query, a factor, and what is added."""

    state: ir.Value
    query: Atom
    factor: float
    rest: tuple[Product, ...]


def reading_of(parts: Parts, summed: int) -> tuple[dict[int, int], Reading | None]:
    """The only result as a sum over one axis of a state times a query.

    Returns the state's axes by the names they have in the result, and the reading.
    """
    step = parts.step
    if len(parts.results) != 1:
        return {}, None
    products = parts.results[0].products
    reading = [p for p in products if has(p, step.new) or has(p, step.state)]
    if len(reading) != 1:
        return {}, None
    state = step.new if has(reading[0], step.new) else step.state
    labels, rest = others(reading[0], state)
    found = {label: i for i, label in enumerate(labels) if label is not None}
    summed_over = [label for label in found if label < 0]
    names = dict.fromkeys(range(len(parts.results[0].dims)), -1) | found
    atoms = atoms_of(renamed_atom(a, names) for a in rest)
    if [names[s] for s in summed_over] != [summed] or atoms is None or len(atoms) != 1:
        return {}, None
    if any((label is None) != (own is None) for label, own in zip(labels, parts.own, strict=True)):
        return {}, None
    if summed not in atoms[0].labels:
        return {}, None
    if atoms[0].labels.count(-1) > 1:
        return {}, None
    more = tuple(p for p in products if p is not reading[0])
    return names, Reading(state, atoms[0], reading[0].factor, more)


def result_of(parts: Parts, names: Mapping[int, int]) -> Operand:
    """The result as an operand: -1 is an axis that the state has not."""
    dims = parts.results[0].dims
    labels = tuple(None if d == 1 else names.get(i, -1) for i, d in enumerate(dims))
    return Operand(parts.step.results[0], labels)
