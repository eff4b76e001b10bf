"""y = act(bias + x w) with weights of four bits, or of eight, and float inputs; c/gemv_i4.c.

gemv_i4: groups of 32, 64 or 128 inputs share a scale per output; gemv_i4_f16: a scale that float16
holds. gemv_i8w: one scale per output.
Only the weights are quantized, sums are float32: for layers whose time goes into reading weights.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _sharing, gemm
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Kernel, Role
from edgeseq.kernels._recurrent import apply, round_up

PANEL = 16  # ES_GEMV_PANEL in c/gemv_i4.c
GROUPS = (32, 64, 128)


def pack(w: Array, scale: Array, bias: Array | None = None, *, group: int) -> dict[str, Array]:
    """Pack four-bit weights for the arguments `w` and `head`, and `scale` of gemv_i4_f16.

    Args:
        w: Levels -8..7 [K, N].
        scale: float32, or float16 for gemv_i4_f16, [groups, N], groups = K / group, rounded up.
        bias: float32 [N], or None.
        group: Inputs that share a scale: 32, 64 or 128.
    """
    inputs, outputs = w.shape
    if group not in GROUPS:
        raise ValueError(f"group {group}: one of {GROUPS}")
    pad = ((0, -inputs % group), (0, -outputs % PANEL))
    levels = (np.pad(w, pad) + 8).astype(np.uint8)
    pairs = levels[::2] | (levels[1::2] << 4)  # [K / 2, N]
    bias = np.zeros(outputs, np.float32) if bias is None else bias
    packed = {"w": _by_panel(pairs)}
    if scale.dtype != np.float16:
        return packed | {"head": _by_panel(_rows(bias, scale))}
    halves = np.pad(scale.view(np.uint16), ((0, 0), (0, -outputs % PANEL)))
    return packed | {"head": _by_panel(_rows(bias, scale[:0])), "scale": _by_panel(halves)}


def unpack(packed: dict[str, Array], inputs: int, outputs: int) -> Array:
    """Return the levels [K, N]."""
    pairs = _by_input(packed["w"], outputs)
    levels = np.stack([pairs & 15, pairs >> 4], axis=1).reshape(-1, pairs.shape[1])
    return levels[:inputs, :outputs].astype(np.int8) - np.int8(8)


def pack_i8(w: Array, scale: Array, bias: Array | None = None) -> dict[str, Array]:
    """Pack int8 weights [K, N] with scales [N] for gemv_i8w."""
    outputs = w.shape[1]
    bias = np.zeros(outputs, np.float32) if bias is None else bias
    padded = np.pad(w, ((0, 0), (0, -outputs % PANEL))).astype(np.int8)
    return {"w": _by_panel(padded), "head": _by_panel(_rows(bias, scale[None]))}


def unpack_i8(packed: dict[str, Array], outputs: int) -> Array:
    """Return the weights [K, N]."""
    return _by_input(packed["w"], outputs)[:, :outputs]


def _rows(bias: Array, scale: Array) -> Array:
    rows = np.concatenate([bias[None], scale]).astype(np.float32)
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % PANEL)))


def _by_panel(rows: Array) -> Array:
    """Rows [R, N] as flat panels [N / PANEL][R][PANEL]."""
    split = rows.reshape(len(rows), rows.shape[1] // PANEL, PANEL).swapaxes(0, 1)
    return np.ascontiguousarray(split).reshape(-1)


def _by_input(flat: Array, outputs: int) -> Array:
    width = round_up(outputs, PANEL)
    panels = flat.reshape(width // PANEL, len(flat) // width, PANEL)
    return np.ascontiguousarray(panels.swapaxes(0, 1)).reshape(-1, width)


def reference(case: Case) -> dict[str, Array]:
    """The product with the dequantized weights in float64, laid out by ldy."""
    s = case.sizes
    x, w, bias = (case.raw[n].astype(np.float64) for n in ("x", "w", "bias"))
    v = x @ w + bias
    dense = v / (1 + np.exp(-v)) if s["act"] == gemm.ACTIVATIONS["Silu"] else v
    if s["act"] in (1, 2, 3):
        dense = apply(s["act"], 0, v, 0, 0)
    y = np.full(s["M"] * s["ldy"], UNTOUCHED)
    y.reshape(s["M"], s["ldy"])[:, : s["N"]] = dense
    return {"y": y[: gemm.out_shapes(s)["y"][0]]}


SHAPES = [(1, n, 33) for n in (1, 4, 15, 16, 17, 40)] + [
    (1, 20, k) for k in (0, 1, 2, 3, 31, 32, 63, 64, 65, 128, 257)
]


def cases_i4(rng: np.random.Generator, kind: type = np.float32) -> Iterator[Case]:
    """Outputs and inputs around panels and groups."""
    plain = [(*shape, 0, 0) for shape in SHAPES]
    acted = [(3, 37, 70, act, 5) for act in gemm.ACTIVATIONS.values()]
    for i, (rows, outputs, inputs, act, gap) in enumerate([*plain, *acted]):
        group = GROUPS[i % len(GROUPS)]
        levels = rng.integers(-8, 8, (inputs, outputs)).astype(np.int8)
        shape = (-(-inputs // group), outputs)
        scale = (rng.uniform(0.1, 0.3, shape) / np.sqrt(inputs + 1)).astype(kind)
        case, bias = _case(rng, rows, outputs, inputs, act, gap)
        w = levels * np.repeat(scale, group, axis=0)[:inputs].astype(np.float64)
        packed = pack(levels, scale, bias, group=group)
        yield _finish(case, packed, w, {"group": group})


def cases_i8(rng: np.random.Generator) -> Iterator[Case]:
    """Outputs and inputs around panels."""
    plain = [(*shape, 0, 0) for shape in SHAPES]
    acted = [(3, 37, 70, act, 5) for act in gemm.ACTIVATIONS.values()]
    for rows, outputs, inputs, act, gap in [*plain, *acted]:
        levels = rng.integers(-128, 128, (inputs, outputs)).astype(np.int8)
        scale = (rng.uniform(0.5, 1.5, outputs) / (64 * np.sqrt(inputs + 1))).astype(np.float32)
        case, bias = _case(rng, rows, outputs, inputs, act, gap)
        yield _finish(case, pack_i8(levels, scale, bias), levels * scale.astype(np.float64), {})


def _case(
    rng: np.random.Generator, rows: int, outputs: int, inputs: int, act: int, gap: int
) -> tuple[Case, Array]:
    x = rng.standard_normal((rows, inputs)).astype(np.float32)
    bias = rng.standard_normal(outputs).astype(np.float32)
    memory = np.full((rows, inputs + gap), np.nan, np.float32)
    memory[:, :inputs] = x
    flat = memory.reshape(-1)
    sizes = {"M": rows, "N": outputs, "K": inputs, "ldx": inputs + gap, "ldy": outputs + gap}
    arrays = {"x": flat[: max(len(flat) - gap, 0)]}
    return Case(sizes | {"act": act}, arrays, {"x": x, "bias": bias}), bias


def _finish(case: Case, packed: dict[str, Array], w: Array, sizes: dict[str, int]) -> Case:
    return Case(case.sizes | sizes, case.arrays | packed, case.raw | {"w": w})


SIZES = ("M", "N", "K", "ldx", "ldy", "act")

KERNELS = (
    Kernel(
        name="gemv_i4",
        source="gemv_i4.c",
        sizes=(*SIZES, "group"),
        args=(
            Arg("x", Role.IN),
            Arg("w", Role.CONST, "uint8"),
            Arg("head", Role.CONST),
            Arg("y", Role.OUT),
        ),
        scratch=lambda _: 0,
        out_shapes=gemm.out_shapes,
        reference=reference,
        cases=cases_i4,
        tolerance=2e-6,  # as gemm_f32: float sums of up to 257 products of variance one together
        sharing=_sharing.linear(),
    ),
    Kernel(
        name="gemv_i4_f16",
        source="gemv_i4.c",
        sizes=(*SIZES, "group"),
        args=(
            Arg("x", Role.IN),
            Arg("w", Role.CONST, "uint8"),
            Arg("head", Role.CONST),
            Arg("scale", Role.CONST, "uint16"),
            Arg("y", Role.OUT),
        ),
        scratch=lambda _: 0,
        out_shapes=gemm.out_shapes,
        reference=reference,
        cases=lambda rng: cases_i4(rng, np.float16),
        tolerance=2e-6,
        sharing=_sharing.linear(),
    ),
    Kernel(
        name="gemv_i8w",
        source="gemv_i4.c",
        sizes=SIZES,
        args=(
            Arg("x", Role.IN),
            Arg("w", Role.CONST, "int8"),
            Arg("head", Role.CONST),
            Arg("y", Role.OUT),
        ),
        scratch=lambda _: 0,
        out_shapes=gemm.out_shapes,
        reference=reference,
        cases=cases_i8,
        tolerance=2e-6,
        sharing=_sharing.linear(),
    ),
)
