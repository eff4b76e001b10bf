"""The largest or smallest numbers along an axis; c/topk.c."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes


def reference(case: Case) -> dict[str, Array]:
    """A stable sort; a NaN is the largest number."""
    x = case.raw["x"].astype(np.float64)
    key = -x if case.sizes["largest"] else x
    if case.sizes["largest"]:
        key = np.where(np.isnan(key), -np.inf, key)
    order = np.argsort(key, axis=1, kind="stable")[:, : case.sizes["k"]]
    return {"y": np.take_along_axis(x, order, axis=1), "indices": order}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One, some and all of an axis, with equal numbers among them."""
    for outer, length, inner, k in (
        (1, 1, 1, 1),
        (2, 17, 3, 4),
        (3, 8, 1, 8),
        (1, 50, 2, 1),
        (4, 3, 5, 2),
    ):
        for largest in (0, 1):
            whole = rng.integers(-9, 9, (outer, length, inner))
            x = (whole + rng.integers(0, 2) * 0.5).astype(np.float32)
            names = ("outer", "length", "inner", "k", "largest")
            sizes = dict(zip(names, (outer, length, inner, k, largest), strict=True))
            yield Case(sizes, {"x": x}, {"x": x})


def _shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    shape = (sizes["outer"], sizes["k"], sizes["inner"])
    return {"y": shape, "indices": shape}


KERNELS = (
    Kernel(
        name="topk_f32",
        source="topk.c",
        sizes=("outer", "length", "inner", "k", "largest"),
        args=(Arg("x", Role.IN), Arg("y", Role.OUT), Arg("indices", Role.OUT, "int64")),
        scratch=lambda _: 0,
        out_shapes=_shapes,
        reference=reference,
        cases=cases,
        tolerance=0.0,  # numbers are moved, not computed
    ),
)
