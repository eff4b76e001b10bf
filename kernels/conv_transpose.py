"""ConvTranspose of float32 in NCHW order, with bias and activation.

A stride of S makes S ordinary convolutions, one for each remainder of the output column, with the
taps that fit it: no zeros are inserted and none multiplied.

- `conv_transpose_columns`: vectors along the width; the S results are interleaved afterwards.
- `conv_transpose_channels`: vectors along the output channels; for few columns.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _conv
from edgeseq.kernels._conv import Choice
from edgeseq.kernels._family import Case, Kernel, Sizes


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Shape of `y` without gaps."""
    return {"y": (sizes["N"], sizes["O"], *_conv.output_image(sizes, transposed=True))}


def columns_scratch(sizes: Sizes) -> int:
    """Bytes for one row of a group's outputs, not yet interleaved; none where the stride is 1."""
    s = sizes
    if s["SW"] == 1:
        return 0
    _, width = _conv.output_image(s, transposed=True)
    return 4 * (s["O"] // s["G"]) * (width + s["SW"])


def cases(rng: np.random.Generator) -> Iterator[Case]:
    """The shapes of streaming models, widths around the vectors, and random ones."""
    named = [
        _conv.transposed_sizes(x, w, strides=s, pads=p, groups=g, activation=_conv.Activation(a))
        for x, w, s, p, g, a in [
            ((1, 16, 1, 33), (16, 8, 1, 5), (1, 2), (0, 2, 0, 2), 2, 1),
            ((1, 16, 1, 65), (16, 2, 1, 5), (1, 2), (0, 2, 0, 2), 1, 2),
            ((1, 24, 1, 33), (24, 16, 1, 1), (), (), 1, 3),
            ((1, 6, 5, 9), (6, 1, 3, 3), (2, 2), (1, 1, 1, 1), 6, 0),
            ((2, 70, 5), (70, 66, 4), (2,), (1, 1), 1, 1),
        ]
    ]
    named += [
        _conv.transposed_sizes((1, 3, w), (3, 1 + w % 6, 4), strides=(2 + w % 2,), pads=(1, 1))
        for w in (1, 2, 3, 4, 5, 8, 9, 15, 16, 17, 18, 33, 64, 66)
    ]
    named += [
        _conv.transposed_sizes((1, 4, w), (4, 3, 3), strides=(3,), pads=(1, 1), output_padding=(2,))
        for w in (1, 4, 20)
    ]
    for sizes in named:
        yield _conv.make_case(rng, sizes)
    for sizes in _conv.variations(rng, 60):
        if min(_conv.output_image(sizes, transposed=True)) > 0:
            dense = _conv.with_dense_strides(sizes, transposed=True)
            yield _conv.make_case(rng, dense, gap=int(rng.integers(0, 4)))


COLUMNS = Kernel(
    name="conv_transpose_columns",
    source="conv_transpose.c",
    sizes=_conv.SIZES,
    args=_conv.ARGS_SCRATCH,
    scratch=columns_scratch,
    out_shapes=out_shapes,
    reference=_conv.reference_transposed,
    cases=cases,
    tolerance=_conv.TOLERANCE,
)
CHANNELS = Kernel(
    name="conv_transpose_channels",
    source="conv_transpose.c",
    sizes=_conv.SIZES,
    args=_conv.ARGS,
    scratch=_conv.no_scratch,
    out_shapes=out_shapes,
    reference=_conv.reference_transposed,
    cases=cases,
    tolerance=_conv.TOLERANCE,
)
KERNELS = (COLUMNS, CHANNELS)


def choose(sizes: Sizes) -> Choice:
    """Take the kernel for a ConvTranspose, T at its usual value."""
    _, width = _conv.output_image(sizes, transposed=True)
    phases, outputs = sizes["SW"], sizes["O"] // sizes["G"]
    columns = -(-width // phases)
    if columns < _conv.FEW_COLUMNS and columns <= 6 * outputs:
        reason = f"{columns} columns < {_conv.FEW_COLUMNS} for each of {phases} remainders"
        return Choice(CHANNELS, reason)
    return Choice(COLUMNS, f"{columns} columns for each of {phases} remainders, {outputs} outputs")
