"""N:M sparsity while training: SR-STE, and flows that let pruned weights fade.

Every forward pass keeps the N largest of each M weights along the inputs; among equals the earlier
one is pruned.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.registry import hint
from edgeseq.train.torch_slots import Slot, slots
from edgeseq.train.torch_wrap import original, unwrap, wrap

Tensor = torch.Tensor


def nm_mask(weight: Tensor, n: int, m: int) -> Tensor:
    """Return what N:M keeps of a weight whose second axis is the inputs; a short tail keeps N."""
    rows = weight.detach().abs().movedim(1, -1)
    short = -rows.shape[-1] % m
    padded = nn.functional.pad(rows, (0, short), value=-1.0)
    runs = padded.reshape(*padded.shape[:-1], -1, m)
    order = torch.sort(runs, dim=-1, stable=True).indices
    kept = torch.ones_like(runs, dtype=torch.bool)
    kept.scatter_(-1, order[..., : m - n], False)
    return kept.flatten(-2)[..., : rows.shape[-1]].movedim(-1, 1)


class _Through(torch.autograd.Function):
    """Masked forward; backward as if there were no mask."""

    @staticmethod
    def forward(context: Any, weight: Tensor, mask: Tensor) -> Tensor:
        del context
        return torch.where(mask, weight, 0)

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None]:
        del context
        return gradient, None


class _StraightThrough(nn.Module):
    def __init__(self, n: int, m: int) -> None:
        super().__init__()
        self.n, self.m = n, m

    def forward(self, weight: Tensor) -> Tensor:
        mask = nm_mask(weight, self.n, self.m)
        made: Tensor = _Through.apply(weight, mask)  # type: ignore[no-untyped-call]
        return made


class SRSTE:
    """Trains N:M from the start (arXiv 2102.04010): g = g(masked) + decay * (1 - mask) * weight.

    The decay is added right before the optimizer's step: once, however often a layer was called,
    and unscaled under mixed precision.

    Args:
        module: What is trained.
        optimizer: What trains it.
        pattern: `2:4` and the like.
        decay: Pull on pruned weights towards zero; 0 is the plain straight-through estimator.
        only: Globs of the weights.
        but: Globs of weights to leave alone.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        pattern: str = "2:4",
        decay: float = 2e-4,
        only: Sequence[str] = ("*",),
        but: Sequence[str] = (),
    ) -> None:
        self._n, self._m = _parse(pattern)
        self._decay = decay
        self._slots = slots(module, only, but)
        for slot in self._slots:
            wrap(slot, _StraightThrough(self._n, self._m))
        self._hook = optimizer.register_step_pre_hook(self._pull)
        self._before = self._masks()

    def divergence(self) -> int:
        """Return how many entries of the masks differ from those at the last call."""
        now = self._masks()
        changed = sum(int((now[k] != self._before[k]).sum()) for k in now)
        self._before = now
        return changed

    def finish(self) -> None:
        """Leave plain parameters behind, pruned."""
        self._hook.remove()
        unwrap(self._slots)

    def _pull(self, *_: Any) -> None:
        for slot in self._slots:
            weight = original(slot)
            if weight.grad is not None:
                kept = nm_mask(weight, self._n, self._m)
                weight.grad.add_(torch.where(kept, 0, weight.detach()), alpha=self._decay)

    def _masks(self) -> dict[str, Tensor]:
        return {s.path: nm_mask(original(s), self._n, self._m) for s in self._slots}


KINDS = ("mask-linear", "mask-exponential", "structure-stepwise", "structure-geometric")


