"""AdaRound: each weight goes up or down a level, as the sums of all need it.

w' = s (floor(w / s) + h(v)),  h(v) = clip(1.2 sigmoid(v) - 0.1, 0, 1)

minimises |W x - W' x|^2 + 0.01 sum(1 - |2 h - 1|^b) over v, b from 20 to 2, by Adam. The squared
error needs no rows, only the sums of their products, so that a step costs the same for any number
of samples; it is counted in levels and in the mean power of an input, so that one 0.01 serves all.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Array = npt.NDArray[Any]

STEPS = 1000
_WARM = 0.2  # of the steps, before weights are pushed to either side
_RATE = 0.02
_PUSH = 0.01
_SHARP, _BLUNT = 20.0, 2.0
_LEAST = 1e-12


def adaround(
    w: Array,
    scales: Array,
    gram: Array,
    top: int,
    missing: Array | None = None,
    steps: int = STEPS,
) -> Array:
    """Round a matrix against what it is multiplied by.

    Args:
        w: Weights [..., outputs, inputs]; a weight of exactly 0 stays 0, so that masks hold.
        scales: Broadcasts against `w`.
        gram: Sums of the products of inputs [..., inputs, inputs].
        top: Levels lie in -top..top.
        missing: Sums of the products of inputs and what outputs lack for other reasons, to be made
            up for [..., outputs, inputs].
        steps: Of Adam.

    Returns:
        int8 levels; of each row no worse than the nearest.
    """
    scales = np.broadcast_to(scales, w.shape)
    loss = _Loss(w.astype(np.float64), scales.astype(np.float64), gram, missing)
    learned = _learn(w, scales, loss, top, steps)
    nearest = np.clip(np.rint(w / scales), -top, top)
    better = loss.exact(learned) < loss.exact(nearest)
    return np.where(better[..., None], learned, nearest).astype(np.int8)


def _learn(w: Array, scales: Array, loss: _Loss, top: int, steps: int) -> Array:
    whole = torch.from_numpy(np.asarray(w / scales, np.float32))
    low = torch.floor(whole)
    rest = whole - low
    kept = torch.from_numpy(w != 0)
    v = torch.logit(((rest + 0.1) / 1.2).clamp(1e-4, 1 - 1e-4)).requires_grad_()
    adam = torch.optim.Adam([v], lr=_RATE)
    for step in range(steps):
        h = _up(v)
        total = loss(torch.clamp(low + h, -top, top) * kept)
        late = (step / steps - _WARM) / (1 - _WARM)
        if late > 0:
            power = _BLUNT + (_SHARP - _BLUNT) * (1 - late)
            total = total + _PUSH * ((1 - (2 * h - 1).abs() ** power) * kept).sum()
        adam.zero_grad()
        total.backward()  # type: ignore[no-untyped-call]
        adam.step()
    found: Array = (torch.clamp(low + (_up(v.detach()) >= 0.5), -top, top) * kept).numpy()
    return found


def _up(v: torch.Tensor) -> torch.Tensor:
    return torch.clamp(1.2 * torch.sigmoid(v) - 0.1, 0, 1)


class _Loss:
    """The squared error of a product, row by row, but for a constant; in levels."""

    def __init__(self, w: Array, scales: Array, gram: Array, missing: Array | None) -> None:
        diagonal = np.diagonal(gram, axis1=-2, axis2=-1)
        power = np.maximum(diagonal.mean(axis=-1)[..., None, None], _LEAST)
        level = np.sqrt(np.square(scales, dtype=np.float64).mean(axis=-1, keepdims=True))
        pull = np.zeros(w.shape) if missing is None else missing / power
        self._parts = (scales / level, w / level, gram / power, pull / level)
        self._tensors = [torch.from_numpy(np.asarray(one, np.float32)) for one in self._parts]

    def __call__(self, levels: torch.Tensor) -> torch.Tensor:
        """The sum over all rows."""
        step, w, products, pull = self._tensors
        error = levels * step - w
        return (error * (error @ products - 2 * pull)).sum()

    def exact(self, levels: Array) -> Array:
        """Of each row, in double precision."""
        step, w, products, pull = self._parts
        error = levels * step - w
        found: Array = (error * (error @ products - 2 * pull)).sum(axis=-1)
        return found
