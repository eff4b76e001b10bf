"""Sparse layers that cost what the dense layer costs, and hold more (arXiv 2303.11525).

At sparsity s a dense layer is replaced by

- parallel: 1 / (1 - s) sparse branches, summed;
- doped: a sparse layer and a dense one of low rank, V U;
- factorised: V act(U x), U sparse, with a wider middle;
- wide: the width times sqrt(1 / (1 - s)), for chains of layers: `wide`.

Their zeros are held by masks (`GradualPruner` and `SRSTE` find them too).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.registry import hint
from edgeseq.train.torch_slots import Slot
from edgeseq.train.torch_wrap import Masked, wrap

Tensor = torch.Tensor

KINDS = ("parallel", "doped", "factorised")


def wide(width: int, sparsity: float) -> int:
    """Return the width at which layers of this sparsity cost what dense ones of `width` do."""
    return round(width * math.sqrt(1 / (1 - sparsity)))


def replace(
    linear: nn.Linear,
    kind: str,
    sparsity: float,
    *,
    pattern: str = "16x1",
    activation: nn.Module | None = None,
    seed: int = 0,
) -> nn.Module:
    """Return a layer for the same inputs and outputs, freshly initialised.

    Args:
        linear: The dense layer.
        kind: `parallel`, `doped` or `factorised`.
        sparsity: Of the sparse parts; 0.5, 0.75 and 0.9 are usual.
        pattern: How their zeros are arranged.
        activation: Inside of `factorised`; None: ReLU.
        seed: Of the positions of the weights.
    """
    if kind not in KINDS:
        raise UsageError(f"no sparse layer '{kind}'", fix=hint(kind, KINDS))
    if not 0 < sparsity < 1:
        raise UsageError(f"sparsity {sparsity:g} is outside (0, 1)")
    rows, columns = linear.out_features, linear.in_features
    bias = linear.bias is not None
    if kind == "parallel":
        count = round(1 / (1 - sparsity))
        parts = [
            _sparse(columns, rows, bias and i == 0, sparsity, pattern, seed + i)
            for i in range(count)
        ]
        return Parallel(parts)
    if kind == "doped":
        rank = math.floor(sparsity * columns * rows / (columns + rows))
        low = nn.Sequential(nn.Linear(columns, rank, bias=False), nn.Linear(rank, rows, bias=False))
        return Parallel([_sparse(columns, rows, bias, sparsity, pattern, seed), low])
    middle = math.floor(columns * rows / ((1 - sparsity) * columns + rows))
    return nn.Sequential(
        _sparse(columns, middle, True, sparsity, pattern, seed),
        activation or nn.ReLU(),
        nn.Linear(middle, rows, bias=bias),
    )


class Parallel(nn.Module):
    """The sum of what branches make of the same input."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        made: Tensor = sum(branch(x) for branch in self.branches)
        return made


def _sparse(
    columns: int, rows: int, bias: bool, sparsity: float, pattern: str, seed: int
) -> nn.Linear:
    layer = nn.Linear(columns, rows, bias=bias)
    with torch.no_grad():
        layer.weight /= math.sqrt(1 - sparsity)  # as much variance as the dense layer gives
    scores = np.random.default_rng(seed).random((rows, columns))
    masked = Masked(layer.weight.detach())
    chosen = Pattern.parse(pattern).mask(scores, 1 - sparsity)
    masked.mask.copy_(torch.from_numpy(chosen))
    wrap(Slot(layer, "weight", "weight", 1), masked)
    return layer
