"""What the convolution families share: sizes, packing, float64 references, test cases.

A convolution is two-dimensional; a one-dimensional one has H = 1. Weights are packed as
`[group][panel of 16 outputs][KH][KW][C / G][16]`, the last panel of a group as narrow as it comes,
whichever instruction set and whichever way the vectors lie: a weight stands in the artifact once.
"""

from __future__ import annotations

import dataclasses
import enum
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes

PANEL = 16  # ES_CONV_PANEL
PAD = 16  # ES_CONV_PAD: floats that whole-vector loads may read beyond an array

SHAPE = ("N", "C", "H", "W", "O", "KH", "KW", "SH", "SW", "DH", "DW", "PT", "PL", "PB", "PR")
STRIDES = ("x_ns", "x_cs", "x_hs", "y_ns", "y_cs", "y_hs")
SIZES = (*SHAPE, "G", "act", *STRIDES)

ARGS = (
    Arg("x", Role.IN),
    Arg("w", Role.CONST),
    Arg("b", Role.CONST),
    Arg("y", Role.OUT),
)
ARGS_SCRATCH = (*ARGS, Arg("scratch", Role.SCRATCH))

# One product and one addition per tap, each rounded to float32: error grows as sqrt(taps) for the
# normal data of the cases; 1.6e3 taps (the longest case) times 2^-24 leave a factor of ten.
TOLERANCE = 3e-5


# Fewer columns than this fill no vectors along the width.
FEW_COLUMNS = 12


@dataclasses.dataclass(frozen=True)
class Choice:
    """A kernel and why it was taken."""

    kernel: Kernel
    reason: str


class Activation(enum.IntEnum):
    """What is applied to each output (`act` in C)."""

    NONE = 0
    SLOPE = 1  # Relu, LeakyRelu, PRelu: the slope below zero, one per output channel
    TANH = 2
    SIGMOID = 3


def conv_sizes(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads: Sequence[int] = (),
    groups: int = 1,
    activation: Activation = Activation.NONE,
) -> dict[str, int]:
    """Sizes of a Conv with dense input and output.

    Args:
        x_shape: `[N, C, W]` or `[N, C, H, W]`.
        w_shape: `[O, C / groups, KW]` or `[O, C / groups, KH, KW]`.
        strides: ONNX attribute; empty means 1.
        dilations: ONNX attribute; empty means 1.
        pads: ONNX attribute: all starts, then all ends; empty means 0.
        groups: ONNX `group`.
        activation: Applied to the output.
    """
    shape = _shape(x_shape, w_shape[0], w_shape[2:], strides, dilations, pads)
    return with_dense_strides({**shape, "G": groups, "act": int(activation)}, transposed=False)


def transposed_sizes(
    x_shape: Sequence[int],
    w_shape: Sequence[int],
    *,
    strides: Sequence[int] = (),
    dilations: Sequence[int] = (),
    pads: Sequence[int] = (),
    output_padding: Sequence[int] = (),
    groups: int = 1,
    activation: Activation = Activation.NONE,
) -> dict[str, int]:
    """Sizes of a ConvTranspose; `w_shape` is `[C, O / groups, (KH,) KW]`.

    `output_padding` makes the end pads smaller (they may become negative).
    """
    rank = len(x_shape) - 2
    ends = list(pads) or [0] * (2 * rank)
    for axis, extra in enumerate(output_padding):
        ends[rank + axis] -= extra
    shape = _shape(x_shape, w_shape[1] * groups, w_shape[2:], strides, dilations, ends)
    return with_dense_strides({**shape, "G": groups, "act": int(activation)}, transposed=True)


def _shape(
    x_shape: Sequence[int],
    outputs: int,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
) -> dict[str, int]:
    n, c, *image = x_shape
    rank = len(image)
    if rank not in (1, 2):
        raise ValueError(f"a convolution of rank {rank} has no kernel")
    start, end = tuple(pads[:rank]), tuple(pads[rank:])
    (h, w), (kh, kw) = _two(image, 1), _two(kernel, 1)
    (sh, sw), (dh, dw) = _two(strides or (1,) * rank, 1), _two(dilations or (1,) * rank, 1)
    (pt, pl), (pb, pr) = _two(start or (0,) * rank, 0), _two(end or (0,) * rank, 0)
    values = (n, c, h, w, outputs, kh, kw, sh, sw, dh, dw, pt, pl, pb, pr)
    return dict(zip(SHAPE, map(int, values), strict=True))


def _two(values: Sequence[int], missing: int) -> tuple[int, int]:
    return (missing, values[0]) if len(values) == 1 else (values[0], values[1])


