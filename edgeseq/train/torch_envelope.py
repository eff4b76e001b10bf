"""Group-sparse training with the sparse envelope and its prox (arXiv 2212.12921).

    envelope(x) = 1/2 min_u sum |x_g|^2 / u_g   over 0 <= u <= 1, sum d_g u_g <= k

At most k groups stay whole, a few are shrunk, the others become exactly zero: after each optimizer
step the weights go through prox, w <- prox(w - rate * gradient).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.train.torch_slots import Slot, slots

Array = npt.NDArray[Any]

_BISECTIONS = 100


def prox_factors(
    norms: Array, budget: float, strength: float, weight: Array | float = 1.0
) -> Array:
    """Return u / (strength + u) for each group: what prox multiplies it with.

    u_g = clip(|t_g| / sqrt(eta d_g) - strength, 0, 1), eta such that sum d_g u_g = budget.

    Args:
        norms: |t_g|.
        budget: k.
        strength: Of the regulariser.
        weight: d_g.
    """
    cost = np.broadcast_to(np.asarray(weight, np.float64), norms.shape)
    ratio = norms.astype(np.float64) / np.sqrt(cost)

    def u_at(eta: float) -> Array:
        u: Array = np.clip(ratio / np.sqrt(eta) - strength, 0, 1)
        return u

    if cost[norms > 0].sum() <= budget:
        u = (norms > 0).astype(np.float64)
    else:
        low, high = 1e-30, 1e30
        for _ in range(_BISECTIONS * 2):  # in the logarithm: norms may be of any size
            middle = float(np.sqrt(low) * np.sqrt(high))
            low, high = (middle, high) if (cost * u_at(middle)).sum() > budget else (low, middle)
        u = u_at(high)
        u[u < 1e-9] = 0  # what the bisection leaves of groups that are at the edge of falling
    factors: Array = u / (strength + u) if strength else (u > 0).astype(np.float64)
    return factors


class GroupEnvelope:
    """Applies prox after every optimizer step.

    Args:
        module: What is trained.
        optimizer: Its first learning rate scales the strength.
        density: Share of the groups that may stay.
        pattern: The groups: `rows` (outputs of one gate), `1x4`, `16x1`, ... or `units`: all rows
            of a hidden unit, in every gate, of its inputs and of its state.
        strength: Of the regulariser, times the learning rate.
        only: Globs of the weights.
        but: Globs of weights to leave alone.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        density: float,
        pattern: str = "rows",
        strength: float = 1.0,
        only: Sequence[str] = ("*",),
        but: Sequence[str] = (),
    ) -> None:
        if not 0 < density <= 1:
            raise UsageError(f"density {density:g} is outside (0, 1]")
        self._pattern = Pattern.parse("rows" if pattern == "units" else pattern)
        if self._pattern.fixed_density is not None:
            raise UsageError(
                f"pattern '{pattern}' has no groups to shrink",
                fix="units, rows, 16x1, 1x4 or another RxC",
            )
        found = slots(module, only, but)
        # What one budget is for: matrices whose groups at the same place are one group.
        self._bundles = _units(found) if pattern == "units" else _gates(found)
        self._density, self._strength = density, strength
        self._optimizer = optimizer
        self._hook = optimizer.register_step_post_hook(self._shrink)

    def finish(self) -> None:
        """Stop; the weights stay as they are, zeros and all."""
        self._hook.remove()

    def _shrink(self, *_: Any) -> None:
        strength = self._strength * float(self._optimizer.param_groups[0]["lr"])
        for bundle in self._bundles:
            matrices = [slot.split(_array(slot))[gate] for slot, gate in bundle]
            taps = [slot.taps for slot, _ in bundle]
            squares = [
                self._pattern.gather(matrix**2, t) for matrix, t in zip(matrices, taps, strict=True)
            ]
            norms = np.sqrt(sum(squares))
            factors = prox_factors(norms, self._density * norms.size, strength)
            for (slot, gate), matrix, t in zip(bundle, matrices, taps, strict=True):
                shape = (matrix.shape[0], matrix.shape[1])
                _scale(slot, gate, _spread(self._pattern, factors, shape, t))


def _gates(found: Sequence[Slot]) -> list[list[tuple[Slot, int]]]:
    return [[(slot, gate)] for slot in found for gate in range(slot.gates)]


def _units(found: Sequence[Slot]) -> list[list[tuple[Slot, int]]]:
    """Gather the gates of `weight_ih*` and `weight_hh*` of the same layer and direction."""
    bundles: dict[tuple[int, str], list[tuple[Slot, int]]] = {}
    for slot in found:
        name = slot.attribute.replace("weight_ih", "cell").replace("weight_hh", "cell")
        bundle = bundles.setdefault((id(slot.owner), name), [])
        bundle += [(slot, gate) for gate in range(slot.gates)]
    return list(bundles.values())


def _array(slot: Slot) -> Array:
    array: Array = slot.weight.detach().double().cpu().numpy()
    return array


def _scale(slot: Slot, gate: int, factors: Array) -> None:
    others = [np.ones_like(factors)] * slot.gates
    whole = slot.join([*others[:gate], factors, *others[gate + 1 :]])
    with torch.no_grad():
        slot.weight.mul_(torch.from_numpy(whole).to(slot.weight))


def _spread(pattern: Pattern, values: Array, shape: tuple[int, int], taps: int) -> Array:
    """Give every entry the value of its group; equal values are spread together."""
    full = np.zeros(shape)
    for value in np.unique(values[values > 0]):
        full[pattern.spread(values == value, shape, taps)] = value
    return full
