"""What an operator is told about the node it computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import torch

from edgeseq.interp import dtypes

Tensor = torch.Tensor
Body = Any  # a compiled subgraph; only `Call.run` looks inside
Op = Callable[..., Tensor | Sequence[Tensor | None]]


def _no_bodies(_body: Body, _inputs: Sequence[Tensor]) -> list[Tensor]:
    raise AssertionError("this operator has no subgraph")


@dataclasses.dataclass(frozen=True)
class Call:
    """One node: its attributes as Python values, its opset and how to run its subgraphs.

    Args:
        op: The operator.
        attributes: Plain values; subgraphs are compiled bodies for `run`.
        opset: Version of the node's domain.
        outputs: How many outputs the node lists.
        inputs: Declared ONNX element type of each input, by name; "" where it is not known.
        working: Type of every float while the model runs, None for the model's own types.
        run: Runs a subgraph on inputs.
        round: Rounds to integers, halves to even as ONNX asks.
    """

    op: str
    attributes: Mapping[str, Any]
    opset: int
    outputs: int
    working: torch.dtype | None
    inputs: tuple[str, ...] = ()
    run: Callable[[Body, Sequence[Tensor]], list[Tensor]] = _no_bodies
    round: Callable[[Tensor], Tensor] = torch.round

    def has(self, name: str) -> bool:
        """Whether the node gives this attribute."""
        return name in self.attributes

    def int(self, name: str, default: int = 0) -> int:
        """Integer attribute."""
        return cast(int, self.attributes.get(name, default))

    def float(self, name: str, default: float) -> float:
        """Float attribute."""
        return cast(float, self.attributes.get(name, default))

    def text(self, name: str, default: str = "") -> str:
        """String attribute."""
        return cast(str, self.attributes.get(name, default))

    def ints(self, name: str, default: Sequence[int] = ()) -> list[int]:  # type: ignore[valid-type]
        """Integers attribute."""
        return list(self.attributes.get(name, default))

    def dtype(self, onnx_type: int) -> torch.dtype:  # type: ignore[valid-type]
        """Return the torch type that holds an ONNX element type in this run."""
        return dtypes.to_torch(onnx_type, self.working)


def pointwise(function: Callable[..., Tensor]) -> Op:
    """Make an operator of a torch function that needs nothing but the tensors."""
    return lambda _call, *inputs: function(*inputs)


def as_list(tensor: Tensor | None) -> list[int]:
    """Return the integers of a shape, axes or pads input; none when the input is absent."""
    return [] if tensor is None else [int(i) for i in tensor.reshape(-1).tolist()]


def axis_of(axis: int, rank: int) -> int:
    """Count a negative axis from the end."""
    return axis + rank if axis < 0 else axis
