"""What outer_scan and delta_scan share: sizes, scratch, float64 reference, test cases."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping

import numpy as np
from edgeseq.kernels._family import Array, Case, Sizes
from edgeseq.kernels._scan import as_double, flat_out, normal, spread, strides


class Decay(enum.IntEnum):
    """How S decays (`decays` in C)."""

    NONE = 0
    HEAD = 1  # one factor for each head
    KEY = 2  # one for each row of S


SHAPE = ("T", "B", "H", "G", "K", "V", "decays", "log", "reverse")
PREFIXES = {"q": "q", "k": "k", "x": "x", "g": "decay", "beta": "beta", "y": "y"}


def stride_names(*prefixes: str) -> tuple[str, ...]:
    """`<prefix>_t`, `_b` and `_h` of each: floats to the next step, stream, head."""
    return tuple(f"{prefix}_{axis}" for prefix in prefixes for axis in "tbh")


def scratch(sizes: Sizes) -> int:
    """Factors of the rows of one head, and the states."""
    padded = -(-sizes["K"] // 16) * 16
    return 4 * (padded + sizes["B"] * sizes["H"] * sizes["K"] * sizes["V"])


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """The outputs as flat memory, and the last states."""
    state = (sizes["B"], sizes["H"], sizes["K"], sizes["V"])
    return {"y": flat_out(sizes, sizes["H"] * sizes["G"] * sizes["V"]), "h_n": state}


def reference(case: Case) -> dict[str, Array]:
    """The recurrence in float64; with `beta` the delta rule."""
    s, raw = case.sizes, as_double(case.raw)
    S = raw.get("h0", np.zeros((s["B"], s["H"], s["K"], s["V"])))
    y = np.zeros((s["T"], s["B"], s["H"], s["G"], s["V"]))
    for t in reversed(range(s["T"])) if s["reverse"] else range(s["T"]):
        k, v, before = raw["k"][t], raw["x"][t], S
        S = S * _factor(raw, t, s)
        if "beta" in raw:
            v = raw["beta"][t][..., None] * (v - np.einsum("bhkv,bhk->bhv", S, k))
        written = np.einsum("bhk,bhv->bhkv", k, v)
        S = S + written
        seen = before + raw["bonus"][..., None] * written if "bonus" in raw else S
        y[t] = np.einsum("bhgk,bhkv->bhgv", raw["q"][t], seen)
    return {"y": spread(y * raw.get("scale", 1.0), s["y_t"], s["y_b"]), "h_n": S}


def _factor(raw: Mapping[str, Array], t: int, sizes: Sizes) -> Array:
    if sizes["decays"] == Decay.NONE:
        return np.ones(1)
    decay: Array = raw["decay"][t if sizes["g_t"] else 0]
    factor: Array = np.exp(decay) if sizes["log"] else decay
    return factor[..., None] if sizes["decays"] == Decay.KEY else factor[..., None, None]


SHAPES = (  # T, B, H, G, K, V
    *((1, 1, 1, 1, 1, 1), (2, 1, 2, 1, 4, 3), (5, 2, 1, 1, 8, 8), (3, 1, 2, 2, 5, 17)),
    *((0, 1, 1, 1, 4, 4), (4, 2, 3, 1, 16, 16), (9, 1, 1, 3, 7, 31), (6, 1, 2, 1, 17, 64)),
    *((2, 1, 1, 1, 32, 65), (33, 1, 1, 1, 16, 20), (7, 2, 2, 2, 3, 48), (3, 1, 4, 1, 12, 33)),
)


def cases(rng: np.random.Generator, *, delta: bool) -> Iterator[Case]:
    """Widths around every tile, each kind of decay, all layouts."""
    for i, (steps, streams, heads, group, keys, values) in enumerate(SHAPES):
        decays, log = Decay(i % 3), (i // 3) % 2
        lead = (steps, streams, heads)
        raw = {
            "q": normal(rng, *lead, group, keys),
            "k": normal(rng, *lead, keys, scale=keys**-0.5),
            "x": normal(rng, *lead, values),
            "h0": normal(rng, streams, heads, keys, values),
            "scale": np.array([keys**-0.5], np.float32),
        }
        if decays is not Decay.NONE:
            factors = rng.uniform(0.2, 1, (*lead, keys)[: 2 + decays]).astype(np.float32)
            constant = i % 4 == 1
            raw["decay"] = factors[:1, :1] if constant else factors
            raw["decay"] = np.log(raw["decay"]) if log else raw["decay"]
        if delta:
            shared = i % 4 == 3
            raw["beta"] = rng.uniform(0.1, 1, (*lead[:2], 1 if shared else heads)).astype("f4")
        elif i % 4 == 2 and group == 1:
            raw["bonus"] = normal(rng, heads, keys)
        for name in ((), ("h0",), ("scale",))[i % 3]:
            del raw[name]
        sizes = dict(zip(SHAPE, (*SHAPES[i], int(decays), log, int(i % 4 == 1)), strict=True))
        yield Case(*_placed(raw, sizes, i), raw, frozenset({"h_n"} if i % 5 == 4 else ()))


def _placed(
    raw: Mapping[str, Array], sizes: dict[str, int], index: int
) -> tuple[dict[str, int], dict[str, Array]]:
    """Sizes with strides, and the arrays as the kernel reads them."""
    layout = ("time first", "batch first", "gaps")[index % 3]
    rows = {name: raw[name][0, 0].size if raw[name].size else 1 for name in raw if name != "scale"}
    rows["y"] = sizes["H"] * sizes["G"] * sizes["V"]
    arrays = dict(raw)
    if "decay" in raw and raw["decay"].shape[:2] != (sizes["T"], sizes["B"]):
        arrays["factors"] = arrays.pop("decay")
    for prefix, name in PREFIXES.items():
        if name == "beta" and name not in raw:
            continue
        given = raw.get(name)
        constant = name == "decay" and "decay" not in arrays
        if constant or name not in rows:
            heads = given.shape[-1] if given is not None and sizes["decays"] == Decay.KEY else 1
            sizes |= {f"{prefix}_t": 0, f"{prefix}_b": 0, f"{prefix}_h": heads}
            continue
        sizes |= strides(prefix, rows[name], sizes["T"], sizes["B"], layout)
        shared = name == "beta" and raw["beta"].shape[2] == 1
        sizes[f"{prefix}_h"] = 0 if shared else rows[name] // sizes["H"]
        if given is not None:
            arrays[name] = spread(given, sizes[f"{prefix}_t"], sizes[f"{prefix}_b"])
    return sizes, arrays
