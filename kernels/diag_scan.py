"""h = a * h + x, element by element, over T steps; c/diag_scan.c."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._scan import as_double, flat_out, normal, spread, strides


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Every h as flat memory, and the last one."""
    return {"y": flat_out(sizes, sizes["N"]), "h_n": (sizes["B"], sizes["N"])}


def reference(case: Case) -> dict[str, Array]:
    """The recurrence in float64."""
    s, raw = case.sizes, as_double(case.raw)
    h = raw.get("h0", np.zeros((s["B"], s["N"])))
    y = np.zeros((s["T"], s["B"], s["N"]))
    for t in reversed(range(s["T"])) if s["reverse"] else range(s["T"]):
        h = (raw["a"][t] if "a" in raw else raw["factors"]) * h + raw["x"][t]
        y[t] = h
    return {"y": spread(y, s["y_t"], s["y_b"]), "h_n": h}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Widths around every vector, both directions, factors that change and that stay."""
    shapes = (
        *((1, 1, 1), (0, 2, 3), (5, 1, 4), (3, 2, 7), (2, 1, 8), (9, 1, 15), (4, 3, 16)),
        *((3, 1, 17), (7, 2, 33), (70, 1, 129)),
    )
    for i, (steps, streams, width) in enumerate(shapes):
        for reverse in (0, 1):
            layout = ("time first", "batch first", "gaps")[i % 3]
            sizes = {"T": steps, "B": streams, "N": width, "reverse": reverse}
            for prefix in "axy":
                sizes |= strides(prefix, width, steps, streams, layout)
            raw = {"x": normal(rng, steps, streams, width)}
            arrays = {"x": spread(raw["x"], sizes["x_t"], sizes["x_b"])}
            if (i + reverse) % 2:
                raw["a"] = rng.uniform(0.2, 1.0, (steps, streams, width)).astype(np.float32)
                arrays["a"] = spread(raw["a"], sizes["a_t"], sizes["a_b"])
            else:
                raw["factors"] = rng.uniform(0.2, 1.0, width).astype(np.float32)
                sizes |= {"a_t": 0, "a_b": 0}
            if i % 4 != 1:
                raw["h0"] = normal(rng, streams, width)
            absent = ({"h_n"}, set(), {"y"})[i % 3] if reverse else set[str]()
            kept = {name: raw[name] for name in ("factors", "h0") if name in raw}
            yield Case(sizes, arrays | kept, raw, frozenset(absent))


KERNELS = (
    Kernel(
        name="diag_scan_f32",
        source="diag_scan.c",
        sizes=("T", "B", "N", "a_t", "a_b", "x_t", "x_b", "y_t", "y_b", "reverse"),
        args=(
            Arg("a", Role.IN, optional=True),
            Arg("x", Role.IN),
            Arg("h0", Role.IN, optional=True),
            Arg("factors", Role.CONST, optional=True),
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
