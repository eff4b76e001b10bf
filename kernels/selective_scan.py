"""The selective scan of Mamba, from its inputs to the gated output; c/selective_scan.c."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._scan import as_double, flat_out, normal, spread, strides

SEQUENCES = {"x": "x", "d": "dt", "b": "bm", "c": "cm", "z": "z", "y": "y"}  # prefix -> argument
_SHAPE = ("T", "B", "C", "N", "softplus", "scaled", "reverse")
_WIDEST = 16  # lanes of the widest vector


def scratch(sizes: Sizes) -> int:
    """States and factors of one vector of channels, or a row of steps and all states."""
    channels, states = sizes["C"], sizes["N"]
    padded = -(-channels // _WIDEST) * _WIDEST
    return 4 * max(2 * states * _WIDEST, 2 * padded + channels * states)


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """The outputs as flat memory, and the last states."""
    return {"y": flat_out(sizes, sizes["C"]), "h_n": (sizes["B"], sizes["C"], sizes["N"])}


def reference(case: Case) -> dict[str, Array]:
    """The recurrence in float64."""
    s, raw = case.sizes, as_double(case.raw)
    h = raw.get("h0", np.zeros((s["B"], s["C"], s["N"])))
    d = raw["dt"] + raw.get("dt_bias", 0)
    if s["softplus"]:
        d = np.logaddexp(0, d)
    y = np.zeros((s["T"], s["B"], s["C"]))
    for t in reversed(range(s["T"])) if s["reverse"] else range(s["T"]):
        added = raw["x"][t] if s["scaled"] else d[t] * raw["x"][t]
        factor = np.exp(d[t, :, :, None] * raw["a"])
        h = factor * h + added[:, :, None] * raw["bm"][t, :, None, :]
        y[t] = np.einsum("bcn,bn->bc", h, raw["cm"][t]) + raw.get("skip", 0) * raw["x"][t]
    if "z" in raw:
        y *= raw["z"] / (1 + np.exp(-raw["z"]))
    return {"y": spread(y, s["y_t"], s["y_b"]), "h_n": h}


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Few steps and many, all layouts, with and without each optional input."""
    shapes = (
        *((1, 1, 1, 1), (1, 1, 33, 16), (2, 2, 5, 3), (0, 2, 4, 4), (12, 1, 16, 16)),
        *((13, 1, 16, 16), (13, 2, 17, 5), (20, 1, 7, 4), (40, 3, 31, 16), (17, 1, 4, 17)),
        *((1, 3, 8, 20), (64, 1, 48, 8)),
    )
    layouts = ("time first", "batch first", "gaps")
    for i, (steps, streams, channels, states) in enumerate(shapes):
        raw = {
            "x": normal(rng, steps, streams, channels),
            "dt": normal(rng, steps, streams, channels),
            "a": -rng.uniform(0.1, 4, (channels, states)).astype(np.float32),
            "bm": normal(rng, steps, streams, states),
            "cm": normal(rng, steps, streams, states),
            "dt_bias": normal(rng, channels),
            "h0": normal(rng, streams, channels, states),
            "skip": normal(rng, channels),
            "z": normal(rng, steps, streams, channels, scale=3.0),
        }
        softplus = int(i % 3 != 1)
        if not softplus:
            raw["dt"] = rng.uniform(0.001, 0.5, raw["dt"].shape).astype(np.float32)
        if i % 2:
            del raw["dt_bias"]
        if softplus and channels > 1 and raw["dt"].size:  # both ends of softplus
            raw["dt"][0, 0, :2] = (-60, 30)
        optional = ("h0", "skip", "z")
        for name in optional[: i % 4]:
            del raw[name]
        sizes = {"T": steps, "B": streams, "C": channels, "N": states, "softplus": softplus}
        sizes |= {"scaled": int(i % 5 == 3), "reverse": int(i % 4 == 1)}
        for prefix in SEQUENCES:
            row = states if prefix in "bc" else channels
            sizes |= strides(prefix, row, steps, streams, layouts[i % 3])
        yield Case(sizes, _placed(raw, sizes), raw, frozenset({"h_n"} if i % 5 == 4 else ()))


def _placed(raw: dict[str, Array], sizes: Sizes) -> dict[str, Array]:
    """The sequences as the kernel reads them."""
    prefixes = {name: prefix for prefix, name in SEQUENCES.items()}
    return {
        name: spread(array, sizes[f"{prefixes[name]}_t"], sizes[f"{prefixes[name]}_b"])
        if name in prefixes
        else array
        for name, array in raw.items()
    }


KERNELS = (
    Kernel(
        name="selective_scan_f32",
        source="selective_scan.c",
        sizes=(
            *_SHAPE,
            *(f"{p}_{axis}" for p in SEQUENCES for axis in "tb"),
        ),
        args=(
            *(Arg(name, Role.IN) for name in ("x", "dt", "bm", "cm")),
            *(Arg(name, Role.IN, optional=True) for name in ("z", "h0")),
            Arg("a", Role.CONST),
            *(Arg(name, Role.CONST, optional=True) for name in ("dt_bias", "skip")),
            Arg("y", Role.OUT),
            Arg("h_n", Role.OUT, optional=True, may_be="h0"),
            Arg("scratch", Role.SCRATCH),
        ),
        scratch=scratch,
        out_shapes=out_shapes,
        reference=reference,
        cases=cases,
        # A factor of 2 ulp a step and a sum of N products; the largest case adds 17 of size 10.
        tolerance=5e-6,
    ),
)
