"""Consensus gates: which units a network uses for most inputs, learnt, then cut (arXiv 2302.10798).

A gate in front of every unit opens or closes by the input; a polarising term drives how often each
is open to never or always; what is open for more than half of the inputs is the sub-network. The
paper's exact loss could not be read; this one is 4 f (1 - f) of the mean opening f.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from edgeseq.errors import UsageError

Tensor = torch.Tensor

_MEMORY = 0.99


class Gate(nn.Module):
    """Binary gates over the last axis, decided by a linear map of the same values.

    Args:
        features: Size of the last axis.
    """

    frequency: Tensor
    passes: Tensor

    def __init__(self, features: int) -> None:
        super().__init__()
        self.decide = nn.Linear(features, features)
        nn.init.zeros_(self.decide.weight)
        nn.init.constant_(self.decide.bias, 1.0)  # open at first
        self.register_buffer("frequency", torch.ones(features))
        self.register_buffer("passes", torch.zeros((), dtype=torch.long))
        self.polarisation: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the values behind the open gates."""
        soft = self.decide(x).sigmoid()
        hard = (soft > 0.5).to(x)
        if self.training:
            mean = soft.flatten(0, -2).mean(0) if soft.dim() > 1 else soft
            self.polarisation = (4 * mean * (1 - mean)).mean()
            opened = hard.detach().reshape(-1, hard.shape[-1]).mean(0)
            self.passes += 1  # the mean of all passes at first, later of the latest ones
            rate = max(1 / int(self.passes), 1 - _MEMORY)
            self.frequency.lerp_(opened.to(self.frequency), rate)
        gated: Tensor = x * (hard + soft - soft.detach())  # gradients as if it were not rounded
        return gated

    def __getstate__(self) -> dict[str, Any]:
        # The term of a pass belongs to its graph, which a copy of the module has no part in.
        return {**self.__dict__, "polarisation": None}


class ConsensusGates:
    """Puts gates behind the named linear layers.

    Args:
        module: The network.
        layers: Names of its `nn.Linear` layers, as in `named_modules`.
    """

    def __init__(self, module: nn.Module, layers: Sequence[str]) -> None:
        known = {n: m for n, m in module.named_modules() if isinstance(m, nn.Linear)}
        for name in layers:
            if name not in known:
                raise UsageError(f"no linear layer '{name}'", fix=f"there are: {', '.join(known)}")
        self._layers = {name: known[name] for name in layers}
        self.gates = nn.ModuleDict()
        self._hooks = []
        for name, layer in self._layers.items():
            gate = Gate(layer.out_features).to(layer.weight)
            # Registered in the layer, so that state_dict, devices and wrappers see it.
            layer.add_module("gate", gate)
            self.gates[name.replace(".", "/")] = gate
            self._hooks.append(layer.register_forward_hook(_through_gate))

    def penalty(self) -> Tensor:
        """Return the polarising term of the last forward pass, to be added to the loss."""
        terms = [gate.polarisation for gate in self._all() if gate.polarisation is not None]
        if not terms:
            raise UsageError("no forward pass yet", fix="call the module in training mode first")
        return torch.stack(terms).mean()

    def freeze(self) -> dict[str, Tensor]:
        """Keep the units open for more than half of the inputs, zero the rest, drop the gates.

        Returns:
            What was kept of each layer. The rows of the others are zero: pattern `rows`.
        """
        kept = {}
        for (name, layer), gate, hook in zip(
            self._layers.items(), self._all(), self._hooks, strict=True
        ):
            kept[name] = gate.frequency > 0.5
            with torch.no_grad():
                layer.weight.mul_(kept[name].unsqueeze(1))
                if layer.bias is not None:
                    layer.bias.mul_(kept[name])
            hook.remove()
            del layer.gate
        return kept

    def _all(self) -> list[Gate]:
        return [gate for gate in self.gates.values() if isinstance(gate, Gate)]


def _through_gate(module: nn.Module, _inputs: Any, output: Tensor) -> Tensor:
    gated: Tensor = module.gate(output)  # type: ignore[operator]
    return gated