def with_dense_strides(sizes: Mapping[str, int], *, transposed: bool) -> dict[str, int]:
    """Fill in strides for an input and an output without gaps."""
    image_out = output_image(sizes, transposed=transposed)
    dense: dict[str, int] = {}
    for name, channels, (h, w) in (
        ("x", sizes["C"], (sizes["H"], sizes["W"])),
        ("y", sizes["O"], image_out),
    ):
        dense |= {f"{name}_ns": channels * h * w, f"{name}_cs": h * w, f"{name}_hs": w}
    return {**sizes, **dense}


def output_image(sizes: Sizes, *, transposed: bool) -> tuple[int, int]:
    """Height and width of the output."""
    s = sizes
    if transposed:
        return (
            (s["H"] - 1) * s["SH"] - s["PT"] - s["PB"] + s["DH"] * (s["KH"] - 1) + 1,
            (s["W"] - 1) * s["SW"] - s["PL"] - s["PR"] + s["DW"] * (s["KW"] - 1) + 1,
        )
    return (
        (s["H"] + s["PT"] + s["PB"] - s["DH"] * (s["KH"] - 1) - 1) // s["SH"] + 1,
        (s["W"] + s["PL"] + s["PR"] - s["DW"] * (s["KW"] - 1) - 1) // s["SW"] + 1,
    )


def no_scratch(_: Sizes) -> int:
    """The kernel needs none."""
    return 0


