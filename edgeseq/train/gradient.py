"""Gradient scores without labels: how far the outputs move when a weight is scaled.

    score = mean over samples and draws of abs(w * d(v . y / |y|) / dw),  v random signs

y holds all outputs of all steps, so recurrent weights get their gradient through time. SNIP takes
the gradient of a loss; `loss` does so where labels exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from edgeseq.errors import UsageError
from edgeseq.interp import Interpreter
from edgeseq.train.calibration import Sample
from edgeseq.train.evidence import Evidence
from edgeseq.train.prunable import Matrix
from edgeseq.train.rollout import Rollout

Array = npt.NDArray[Any]
Loss = Callable[[Mapping[str, torch.Tensor], Sample], torch.Tensor]

DRAWS = 2


def scores(evidence: Evidence, loss: Loss | None = None) -> dict[Matrix, Array]:
    """Return the scores of every matrix.

    Args:
        evidence: The model and samples; samples carry labels only for `loss`.
        loss: A scalar of the outputs and the sample; None: random projections of the outputs.

    Raises:
        UsageError: there are no samples, or nothing of the outputs depends on the weights.
    """
    if not evidence.samples:
        raise UsageError("the gradient criterion needs samples", fix="--calibrate PATH")
    run = Interpreter(evidence.model, torch.float32, trainable=True)
    rollout = Rollout(evidence.model)
    random = torch.Generator().manual_seed(evidence.seed)
    weights = {m: run.weights[str(m.weight.name)] for m in evidence.matrices}
    totals = {m: np.zeros(m.shape) for m in evidence.matrices}
    for sample in evidence.samples:
        outputs, _ = rollout(run, sample)
        aims = [loss(outputs, sample)] if loss else list(_projections(outputs, random))
        if not aims:
            raise UsageError("no output of the model has a gradient")
        for aim in aims:
            found = torch.autograd.grad(
                aim, list(weights.values()), retain_graph=True, allow_unused=True
            )
            for (matrix, weight), slope in zip(weights.items(), found, strict=True):
                if slope is not None:
                    moved = (weight * slope).detach().abs().numpy()
                    totals[matrix] += moved.reshape(-1)[matrix.index]
    return totals


def _projections(
    outputs: Mapping[str, torch.Tensor], random: torch.Generator
) -> Iterator[torch.Tensor]:
    flat = [
        y.reshape(-1) / y.detach().norm().clamp_min(1e-12)
        for y in outputs.values()
        if y.requires_grad
    ]
    for _ in range(DRAWS if flat else 0):
        y = torch.cat(flat)
        yield y @ (torch.randint(0, 2, y.shape, generator=random) * 2 - 1).to(y.dtype)
