"""Whether a model filters audio frame by frame, so that it can sit in an audio graph as it is."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseq.lower.interface import Interface, Tensor

SMALLEST, LARGEST = 16, 8192  # samples of a frame


@dataclasses.dataclass(frozen=True)
class Audio:
    """Frames in, frames of the same length out.

    Args:
        frame: Samples a step.
    """

    frame: int


def audio(interface: Interface) -> Audio | None:
    """One input and one output of the same number of float samples, on one axis: else None."""
    if not interface.step or interface.graph:
        return None
    if len(interface.inputs) != 1 or len(interface.outputs) != 1:
        return None
    sizes = {_frame(interface.inputs[0]), _frame(interface.outputs[0])}
    (size,) = sizes if len(sizes) == 1 else (None,)
    return Audio(size) if size is not None else None


def _frame(tensor: Tensor) -> int | None:
    dims = [d for d in tensor.shape if isinstance(d, int)]
    if tensor.dtype != "float32" or len(dims) != len(tensor.shape):
        return None
    total = math.prod(dims)
    return total if max(dims, default=0) == total and SMALLEST <= total <= LARGEST else None
