"""A model over many frames that computes as its quantized self will, with gradients."""

from __future__ import annotations

import functools
import math
from collections.abc import Collection, Mapping, Sequence

import onnx_ir as ir
import torch

from edgeseq.interp.call import Call
from edgeseq.interp.program import Step
from edgeseq.train import fake, fake_cells, fused, plan
from edgeseq.train.fake import Fakes
from edgeseq.train.lanes import Values
from edgeseq.train.unroll import Unrolled

Tensor = torch.Tensor


class FakeQuantized(Unrolled):
    """An `Unrolled` whose weights, activations and states take the values of integers.

    Args:
        model: The float twin of a quantized model.
        fakes: What is quantized.
        trainable: Whether float initializers and scales take gradients.
    """

    def __init__(self, model: ir.Model, fakes: Fakes, *, trainable: bool = False) -> None:
        super().__init__(model, trainable=trainable)
        self.fakes = fakes
        self._initial = fakes.initial()
        # A scale keeps its sign and moves by a share of itself: what is learnt is its logarithm.
        fixed = fakes.weights.keys() - fakes.learnt
        self.scales = {
            name: torch.zeros_like(scale).requires_grad_(trainable)
            for name, scale in self._initial.items()
            if name not in fixed
        }

    def scale(self, name: str) -> Tensor:
        """Return a scale as it is now."""
        start = self._initial[name]
        return start * self.scales[name].exp() if name in self.scales else start

    def enter(self, step: Step, x: Tensor) -> Tensor:
        """Quantize the first input of a node."""
        how = self.fakes.inputs.get(step.name)
        return x if how is None else self._activation(f"{step.name}.x", how, x)

    def recurrent(self, step: Step, call: Call, *inputs: Tensor | None) -> Sequence[Tensor | None]:
        """Compute a recurrent node, its state quantized."""
        how = self.fakes.states.get(step.name)
        if how is None:
            return fused.recurrent(call, *inputs)
        state = functools.partial(self._activation, f"{step.name}.h", how)
        return fake_cells.recurrent(call, state, *inputs)

    def independent(self, weights: Collection[str]) -> set[str]:
        """Return the names of the inner values that these weights and scales have no part in."""
        changed = {v for v in self._slots if v.name in weights}
        for part in self._parts:
            steps = plan.steps(part)
            quantized = any(step.name in self.fakes.inputs for step in steps)
            if quantized or any(v in changed for v in plan.needed(part)):
                changed |= set(plan.writes(part))
        return {str(v.name) for v in self._inner if v not in changed and v.name}

    def stored(self, name: str) -> tuple[Tensor, Tensor]:
        """Return a weight as integers, and the scales that go with them."""
        how = self.fakes.weights[name]
        with torch.no_grad():
            latent = self.weights[name]
            spread = fake.weight_scales(latent, how, self.scale(name))
            levels = (latent / spread).round().clamp(-how.top, how.top)
            scales = torch.maximum(self.scale(name), fake.least(latent, how))
        return levels.to(torch.int8), scales

    def _known(self, inputs: Mapping[str, Tensor]) -> Values:
        values = super()._known(inputs)
        for value in self._slots:
            how = self.fakes.weights.get(str(value.name))
            if how is not None:
                name = str(value.name)
                values[value] = fake.weight(values[value], how, self.scale(name))
        return values

    def _activation(self, name: str, how: fake.Levels, x: Tensor) -> Tensor:
        if not how.scale:
            return fake.activation(x, how, None)
        features = math.prod(x.shape[-how.axes :])
        return fake.activation(x, how, fake.activation_scale(self.scale(name), features, how))
