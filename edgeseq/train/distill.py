"""How far a student is from its teacher, and on what."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir
import torch

Tensor = torch.Tensor

_FLOOR = 0.1  # quiet streams count less: nearness to silence is not worth what a word is
_MEMORY = 0.98  # of the running mean of the power
_COPIES = frozenset({"Cast", "Identity", "Reshape", "Transpose"})


class Scales:
    """The mean power of each value so far: a window of silence has no scale of its own."""

    def __init__(self) -> None:
        self.power: dict[str, float] = {}

    def see(self, wanted: Mapping[str, Tensor]) -> None:
        """Take a window of the teacher into account."""
        for name, value in wanted.items():
            if value.is_floating_point():
                now = float(value.square().mean())
                before = self.power.get(name, now)
                # What begins in silence takes the first loud window for its scale.
                self.power[name] = max(_MEMORY * before + (1 - _MEMORY) * now, 0.1 * now)

    def errors(self, made: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the squared error of each float value, relative to its power.

        Values are `[frames, streams, *shape]`; the result is the mean over the streams.
        """
        found = {}
        for name, value in wanted.items():
            if value.is_floating_point():
                off = (made[name] - value).square().mean(_all_but_streams(value))
                found[name] = (off / self._of(name, value)).mean()
        return found

    def draw(self, made: Mapping[str, Tensor], signs: torch.Generator) -> Tensor:
        """Return the sum of all outputs, each with a random sign and relative to its power."""
        total = torch.zeros(())
        for name, value in made.items():
            if value.is_floating_point() and value.requires_grad:
                random = torch.randint(0, 2, value.shape, generator=signs) * 2.0 - 1
                streams = (value * random).sum(_all_but_streams(value))
                total = total + (streams / self._of(name, value.detach()).sqrt()).sum()
        return total

    def _of(self, name: str, value: Tensor) -> Tensor:
        power = value.square().mean(_all_but_streams(value))
        return power + _FLOOR * self.power[name] + 1e-12


def _all_but_streams(value: Tensor) -> list[int]:
    return [axis for axis in range(value.dim()) if axis != 1]


def hints(model: ir.Model, weights: Collection[str]) -> list[str]:
    """Return the values computed with these weights: a student learns faster from those too."""
    found: dict[str, None] = {}
    for name in weights:
        pending = [model.graph.initializers[name]]
        while pending:
            for use in pending.pop().uses():
                if use.node.op_type in _COPIES:
                    pending += use.node.outputs
                elif use.node.outputs[0].name:
                    found[str(use.node.outputs[0].name)] = None
    return list(found)


def companions(model: ir.Model, weights: Collection[str]) -> set[str]:
    """Return the biases and other float weights of the nodes that use these weights.

    Nothing else is trained: a transform or a window that the user fixed stays what it is.
    """
    found = set()
    inner = set(hints(model, weights))
    for node in model.graph:
        if any(v.name in inner for v in node.outputs):
            found |= {v.name for v in node.inputs if _is_weight(v)}
            for value in node.outputs[:1]:
                for use in value.uses():
                    if use.node.op_type == "Add":
                        found |= {v.name for v in use.node.inputs if _is_weight(v)}
    return {str(name) for name in found}


def _is_weight(value: ir.Value | None) -> bool:
    if value is None or not value.is_initializer() or value.dtype is None:
        return False
    return bool(value.dtype.is_floating_point()) and len(value.shape or ()) > 0
