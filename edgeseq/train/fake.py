"""Fake quantization: floats that take only the values of integers, and gradients that pass.

    fake(v) = s * clamp(round(v / s), low, high)

The gradient of v is 1 inside the range and 0 beyond it (straight-through). A scale is learnt, too
(learned step size, LSQ): its gradient is round(v / s) - v / s inside and the clamped level beyond,
times 1 / sqrt(count * high), count being the values that share the scale.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

Tensor = torch.Tensor
Array = npt.NDArray[Any]

SMALLEST = 2.0**-100  # the largest value of a row of zeros: its scale must not be zero
PAIR = 129  # what two levels may add up to where sums of products must fit 16 bits
TOP8, TOP4 = 127, 7


@dataclasses.dataclass(frozen=True)
class Weight:
    """How a weight is quantized.

    Args:
        scales: Its scales; they broadcast against the weight, unless they are of groups.
        top: Levels go from -top to top.
        inputs: The axis of what is multiplied.
        group: Inputs that share a scale; 0: all.
        half: Scales are stored in half precision.
        pairs: Two neighbouring levels add up to `PAIR` at most.
        learnt: Whether it and its scales are trained: a fixed transform is not.
    """

    scales: Array
    top: int
    inputs: int
    group: int = 0
    half: bool = False
    pairs: bool = False
    learnt: bool = True


@dataclasses.dataclass(frozen=True)
class Levels:
    """How an activation is quantized.

    Args:
        scale: 0: dynamic, from the largest value.
        low: Lowest level, counted from the one that stands for 0.
        high: Highest.
        axes: So many last axes share a dynamic scale.
    """

    scale: float
    low: int = -TOP8
    high: int = TOP8
    axes: int = 1


@dataclasses.dataclass(frozen=True)
class Fakes:
    """What of a model is quantized.

    Args:
        weights: By name of the initializer.
        inputs: First inputs, by name of the node.
        states: Hidden states of recurrent nodes, by name of the node.
    """

    weights: Mapping[str, Weight]
    inputs: Mapping[str, Levels]
    states: Mapping[str, Levels]

    @property
    def learnt(self) -> frozenset[str]:
        """Names of the weights that are trained."""
        return frozenset(name for name, weight in self.weights.items() if weight.learnt)

    def initial(self) -> dict[str, Tensor]:
        """Return all scales but dynamic ones, by `<name>` of the weight, `<node>.x`, `<node>.h`."""
        found = {n: torch.from_numpy(w.scales.astype(np.float32)) for n, w in self.weights.items()}
        for kind, levels in (("x", self.inputs), ("h", self.states)):
            found |= {f"{n}.{kind}": torch.tensor(v.scale) for n, v in levels.items() if v.scale}
        return found


class _Fake(torch.autograd.Function):
    """`s * clamp(round(v / s), low, high)` with the gradients above."""

    @staticmethod
    def forward(ctx: Any, v: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
        steps = v / scale
        levels = steps.round().clamp_(low, high)
        inside = (steps >= low) & (steps <= high)
        slope = torch.where(inside, levels - steps, levels) if ctx.needs_input_grad[1] else None
        ctx.save_for_backward(inside, slope)
        ctx.shape = scale.shape
        return levels.mul_(scale)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor | None, None, None]:
        inside, slope = ctx.saved_tensors
        of_scale = None if slope is None else (gradients[0] * slope).sum_to_size(ctx.shape)
        return gradients[0] * inside, of_scale, None, None


def fake(v: Tensor, scale: Tensor, low: int, high: int) -> Tensor:
    """Return values as integers would hold them; scales broadcast against them."""
    return _Fake.apply(v, scale, low, high)  # type: ignore[no-any-return, no-untyped-call]


def weight(v: Tensor, how: Weight, scales: Tensor) -> Tensor:
    """Return a weight as it will be stored."""
    spread = weight_scales(v, how, scales)
    return fake(v, spread, -how.top, how.top)


def weight_scales(v: Tensor, how: Weight, scales: Tensor) -> Tensor:
    """Return the scale of every value of a weight, gradients scaled as LSQ has it."""
    shared = v.numel() // scales.numel()
    scales = _gradient_times(scales, 1 / math.sqrt(shared * how.top))
    scales = torch.maximum(scales, least(v, how))
    if how.half:
        scales = scales + (scales.half().float() - scales).detach()
    if how.group:
        size = v.shape[how.inputs]
        scales = scales.repeat_interleave(how.group, how.inputs).narrow(how.inputs, 0, size)
    return scales


def least(v: Tensor, how: Weight) -> Tensor:
    """Return the scales below which pairs of levels do not fit, or no number does."""
    if how.half:
        return torch.tensor(2.0**-14)
    if not how.pairs or v.shape[how.inputs] < 2:
        return torch.tensor(SMALLEST)
    last = v.detach().movedim(how.inputs, -1)
    even = last[..., : last.shape[-1] // 2 * 2]
    sums = (even[..., 0::2] + even[..., 1::2]).abs().amax(-1, keepdim=True)
    # Rounding may add half a level to each of the two.
    return (sums / (PAIR - 1)).movedim(-1, how.inputs).clamp_min(SMALLEST)


def activation(v: Tensor, how: Levels, scale: Tensor | None) -> Tensor:
    """Return an activation as integers hold it; without a scale that of its largest value."""
    if scale is None:
        axes = tuple(range(-how.axes, 0))
        largest = v.detach().abs().amax(axes, keepdim=True).clamp_min(SMALLEST)
        return fake(v, largest / TOP8, how.low, how.high)
    return fake(v, scale, how.low, how.high)


def activation_scale(scale: Tensor, count: int, how: Levels) -> Tensor:
    """Return the scale of an activation of `count` features, its gradient scaled."""
    return _gradient_times(scale, 1 / math.sqrt(count * how.high))


def _gradient_times(v: Tensor, factor: float) -> Tensor:
    return v * factor + (v * (1 - factor)).detach()
