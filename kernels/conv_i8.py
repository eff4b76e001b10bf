"""Conv with int8 weights and quantized x, the same bits everywhere; c/conv_i8.c.

`conv_i8` serves every convolution of one or two dimensions, `conv_i8_depthwise` those with one
input channel per output and stride 1 along the width. Four inputs share a block of weights: four
channels or, where that leaves fewer of them empty, four taps along the width ("planar").
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _conv
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import _quantized as q
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes
from edgeseq.kernels._recurrent import round_up
from edgeseq.kernels._recurrent_i8 import NUMBERS, Numbers

SIZES = (*_conv.SIZES, "x_zero", "wide", "pairs", "planar")
DEPTHWISE_SIZES = tuple(n for n in SIZES if n not in ("O", "SW", "G", "pairs", "planar"))
# `act`: those of float convolutions, and Relu by itself, whose zeros have no sign.
ACTIVATIONS = {"": 0, "Slope": 1, "Tanh": 2, "Sigmoid": 3, "Relu": 4}
ARGS = (
    Arg("x", Role.IN),
    Arg("w", Role.CONST, "int8"),
    Arg("head", Role.CONST),
    Arg("y", Role.OUT),
    Arg("scratch", Role.SCRATCH),
)


def planar(shape: tuple[int, ...], dilation: int) -> bool:
    """Whether blocks of four taps along the width are fewer than blocks of four channels."""
    _, inputs, _, taps = shape
    return dilation == 1 and inputs * -(-taps // 4) < -(-inputs // 4) * taps


def is_depthwise(sizes: Sizes) -> bool:
    """Whether `conv_i8_depthwise` can do it."""
    return sizes["C"] == sizes["G"] == sizes["O"] and sizes["SW"] == 1


def pack(
    w: Array,
    scale: Array,
    bias: Array | None = None,
    slope: Array | float | None = None,
    *,
    groups: int,
    x_scale: float,
    wide: bool = False,
    dilation: int = 1,
) -> q.Packed:
    """Pack the CONST arguments of `conv_i8`.

    Args:
        w: int8 [O, C / groups, KH, KW].
        scale: float32 [O].
        bias: float32 [O], or None.
        slope: Of the activation below zero, [O] or one for all.
        groups: ONNX `group`.
        x_scale: 0: each batch element has its own.
        wide: x has levels up to 255, not 254.
        dilation: Along the width.
    """
    by_taps = planar(w.shape, dilation)
    rows = ordered(w, dilation).reshape(len(w), -1, q.QUAD)
    if wide and not q.wide_fits(rows):
        raise ValueError("two neighbouring weights of -128 and 256 levels: no kernel adds them")
    per_group = len(w) // groups
    values, heads = [], [_header(x_scale)]
    table = _table(w, scale, bias, slope)
    for g in range(groups):
        for o in range(0, per_group, q.PANEL):
            width = min(q.PANEL, round_up(per_group, q.QUAD) - o)
            at = slice(g * per_group + o, g * per_group + min(o + width, per_group))
            short = width - (at.stop - at.start)
            block = np.pad(rows[at], ((0, short), (0, 0), (0, 0)))
            values.append(block.swapaxes(0, 1).reshape(-1))
            heads.append(np.pad(table[:, at], ((0, 0), (0, short))).reshape(-1))
    arrays = {
        "w": np.concatenate([*values, np.zeros(q.OVERREAD, np.int8)]),
        "head": np.concatenate([*heads, np.zeros(q.PANEL, np.float32)]),
    }
    fits = q.pairs_fit(rows, wide=wide)
    return q.Packed(arrays, {"wide": int(wide), "pairs": int(fits), "planar": int(by_taps)})


def pack_depthwise(
    w: Array,
    scale: Array,
    bias: Array | None = None,
    slope: Array | float | None = None,
    *,
    x_scale: float,
    wide: bool = False,
) -> q.Packed:
    """Pack the CONST arguments of `conv_i8_depthwise`; w is int8 [C, 1, KH, KW]."""
    head = np.concatenate([_header(x_scale), _table(w, scale, bias, slope).reshape(-1)])
    return q.Packed({"w": np.ascontiguousarray(w).reshape(-1), "head": head}, {"wide": int(wide)})


def unpack(packed: q.Packed, shape: tuple[int, int, int, int], groups: int, dilation: int) -> Array:
    """Undo `pack`: the weights [O, C / groups, KH, KW]."""
    outputs = shape[0]
    per_group, at, rows = outputs // groups, 0, []
    blocks = ordered(np.zeros((1, *shape[1:]), np.int8), dilation).size // q.QUAD
    for _ in range(groups):
        for o in range(0, per_group, q.PANEL):
            width = min(q.PANEL, round_up(per_group, q.QUAD) - o)
            size = blocks * width * q.QUAD
            panel = packed.arrays["w"][at : at + size].reshape(blocks, width, q.QUAD)
            rows.append(panel.swapaxes(0, 1)[: per_group - o].reshape(-1, blocks * q.QUAD))
            at += size
    return restored(np.concatenate(rows), shape, dilation)


def ordered(w: Array, dilation: int) -> Array:
    """Weights [O, C, KH, KW] in the order of the sum, four to a block: [O, inputs]."""
    if planar(w.shape, dilation):
        padded = np.pad(w, ((0, 0), (0, 0), (0, 0), (0, -w.shape[3] % q.QUAD)))
        return padded.reshape(len(w), -1)
    padded = np.pad(w, ((0, 0), (0, -w.shape[1] % q.QUAD), (0, 0), (0, 0)))
    return np.ascontiguousarray(padded.transpose(0, 2, 3, 1)).reshape(len(w), -1)


def restored(rows: Array, shape: tuple[int, ...], dilation: int) -> Array:
    """Undo `ordered`: weights of this shape [O, C, KH, KW]."""
    outputs, inputs, kh, kw = shape
    if planar(shape, dilation):
        return np.ascontiguousarray(rows.reshape(outputs, inputs, kh, -1)[..., :kw])
    turned = rows.reshape(outputs, kh, kw, -1)[..., :inputs].transpose(0, 3, 1, 2)
    return np.ascontiguousarray(turned)


def _header(x_scale: float) -> Array:
    header = np.zeros(q.HEADER, np.float32)
    header[0] = x_scale
    return header


def _table(w: Array, scale: Array, bias: Array | None, slope: Array | float | None) -> Array:
    """Scales, sums of weights, biases and slopes, [4, O]."""
    flat = w.reshape(len(w), -1)
    if flat.shape[1] > q.MOST_INPUTS:
        raise ValueError(f"{flat.shape[1]} inputs: int8 kernels sum over at most {q.MOST_INPUTS}")
    table = np.zeros((4, len(w)), np.float32)
    table[0], table[1] = scale, flat.astype(np.int64).sum(axis=1)
    if bias is not None:
        table[2] = bias
    if slope is not None:
        table[3] = np.asarray(slope, np.float32).reshape(-1)
    return table


def scratch(sizes: Sizes) -> int:
    """Bytes of the image of one batch element: planes of whole cache lines and what stands over."""
    s = sizes
    across, down = s["W"] + s["PL"] + s["PR"], s["H"] + s["PT"] + s["PB"]
    if "G" not in s or s["planar"]:
        return s["C"] * (across * down + 128) + 128
    return s["G"] * -(-s["C"] // s["G"] // q.QUAD) * (q.QUAD * across * down + 128) + 128


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Shape of `y` without gaps."""
    return {"y": (sizes["N"], sizes.get("O", sizes["C"]), *_image(sizes))}


