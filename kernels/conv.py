"""Conv of float32 in NCHW order, with bias and activation: three kernels over one packing.

- `conv_columns`: vectors along the output's width.
- `conv_channels`: vectors along the output channels; for few columns and for large strides.
- `conv_depthwise`: one input channel per output, vectors along the width.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _conv
from edgeseq.kernels._conv import Choice
from edgeseq.kernels._family import Case, Kernel, Sizes

MAX_COLUMN_STRIDE = 8  # ES_CONV_RUNS
LONG_SUM = 256  # taps from which vectors along the channels need no help against a large stride
DEPTHWISE_SIZES = tuple(name for name in _conv.SIZES if name != "G")


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Shape of `y` without gaps."""
    return {"y": (sizes["N"], sizes["O"], *_conv.output_image(sizes, transposed=False))}


def columns_scratch(sizes: Sizes) -> int:
    """Bytes for the input's rows, padded and split by stride; none where the stride is 1."""
    s = sizes
    if s["SW"] == 1:
        return 0
    return 4 * s["C"] * s["H"] * (s["W"] + s["PL"] + s["PR"] + s["SW"])


def _valid(sizes: Sizes) -> bool:
    return min(_conv.output_image(sizes, transposed=False)) > 0


def _dense_cases(rng: np.random.Generator, max_stride: int) -> Iterator[Case]:
    """The shapes of streaming models, widths around the vectors, and random ones."""
    named = [
        _conv.conv_sizes(x, w, strides=s, pads=p, groups=g, activation=a)
        for x, w, s, p, g, a in [
            ((1, 9, 1, 129), (16, 9, 1, 5), (1, 2), (0, 2, 0, 2), 1, _conv.Activation.SLOPE),
            ((1, 16, 1, 65), (16, 8, 1, 5), (1, 2), (0, 2, 0, 2), 2, _conv.Activation.SLOPE),
            ((1, 24, 1, 33), (16, 24, 1, 1), (), (), 1, _conv.Activation.SLOPE),
            ((1, 16, 1, 33), (8, 16, 1, 1), (), (), 1, _conv.Activation.NONE),
            ((2, 129, 4), (128, 129, 3), (1,), (1, 1), 1, _conv.Activation.SLOPE),
            ((1, 64, 2), (64, 64, 3), (2,), (1, 1), 1, _conv.Activation.SLOPE),
            ((1, 128, 1), (1, 128, 1), (), (), 1, _conv.Activation.SIGMOID),
            ((1, 5, 6, 7), (67, 5, 3, 3), (), (1, 1, 1, 1), 1, _conv.Activation.TANH),
        ]
    ]
    widths = (1, 3, 4, 5, 7, 8, 9, 15, 16, 17, 31, 32, 33, 48, 63, 64, 65, 81, 130)
    named += [
        _conv.conv_sizes(
            (1, 3, w), (1 + w % 7, 3, 3), pads=(1, 1), activation=_conv.Activation(w % 4)
        )
        for w in widths
    ]
    named += [_conv.conv_sizes((1, 6, 21), (o, 6, 2)) for o in (1, 2, 3, 4, 5, 15, 17, 33, 49, 65)]
    for sizes in named:
        yield _conv.make_case(rng, sizes)
    for sizes in _conv.variations(rng, 60):
        sizes["SW"] = min(sizes["SW"], max_stride)
        if _valid(sizes):
            dense = _conv.with_dense_strides(sizes, transposed=False)
            yield _conv.make_case(rng, dense, gap=int(rng.integers(0, 4)))


def columns_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Cases of conv_columns."""
    yield from _dense_cases(rng, MAX_COLUMN_STRIDE)


def channels_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Cases of conv_channels, with the large strides of a learned filter bank."""
    yield _conv.make_case(rng, _conv.conv_sizes((1, 1, 640), (258, 1, 256), strides=(128,)))
    yield from _dense_cases(rng, 3)


def depthwise_cases(rng: np.random.Generator) -> Iterator[Case]:
    """Cases of conv_depthwise: C = G, one or more outputs per input."""
    named = [
        _conv.conv_sizes(
            (1, 16, h, 33), (16, 1, 3, 3), dilations=(d, 1), pads=(0, 1, 0, 1), groups=16
        )
        for h, d in ((3, 1), (5, 2), (11, 5))
    ]
    named += [
        _conv.conv_sizes((1, 4, w), (4, 1, 4), pads=(3, 0), groups=4, activation=a)
        for w in (1, 2, 3, 4, 5, 8, 11, 16, 19, 31, 35, 64, 67, 100)
        for a in (_conv.Activation.NONE, _conv.Activation.SLOPE)
    ]
    for sizes in named:
        yield _depthwise(_conv.make_case(rng, sizes))
    for sizes in _conv.variations(rng, 60):
        sizes |= {"C": sizes["G"], "O": sizes["G"] * (1 + sizes["O"] % 2)}
        if _valid(sizes):
            dense = _conv.with_dense_strides(sizes, transposed=False)
            yield _depthwise(_conv.make_case(rng, dense, gap=int(rng.integers(0, 4))))


def _depthwise(case: Case) -> Case:
    sizes = {name: case.sizes[name] for name in DEPTHWISE_SIZES}
    return dataclasses.replace(case, sizes=sizes)


COLUMNS = Kernel(
    name="conv_columns",
    source="conv.c",
    sizes=_conv.SIZES,
    args=_conv.ARGS_SCRATCH,
    scratch=columns_scratch,
    out_shapes=out_shapes,
    reference=_conv.reference_conv,
    cases=columns_cases,
    tolerance=_conv.TOLERANCE,
)
CHANNELS = Kernel(
    name="conv_channels",
    source="conv.c",
    sizes=_conv.SIZES,
    args=_conv.ARGS,
    scratch=_conv.no_scratch,
    out_shapes=out_shapes,
    reference=_conv.reference_conv,
    cases=channels_cases,
    tolerance=_conv.TOLERANCE,
)
DEPTHWISE = Kernel(
    name="conv_depthwise",
    source="conv.c",
    sizes=DEPTHWISE_SIZES,
    args=_conv.ARGS,
    scratch=_conv.no_scratch,
    out_shapes=out_shapes,
    reference=_conv.reference_conv,
    cases=depthwise_cases,
    tolerance=_conv.TOLERANCE,
)
KERNELS = (COLUMNS, CHANNELS, DEPTHWISE)


def choose(sizes: Sizes) -> Choice:
    """Take the kernel for a Conv, T at its usual value."""
    s = sizes
    _, width = _conv.output_image(s, transposed=False)
    inputs, outputs = s["C"] // s["G"], s["O"] // s["G"]
    taps = inputs * s["KH"] * s["KW"]
    if inputs == 1 and s["SW"] <= 2 and outputs <= 2:
        return Choice(DEPTHWISE, f"{outputs} outputs for each input channel")
    if s["SW"] > MAX_COLUMN_STRIDE:
        return Choice(CHANNELS, f"stride {s['SW']} > {MAX_COLUMN_STRIDE} along the width")
    if width < _conv.FEW_COLUMNS and width <= 6 * outputs:
        return Choice(CHANNELS, f"{width} columns < {_conv.FEW_COLUMNS}")
    if s["SW"] > 1 and outputs >= 16 and taps >= LONG_SUM:
        return Choice(CHANNELS, f"stride {s['SW']}, {taps} taps per output: no copy of the input")
    return Choice(COLUMNS, f"{width} columns, {outputs} outputs per group")
