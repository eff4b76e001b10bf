"""How far a student is from its teacher, and on what."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import onnx_ir as ir
import torch

Tensor = torch.Tensor

_FLOOR = 1e-3  # of the mean power: what is as quiet as that counts as silence
_MEMORY = 0.8  # of a stream's own power, from window to window
_KNEE = 0.01  # relative error (-20 dB) above which the loss grows like its logarithm
_COPIES = frozenset({"Cast", "Identity", "Reshape", "Transpose"})

Scale = Mapping[str, Tensor]  # of each value, the power `[streams]` that errors are relative to


class Scales:
    """The power of each value in each stream, remembered over its windows.

    A pause is judged by the speech before it: errors in it weigh what they would in the whole.
    """

    def __init__(self) -> None:
        self.streams: dict[str, Tensor] = {}

    def see(self, wanted: Mapping[str, Tensor], fresh: Tensor) -> dict[str, Tensor]:
        """Take a window of the teacher into account and return its scale.

        Args:
            wanted: `[frames, streams, *shape]`.
            fresh: Which streams start anew.
        """
        scale = {}
        for name, value in wanted.items():
            if value.is_floating_point():
                now = power(value)
                before = torch.where(fresh, now, self.streams.get(name, now))
                self.streams[name] = _MEMORY * before + (1 - _MEMORY) * now
                mean = self.streams[name].mean()
                scale[name] = now + self.streams[name] + _FLOOR * mean + 1e-12
        return scale


def power(value: Tensor) -> Tensor:
    """Return the mean square of each stream of `[frames, streams, *shape]`."""
    return value.square().mean([axis for axis in range(value.dim()) if axis != 1])


def errors(made: Mapping[str, Tensor], wanted: Mapping[str, Tensor], scale: Scale) -> Tensor:
    """Return the mean over values and streams of the error relative to its scale.

    Beyond a knee it counts like its logarithm: halving a small error is worth what halving a large
    one is, so that the streams a model does best are not given up for those it does worst.
    """
    found = [
        _KNEE * torch.log1p(power(made[name] - value) / scale[name] / _KNEE).mean()
        for name, value in wanted.items()
        if name in scale
    ]
    return torch.stack(found).mean() if found else torch.zeros(())


def draw(made: Mapping[str, Tensor], signs: torch.Generator) -> Tensor:
    """Return the sum of all outputs, each with a random sign and relative to its stream's power."""
    total = torch.zeros(())
    for value in made.values():
        if value.is_floating_point() and value.requires_grad:
            random = torch.randint(0, 2, value.shape, generator=signs) * 2.0 - 1
            dims = [axis for axis in range(value.dim()) if axis != 1]
            own = power(value.detach())
            scale = (own + 0.1 * own.mean() + 1e-12).sqrt()
            total = total + ((value * random).sum(dims) / scale).sum()
    return total


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
