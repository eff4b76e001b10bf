"""A pointwise convolution with constant sparse weights, channels first; c/spmm.c.

Blocks of R outputs x 1 input; R = 1 holds any zeros, those of N:M and 1xN patterns too.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator

import numpy as np
from edgeseq.kernels import _blocks, _conv
from edgeseq.kernels._family import UNTOUCHED, Arg, Array, Case, Kernel, Role, Sizes

ROWS = (1, 4, 16)  # outputs of a block
PANEL = 16
SIZES = ("N", "O", "C", "P", "act", "x_ns", "x_cs", "y_ns", "y_cs", "blocks")
ARGS = (
    Arg("x", Role.IN),
    Arg("counts", Role.CONST, "uint16"),
    Arg("index", Role.CONST, "uint16"),
    Arg("w", Role.CONST),
    Arg("b", Role.CONST),
    Arg("y", Role.OUT),
)


@dataclasses.dataclass(frozen=True)
class Packed:
    """The constant arguments of the kernel.

    Args:
        rows: Outputs of a block.
        blocks: Stored blocks, padding included.
        counts: uint16, the blocks of each panel of `rows` outputs; of 16, a multiple of 4.
        index: uint16, the input of each block.
        w: `rows` weights of each block.
    """

    rows: int
    blocks: int
    counts: Array
    index: Array
    w: Array

    def arrays(self) -> dict[str, Array]:
        """The arguments by name."""
        return {"counts": self.counts, "index": self.index, "w": self.w}


def pack(w: Array, rows: int) -> Packed:
    """Pack w [O, C]; a block is stored if one of its weights is not zero (a NaN is not).

    Raises:
        ValueError: there are more inputs than an index can name.
    """
    outputs, inputs = w.shape
    if inputs > 1 << 16:
        raise ValueError(f"{inputs} inputs do not fit into an index of 16 bits")
    full = np.pad(w.astype(np.float32), ((0, -outputs % rows), (0, 0)))
    blocks = full.reshape(-1, rows, inputs).transpose(0, 2, 1)  # [panel, input, output]
    alive = (blocks != 0).any(axis=2)
    counts = alive.sum(axis=1)
    places = counts + (-counts % _blocks.FOUR if rows == PANEL else 0)
    order = np.arange(places.sum()) - np.repeat(np.cumsum(places) - places, places)
    own = np.repeat(np.cumsum(counts) - counts, places)
    padding = order >= np.repeat(counts, places)  # zeros for the last block's input again
    from_list = own + np.where(padding, np.repeat(counts, places) - 1, order)
    index = np.nonzero(alive)[1][from_list].astype(np.uint16)
    values = np.where(padding[:, None], np.float32(0), blocks[alive][from_list])
    # One more than there are: no array is empty, and the last block may be read as a vector.
    return Packed(
        rows=rows,
        blocks=len(index),
        counts=places.astype(np.uint16),
        index=np.append(index, np.uint16(0)),
        w=np.append(values.reshape(-1), np.zeros(_conv.PAD, np.float32)),
    )


def unpack(packed: Packed, outputs: int, inputs: int) -> Array:
    """Return w [O, C]."""
    rows, blocks = packed.rows, packed.blocks
    dense = np.zeros((len(packed.counts), inputs, rows), np.float32)
    panel = np.repeat(np.arange(len(packed.counts)), packed.counts)
    values = packed.w[: blocks * rows].reshape(blocks, rows)
    np.add.at(dense, (panel, packed.index[:blocks]), values)  # padding adds zeros
    return dense.transpose(0, 2, 1).reshape(-1, inputs)[:outputs]


def stored(w: Array, rows: int) -> int:
    """How many blocks of `rows` outputs `pack` would store."""
    full = np.pad(w != 0, ((0, -len(w) % rows), (0, 0)))
    return int(full.reshape(-1, rows, w.shape[1]).any(axis=1).sum())


def out_shapes(sizes: Sizes) -> dict[str, tuple[int, ...]]:
    """Y as flat memory."""
    return {"y": (_extent(sizes["N"], sizes["O"], sizes["P"], sizes["y_ns"], sizes["y_cs"]),)}


def _extent(images: int, channels: int, pixels: int, ns: int, cs: int) -> int:
    if not images * channels * pixels:
        return 0
    return (images - 1) * ns + (channels - 1) * cs + pixels


def _placed(dense: Array, ns: int, cs: int) -> Array:
    """[N, C, P] as flat memory."""
    images, channels, pixels = dense.shape
    flat = np.full(_extent(images, channels, pixels, ns, cs), UNTOUCHED, dense.dtype)
    for n in range(images):
        for c in range(channels):
            flat[n * ns + c * cs :][:pixels] = dense[n, c]
    return flat


def product(w: Array, x: Array, rows: int) -> Array:
    """Return w [O, C] times x [N, C, P] over the stored blocks; what is not stored hides a NaN."""
    y = np.zeros((len(x), len(w), x.shape[2]))
    for o in range(len(w)):
        panel = w[o // rows * rows :][:rows]
        alive = np.nonzero((panel != 0).any(axis=0))[0]
        y[:, o] = np.einsum("c,ncp->np", w[o, alive], x[:, alive])
    return y


def reference(case: Case) -> dict[str, Array]:
    """The product in float64."""
    s = case.sizes
    w, x, bias, slope = (case.raw[n].astype(np.float64) for n in ("w", "x", "bias", "slope"))
    y = product(w, x, case.raw["rows"].item()) + bias[:, None]
    y = _conv.activate(y[:, :, None], s["act"], slope)[:, :, 0]
    return {"y": _placed(y, s["y_ns"], s["y_cs"])}


def sparse(rng: np.random.Generator, outputs: int, inputs: int, rows: int, density: float) -> Array:
    """Random weights of which whole blocks are zero."""
    alive = rng.random((-(-outputs // rows), inputs)) < density
    w = rng.standard_normal((outputs, inputs)) * np.repeat(alive, rows, axis=0)[:outputs]
    return w.astype(np.float32)


def cases(rng: np.random.Generator, rows: int) -> Iterator[Case]:
    """Pixels around every tile, outputs around every panel, all densities and activations."""
    shapes = (  # N, O, C, P
        *((1, 1, 1, 1), (1, 16, 8, 16), (2, 17, 5, 3), (1, 5, 9, 49), (1, 33, 16, 64)),
        *((1, 4, 3, 0), (2, 15, 20, 17), (1, 8, 7, 130), (1, 31, 33, 31), (1, 2, 40, 255)),
        *((1, 20, 4, 8), (3, 16, 12, 33), (2, 40, 24, 1), (1, 16, 9, 2)),
    )
    for i, (images, outputs, inputs, pixels) in enumerate(shapes):
        density = (0.1, 0.5, 0.0, 1.0)[i % 4]
        w = sparse(rng, outputs, inputs, rows, density)
        gap = 3 if i % 3 == 1 else 0
        sizes = {"N": images, "O": outputs, "C": inputs, "P": pixels, "act": i % 4}
        sizes |= {"x_cs": pixels + gap, "x_ns": inputs * (pixels + gap)}
        sizes |= {"y_cs": pixels + 2 * gap, "y_ns": outputs * (pixels + 2 * gap)}
        raw = {
            "x": rng.standard_normal((images, inputs, pixels)).astype(np.float32),
            "w": w,
            "bias": rng.standard_normal(outputs).astype(np.float32),
            "slope": rng.uniform(0, 0.5, outputs).astype(np.float32),
            "rows": np.array(rows),
        }
        packed = pack(w, rows)
        arrays = packed.arrays() | {
            "x": _placed(raw["x"], sizes["x_ns"], sizes["x_cs"]),
            "b": _conv.pack_bias(outputs, raw["bias"], raw["slope"]),
        }
        yield Case(sizes | {"blocks": packed.blocks}, arrays, raw)


def _kernel(rows: int) -> Kernel:
    return Kernel(
        name="spmm_f32" if rows == 1 else f"spmm_f32_b{rows}x1",
        source="spmm.c",
        sizes=SIZES,
        args=ARGS,
        scratch=lambda _: 0,
        out_shapes=out_shapes,
        reference=reference,
        cases=functools.partial(cases, rows=rows),
        # Sums of at most 40 products of normal numbers.
        tolerance=5e-6,
    )


KERNELS = tuple(_kernel(rows) for rows in ROWS)