def _image(sizes: Sizes) -> tuple[int, int]:
    return _conv.output_image({"SW": 1, **sizes}, transposed=False)


def reference(case: Case) -> dict[str, Array]:
    """The convolution, in exact integers and single roundings."""
    s, raw = {"SW": 1, "O": case.sizes["C"], **case.sizes}, case.raw
    x, w = raw["x"].astype(np.float32), raw["w"]
    fixed = np.float32(raw["x_scale"])
    flat = exact.dynamic_scale(x.reshape(len(x), -1)).reshape(-1, 1, 1, 1)
    by = fixed if fixed else flat
    # Sums of products of integers are exact in float64.
    u = (
        exact.quantize(x, by, s["x_zero"], exact.LEVELS + s["wide"]).astype(np.float64)
        - s["x_zero"]
    )
    none = np.zeros(len(w))
    plain = Case(s | {"act": 0}, {}, {"x": u, "w": w, "bias": none, "slope": none})
    sums = _conv.reference_conv(plain)["y"].astype(np.float32)
    channels = (-1, 1, 1)
    y = sums * (by * raw["scale"].reshape(channels)) + raw["bias"].reshape(channels)
    return {"y": activate(y, s["act"], raw["slope"].reshape(channels))}


def activate(y: Array, act: int, slope: Array) -> Array:
    """An activation of `ACTIVATIONS` with exact arithmetic."""
    match {code: name for name, code in ACTIVATIONS.items()}[act]:
        case "Slope":
            return np.where(y < 0, y * slope, y)
        case "Tanh":
            return exact.tanh(y)
        case "Sigmoid":
            return exact.sigmoid(y)
        case "Relu":
            return np.where(y < 0, np.float32(0), y)
    return y


