"""The weights of a PyTorch module that can be pruned, as matrices [outputs, inputs].

A recurrent weight is one matrix per gate; a convolution's columns are tap-major, as everywhere in
edgeseq (`ir/patterns.py`).
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Mask, Pattern, pruned_groups

Array = npt.NDArray[Any]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "GRU": 3, "LSTM": 4}
_CELLS: tuple[tuple[type[nn.Module], int], ...] = (
    (nn.RNNCell, 1),
    (nn.GRUCell, 3),
    (nn.LSTMCell, 4),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Slot:
    """One weight of one module.

    Args:
        owner: The module that has it.
        attribute: Its name there.
        path: Its name in the whole module.
        gates: How many matrices lie on top of each other in it.
    """

    owner: nn.Module
    attribute: str
    path: str
    gates: int

    @property
    def weight(self) -> torch.Tensor:
        """The weight as the module uses it."""
        return getattr(self.owner, self.attribute)  # type: ignore[no-any-return]

    def split(self, array: Array) -> list[Array]:
        """Return the matrices [outputs, taps * inputs] of an array in the shape of the weight."""
        if array.ndim > 2:
            array = np.moveaxis(array, 1, -1).reshape(array.shape[0], -1)
        return np.split(array, self.gates)

    def join(self, matrices: Sequence[Array]) -> Array:
        """Undo `split`."""
        joined = np.concatenate(matrices)
        shape = tuple(self.weight.shape)
        if len(shape) > 2:
            joined = np.moveaxis(joined.reshape(shape[0], *shape[2:], shape[1]), -1, 1)
        return np.ascontiguousarray(joined.reshape(shape))

    @property
    def taps(self) -> int:
        """Runs of inputs in a row of a matrix."""
        return int(np.prod(self.weight.shape[2:]))


def slots(module: nn.Module, only: Sequence[str] = ("*",), but: Sequence[str] = ()) -> list[Slot]:
    """Return the weights of linear, convolution, attention and recurrent layers.

    Args:
        module: Searched deeply; a wrapper such as DistributedDataParallel is seen through.
        only: Globs over the names of the weights, as in `named_parameters`.
        but: Globs that are left out.

    Raises:
        UsageError: nothing fits.
    """
    found = []
    known = []
    for prefix, owner in module.named_modules():
        for attribute, gates in _weights(owner):
            path = f"{prefix}.{attribute}" if prefix else attribute
            path = path.removeprefix("module.")  # what data-parallel wrappers put before it
            known.append(path)
            wanted = any(fnmatch.fnmatch(path, glob) for glob in only)
            if wanted and not any(fnmatch.fnmatch(path, glob) for glob in but):
                found.append(Slot(owner, attribute, path, gates))
    if not found:
        raise UsageError(
            "no weight of the module is to be pruned",
            at=known[:8],
            why=f"names that fit {', '.join(only)}" + (f" but not {', '.join(but)}" if but else ""),
        )
    return found


def choose(
    places: Sequence[Slot], pattern: Pattern, density: float, *, together: bool = False
) -> dict[str, Mask]:
    """Return masks by path that keep the largest magnitudes.

    Args:
        places: The weights.
        pattern: How zeros are arranged.
        density: Share that stays.
        together: One threshold for all weights; else each matrix has the density.
    """
    scores = {s.path: [np.abs(m) for m in s.split(_array(s))] for s in places}
    if not together or pattern.fixed_density is not None:
        return {
            s.path: s.join([pattern.mask(m, density, s.taps) for m in scores[s.path]])
            for s in places
        }
    flat = [(s, m, pattern.gather(m, s.taps)) for s in places for m in scores[s.path]]
    sizes = [pattern.gather(np.ones(m.shape), s.taps) for s, m, _ in flat]
    means = np.concatenate([(g / n).reshape(-1) for (_, _, g), n in zip(flat, sizes, strict=True)])
    kept = np.ones(means.shape, np.bool_)
    kept[np.argsort(means, kind="stable")[: pruned_groups(len(means), density)]] = False
    masks: dict[str, list[Mask]] = {s.path: [] for s in places}
    place = 0
    for slot, matrix, groups in flat:
        own = kept[place : place + groups.size].reshape(groups.shape)
        shape = (matrix.shape[0], matrix.shape[1])
        masks[slot.path].append(pattern.spread(own, shape, slot.taps))
        place += groups.size
    return {s.path: s.join(masks[s.path]) for s in places}


def _array(slot: Slot) -> Array:
    array: Array = slot.weight.detach().float().cpu().numpy()
    return array


def _weights(owner: nn.Module) -> list[tuple[str, int]]:
    if isinstance(owner, nn.RNNBase):
        names = [name for name in owner._flat_weights_names if name.startswith("weight_")]
        return [(n, 1 if n.startswith("weight_hr") else _GATES[owner.mode]) for n in names]
    for kind, gates in _CELLS:
        if isinstance(owner, kind):
            return [("weight_ih", gates), ("weight_hh", gates)]
    if isinstance(owner, nn.MultiheadAttention):  # its output projection is a Linear of its own
        if owner.in_proj_weight is not None:
            return [("in_proj_weight", 3)]
        return [(f"{part}_proj_weight", 1) for part in "qkv"]
    if isinstance(owner, (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)):
        return [("weight", 1)]
    return []
