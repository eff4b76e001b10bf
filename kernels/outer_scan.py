"""Linear attention with decay, from RetNet to RWKV; c/outer_scan.c."""

from __future__ import annotations

from edgeseq.kernels import _matrix_scan
from edgeseq.kernels._family import Arg, Kernel, Role

KERNELS = (
    Kernel(
        name="outer_scan_f32",
        source="outer_scan.c",
        sizes=(*_matrix_scan.SHAPE, *_matrix_scan.stride_names("q", "k", "x", "g", "y")),
        args=(
            *(Arg(name, Role.IN) for name in ("q", "k", "x")),
            *(Arg(name, Role.IN, optional=True) for name in ("decay", "h0")),
            *(Arg(name, Role.CONST, optional=True) for name in ("factors", "bonus", "scale")),
            Arg("y", Role.OUT),
            Arg("h_n", Role.OUT, optional=True, may_be="h0"),
            Arg("scratch", Role.SCRATCH),
        ),
        scratch=_matrix_scan.scratch,
        out_shapes=_matrix_scan.out_shapes,
        reference=_matrix_scan.reference,
        cases=lambda rng: _matrix_scan.cases(rng, delta=False),
        # Sums of up to 32 products of a state that took up to 33 steps, all of size 10 and below.
        tolerance=1e-5,
    ),
)