def pack_weights(w: Array, groups: int) -> Array:
    """Pack the weights of a Conv, `[O, C / groups, (KH,) KW]`."""
    w = np.asarray(w, np.float32)
    if w.ndim == 3:
        w = w[:, :, None, :]
    grouped = w.reshape(groups, w.shape[0] // groups, *w.shape[1:])
    parts = [
        grouped[g, o : o + PANEL].transpose(2, 3, 1, 0).ravel()
        for g in range(groups)
        for o in range(0, grouped.shape[1], PANEL)
    ]
    return np.concatenate([*parts, np.zeros(PAD, np.float32)])


def unpack_weights(packed: Array, sizes: Sizes) -> Array:
    """Undo `pack_weights`: `[O, C / G, KH, KW]`."""
    groups, kh, kw = sizes["G"], sizes["KH"], sizes["KW"]
    per_group, inputs = sizes["O"] // groups, sizes["C"] // groups
    parts, at = [], 0
    for _ in range(groups):
        for o in range(0, per_group, PANEL):
            r = min(PANEL, per_group - o)
            count = kh * kw * inputs * r
            block = packed[at : at + count].reshape(kh, kw, inputs, r)
            parts.append(block.transpose(3, 2, 0, 1))
            at += count
    return np.concatenate(parts)


def swap_transposed(w: Array, groups: int) -> Array:
    """`[C, O / groups, ...]` of a ConvTranspose to `[O, C / groups, ...]`; exact."""
    c, per_group, *kernel = w.shape
    grouped = w.reshape(groups, c // groups, per_group, *kernel).swapaxes(1, 2)
    return np.ascontiguousarray(grouped).reshape(groups * per_group, c // groups, *kernel)


def pack_transposed_weights(w: Array, groups: int) -> Array:
    """Pack the weights of a ConvTranspose, `[C, O / groups, (KH,) KW]`."""
    return pack_weights(swap_transposed(np.asarray(w), groups), groups)


def pack_bias(outputs: int, bias: Array | None = None, slope: Array | float | None = None) -> Array:
    """Bias, then slope, each `[outputs + PAD]`. A scalar slope serves all channels; Relu has 0."""
    packed = np.zeros((2, outputs + PAD), np.float32)
    if bias is not None:
        packed[0, :outputs] = bias
    if slope is not None:
        packed[1, :outputs] = np.asarray(slope, np.float32).ravel()
    return packed.ravel()


def activate(y: Array, act: int, slope: Array) -> Array:
    """Apply an activation to `[N, O, H, W]`."""
    match Activation(act):
        case Activation.SLOPE:
            lowest = np.finfo(np.float32).min  # minus infinity times a slope of 0 is 0
            return np.where(y < 0.0, np.maximum(y, lowest) * slope[:, None, None], y)
        case Activation.TANH:
            return np.asarray(np.tanh(y))
        case Activation.SIGMOID:
            return np.asarray(1.0 / (1.0 + np.exp(-y)))
        case Activation.NONE:
            return y


def windows(x: Array, sizes: Sizes) -> Array:
    """What each output sees of x `[N, C, H, W]`: `[N, C, OH, OW, KH, KW]`."""
    s = sizes
    x = np.pad(x, ((0, 0), (0, 0), (s["PT"], s["PB"]), (s["PL"], s["PR"])))
    span = (s["DH"] * (s["KH"] - 1) + 1, s["DW"] * (s["KW"] - 1) + 1)
    found = np.lib.stride_tricks.sliding_window_view(x, span, axis=(2, 3))
    return found[:, :, :: s["SH"], :: s["SW"], :: s["DH"], :: s["DW"]]


def reference_conv(case: Case) -> dict[str, Array]:
    """float64 convolution as one product of windows and weights per group."""
    s, x = case.sizes, case.raw["x"].astype(np.float64)
    w = case.raw["w"].astype(np.float64)
    groups = s.get("G", s["C"])
    seen = windows(x, s)
    by_group = seen.reshape(s["N"], groups, s["C"] // groups, *seen.shape[2:])
    per_group = w.reshape(groups, s["O"] // groups, *w.shape[1:])
    y = np.einsum("ngchwij,gocij->ngohw", by_group, per_group)
    return _finish(case, y.reshape(s["N"], s["O"], *y.shape[3:]))


def reference_transposed(case: Case) -> dict[str, Array]:
    """float64 transposed convolution by its definition: every input is scattered."""
    s, x = case.sizes, case.raw["x"].astype(np.float64)
    w = case.raw["w"].astype(np.float64)  # [O, C / G, KH, KW]
    groups = s["G"]
    full_h = (s["H"] - 1) * s["SH"] + s["DH"] * (s["KH"] - 1) + 1
    full_w = (s["W"] - 1) * s["SW"] + s["DW"] * (s["KW"] - 1) + 1
    full = np.zeros((s["N"], s["O"], full_h + max(0, -s["PB"]), full_w + max(0, -s["PR"])))
    by_group = x.reshape(s["N"], groups, -1, s["H"], s["W"])
    per_group = w.reshape(groups, s["O"] // groups, *w.shape[1:])
    for i, j in np.ndindex(s["KH"], s["KW"]):
        part = np.einsum("ngchw,goc->ngohw", by_group, per_group[..., i, j])
        rows = slice(i * s["DH"], i * s["DH"] + (s["H"] - 1) * s["SH"] + 1, s["SH"])
        columns = slice(j * s["DW"], j * s["DW"] + (s["W"] - 1) * s["SW"] + 1, s["SW"])
        full[:, :, rows, columns] += part.reshape(s["N"], s["O"], s["H"], s["W"])
    h, w_out = output_image(s, transposed=True)
    return _finish(case, full[:, :, s["PT"] : s["PT"] + h, s["PL"] : s["PL"] + w_out])


def _finish(case: Case, y: Array) -> dict[str, Array]:
    y = y + case.raw["bias"].astype(np.float64)[:, None, None]
    return {"y": activate(y, case.sizes["act"], case.raw["slope"].astype(np.float64))}


def make_case(rng: np.random.Generator, sizes: Mapping[str, int], *, gap: int = 0) -> Case:
    """Random data for these sizes, which must include G.

    Args:
        rng: Where the data comes from.
        sizes: Sizes with dense strides.
        gap: Floats between the rows, channels and images of the input, all NaN: what a view of a
            larger tensor has there must not be read.
    """
    s = dict(sizes)
    s["x_hs"] = s["W"] + gap
    s["x_cs"] = s["H"] * s["x_hs"] + gap
    s["x_ns"] = s["C"] * s["x_cs"] + gap
    inputs = s["C"] // s["G"]
    x = rng.standard_normal((s["N"], s["C"], s["H"], s["W"])).astype(np.float32)
    scale = 1.0 / np.sqrt(inputs * s["KH"] * s["KW"])
    w = (rng.standard_normal((s["O"], inputs, s["KH"], s["KW"])) * scale).astype(np.float32)
    bias, slope = rng.standard_normal((2, s["O"])).astype(np.float32)
    return Case(
        sizes=s,
        arrays={
            "x": _spread(x, s),
            "w": pack_weights(w, s["G"]),
            "b": pack_bias(s["O"], bias, slope),
        },
        raw={"x": x, "w": w, "bias": bias, "slope": slope},
    )


def _spread(x: Array, s: Mapping[str, int]) -> Array:
    flat = np.full(s["N"] * s["x_ns"], np.nan, np.float32)
    strides = tuple(4 * s[name] for name in ("x_ns", "x_cs", "x_hs"))
    np.lib.stride_tricks.as_strided(flat, x.shape, (*strides, 4))[...] = x
    return flat


def variations(rng: np.random.Generator, count: int, max_taps: int = 4) -> Iterator[dict[str, int]]:
    """Random kernels, strides, dilations, pads, groups and activations, valid for small images."""
    for _ in range(count):
        pick = {name: int(rng.integers(1, max_taps + 1)) for name in ("KH", "KW")}
        pick |= {name: int(rng.integers(1, 4)) for name in ("SH", "SW", "DH", "DW", "G")}
        pick |= {name: int(rng.integers(0, 4)) for name in ("PT", "PL", "PB", "PR")}
        pick |= {"N": int(rng.integers(1, 3)), "act": int(rng.integers(0, 4))}
        pick |= {"H": int(rng.integers(1, 6)), "W": int(rng.integers(1, 70))}
        pick["C"] = pick["G"] * int(rng.integers(1, 6))
        pick["O"] = pick["G"] * int(rng.integers(1, 20))
        yield pick
