"""A convolution with constant sparse weights, channels first; c/spconv.c.

Blocks of R outputs x 1 input as in spmm.py, over the inputs [KH, KW, C] of an output. A group's
outputs have blocks of its own channels alone: the groups of a convolution need no kernel.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _conv, conv, spmm
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes

FEW = 3  # ES_SPCONV_FEW
SIZES = (*_conv.SHAPE, "act", *_conv.STRIDES, "blocks")


def matrix(w: Array, groups: int) -> Array:
    """Return the weights [O, C / groups, (KH,) KW] as [O, KH * KW * C]; zero beyond a group."""
    outputs, per_group = w.shape[:2]
    full = np.zeros((groups, outputs // groups, *w.shape[2:], groups, per_group), w.dtype)
    own = np.moveaxis(w, 1, -1).reshape(groups, outputs // groups, *w.shape[2:], per_group)
    for group in range(groups):
        full[group, ..., group, :] = own[group]
    return full.reshape(outputs, -1)


def scratch(sizes: Sizes) -> int:
    """Bytes for places and values of all inputs, and a copy where rows are padded or strided."""
    s = sizes
    taps = s["C"] * s["KH"] * s["KW"]
    floats = _rounded(taps) + _rounded(FEW * taps) + FEW * _rounded(s["O"])
    if s["SW"] > 1 or any(s[pad] for pad in ("PT", "PL", "PB", "PR")):
        lines = s["C"] * (s["PT"] + s["H"] + s["PB"])
        floats += lines * (s["W"] + s["PL"] + s["PR"] + s["SW"])
    return 4 * floats


def _rounded(count: int) -> int:
    return -(-count // 16) * 16


def reference(case: Case) -> dict[str, Array]:
    """The convolution in float64, as a product with the windows of the input."""
    s = case.sizes
    w, x, bias, slope = (case.raw[n].astype(np.float64) for n in ("w", "x", "bias", "slope"))
    windows = _conv.windows(x, s)
    images, _, height, width = windows.shape[:4]
    columns = windows.transpose(0, 4, 5, 1, 2, 3).reshape(images, -1, height * width)
    y = spmm.product(w, columns, case.raw["rows"].item()) + bias[:, None]
    y = y.reshape(images, len(w), height, width)
    return {"y": _conv.activate(y, s["act"], slope)}


def cases(rng: np.random.Generator, rows: int) -> Iterator[Case]:
    """Pixels around every tile, padding, strides, dilations and groups, all densities."""
    shapes = [
        _conv.conv_sizes(x, w, strides=s, dilations=d, pads=p, activation=a)
        for x, w, s, d, p, a in [
            ((1, 12, 3), (20, 12, 3), (), (), (), _conv.Activation.SLOPE),
            ((1, 7, 9), (33, 7, 3), (), (4,), (), _conv.Activation.NONE),
            ((2, 5, 40), (17, 5, 4), (4,), (), (), _conv.Activation.TANH),
            ((1, 5, 8), (16, 5, 8), (4,), (), (), _conv.Activation.NONE),
            ((1, 4, 70), (18, 4, 3), (), (2,), (4, 0), _conv.Activation.SIGMOID),
            ((1, 6, 7, 33), (16, 6, 3, 3), (2, 1), (), (1, 1, 1, 1), _conv.Activation.SLOPE),
            ((1, 3, 5, 65), (31, 3, 1, 5), (1, 2), (), (0, 2, 0, 2), _conv.Activation.NONE),
        ]
    ]
    shapes += [
        _conv.conv_sizes((1, 5, w + 2), (19, 5, 3), activation=_conv.Activation(w % 4))
        for w in (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130)
    ]
    wide = [
        s for s in _conv.variations(rng, 40) if min(_conv.output_image(s, transposed=False)) > 0
    ]
    shapes += [_conv.with_dense_strides(s, transposed=False) for s in wide]
    for i, shape in enumerate(shapes):
        groups = shape.pop("G", 1)
        made = _conv.make_case(rng, {**shape, "G": groups}, gap=i % 4)
        w = made.raw["w"]
        panels, taps = -(-len(w) // rows), w[0].size
        alive = np.repeat(rng.random((panels, taps)) < (0.1, 0.5, 0.0, 1.0)[i % 4], rows, axis=0)
        w = w * alive[: len(w)].reshape(w.shape)
        flat = matrix(w, groups)
        packed = spmm.pack(flat, rows)
        raw = {**made.raw, "w": flat, "rows": np.array(rows)}
        arrays = {"x": made.arrays["x"], **packed.arrays(), "b": made.arrays["b"]}
        sizes = {**made.sizes, "blocks": packed.blocks}
        yield Case({name: sizes[name] for name in SIZES}, arrays, raw)


def _kernel(rows: int) -> Kernel:
    return Kernel(
        name="spconv_f32" if rows == 1 else f"spconv_f32_b{rows}x1",
        source="spconv.c",
        sizes=SIZES,
        args=(*spmm.ARGS, Arg("scratch", Role.SCRATCH)),
        scratch=scratch,
        out_shapes=conv.out_shapes,
        reference=reference,
        cases=functools.partial(cases, rows=rows),
        tolerance=_conv.TOLERANCE,
    )


KERNELS = tuple(_kernel(rows) for rows in spmm.ROWS)
