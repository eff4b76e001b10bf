"""How much there is to do in each panel of a kernel, so that threads get equal shares.

The unit is a block: one input of 16 outputs (int8: four inputs).
"""

from __future__ import annotations

import functools
from collections.abc import Mapping

import numpy as np
from edgeseq.kernels._family import Array, Sharing, Sizes

# Finishing a panel takes as long as so many blocks: its bias, its activations, its stores. The cost
# tables say 2 to 9 for products and 40 to 120 for cells.
PRODUCT, CELL = 6, 70


def linear(
    panel: int = 16, *, lists: bool = False, width: int = 16, scratch: bool = False
) -> Sharing:
    """Of a product. `lists`: blocks of `width` outputs, as many as `counts` says."""
    work = functools.partial(_linear_blocks, width=width) if lists else _linear
    return Sharing("N", panel, functools.partial(work, panel=panel), scratch=scratch)


def recurrent(gates: int, steps: int, *, lists: bool = False, width: int = 16) -> Sharing:
    """Of a cell in float."""
    work = functools.partial(_cell_blocks, gates=gates, width=width, header=0) if lists else None
    return Sharing("H", 16, work or functools.partial(_cell, gates=gates, inputs=1), steps)


def recurrent_i8(gates: int, steps: int, *, lists: bool = False, width: int = 16) -> Sharing:
    """Of a cell in int8, whose counts begin with two words (c/recurrent_i8.h)."""
    work = functools.partial(_cell_blocks, gates=gates, width=width, header=2) if lists else None
    dense = functools.partial(_cell, gates=gates, inputs=4)
    return Sharing("H", 16, work or dense, steps, prepared=True)


def _outputs(total: int, panel: int) -> Array:
    """The outputs of each panel."""
    return np.minimum(panel, total - np.arange(0, total, panel)).astype(np.float64)


def _linear(sizes: Sizes, _: Mapping[str, Array], panel: int) -> Array:
    return _outputs(sizes["N"], panel) / 16 * (sizes["K"] + PRODUCT)


def _linear_blocks(_: Sizes, consts: Mapping[str, Array], panel: int, width: int) -> Array:
    return _per_panel(consts["counts"].reshape(-1, 1), panel, width) + PRODUCT


def _cell(sizes: Sizes, _: Mapping[str, Array], gates: int, inputs: int) -> Array:
    blocks = gates * (sizes["I"] + sizes["H"]) / inputs
    return _outputs(sizes["H"], 16) / 16 * (blocks + CELL)


def _cell_blocks(
    sizes: Sizes, consts: Mapping[str, Array], gates: int, width: int, header: int
) -> Array:
    chains = sizes["groups"] * sizes["directions"]
    counts = consts["counts"].reshape(chains, -1)[:, header:].reshape(chains, -1, 2 * gates)
    return _per_panel(counts.swapaxes(0, 1).reshape(counts.shape[1], -1), 16, width) / chains + CELL


def _per_panel(counts: Array, panel: int, width: int) -> Array:
    """Blocks of 16 outputs in each panel, from the counts [panels of `width`, lists]."""
    blocks = counts.sum(axis=1, dtype=np.float64) * width / 16
    together = panel // width
    padded = np.pad(blocks, (0, -len(blocks) % together))
    return np.asarray(padded.reshape(-1, together).sum(axis=1))
