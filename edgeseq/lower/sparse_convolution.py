"""Whether a convolution is faster with its zeros left out, and in which blocks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

from edgeseq.kernels import _conv, spconv, spmm
from edgeseq.kernels._family import Kernel
from edgeseq.lower.costs import Costing
from edgeseq.lower.select import Array
from edgeseq.lower.size import Size

# Time of a stored weight over that of a weight of the dense kernel, by the outputs of a block, from
# so many pixels in a row on. Of AVX2 and AVX-512 the slower one, over the shapes of MobileNet and
# kernels of three columns.
_PRICES: Mapping[int, Mapping[int, float]] = {
    16: {1: 4.5, 4: 2.6, 16: 2.0},
    spconv.FEW + 1: {1: 7.5, 4: 4.0, 16: 3.5},
}
_AT_MOST = 0.85  # of the dense time, so that a pruned layer is never slower
# Few pixels are products with vectors. A narrow block takes as long as one of 16 outputs and a bit,
# gathering an input as long as a block.
_OF_A_BLOCK: Mapping[int, float] = {1: 1.2, 4: 1.2, 16: 1.0}


@dataclasses.dataclass(frozen=True)
class Offer:
    """A sparse kernel, its packed weights, and why it pays."""

    kernel: Kernel
    packed: spmm.Packed
    why: str

    @property
    def pointwise(self) -> bool:
        """Whether the kernel sees an image as a row of pixels."""
        return self.kernel in spmm.KERNELS


def offer(
    weight: Array, sizes: Mapping[str, int], priced: Mapping[str, int], costing: Costing
) -> Offer | None:
    """The sparse kernel for a convolution, if zeros pay.

    Args:
        weight: [O, C / G, KW] or [O, C / G, KH, KW].
        sizes: Those of the convolution kernels.
        priced: The same at the length for which the format is chosen: `step` and `run` share it.
        costing: Prices of products with vectors, for few pixels.
    """
    found = _best(weight, sizes["G"], _pixels(priced), costing)
    if found is None:
        return None
    pointwise = _flat(sizes) and _pixels(sizes)[1] > spconv.FEW
    kernels = spmm.KERNELS if pointwise else spconv.KERNELS
    kernel = next(k for k, r in zip(kernels, spmm.ROWS, strict=True) if r == found.rows)
    return Offer(kernel, spmm.pack(spconv.matrix(weight, sizes["G"]), found.rows), found.why)


def seconds(weight: Array, groups: int, image: tuple[int, int], costing: Costing) -> float | None:
    """The time of a convolution by the newest level of the table, its zeros left out if that pays.

    Dense it counts as a product. None where the table does not have those.

    Args:
        weight: As in `offer`; anything that is not zero counts.
        groups: Of the convolution.
        image: Height and width of the output.
        costing: The table, and its levels.
    """
    sizes = {"M": math.prod(image), "N": len(weight), "K": weight[0].size}
    times = (costing.table.seconds("gemm_f32", sizes, level) for level in costing.levels[::-1])
    dense = next((t for t in times if t is not None), None)
    found = _best(weight, groups, image, costing)
    return dense if dense is None or found is None else dense * found.share


@dataclasses.dataclass(frozen=True)
class _Best:
    """Blocks that pay: their outputs, the share of the dense kernel's time, and why."""

    rows: int
    share: float
    why: str


def _best(weight: Array, groups: int, image: tuple[int, int], costing: Costing) -> _Best | None:
    inputs = weight[0].size * groups
    if not weight.size or inputs > 1 << 16 or 2 * (weight != 0).sum() > weight.size:
        return None
    matrix = spconv.matrix(weight, groups)
    stored = {rows: spmm.stored(matrix, rows) for rows in spmm.ROWS}
    if image[1] <= spconv.FEW:
        return _as_product(weight, inputs, stored, max(math.prod(image), 1), costing)
    return _in_rows(weight, stored, image[1])


