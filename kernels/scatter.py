"""Writing at places that are known only when the model runs; c/scatter.c."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes

MODES = ("none", "add", "mul", "max", "min")
MAX_DEPTH = 6
_DIMS = tuple(f"d{i}" for i in range(MAX_DEPTH))
_ARGS = (
    Arg("x", Role.IN),
    Arg("indices", Role.IN, "int64"),
    Arg("updates", Role.IN),
    Arg("y", Role.OUT, may_be="x"),
)


def _write(mode: int, to: Array, at: tuple[int, ...], update: Array) -> None:
    combine: tuple[Callable[[Array, Array], Array], ...] = (
        lambda _, new: new,
        np.add,
        np.multiply,
        np.maximum,
        np.minimum,
    )
    to[at] = combine[mode](to[at], update)


def reference_nd(case: Case) -> dict[str, Array]:
    """ScatterND in float64, update by update."""
    y = case.raw["x"].astype(np.float64)
    dims = y.shape[:-1]
    for index, update in zip(case.arrays["indices"], case.arrays["updates"], strict=True):
        at = tuple(int(i) for i in index)
        if all(-d <= i < d for i, d in zip(at, dims, strict=True)):
            _write(case.sizes["mode"], y, at, update)
    return {"y": y}


def reference_elements(case: Case) -> dict[str, Array]:
    """ScatterElements along the middle axis in float64."""
    y = case.raw["x"].astype(np.float64)
    indices, length = case.arrays["indices"], y.shape[1]
    for o, j, i in np.ndindex(*indices.shape):
        at = int(indices[o, j, i])
        if -length <= at < length:
            _write(case.sizes["mode"], y, (o, at, i), case.arrays["updates"][o, j, i])
    return {"y": y}


def _cases_nd(rng: np.random.Generator) -> Iterator[Case]:
    """Every mode and depth; indices twice, negative, and outside."""
    for dims in ((7,), (3, 5), (2, 3, 4), (1, 2, 1, 2, 1, 3)):
        for mode in range(len(MODES)):
            for row, count in ((1, 5), (19, 3), (4, 0)):
                low = [-d for d in dims]
                indices = rng.integers(low, [d + 1 for d in dims], (count, len(dims)))
                arrays = {
                    "x": _floats(rng, (*dims, row)),
                    "indices": indices.astype(np.int64),
                    "updates": _floats(rng, (count, row)),
                }
                padded = (*dims, *(1,) * (MAX_DEPTH - len(dims)))
                sizes = {"count": count, "depth": len(dims), "row": row, "mode": mode}
                yield Case(sizes | dict(zip(_DIMS, padded, strict=True)), arrays, arrays)


def _cases_elements(rng: np.random.Generator) -> Iterator[Case]:
    for outer, length, count, inner in ((1, 5, 5, 1), (3, 4, 2, 5), (2, 9, 17, 3), (2, 3, 0, 2)):
        for mode in range(len(MODES)):
            shape = (outer, count, inner)
            arrays = {
                "x": _floats(rng, (outer, length, inner)),
                "indices": rng.integers(-length, length + 1, shape).astype(np.int64),
                "updates": _floats(rng, shape),
            }
            names = ("outer", "length", "count", "inner", "mode")
            sizes = dict(zip(names, (outer, length, count, inner, mode), strict=True))
            yield Case(sizes, arrays, arrays)


def _floats(rng: np.random.Generator, shape: tuple[int, ...]) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


def _shape_nd(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    return {"y": (math.prod(sizes[d] for d in _DIMS), sizes["row"])}


def _shape_elements(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    return {"y": (sizes["outer"], sizes["length"], sizes["inner"])}


KERNELS = (
    Kernel(
        name="scatter_nd_f32",
        source="scatter.c",
        sizes=("count", "depth", "row", *_DIMS, "mode"),
        args=_ARGS,
        scratch=lambda _: 0,
        out_shapes=_shape_nd,
        reference=reference_nd,
        cases=_cases_nd,
        tolerance=1e-6,  # a sum or product of a few numbers of size one
    ),
    Kernel(
        name="scatter_elements_f32",
        source="scatter.c",
        sizes=("outer", "length", "count", "inner", "mode"),
        args=_ARGS,
        scratch=lambda _: 0,
        out_shapes=_shape_elements,
        reference=reference_elements,
        cases=_cases_elements,
        tolerance=2e-6,
    ),
)
