"""Adam in the eigenbases of each matrix's gradients (SOAP, arXiv 2409.11321).

    L <- b2 L + (1 - b2) G G',  R <- b2 R + (1 - b2) G' G      G [outputs, inputs], a block of rows
    W <- W - rate * U Adam(U' G V) V'                          U, V: eigenvectors of L, R

The inputs of a layer are alike and of very different size, which Adam, looking at one weight at a
time, does not see. The error of a pruned model falls in half the steps. What is no matrix, or too
large for its bases to pay, gets plain Adam.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

Tensor = torch.Tensor

_ROWS = 128  # of a block: the cost of a step is proportional to it
_WIDEST = 1024  # a side longer than that is not rotated
_LEAST = 1e-3  # of the root mean square of a rotated matrix: directions below move less
_FIRST = 4  # iterations for the first bases; later ones start from those before


class Soap(torch.optim.Optimizer):
    """The optimiser; masks are the caller's business.

    Args:
        params: Parameters, or groups of them.
        lr: Learning rate.
        betas: Memory of the mean gradient, and of its squares and bases.
        eps: Added to the root of the mean square.
        every: Steps between two turns of the bases.
    """

    def __init__(
        self,
        params: Any,
        lr: float,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
        every: int = 10,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "every": every})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Take one step along the gradients."""
        del closure
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    update = self._update(self.state[weight], weight.grad, group)
                    weight.sub_(update, alpha=group["lr"])

    def _update(self, state: dict[str, Any], gradient: Tensor, group: dict[str, Any]) -> Tensor:
        blocks = gradient.reshape(_blocks(gradient.shape))
        if not state:
            state |= {"step": 0, "mean": torch.zeros_like(blocks)}
            state["square"] = torch.zeros_like(blocks)
        state["step"] += 1
        remember, second = group["betas"]
        turn = state["step"] % group["every"] == 1
        bases = [self._basis(state, side, blocks, second, turn) for side in (0, 1)]
        state["mean"].lerp_(blocks, 1 - remember)
        turned = _turn(blocks, bases)
        state["square"].lerp_(turned.square(), 1 - second)
        mean_square = state["square"] / (1 - second ** state["step"])
        least = group["eps"]
        if any(basis is not None for basis in bases):  # what no gradient points to is rounding
            least += _LEAST * float(mean_square.mean().sqrt())
        update = _turn(state["mean"], bases) / (1 - remember ** state["step"])
        update /= mean_square.sqrt_().add_(least)
        back = [None if basis is None else basis.mT for basis in bases]
        return _turn(update, back).reshape(gradient.shape)

    @staticmethod
    def _basis(
        state: dict[str, Any], side: int, blocks: Tensor, memory: float, turn: bool
    ) -> Tensor | None:
        """Return the eigenvectors of one side, in columns; None where it is left alone."""
        if blocks.dim() != 3 or not 1 < blocks.shape[side + 1] <= _WIDEST:
            return None
        # The rows of a block have a basis of their own; the inputs are the same for all blocks.
        now = blocks @ blocks.mT if side == 0 else torch.einsum("bri,brj->ij", blocks, blocks)
        products, basis = f"products{side}", f"basis{side}"
        if basis not in state:
            state[products] = torch.zeros_like(now)
            state[basis] = torch.eye(now.shape[-1], dtype=now.dtype).expand_as(now)
        state[products].lerp_(now, 1 - memory)
        # Orthogonal iteration: unlike an eigensolver it takes rows of zeros, which masks leave.
        for _ in range((_FIRST if state["step"] == 1 else 1) if turn else 0):
            state[basis] = torch.linalg.qr(state[products] @ state[basis])[0]
        found: Tensor = state[basis]
        return found


def _turn(blocks: Tensor, bases: list[Tensor | None]) -> Tensor:
    """Return `U' X V`."""
    left, right = bases
    turned = blocks if left is None else left.mT @ blocks
    return turned if right is None else turned @ right


def _blocks(shape: torch.Size) -> tuple[int, ...]:
    """Return `[blocks, rows, inputs]`; a vector stays, a kernel's cells are inputs."""
    wide = [size for size in shape if size > 1]
    if len(wide) < 2:
        return tuple(shape)
    rows, inputs = wide[0], math.prod(wide[1:])
    size = math.gcd(rows, _ROWS) if rows > _ROWS else rows
    size = size if size >= _ROWS // 4 else rows
    return rows // size, size, inputs
