"""y = act(bias + x w) with a constant block-sparse w; c/spmv.c.

Packed as kernels/_blocks.py says: a panel has one head row, the bias, and one list of blocks, which
are of one input each or N:M.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _blocks, _sharing, gemm
from edgeseq.kernels._blocks import Blocks
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role
from edgeseq.kernels._formats import SPARSE, Format, rounded
from edgeseq.kernels._recurrent import prune


def pack(w: Array, bias: Array | None, form: Format) -> Blocks:
    """Pack w [K, N] (as MatMul takes it) and bias [N]."""
    head = np.zeros((1, w.shape[1])) if bias is None else bias[None]
    return _blocks.join([_blocks.pack(head, [w.T], form)], form)


def unpack(packed: Blocks, inputs: int, outputs: int, form: Format) -> tuple[Array, Array]:
    """Return w [K, N] and bias [N]."""
    head, (w,) = _blocks.unpack(packed, 1, outputs, [inputs], form)
    return w.T, head[0]


def cases(rng: np.random.Generator, form: Format) -> Iterator[Case]:
    """The shapes of gemm at several densities, none and all among them."""
    for i, shape in enumerate(gemm.shapes(rng)):
        case = gemm.fill(rng, **shape)
        density = (0.0, 0.1, 0.3, 0.5, 1.0)[i % 5]
        w = prune(case.raw["w"].T, density, case.sizes["N"], form, rng).T
        w = rounded(w, form.element)
        packed = pack(w, case.raw["bias"], form)
        yield dataclasses.replace(
            case,
            sizes=case.sizes | {"blocks": packed.blocks},
            arrays=case.arrays | packed.arrays(),
            raw=case.raw | {"w": w},
        )


def _kernel(form: Format) -> Kernel:
    return Kernel(
        name=f"spmv_{form.name}",
        source="spmv.c",
        sizes=("M", "N", "K", "ldx", "ldy", "act", "blocks"),
        args=(
            Arg("x", Role.IN),
            Arg("counts", Role.CONST, "uint16"),
            Arg("index", Role.CONST, "uint16"),
            Arg("w", Role.CONST),
            Arg("y", Role.OUT),
        ),
        scratch=lambda _: 0,
        out_shapes=gemm.out_shapes,
        reference=functools.partial(gemm.reference, form=form),
        cases=functools.partial(cases, form=form),
        tolerance=gemm.TOLERANCE,
        sharing=_sharing.linear(lists=True, width=form.width),
    )


KERNELS = tuple(_kernel(form) for form in SPARSE)
