"""h = a * h + x, element by element, over T steps; c/diag_scan.c."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._scan import as_double, extent, normal, spread


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every h, rows y_t apart, and the last one."""
    rows = extent(sizes["T"], 1, sizes["N"], sizes["y_t"], 0)
    return {"y": (rows,), "h_n": (sizes["N"],)}


def reference(case: Case) -> dict[str, Array]:
    """The recurrence in float64."""
    s, raw = case.sizes, as_double(case.raw)
    h = raw.get("h0", np.zeros(s["N"]))
    y = np.zeros((s["T"], 1, s["N"]))
    order = range(s["T"])
    for t in reversed(order) if s["reverse"] else order:
        h = raw["a"][t if s["a_t"] else 0] * h + raw["x"][t]
        y[t, 0] = h
    return {"y": spread(y, s["y_t"], 0), "h_n": h}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Widths around every vector, both directions, factors that change and that stay."""
    shapes = ((1, 1), (0, 3), (5, 4), (3, 7), (2, 8), (9, 15), (4, 16), (3, 17), (7, 33), (70, 129))
    for i, (steps, width) in enumerate(shapes):
        for reverse in (0, 1):
            constant = (i + reverse) % 2
            sizes = {"T": steps, "N": width, "a_t": 0 if constant else width, "x_t": width}
            sizes |= {"y_t": width + (3 if i % 3 == 2 else 0), "reverse": reverse}
            a = rng.uniform(0.2, 1.0, (1 if constant else steps, width)).astype(np.float32)
            raw = {"a": a, "x": normal(rng, steps, width)}
            if i % 4 != 1:
                raw["h0"] = normal(rng, width)
            absent = ({"h_n"}, set(), {"y"})[i % 3] if reverse else set[str]()
            yield Case(sizes, dict(raw), raw, frozenset(absent))


KERNELS = (
    Kernel(
        name="diag_scan_f32",
        source="diag_scan.c",
        sizes=("T", "N", "a_t", "x_t", "y_t", "reverse"),
        args=(
            Arg("a", Role.IN),
            Arg("x", Role.IN),
            Arg("h0", Role.IN, optional=True),
            Arg("y", Role.OUT, optional=True),
            Arg("h_n", Role.OUT, optional=True, may_be="h0"),
        ),
        scratch=lambda _: 0,
        out_shapes=out_shapes,
        reference=reference,
        cases=cases,
        # One rounding a step (two without fma) of numbers below 10, damped by factors below 1.
        tolerance=3e-6,
    ),
)
