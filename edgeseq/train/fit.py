"""Which pattern each matrix gets: the one asked for, its narrow twin, or none, with the reason."""

from __future__ import annotations

import dataclasses

from edgeseq.ir.patterns import Blocks, NOfM, Pattern
from edgeseq.train.prunable import DEPTHWISE, Matrix, Skipped

NARROW = 8  # outputs of the narrow twins of 16-wide blocks


@dataclasses.dataclass(frozen=True)
class Fit:
    """The pattern a matrix gets, and what the user should know of it."""

    pattern: Pattern
    note: str = ""


def fit(pattern: Pattern, matrix: Matrix) -> Fit | Skipped:
    """Fit a pattern to a matrix.

    Blocks of 16 outputs become blocks of 8 where there are fewer outputs than 16, or where 8
    divides them and 16 does not. A matrix smaller than one block stays dense, and so does a
    depthwise convolution, whose outputs have one input each, unless single entries are pruned.
    """
    outputs, inputs = matrix.shape[0], matrix.shape[1] // matrix.taps
    if matrix.kind == DEPTHWISE and pattern != Blocks(1, 1):
        return Skipped(matrix.name, f"{pattern} saves nothing in a depthwise convolution")
    if isinstance(pattern, NOfM):
        if inputs < pattern.m:
            return Skipped(
                matrix.name, f"{inputs} inputs are fewer than the {pattern.m} of a group"
            )
        return Fit(pattern, pattern.misfit(matrix.shape, matrix.taps) or "")
    assert isinstance(pattern, Blocks)
    note = ""
    if (
        pattern.rows == 2 * NARROW
        and outputs % pattern.rows
        and (outputs % NARROW == 0 or outputs < pattern.rows)
    ):
        pattern = dataclasses.replace(pattern, rows=NARROW)
        note = f"{pattern} fits {outputs} outputs"
    if outputs < pattern.rows:
        return Skipped(
            matrix.name, f"{outputs} outputs are fewer than the {pattern.rows} of a block"
        )
    if inputs < pattern.columns:
        return Skipped(
            matrix.name, f"{inputs} inputs are fewer than the {pattern.columns} of a block"
        )
    misfit = pattern.misfit(matrix.shape, matrix.taps)
    return Fit(pattern, ", ".join(filter(None, (note, misfit))))
