"""What the user decides before the passes run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

Scalar = int | float | bool


@dataclasses.dataclass(frozen=True)
class Settings:
    """Arguments of the pipeline.

    Args:
        shapes: Input name to its shape; a string names the time dimension: `[1, "T", 80]`.
        dims: Dimension name to its size, or to (low, high) for the time dimension.
        constants: Input name to the value it always has; the input disappears.
        stream: True: carry recurrent state or fail; False: never; None: where possible.
    """

    shapes: Mapping[str, Sequence[int | str]] = dataclasses.field(default_factory=dict)
    dims: Mapping[str, int | tuple[int, int]] = dataclasses.field(default_factory=dict)
    constants: Mapping[str, Scalar] = dataclasses.field(default_factory=dict)
    stream: bool | None = None
