"""Reruns the oracle from the user's model, for `edgeseq validate --against MODEL`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgeseq.validate import artifact as artifacts
from edgeseq.validate import inputs as samples
from edgeseq.validate.oracle import Arrays, Interpreted, Oracle, PyTorch, roll
from edgeseq.validate.vectors import Vectors, widened

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeseq.ir.settings import Settings


@dataclasses.dataclass(frozen=True)
class Against:
    """An oracle and the states it carries.

    Args:
        oracle: Runs the model.
        pairs: State input -> the output that is its next value.
        states: State input -> its first value.
    """

    oracle: Oracle
    pairs: Mapping[str, str]
    states: Arrays

    def rerun(self, vectors: Vectors, *, stacked: bool) -> Vectors:
        """Compute the outputs of recorded inputs anew."""
        outputs, last = roll(self.oracle, vectors.inputs, self.states, self.pairs, stacked=stacked)
        return Vectors(vectors.inputs, widened(outputs), widened(last))


def against(dist: Path, spec: str) -> Against:
    """Load a model and bind it as the artifact was bound.

    Args:
        dist: The artifact's folder.
        spec: `model.onnx`, `model.pt2` or `package.module:factory`.

    Raises:
        EdgeseqError: the model cannot be loaded, or the flags do not fit it.
    """
    from edgeseq import pipeline
    from edgeseq.frontends.load import load

    manifest = artifacts.read(dist).manifest
    imported = load(spec)
    model = imported.model
    flags = manifest.get("flags", {})
    pipeline.prepare(model, _settings(flags), passes=pipeline.PASSES[:1])
    oracle: Oracle = Interpreted(model)
    if imported.torch_module is not None and not flags.get("consts"):
        oracle = PyTorch(
            imported.torch_module,
            imported.example_inputs,
            [str(v.name) for v in model.graph.inputs],
            [str(v.name) for v in model.graph.outputs],
        )
    return _with_states(oracle, model, manifest)


def _with_states(oracle: Oracle, model: ir.Model, manifest: Mapping[str, Any]) -> Against:
    """The states that the model itself has; the passes may have exposed more."""
    pairs = {entry["input"]: entry["output"] for entry in manifest["states"]}
    own = {str(v.name): v for v in model.graph.inputs if v.name in pairs}
    return Against(
        oracle,
        {name: pairs[name] for name in own},
        {name: np.asarray(samples.initial_state(value)) for name, value in own.items()},
    )


def _settings(flags: Mapping[str, Any]) -> Settings:
    from edgeseq.ir.settings import Settings

    dims = flags.get("dims", {})
    return Settings(
        {name: tuple(shape) for name, shape in flags.get("shapes", {}).items()},
        {
            name: (size[0], size[1]) if isinstance(size, list) else size
            for name, size in dims.items()
        },
        flags.get("consts", {}),
    )
