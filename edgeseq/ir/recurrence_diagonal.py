"""Recurrences without products of matrices: the diagonal one, and Mamba's selective scan."""

from __future__ import annotations

from collections.abc import Mapping

from edgeseq.ir.algebra import Atom, Product, renamed_atom
from edgeseq.ir.recurrence_step import (
    Operand,
    Parts,
    Reading,
    Recurrence,
    atoms_of,
    decay_of,
    functions_of,
    others,
    reading_of,
    result_of,
)


def diagonal(parts: Parts) -> Recurrence | str:
    """`S' = a * S + x` with `y = S'`, or why not."""
    for result in parts.results:
        only = result.products[0]
        whole = (Atom(parts.step.new, parts.own),)
        if len(result.products) != 1 or only != Product(1.0, whole):
            return "a result is not the state itself"
    if len(parts.kept) != 1 or len(parts.added) != 1:
        return "more than one product is added to the state"
    decay = decay_of(parts, parts.kept[0])
    atoms = atoms_of(parts.added[0].atoms)
    if isinstance(decay, str):
        return decay
    if atoms is None or len(atoms) != 1 or parts.added[0].factor != 1.0:
        return "what is added to the state is computed in the step"
    if decay[0] is not None and decay[0].log:
        return "the factor of the state is computed in the step"
    operands = {"x": Operand(atoms[0].value, atoms[0].labels)}
    operands |= {} if decay[0] is None else {"a": decay[0]}
    return Recurrence("diagonal", operands, decay=decay[1])


def selective(parts: Parts) -> Recurrence | str:
    """`S' = exp(d * A) * S + d * x * B` with `y = sum of S' * C`, or why not."""
    if len(parts.kept) != 1 or len(parts.added) != 1:
        return "more than one product is added to the state"
    labels, rest = others(parts.kept[0], parts.step.state)
    functions = functions_of(rest)
    if labels != parts.own or len(rest) != 1 or len(functions) != 1:
        return "the state is not multiplied by exp(dt * A)"
    inner = functions[0].argument.products
    pair = atoms_of(inner[0].atoms) if len(inner) == 1 else None
    if functions[0].function != "Exp" or pair is None or len(pair) != 2:
        return "the state is not multiplied by exp(dt * A)"
    rank = len(parts.own)
    axes = (rank - 2, rank - 1)
    dt, a = sorted(pair, key=lambda atom: axes[1] in atom.labels)
    if axes[1] in dt.labels or rank < 2:
        return "the state is not multiplied by exp(dt * A)"
    atoms = atoms_of(parts.added[0].atoms)
    if atoms is None or parts.added[0].factor != 1.0:
        return "what is added to the state is computed in the step"
    bm = [atom for atom in atoms if axes[1] in atom.labels]
    left = [atom for atom in atoms if axes[1] not in atom.labels]
    inputs = [atom for atom in left if atom != dt]
    if len(bm) != 1 or len(inputs) != 1 or axes[0] in bm[0].labels or len(left) > 2:
        return "what is added to the state is not dt * x * B"
    scaled = dt not in left
    names, read = reading_of(parts, axes[1])
    if read is None:
        return "the result is not the sum of S * C"
    operands = {
        "dt": Operand(dt.value, dt.labels),
        "a": Operand(a.value, a.labels, inner[0].factor),
        "bm": Operand(bm[0].value, bm[0].labels),
        "x": Operand(inputs[0].value, inputs[0].labels),
        "cm": Operand(read.query.value, read.query.labels),
        "y": result_of(parts, names),
    }
    if read.factor != 1.0 or axes[0] in read.query.labels:
        return "the result is not the sum of S * C"
    if read.rest and (skip := _skip(read, names, None if scaled else inputs[0])) is None:
        return "something else is added to the result than D * x"
    if read.rest and skip is not None:
        operands["skip"] = skip
    return Recurrence("selective", operands, axes=axes, scaled=scaled)


def _skip(read: Reading, names: Mapping[int, int], x: Atom | None) -> Operand | None:
    """The tensor that x is multiplied by where it is added to the result."""
    if len(read.rest) != 1 or x is None or read.rest[0].factor != 1.0:
        return None
    atoms = atoms_of(renamed_atom(a, names) for a in read.rest[0].atoms)
    if atoms is None or len(atoms) != 2 or x not in atoms:
        return None
    other = atoms[0] if atoms[1] == x else atoms[1]
    return Operand(other.value, other.labels)
