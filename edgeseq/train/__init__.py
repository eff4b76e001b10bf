"""Pruning and recovery of imported models, and helpers for training loops in PyTorch.

`edgeseq.train.recover` is a module; its function is `edgeseq.train.recover.recover`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgeseq.train.recover import Recovered, Settings
    from edgeseq.train.torch_envelope import GroupEnvelope
    from edgeseq.train.torch_export import declare, export
    from edgeseq.train.torch_gates import ConsensusGates
    from edgeseq.train.torch_gradual import GradualPruner
    from edgeseq.train.torch_ift import replace
    from edgeseq.train.torch_nm import SRSTE, ProgressiveFlow
    from edgeseq.train.torch_soup import recalibrate, soup

# Loaded when first used: torch takes a second, and parts of this package do without it.
_PLACES = {
    "ConsensusGates": "torch_gates",
    "GradualPruner": "torch_gradual",
    "GroupEnvelope": "torch_envelope",
    "ProgressiveFlow": "torch_nm",
    "Recovered": "recover",
    "SRSTE": "torch_nm",
    "Settings": "recover",
    "declare": "torch_export",
    "export": "torch_export",
    "recalibrate": "torch_soup",
    "replace": "torch_ift",
    "soup": "torch_soup",
}

__all__ = [
    "SRSTE",
    "ConsensusGates",
    "GradualPruner",
    "GroupEnvelope",
    "ProgressiveFlow",
    "Recovered",
    "Settings",
    "declare",
    "export",
    "recalibrate",
    "replace",
    "soup",
]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module 'edgeseq.train' has no attribute '{name}'")
    return getattr(importlib.import_module(f"edgeseq.train.{_PLACES[name]}"), name)
