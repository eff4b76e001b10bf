"""Relax -> fused TIR: `main` becomes a flat list of kernel and opaque calls."""

from __future__ import annotations

from typing import Any

import tvm
from tvm import relax


def fuse(module: Any, target: Any) -> Any:
    """Legalise, fuse, and drop what is unused; stops before Relax's own memory planning."""
    passes = relax.transform
    sequence = tvm.transform.Sequential(
        [
            passes.DecomposeOpsForInference(),
            passes.FoldConstant(),
            passes.LegalizeOps(),
            passes.AnnotateTIROpPattern(),
            passes.FoldConstant(),
            passes.FuseOps(fuse_opt_level=2),
            passes.FuseTIR(),
            passes.DeadCodeElimination(),
        ]
    )
    with target:
        return sequence(module)
