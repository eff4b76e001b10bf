"""Sparse soups: the mean of models retrained from one pruned model (arXiv 2306.16788).

All ingredients share the zeros, so their mean has them too, exactly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import nn

from edgeseq.errors import UsageError

Tensor = torch.Tensor
Weights = Mapping[str, Tensor]


def soup(
    ingredients: Sequence[Weights], score: Callable[[dict[str, Tensor]], float] | None = None
) -> dict[str, Tensor]:
    """Return the mean of state dicts.

    Args:
        ingredients: `state_dict()`s of models with the same zeros.
        score: Higher is better: ingredients are tried from the best on, and stay in if the soup
            does not get worse (greedy). None takes all (uniform).

    Raises:
        UsageError: nothing to mix, other tensors, or zeros in other places.
    """
    if not ingredients:
        raise UsageError("a soup needs at least one ingredient")
    for index, each in enumerate(ingredients[1:], 1):
        _same(ingredients[0], each, index)
    if score is None:
        return _mean(ingredients)
    ranked = sorted(ingredients, key=lambda each: score(dict(each)), reverse=True)
    chosen, best = [ranked[0]], score(dict(ranked[0]))
    for each in ranked[1:]:
        found = score(_mean([*chosen, each]))
        if found >= best:
            chosen, best = [*chosen, each], found
    return _mean(chosen)


def recalibrate(module: nn.Module, batches: Iterable[Tensor]) -> None:
    """Compute the statistics of batch norms anew: those of a mean are not the mean of those."""
    norms = [m for m in module.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    training, momenta = module.training, [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
    module.train()
    with torch.no_grad():
        for batch in batches:
            module(batch)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    module.train(training)


def _same(first: Weights, other: Weights, index: int) -> None:
    if first.keys() != other.keys():
        different = sorted(first.keys() ^ other.keys())
        raise UsageError(f"ingredient {index} has other tensors than 0", at=different[:5])
    for name, tensor in first.items():
        if tensor.shape != other[name].shape:
            raise UsageError(f"ingredient {index} has another shape of '{name}'")
        if tensor.dim() > 1 and not torch.equal(tensor == 0, other[name] == 0):
            raise UsageError(
                f"ingredient {index} has zeros elsewhere in '{name}'",
                why="a mean keeps zeros only where all have them",
                fix="retrain all from the same pruned model, with its masks held",
            )


def _mean(ingredients: Sequence[Weights]) -> dict[str, Tensor]:
    made = {}
    for name, first in ingredients[0].items():
        if not first.is_floating_point():
            made[name] = first.clone()
            continue
        total = torch.stack([each[name].double() for each in ingredients]).mean(0)
        made[name] = total.to(first.dtype)
    return made
