"""Recurrences whose state is a matrix of keys and values: linear attention and the delta rule."""

from __future__ import annotations

from collections.abc import Mapping

from edgeseq.ir.algebra import Atom, renamed_atom
from edgeseq.ir.recurrence_step import (
    Leaf,
    Operand,
    Parts,
    Reading,
    Recurrence,
    atoms_of,
    decay_of,
    others,
    reading_of,
    result_of,
)


def outer(parts: Parts) -> Recurrence | str:
    """`S' = a * S + k x^T` with `y = q S'`, or why not."""
    if len(parts.kept) != 1 or len(parts.added) != 1:
        return "more than one product is added to the state"
    decay = decay_of(parts, parts.kept[0])
    if isinstance(decay, str):
        return decay
    written = _written(parts, count=2)
    if isinstance(written, str):
        return written
    return _matrix("outer", parts, decay, written)


def delta(parts: Parts) -> Recurrence | str:
    """`S' = a * S + k (beta (x - (a S)^T k))^T` with `y = q S'`, or why not."""
    own = [p for p in parts.kept if others(p, parts.step.state)[0] == parts.own]
    mixed = [p for p in parts.kept if p not in own]
    if len(own) != 1 or len(mixed) != 1 or len(parts.added) != 1:
        return "the state is mixed along an axis"
    decay = decay_of(parts, own[0])
    written = _written(parts, count=3)
    if isinstance(decay, str) or isinstance(written, str):
        return decay if isinstance(decay, str) else str(written)
    key = len(parts.own) - 2
    labels, rest = others(mixed[0], parts.step.state)
    names = {label: key for label in labels if label is not None and label < 0}
    back = tuple(None if one is None else names.get(one, one) for one in labels)
    if back != parts.own or mixed[0].factor != -own[0].factor:
        return "the state is mixed along an axis"
    k, beta = written["k"], written["beta"]
    wanted: list[Leaf] = [k, k, beta, *others(own[0], parts.step.state)[1]]
    for leaf in (renamed_atom(a, names) for a in rest):
        if leaf not in wanted:
            return "what is written is not the error of what is known"
        wanted.remove(leaf)
    if wanted or rest.count(k) != 1:
        return "what is written is not the error of what is known"
    return _matrix("delta", parts, decay, written)


def _written(parts: Parts, count: int) -> dict[str, Atom] | str:
    """Key, value and update rate of the product that is added to the state."""
    key, column = len(parts.own) - 2, len(parts.own) - 1
    if len(parts.own) < 2 or parts.own[key] is None or parts.own[column] is None:
        return "the state is not a matrix of keys and values"
    atoms = atoms_of(parts.added[0].atoms)
    if atoms is None or len(atoms) != count or parts.added[0].factor != 1.0:
        return "what is added to the state is computed in the step"
    found: dict[str, Atom] = {}
    for atom in atoms:
        both = (key in atom.labels, column in atom.labels)
        name = {(True, False): "k", (False, True): "x", (False, False): "beta"}.get(both, "")
        found[name] = atom
    names = {"k", "x"} if count == 2 else {"k", "x", "beta"}
    return found if set(found) == names else "what is added is not key times value"


def _matrix(
    kind: str,
    parts: Parts,
    decay: tuple[Operand | None, float],
    written: Mapping[str, Atom],
) -> Recurrence | str:
    key, column = len(parts.own) - 2, len(parts.own) - 1
    names, read = reading_of(parts, key)
    if read is None:
        return "the result is not the state read by a query"
    if decay[0] is not None and column in decay[0].labels:
        return "the state decays differently for each value"
    if column in read.query.labels:
        return "the result is not the state read by a query"
    operands = {name: Operand(atom.value, atom.labels) for name, atom in written.items()}
    operands |= {"q": Operand(read.query.value, read.query.labels), "y": result_of(parts, names)}
    operands |= {} if decay[0] is None else {"decay": decay[0]}
    if read.state is parts.step.state or read.rest:
        bonus = None if kind == "delta" else _bonus(parts, read, names, written)
        if bonus is None:
            return "something else is added to the result than a bonus of this step"
        operands["bonus"] = bonus
    return Recurrence(kind, operands, read.factor, decay[1], (key, column))


def _bonus(
    parts: Parts, read: Reading, names: Mapping[int, int], written: Mapping[str, Atom]
) -> Operand | None:
    """The u of `q (S + u k x^T)`, which reads the state of the step before."""
    if read.state is not parts.step.state or len(read.rest) != 1:
        return None
    product = read.rest[0]
    key = len(parts.own) - 2
    sums = [label for label in product.labels() if label < 0]
    if len(sums) != 1 or product.factor != read.factor:
        return None
    atoms = atoms_of(renamed_atom(a, {**names, sums[0]: key}) for a in product.atoms)
    left = [] if atoms is None else list(atoms)
    for known in (read.query, written["k"], written["x"]):
        if known not in left:
            return None
        left.remove(known)
    return Operand(left[0].value, left[0].labels) if len(left) == 1 else None
