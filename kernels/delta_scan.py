"""Linear attention with the delta rule: DeltaNet and gated DeltaNet; c/delta_scan.c."""

from __future__ import annotations

from edgeseq.kernels import _matrix_scan
from edgeseq.kernels._family import Arg, Kernel, Role

KERNELS = (
    Kernel(
        name="delta_scan_f32",
        source="delta_scan.c",
        sizes=(*_matrix_scan.SHAPE, *_matrix_scan.stride_names("q", "k", "x", "g", "beta", "y")),
        args=(
            *(Arg(name, Role.IN) for name in ("q", "k", "x")),
            Arg("decay", Role.IN, optional=True),
            Arg("beta", Role.IN),
            Arg("h0", Role.IN, optional=True),
            *(Arg(name, Role.CONST, optional=True) for name in ("factors", "scale")),
            Arg("y", Role.OUT),
            Arg("h_n", Role.OUT, optional=True, may_be="h0"),
            Arg("scratch", Role.SCRATCH),
        ),
        scratch=_matrix_scan.scratch,
        out_shapes=_matrix_scan.out_shapes,
        reference=_matrix_scan.reference,
        cases=lambda rng: _matrix_scan.cases(rng, delta=True),
        # As outer_scan's; the rule subtracts what the state already holds.
        tolerance=1e-5,
    ),
)
