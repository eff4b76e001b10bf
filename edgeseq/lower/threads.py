"""Which layers threads share, and where they cut them: `--threads N`.

A layer is cut into as many shares as leave each of them `LEAST` seconds of work by the cost table,
N at most; below two shares it stays with one thread. The cuts balance the stored blocks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from edgeseq.kernels._family import Role, Sharing
from edgeseq.lower import formats, work
from edgeseq.lower.costs import Costing
from edgeseq.lower.select import Array, Choice, Selection

# Seconds that a share must be worth for each time that threads are set to work and waited for,
# which takes 1 us where they are awake (`edgeseq bench threads`), and more on larger machines.
LEAST = 5e-6
# Weights of kernels that the cost table does not know are read no faster, bytes per second: what a
# core reads from its second cache. It stands for the time that such a kernel takes at least.
FASTEST = 60e9


def shared(selection: Selection, costing: Costing) -> Selection:
    """The same choices, those that pay cut into shares."""
    if costing.threads == 1:
        return selection
    choices = {node: cut(choice, costing) for node, choice in selection.choices.items()}
    return dataclasses.replace(selection, choices=choices)


def cut(choice: Choice, costing: Costing) -> Choice:
    """The choice cut into shares, or with the reason why it is not."""
    found = _cuts(choice, costing)
    if isinstance(found, str):
        return dataclasses.replace(choice, why=f"{choice.why}; one thread: {found}")
    cuts, seconds = found
    parts, regions = len(cuts) - 1, _regions(choice)
    forks = "once" if regions == 1 else f"{regions} times"
    why = f"{parts} threads share {seconds * 1e6:.3g} us a step, forked {forks}"
    return dataclasses.replace(choice, cuts=cuts, why=f"{choice.why}; {why}")


def _cuts(choice: Choice, costing: Costing) -> tuple[tuple[int, ...], float] | str:
    """The outputs between which shares lie and the seconds of a step, or why there are none."""
    sharing = choice.kernel.sharing
    if sharing is None:
        return f"{choice.kernel.name} has no shares"
    given = dict(
        zip((a.name for a in choice.kernel.args if a.role is Role.IN), choice.inputs, strict=True)
    )
    if given.get("lens") is not None:
        return "rows of different lengths end at different steps"
    sizes = formats.at_one_step(choice)
    seconds = _seconds(choice.kernel.name, sizes, costing)
    if seconds is None:
        return f"the work of {choice.kernel.name} is not known"
    parts = min(costing.threads, int(seconds / (_regions(choice) * LEAST)))
    if parts < 2:
        least = 2 * LEAST * _regions(choice)
        return f"{seconds * 1e6:.3g} us a step, shared from {least * 1e6:.3g} us on"
    cuts = balanced(_work(choice, sharing, sizes), parts, sharing.panel, sizes[sharing.outputs])
    return (cuts, seconds) if len(cuts) > 2 else "its outputs are one panel"


def _regions(choice: Choice) -> int:
    """How often a step sets threads to work: for each chain, and twice if it resets first."""
    known = {n: s.constant for n, s in choice.sizes.items() if s.known}
    chains = known.get("groups", 1) * known.get("directions", 1)
    return chains * passes(known)


def passes(sizes: Mapping[str, int]) -> int:
    """Walks over the panels in a step of a recurrence."""
    return 2 if sizes.get("reset_first") else 1


def _seconds(kernel: str, sizes: Mapping[str, int], costing: Costing) -> float | None:
    """The time of a step where it is shortest: the code is the same for all levels."""
    table = costing.table
    known = [level for level in costing.levels if level in table.levels] or list(table.levels)[:1]
    times = [t for level in known if (t := table.seconds(kernel, sizes, level)) is not None]
    if times:
        return min(times)
    counts = work.of(kernel, sizes)
    return None if counts is None else counts.bytes * counts.passes / FASTEST


def _work(choice: Choice, sharing: Sharing, sizes: Mapping[str, int]) -> Array:
    """Of each panel."""
    names = [a.name for a in choice.kernel.args if a.role is Role.CONST]
    consts = {n: a for n, a in zip(names, choice.consts, strict=True) if a is not None}
    return sharing.work(sizes, consts)


def balanced(
    panels: Array | Sequence[float], parts: int, panel: int, outputs: int
) -> tuple[int, ...]:
    """Cut outputs into shares of equal work: 0, ..., outputs.

    Args:
        panels: The work of each panel.
        parts: Shares wanted; there are fewer where panels are few.
        panel: Outputs of a panel.
        outputs: All of them; the last panel may have less than the others.
    """
    done = np.concatenate([[0.0], np.cumsum(panels)])
    aims = done[-1] * np.arange(1, parts) / parts
    places = {int(np.abs(done - aim).argmin()) for aim in aims} - {0, len(done) - 1}
    return (0, *(place * panel for place in sorted(places)), outputs)
