"""Gradual magnitude pruning in the user's own training loop (arXiv 1710.01878).

pruner = GradualPruner(model, optimizer, sparsity=0.9, pattern="16x1", end=10_000)
...                                    # train as before; each optimizer.step() counts
pruner.finish()                        # plain parameters again, zeros and all
"""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any

import torch
from torch import nn

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Pattern
from edgeseq.train.targets import cubic
from edgeseq.train.torch_slots import choose, slots
from edgeseq.train.torch_wrap import Masked, original, unwrap, wrap


class GradualPruner:
    """Zeroes ever more of the weights along the cubic schedule, the smallest first.

    Args:
        module: What is trained.
        optimizer: What trains it: its steps are counted.
        sparsity: Share of zeros at the end.
        pattern: How they are arranged, e.g. `16x1`, `2:4`, `unstructured`.
        begin: Step of the first pruning.
        end: Step at which the sparsity is reached.
        every: Steps between prunings.
        together: One threshold for all weights instead of one per matrix.
        initial: Share of zeros at the first pruning: what a module pruned before has.
        only: Globs of the weights to prune.
        but: Globs of weights to leave alone.
    """

    def __init__(
        self,
        module: nn.Module,
        optimizer: torch.optim.Optimizer,
        *,
        sparsity: float,
        pattern: str = "16x1",
        begin: int = 0,
        end: int = 1000,
        every: int = 100,
        together: bool = False,
        initial: float = 0.0,
        only: Sequence[str] = ("*",),
        but: Sequence[str] = (),
    ) -> None:
        if not 0 <= sparsity < 1:
            raise UsageError(f"sparsity {sparsity:g} is outside [0, 1)")
        if not 0 <= initial <= sparsity:
            raise UsageError(f"initial sparsity {initial:g} is outside [0, {sparsity:g}]")
        if not 0 <= begin <= end or every < 1:
            raise UsageError(
                f"steps {begin} to {end}, every {every}, are no schedule",
                why="it needs 0 <= begin <= end and every >= 1",
            )
        self._slots = slots(module, only, but)
        self._pattern = Pattern.parse(pattern)
        self._initial, self._sparsity, self._together = initial, sparsity, together
        self._begin, self._end, self._every = begin, end, every
        self._steps = 0
        self._masks = {}
        for slot in self._slots:
            self._masks[slot.path] = Masked(slot.weight.detach())
            wrap(slot, self._masks[slot.path])
        self._hook = optimizer.register_step_post_hook(self._count)
        self._prune_at(0)

    @property
    def sparsity(self) -> float:
        """Share of zeros now."""
        kept = sum(int(m.mask.sum()) for m in self._masks.values())
        return 1 - kept / sum(m.mask.numel() for m in self._masks.values())

    def state_dict(self) -> dict[str, int]:
        """Return the step; the masks travel in the module's own `state_dict`."""
        return {"steps": self._steps}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on from a checkpoint."""
        self._steps = int(state["steps"])

    def finish(self) -> None:
        """Prune to the end if it was not reached, and leave plain parameters behind."""
        if self._steps < self._end:
            self._steps = self._end
            self._prune_at(self._end)
        self._hook.remove()
        unwrap(self._slots)

    def __enter__(self) -> GradualPruner:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            self.finish()

    def _count(self, *_: Any) -> None:
        self._steps += 1
        self._prune_at(self._steps)

    def _prune_at(self, step: int) -> None:
        due = (step - self._begin) % self._every == 0 or step == self._end
        if self._begin <= step <= self._end and due:
            length = self._end - self._begin
            progress = (step - self._begin) / length if length else 1.0
            self._prune(progress)

    def _prune(self, progress: float) -> None:
        pattern, density = self._pattern, 1 - cubic(progress, self._initial, self._sparsity)
        if pattern.fixed_density is not None:
            density = pattern.fixed_density
            wanted = 1 - cubic(progress, 0.0, 1 - density)
            stages = [
                p for p, _ in pattern.ramp(density) if (p.fixed_density or 0) >= wanted - 1e-9
            ]
            if not stages:
                return
            pattern = stages[-1]
        masks = choose(self._slots, pattern, density, together=self._together)
        with torch.no_grad():
            for slot in self._slots:
                mask = self._masks[slot.path].mask
                mask.copy_(torch.from_numpy(masks[slot.path]))
                original(slot).mul_(mask)
