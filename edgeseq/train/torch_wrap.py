"""Weights seen through a parametrization: what the layer uses is a function of what is learnt.

`torch.nn.utils.parametrize` keeps the learnt tensor the same Parameter, so optimizers, copies,
`state_dict` and DistributedDataParallel go on as they were. Recurrent layers hold their weights a
second time, in a flat list: while one is parametrized, that list is made from the weights whenever
it is read.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from edgeseq.train.torch_slots import Slot


def wrap(slot: Slot, function: nn.Module) -> None:
    """Let a layer see `function(weight)` from now on."""
    parametrize.register_parametrization(slot.owner, slot.attribute, function)
    if isinstance(slot.owner, nn.RNNBase):
        # parametrize gives each module a class of its own. A list that is kept would hold results
        # of autograd after `module.to(...)`, which cannot be copied and go stale.
        kind: Any = type(slot.owner)
        kind._flat_weights = property(_flat_weights, _ignore)


def unwrap(places: Sequence[Slot]) -> None:
    """Make what the layers see their plain parameters again."""
    for slot in places:
        if not parametrize.is_parametrized(slot.owner, slot.attribute):
            continue
        parametrize.remove_parametrizations(slot.owner, slot.attribute, leave_parametrized=True)
        if isinstance(slot.owner, nn.RNNBase):
            slot.owner._flat_weights = _flat_weights(slot.owner)


def baked(module: nn.Module) -> nn.Module:
    """Return a copy with plain parameters, without a data-parallel wrapper around it."""
    if isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        module = module.module
    made = copy.deepcopy(module)
    for owner in list(made.modules()):
        if parametrize.is_parametrized(owner):
            listed: Any = owner.parametrizations
            unwrap([Slot(owner, attribute, attribute, 1) for attribute in list(listed)])
    return made


def original(slot: Slot) -> nn.Parameter:
    """Return the parameter that is learnt."""
    if parametrize.is_parametrized(slot.owner, slot.attribute):
        listed: Any = slot.owner.parametrizations
        return listed[slot.attribute].original  # type: ignore[no-any-return]
    return getattr(slot.owner, slot.attribute)  # type: ignore[no-any-return]


def _flat_weights(module: nn.RNNBase) -> list[torch.Tensor | None]:
    return [getattr(module, name) for name in module._flat_weights_names]


def _ignore(module: nn.RNNBase, weights: list[torch.Tensor | None]) -> None:
    """The layer itself sets its list when it moves to another device or type."""


class Masked(nn.Module):
    """`weight * mask`; the gradient of what the mask leaves out is zero."""

    mask: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the masked weight."""
        return torch.where(self.mask, weight, 0)