def _flat(sizes: Mapping[str, int]) -> bool:
    """Whether outputs are inputs' pixels one for one, in one group."""
    ones = all(sizes[n] == 1 for n in ("KH", "KW", "SH", "SW", "G"))
    return ones and not any(sizes[n] for n in ("PT", "PL", "PB", "PR"))


def _pixels(sizes: Mapping[str, int]) -> tuple[int, int]:
    """Rows, and the pixels of one: of a flat image all."""
    height, width = _conv.output_image(sizes, transposed=False)
    return (1, height * width) if _flat(sizes) else (height, width)


def _in_rows(weight: Array, stored: Mapping[int, int], width: int) -> _Best | None:
    """The best block for rows of many pixels."""
    prices = next((p for least, p in _PRICES.items() if width >= least))
    shares = {rows: count * rows / weight.size for rows, count in stored.items()}
    best = min(shares, key=lambda rows: shares[rows] * prices[rows])
    if shares[best] * prices[best] > _AT_MOST:
        return None
    why = f"{shares[best]:.0%} of the weights are in blocks of {best} x 1 that are not zero"
    return _Best(best, shares[best] * prices[best], why)


def _as_product(
    weight: Array, inputs: int, stored: Mapping[int, int], pixels: int, costing: Costing
) -> _Best | None:
    """The best block for few pixels, by the table's prices of products with vectors."""
    known = {"M": pixels, "N": len(weight), "K": weight[0].size}
    options: list[tuple[int, str, Mapping[str, int]]] = [(0, "gemm_f32", known)]
    for rows, count in stored.items():
        blocks = math.ceil(count * _OF_A_BLOCK[rows]) + inputs
        options.append((rows, "spmv_f32_b16x1", {**known, "blocks": blocks}))
    rows, why = costing.table.cheapest(options, costing.levels)
    if not rows:
        return None
    sizes = next(sizes for option, _, sizes in options if option == rows)
    return _Best(
        rows, _ratio(known, sizes, costing), f"in blocks of {rows} x 1, as a product: {why}"
    )


def _ratio(dense: Mapping[str, int], sparse: Mapping[str, int], costing: Costing) -> float:
    """Of the two products' times, at the newest level that was measured."""
    for level in (*costing.levels[::-1], *list(costing.table.levels)[::-1]):
        whole = costing.table.seconds("gemm_f32", dense, level)
        part = costing.table.seconds("spmv_f32_b16x1", sparse, level)
        if whole and part is not None:
            return part / whole
    return 1.0


def sizes_of(sizes: Mapping[str, Size], chosen: Offer) -> dict[str, Size]:
    """The int parameters of the kernel, from those of a dense convolution."""
    blocks = Size.of(chosen.packed.blocks)
    if not chosen.pointwise:
        return {**{n: sizes[n] for n in spconv.SIZES if n != "blocks"}, "blocks": blocks}
    kept = {n: sizes[n] for n in ("N", "O", "C", "act", "x_ns", "x_cs", "y_ns", "y_cs")}
    return {**kept, "P": sizes["H"] * sizes["W"], "blocks": blocks}


def read_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """Strides with which rows are images or channels of the x of `spmm`."""
    shape = (sizes["N"], sizes["C"], sizes["P"])
    return _rows("x", shape, count, row, stride) if index == 0 else None


def write_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """Strides with which rows are images or channels of the y of `spmm`."""
    shape = (sizes["N"], sizes["O"], sizes["P"])
    return _rows("y", shape, count, row, stride) if index == 0 else None


def _rows(
    name: str, shape: tuple[int, int, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    step, channels = stride // 4, shape[1]
    if stride % 4:
        return None
    if (count, row) == (shape[0], 4 * math.prod(shape[1:])):
        return {f"{name}_ns": step}
    if (count, row) == (shape[0] * channels, 4 * shape[2]):
        return {f"{name}_cs": step, f"{name}_ns": channels * step}
    return None