@dataclasses.dataclass(frozen=True)
class Flow:
    """What is pruned, and how much of it is left, at each step.

    Args:
        kind: One of `KINDS`.
        n: Of N:M at the end.
        m: Of N:M at the end.
        warmup: Steps before anything is pruned.
        steps: Steps from there to the end.
        rate: c of the mask flows.
    """

    kind: str
    n: int
    m: int
    warmup: int
    steps: int
    rate: float

    def at(self, step: int) -> tuple[int, int, float]:
        """Return N, M and the factor to pruned weights."""
        done = step - self.warmup
        if done < 0:
            return self.m, self.m, 1.0
        if done >= self.steps:
            return self.n, self.m, 0.0
        if self.kind == "mask-linear":
            return self.n, self.m, max(0.0, 1 - self.rate * done)
        if self.kind == "mask-exponential":
            return self.n, self.m, math.exp(-self.rate * done)
        stages = self.stages()
        return *stages[done * len(stages) // self.steps], 0.0

    def stages(self) -> list[tuple[int, int]]:
        """Return the N:M of each share of the steps of a structure flow."""
        n, m = self.n, self.m
        if self.kind == "structure-geometric":
            return [(n << left, m << left) for left in (3, 2, 1, 0)]
        halves = [m >> i for i in range(1, int(math.log2(m / n)) + 1)]
        return [(m - 1, m), *((half, m) for half in halves if n < half < m - 1), (n, m)]


class _Fading(nn.Module):
    step: Tensor

    def __init__(self, flow: Flow) -> None:
        super().__init__()
        self.flow = flow
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    def forward(self, weight: Tensor) -> Tensor:
        n, m, rest = self.flow.at(int(self.step))
        if n >= m:
            return weight
        return weight * torch.where(nm_mask(weight, n, m), 1.0, rest)


class ProgressiveFlow:
    """Lets pruned weights fade instead of cutting them (arXiv 2402.04744).

    - `mask-linear`, `mask-exponential`: weight * (mask + (1 - mask) * d), d = max(0, 1 - c t) or
      exp(-c t); gradients of what fades are as faint as the weights.
    - `structure-stepwise`: M-1:M, then M/2:M, M/4:M ... N:M, in equal shares of the steps.
    - `structure-geometric`: N*8:M*8, N*4:M*4, N*2:M*2, N:M.

    Args:
        module: What is trained.
        optimizer: Its steps are counted.
        pattern: The N:M to end with.
        kind: One of the above.
        warmup: Steps before anything is pruned.
        steps: Steps from there until the mask is binary and N:M as asked.
        rate: c; None: such that nothing is left (linear) or a thousandth (exponential) at the end.
        only: Globs of the weights.
        but: Globs of weights to leave alone.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        pattern: str = "2:4",
        kind: str = "mask-linear",
        warmup: int = 0,
        steps: int = 1000,
        rate: float | None = None,
        only: Sequence[str] = ("*",),
        but: Sequence[str] = (),
    ) -> None:
        if kind not in KINDS:
            raise UsageError(f"no flow '{kind}'", fix=hint(kind, KINDS))
        n, m = _parse(pattern)
        steps = max(1, steps)
        whole = 1.0 if kind == "mask-linear" else math.log(1000)
        self.flow = Flow(kind, n, m, warmup, steps, whole / steps if rate is None else rate)
        self._slots: list[Slot] = slots(module, only, but)
        self._fading = [_Fading(self.flow) for _ in self._slots]
        for slot, fading in zip(self._slots, self._fading, strict=True):
            wrap(slot, fading)
        self._hook = optimizer.register_step_post_hook(self._count)

    def finish(self) -> None:
        """Prune fully and leave plain parameters behind."""
        for fading in self._fading:
            fading.step.fill_(self.flow.warmup + self.flow.steps)
        self._hook.remove()
        unwrap(self._slots)

    def _count(self, *_: Any) -> None:
        for fading in self._fading:
            fading.step += 1


def _parse(pattern: str) -> tuple[int, int]:
    n, colon, m = pattern.partition(":")
    if not colon or not n.isdigit() or not m.isdigit() or not 0 < int(n) < int(m):
        raise UsageError(f"'{pattern}' is not N:M", why="as in 2:4, with 0 < N < M")
    return int(n), int(m)
