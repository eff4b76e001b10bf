"""Weights seen through a parametrization: what the layer uses is a function of what is learnt.

`torch.nn.utils.parametrize` keeps the learnt tensor the same Parameter, so optimizers, copies,
`state_dict` and DistributedDataParallel go on as they were. Recurrent layers hold their weights a
second time, in a flat list: hooks put there what the layer is to see, for each forward pass.
"""

from __future__ import annotations

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
        _forget(slot.owner)
        if _before not in slot.owner._forward_pre_hooks.values():
            slot.owner.register_forward_pre_hook(_before)
            slot.owner.register_forward_hook(_after, always_call=True)


def unwrap(places: Sequence[Slot]) -> None:
    """Make what the layers see their plain parameters again."""
    for slot in places:
        if not parametrize.is_parametrized(slot.owner, slot.attribute):
            continue
        parametrize.remove_parametrizations(slot.owner, slot.attribute, leave_parametrized=True)
        if isinstance(slot.owner, nn.RNNBase):
            if not parametrize.is_parametrized(slot.owner):
                _drop(slot.owner._forward_pre_hooks, _before)
                _drop(slot.owner._forward_hooks, _after)
            _forget(slot.owner)


def original(slot: Slot) -> nn.Parameter:
    """Return the parameter that is learnt."""
    if parametrize.is_parametrized(slot.owner, slot.attribute):
        listed: Any = slot.owner.parametrizations
        return listed[slot.attribute].original  # type: ignore[no-any-return]
    return getattr(slot.owner, slot.attribute)  # type: ignore[no-any-return]


def _before(module: nn.Module, _inputs: Any) -> None:
    assert isinstance(module, nn.RNNBase)
    module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _after(module: nn.Module, _inputs: Any, _output: Any) -> None:
    assert isinstance(module, nn.RNNBase)
    _forget(module)


def _forget(module: nn.RNNBase) -> None:
    """Leave the parameters in the flat list: results of autograd there could not be copied."""
    names = module._flat_weights_names
    module._flat_weights = [original(Slot(module, name, name, 1)) for name in names]


def _drop(hooks: Any, hook: Any) -> None:
    for key in [key for key, found in hooks.items() if found is hook]:
        del hooks[key]


class Masked(nn.Module):
    """`weight * mask`; the gradient of what the mask leaves out is zero."""

    mask: torch.Tensor

    def __init__(self, weight: torch.Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", torch.ones_like(weight, dtype=torch.bool))

    def forward(self, weight: torch.Tensor) -> torch.Tensor:
        """Return the masked weight."""
        return torch.where(self.mask, weight, 0)