def _sizes(rng: np.random.Generator) -> Iterator[dict[str, int]]:
    """Shapes of models, columns and outputs around every tile, and random ones."""
    for x, w, more in (
        ((1, 1, 640), (33, 1, 256), {"strides": (128,)}),
        ((1, 129, 4), (48, 129, 3), {"pads": (1, 1)}),
        ((1, 64, 2), (20, 64, 3), {"strides": (2,), "pads": (1, 1)}),
        ((2, 40, 1), (16, 40, 1), {}),
        ((1, 16, 1, 33), (8, 16, 1, 1), {}),
        ((1, 9, 3, 21), (16, 9, 3, 5), {"pads": (1, 2, 1, 2), "strides": (1, 2)}),
        ((1, 16, 9), (16, 8, 3), {"dilations": (3,), "groups": 2}),
        ((1, 5, 6, 7), (35, 5, 3, 3), {"pads": (1, 1, 1, 1)}),
    ):
        yield _conv.conv_sizes(x, w, **more)
    for width in (1, 2, 3, 4, 5, 7, 8, 9, 12, 15, 16, 17, 31):
        outputs = (1, 3, 4, 5, 8, 13, 16, 17, 33)[width % 9]
        yield _conv.conv_sizes((1, 1 + width % 6, width), (outputs, 1 + width % 6, 1))
    for sizes in _conv.variations(rng, 40):
        if min(_conv.output_image(sizes, transposed=False)) > 0:
            yield _conv.with_dense_strides(sizes, transposed=False)


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """Cases of conv_i8: all ways to quantize, all activations, with gaps and without."""
    for i, sizes in enumerate(_sizes(rng)):
        sizes["act"] = i % len(ACTIVATIONS)
        numbers = NUMBERS[i % len(NUMBERS)]
        yield _case(rng, sizes, numbers, gap=i % 3)
    for i, (sizes, numbers) in enumerate(zip(_sizes(rng), itertools.cycle(_WIDE))):
        if i % 3 == 0:
            yield _case(rng, sizes | {"act": 0}, numbers, gap=i % 2, wide=True)


def depthwise_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Cases of conv_i8_depthwise."""
    for i, sizes in enumerate(_conv.variations(rng, 40)):
        one = sizes | {"C": 1 + i % 9, "O": 1 + i % 9, "G": 1 + i % 9, "SW": 1}
        one["act"] = i % len(ACTIVATIONS)
        if min(_conv.output_image(one, transposed=False)) > 0:
            dense, wide = _conv.with_dense_strides(one, transposed=False), i % 4 == 0
            numbers = _WIDE[i % len(_WIDE)] if wide else NUMBERS[i % len(NUMBERS)]
            yield _case(rng, dense, numbers, gap=i % 3, depthwise=True, wide=wide)


# All 256 levels.
_WIDE = tuple(
    Numbers(x_scale=0.009, x_zero=zero, pairs=pairs)
    for zero, pairs in ((0, True), (128, False), (255, True))
)


def _case(
    rng: np.random.Generator,
    sizes: dict[str, int],
    numbers: Numbers,
    *,
    gap: int,
    depthwise: bool = False,
    wide: bool = False,
) -> Case:
    case = _conv.make_case(rng, sizes, gap=gap)
    s, raw = case.sizes, case.raw
    w = np.rint(raw["w"] / np.abs(raw["w"]).max() * 127).astype(np.int8)
    if numbers.pairs if wide else rng.integers(0, 3) == 0:
        w //= 2  # pairs fit
    elif wide:
        w[0] = np.where(w[0] < 0, -127, 127)  # the largest sums there are
    scale = (rng.uniform(0.5, 1.5, len(w)) / (127 * np.sqrt(w[0].size))).astype(np.float32)
    bias, slope = raw["bias"], raw["slope"]
    if depthwise:
        packed = pack_depthwise(w, scale, bias, slope, x_scale=numbers.x_scale, wide=wide)
    else:
        packed = pack(
            *(w, scale, bias, slope),
            groups=s["G"],
            x_scale=numbers.x_scale,
            wide=wide,
            dilation=s["DW"],
        )
    s |= {"x_zero": numbers.x_zero if numbers.x_scale else exact.MIDDLE, **packed.sizes}
    names = DEPTHWISE_SIZES if depthwise else SIZES
    return Case(
        {n: s[n] for n in names},
        {"x": case.arrays["x"], **packed.arrays},
        raw | {"w": w, "scale": scale, "x_scale": np.asarray(numbers.x_scale)},
    )


DENSE = Kernel(
    name="conv_i8",
    source="conv_i8.c",
    sizes=SIZES,
    args=ARGS,
    scratch=scratch,
    out_shapes=out_shapes,
    reference=reference,
    cases=cases,
    tolerance=0.0,  # the same bits
)
DEPTHWISE = dataclasses.replace(
    DENSE, name="conv_i8_depthwise", sizes=DEPTHWISE_SIZES, cases=depthwise_cases
)
KERNELS = (DENSE, DEPTHWISE)
