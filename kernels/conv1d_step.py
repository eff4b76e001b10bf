"""Causal depthwise convolution that carries its past; c/conv1d_step.c."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._scan import as_double, normal

# The activations of c/es_math.h that have no parameters.
ACTIVATIONS = {"": 0, "Relu": 1, "Sigmoid": 2, "Tanh": 3, "Silu": 4}


def pack(w: Array) -> Array:
    """Pack w [C, 1, K] (or [C, K]) for the `w` argument."""
    taps = w.reshape(w.shape[0], -1)
    return np.ascontiguousarray(taps.T, np.float32)


def unpack(packed: Array) -> Array:
    """Return w [C, 1, K]."""
    return np.ascontiguousarray(packed.T)[:, None]


def _past(sizes: Sizes) -> int:
    return (sizes["K"] - 1) * sizes["D"]


def _extent(sizes: Sizes, name: str, steps: int) -> int:
    """Floats from the first to the last element of x, y or s."""
    last = "l" if name == "s" else "t"
    if not steps * sizes["B"] * sizes["C"]:
        return 0
    far = (sizes["B"] - 1) * sizes[f"{name}_b"] + (sizes["C"] - 1) * sizes[f"{name}_c"]
    return far + (steps - 1) * sizes[f"{name}_{last}"] + 1


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Both outputs as flat memory."""
    return {
        "y": (_extent(sizes, "y", sizes["T"]),),
        "present": (_extent(sizes, "s", _past(sizes)),),
    }


def _placed(dense: Array, sizes: Sizes, name: str) -> Array:
    """[B, C, steps] as flat memory."""
    steps = dense.shape[2]
    flat = np.full(_extent(sizes, name, steps), UNTOUCHED, dense.dtype)
    last = "l" if name == "s" else "t"
    for b, c, t in np.ndindex(dense.shape):
        flat[b * sizes[f"{name}_b"] + c * sizes[f"{name}_c"] + t * sizes[f"{name}_{last}"]] = dense[
            b, c, t
        ]
    return flat


def reference(case: Case) -> dict[str, Array]:
    """The convolution in float64."""
    s, raw = case.sizes, as_double(case.raw)
    past = raw.get("past", np.zeros((s["B"], s["C"], _past(s))))
    seen = np.concatenate([past, raw["x"]], axis=2)
    y = np.zeros(raw["x"].shape)
    for k in range(s["K"]):
        y += raw["w"][:, k, None] * seen[:, :, k * s["D"] :][:, :, : s["T"]]
    y += raw.get("bias", np.zeros(s["C"]))[:, None]
    functions = (
        lambda v: v,
        lambda v: np.maximum(v, 0),
        lambda v: 1 / (1 + np.exp(-v)),
        np.tanh,
        lambda v: v / (1 + np.exp(-v)),
    )
    present = seen[:, :, seen.shape[2] - _past(s) :]
    return {"y": _placed(functions[s["act"]](y), s, "y"), "present": _placed(present, s, "s")}


def _layout(name: str, kind: str, channels: int, steps: int) -> dict[str, int]:
    last = "l" if name == "s" else "t"
    order = {
        "channels first": (channels * steps, steps, 1),
        "channels last": (channels * steps, 1, channels),
        "gaps": (channels * (2 * steps + 3), 2 * steps + 3, 2),
    }[kind]
    return dict(zip((f"{name}_b", f"{name}_c", f"{name}_{last}"), order, strict=True))


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """One step and many, dilation, all layouts, every activation."""
    shapes = (  # B, C, T, K, D
        *((1, 1, 1, 1, 1), (1, 5, 1, 4, 1), (2, 16, 1, 3, 2), (1, 33, 1, 4, 3), (2, 3, 0, 3, 1)),
        *((1, 8, 2, 4, 1), (1, 7, 40, 3, 4), (2, 17, 21, 4, 1), (1, 4, 5, 2, 9), (1, 2, 70, 5, 2)),
    )
    for i, (streams, channels, steps, taps, dilation) in enumerate(shapes):
        for j, layout in enumerate(("channels first", "channels last", "gaps")):
            sizes = {"B": streams, "C": channels, "T": steps, "K": taps, "D": dilation}
            sizes |= {"act": (i + 3 * j) % 5}
            carried = "channels first" if (i + j) % 4 == 3 else layout
            for name, length in (("x", steps), ("y", steps), ("s", (taps - 1) * dilation)):
                sizes |= _layout(name, carried if name == "s" else layout, channels, length)
            raw = {
                "x": normal(rng, streams, channels, steps),
                "w": normal(rng, channels, taps),
                "bias": normal(rng, channels),
                "past": normal(rng, streams, channels, (taps - 1) * dilation),
            }
            for name in ((), ("past",), ("bias",))[(i + j) % 3]:
                del raw[name]
            arrays = raw | {"x": _placed(raw["x"], sizes, "x"), "w": pack(raw["w"])}
            if "past" in raw:
                arrays["past"] = _placed(raw["past"], sizes, "s")
            yield Case(sizes, arrays, raw, frozenset({"present"} if i % 4 == 1 else ()))


KERNELS = (
    Kernel(
        name="conv1d_step_f32",
        source="conv1d_step.c",
        sizes=(
            *("B", "C", "T", "K", "D", "act"),
            *("x_b", "x_c", "x_t", "y_b", "y_c", "y_t", "s_b", "s_c", "s_l"),
        ),
        args=(
            Arg("x", Role.IN),
            Arg("w", Role.CONST),
            Arg("bias", Role.CONST, optional=True),
            Arg("past", Role.IN, optional=True),
            Arg("y", Role.OUT),
            Arg("present", Role.OUT, optional=True, may_be="past"),
        ),
        scratch=lambda _: 0,
        out_shapes=out_shapes,
        reference=reference,
        cases=cases,
        # Sums of at most five products of size one, and an activation of 4 ulp.
        tolerance=2e-6,
    ),
)
