"""A step that is linear in its state `-> which scan it is`, and what it reads.

    diagonal    S' = a * S + x                         y = S'
    selective   S' = exp(d * A) * S + d * x * B        y = sum over n of S' * C  [+ D * x]
    outer       S' = a * S + k x^T                     y = q S'   or   q (S + u k x^T)
    delta       S' = a * S + k (beta (x - (a S)^T k))^T    y = q S'

The step is written as sums of products (`algebra`), so that all ways to write it are one.
"""

from __future__ import annotations

from edgeseq.ir.algebra import NotASumError
from edgeseq.ir.recurrence_diagonal import diagonal, selective
from edgeseq.ir.recurrence_matrix import delta, outer
from edgeseq.ir.recurrence_step import NoRecurrenceError, Parts, Recurrence, Step, has, sums


def recognise(step: Step) -> Recurrence:
    """Which scan a step is.

    Raises:
        NoRecurrenceError: none of ours.
    """
    try:
        update, results = sums(step)
    except NotASumError as error:
        raise NoRecurrenceError(str(error)) from error
    kept = [p for p in update.products if has(p, step.state)]
    added = [p for p in update.products if not has(p, step.state)]
    if not kept or not added:
        raise NoRecurrenceError("the state is not kept and added to")
    whole = Parts(step, kept, added, results)
    reasons = []
    for match in (diagonal, selective, outer, delta):
        found = match(whole)
        if isinstance(found, Recurrence):
            return found
        reasons.append(found)
    raise NoRecurrenceError("; ".join(dict.fromkeys(reasons)))
