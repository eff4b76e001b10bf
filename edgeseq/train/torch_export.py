"""A module trained with the helpers, as the model the compiler takes, its zeros declared."""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from torch import nn

from edgeseq.frontends.torch import import_torch
from edgeseq.ir.patterns import Pattern, detect
from edgeseq.train import prunable
from edgeseq.train.prunable import Matrix
from edgeseq.train.torch_wrap import baked


def export(module: nn.Module, example_inputs: Any, dynamic: Any = None) -> ir.Model:
    """Import a module and put the `Sparsity` fact on every weight with zeros.

    Args:
        module: As `finish()` of a helper leaves it, or still with its masks, which the copy that
            is imported has in its weights.
        example_inputs: As for `import_torch`.
        dynamic: As for `import_torch`.
    """
    model = import_torch(baked(module), example_inputs, dynamic)
    declare(model)
    return model


def declare(model: ir.Model) -> None:
    """Put the `Sparsity` fact on the weights of a model that follow a pattern."""
    by_weight: dict[str, list[Matrix]] = {}
    for matrix in prunable.find(model):
        by_weight.setdefault(str(matrix.weight.name), []).append(matrix)
    for matrices in by_weight.values():
        found = [_pattern(matrix) for matrix in matrices]
        sparse = {pattern.text for pattern, density in found if density < 1}
        if len(sparse) == 1:  # gates with different patterns have none in common
            prunable.mark(matrices, next(p for p, density in found if density < 1))


def _pattern(matrix: Matrix) -> tuple[Pattern, float]:
    """Return `rows` where whole outputs are gone, else the usual pattern."""
    rows, (usual, density) = Pattern.parse("rows"), detect(matrix.get(), matrix.taps)
    stored = rows.stored(matrix.get(), matrix.taps)
    return (rows, stored) if stored < 1 and stored <= density else (usual, density)
