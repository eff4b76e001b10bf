"""Running sums along one axis of a float32 tensor; c/cumsum.c."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Y like x."""
    return {"y": (sizes["outer"], sizes["length"], sizes["inner"])}


def reference(case: Case) -> dict[str, Array]:
    """Numpy's cumsum in float64."""
    x = case.raw["x"].astype(np.float64)
    if case.sizes["reverse"]:
        x = x[:, ::-1]
    y = np.cumsum(x, axis=1)
    if case.sizes["exclusive"]:
        y = np.concatenate([np.zeros_like(y[:, :1]), y], axis=1)[:, : y.shape[1]]
    return {"y": y[:, ::-1] if case.sizes["reverse"] else y}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Both directions, with and without the element itself, one element and none."""
    for shape in ((1, 1, 1), (2, 17, 3), (3, 5, 16), (1, 0, 4), (4, 9, 1)):
        for exclusive in (0, 1):
            for reverse in (0, 1):
                x = rng.standard_normal(shape).astype(np.float32)
                sizes = dict(zip(("outer", "length", "inner"), shape, strict=True))
                flags = {"exclusive": exclusive, "reverse": reverse}
                yield Case(sizes | flags, {"x": x}, {"x": x})


KERNELS = (
    Kernel(
        name="cumsum_f32",
        source="cumsum.c",
        sizes=("outer", "length", "inner", "exclusive", "reverse"),
        args=(Arg("x", Role.IN), Arg("y", Role.OUT)),
        scratch=lambda _: 0,
        out_shapes=out_shapes,
        reference=reference,
        cases=cases,
        # Sums of up to 17 numbers of size one: 17 roundings of partial sums below 16.
        tolerance=2e-6,
    ),
)
