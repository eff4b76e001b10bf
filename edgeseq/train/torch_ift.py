"""Sparse layers that cost what the dense layer costs, and hold more (arXiv 2303.11525).

At sparsity s a dense layer is replaced by

- parallel: 1 / (1 - s) sparse branches, each behind its own norm, summed;
- doped: a sparse layer and a dense one of low rank, V U;
- factorised: V act(norm(U x)), U sparse, with a wider middle;
- wide: the width times sqrt(1 / (1 - s)), for chains of layers: `wide`.

In a convolution U has the kernel and V is pointwise. The zeros are held by masks (`GradualPruner`
and `SRSTE` find them too).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Mask, Pattern, pruned_groups
from edgeseq.registry import hint
from edgeseq.train.torch_slots import Slot
from edgeseq.train.torch_wrap import Masked, wrap

Tensor = torch.Tensor
Layer = nn.Linear | nn.Conv1d | nn.Conv2d | nn.Conv3d
Norm = Callable[[int], nn.Module]

KINDS = ("parallel", "doped", "factorised")


def wide(width: int, sparsity: float) -> int:
    """Return the width at which layers of this sparsity cost what dense ones of `width` do."""
    return round(width * math.sqrt(1 / (1 - sparsity)))


def replace(
    layer: Layer,
    kind: str,
    sparsity: float,
    *,
    pattern: str = "16x1",
    norm: Norm | None = None,
    activation: nn.Module | None = None,
    seed: int = 0,
) -> nn.Module:
    """Return a layer for the same inputs and outputs, freshly initialised.

    Args:
        layer: The dense layer.
        kind: `parallel`, `doped` or `factorised`.
        sparsity: Of the sparse parts; 0.5, 0.75 and 0.9 are usual.
        pattern: How their zeros are arranged.
        norm: Makes the norm of so many features behind each branch of `parallel` and in the middle
            of `factorised`, e.g. `nn.BatchNorm2d`; None: there is none.
        activation: In the middle of `factorised`; None: ReLU.
        seed: Of the positions of the weights.
    """
    if kind not in KINDS:
        raise UsageError(f"no sparse layer '{kind}'", fix=hint(kind, KINDS))
    if not 0 < sparsity < 1:
        raise UsageError(f"sparsity {sparsity:g} is outside (0, 1)")
    if not isinstance(layer, nn.Linear) and layer.groups > 1:
        raise UsageError(
            f"a convolution of {layer.groups} groups has no sparse layer of equal cost",
            fix="leave it as it is",
        )
    like = _Like(layer, sparsity, pattern)
    made = {"parallel": _parallel, "doped": _doped, "factorised": _factorised}[kind](
        like, seed, norm, activation
    )
    return made.to(layer.weight.device, layer.weight.dtype)


class Parallel(nn.Module):
    """The sum of what branches make of the same input."""

    def __init__(self, branches: Sequence[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(branches)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sum."""
        made: Tensor = sum(branch(x) for branch in self.branches)
        return made


@dataclasses.dataclass(frozen=True, eq=False)
class _Like:
    """Makes layers that see what a given one sees."""

    layer: Layer
    sparsity: float
    pattern: str

    @property
    def rows(self) -> int:
        return int(self.layer.weight.shape[0])

    @property
    def columns(self) -> int:
        """Weights of one output: k^2 * Cin."""
        return self.layer.weight[0].numel()

    @property
    def bias(self) -> bool:
        return self.layer.bias is not None

    def dense(self, rows: int, bias: bool) -> Layer:
        """The same inputs, other outputs."""
        old = self.layer
        if isinstance(old, nn.Linear):
            return nn.Linear(old.in_features, rows, bias=bias)
        return type(old)(
            old.in_channels,
            rows,
            old.kernel_size,  # type: ignore[arg-type]
            old.stride,  # type: ignore[arg-type]
            old.padding,  # type: ignore[arg-type]
            old.dilation,  # type: ignore[arg-type]
            bias=bias,
            padding_mode=old.padding_mode,
        )

    def outer(self, columns: int, bias: bool) -> Layer:
        """The same outputs, from features at one place."""
        if isinstance(self.layer, nn.Linear):
            return nn.Linear(columns, self.rows, bias=bias)
        return type(self.layer)(columns, self.rows, 1, bias=bias)

    def sparse(self, rows: int, bias: bool, seed: int, gain: float) -> Layer:
        """As `dense`, most weights masked; `gain` makes up for what they would have added."""
        made = self.dense(rows, bias)
        slot = Slot(made, "weight", "weight", 1)
        with torch.no_grad():
            made.weight.mul_(gain)
        shape = (rows, self.columns)
        chosen = _drawn(Pattern.parse(self.pattern), shape, 1 - self.sparsity, slot.taps, seed)
        masked = Masked(made.weight.detach())
        masked.mask.copy_(torch.from_numpy(slot.join([chosen])))
        wrap(slot, masked)
        return made


def _parallel(like: _Like, seed: int, norm: Norm | None, _: nn.Module | None) -> nn.Module:
    branches: list[nn.Module] = []
    for index in range(round(1 / (1 - like.sparsity))):
        branch = like.sparse(like.rows, like.bias and index == 0, seed + index, 1.0)
        branches.append(nn.Sequential(branch, norm(like.rows)) if norm else branch)
    return Parallel(branches)


def _doped(like: _Like, seed: int, _: Norm | None, __: nn.Module | None) -> nn.Module:
    rank = math.floor(like.sparsity * like.columns * like.rows / (like.columns + like.rows))
    inner = like.dense(max(1, rank), False)
    low = nn.Sequential(inner, like.outer(max(1, rank), False))
    return Parallel([like.sparse(like.rows, like.bias, seed, _gain(like.sparsity)), low])


def _factorised(
    like: _Like, seed: int, norm: Norm | None, activation: nn.Module | None
) -> nn.Module:
    inner = (1 - like.sparsity) * like.columns + like.rows
    middle = max(1, math.floor(like.columns * like.rows / inner))
    parts: list[nn.Module] = [like.sparse(middle, True, seed, _gain(like.sparsity))]
    parts += [norm(middle)] if norm else []
    return nn.Sequential(*parts, activation or nn.ReLU(), like.outer(middle, like.bias))


def _gain(sparsity: float) -> float:
    """As much variance as a dense layer gives; several branches have it together."""
    return 1 / math.sqrt(1 - sparsity)


def _drawn(pattern: Pattern, shape: tuple[int, int], density: float, taps: int, seed: int) -> Mask:
    """Draw groups; those that the edge cuts off are as likely as others."""
    random = np.random.default_rng(seed)
    if pattern.fixed_density is not None:
        return pattern.mask(random.random(shape), density, taps)
    grid = pattern.groups(shape, taps)
    kept = np.ones(math.prod(grid), np.bool_)
    kept[random.permutation(kept.size)[: pruned_groups(kept.size, density)]] = False
    return pattern.spread(kept.reshape(grid), shape, taps)
