"""Packing of int8 weights, dense and in blocks; the layouts stand in c/quantized.h."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from edgeseq.kernels._family import Array
from edgeseq.kernels._recurrent import round_up

PANEL = 16  # ES_PANEL in c/quantized.h
QUAD = 4  # inputs of a block
HEADER = 16  # ES_I8_HEADER: floats before a chain's panels
OVERREAD = 48  # bytes of weights, and 16 floats of the head, that a tile may read beyond the end
MOST_INPUTS = 32767  # the sums of weights stay below 2^22, and those of products below 2^31
PAIR_LIMIT = 129  # 254 * 129 fits sixteen bits

WIDTHS = {
    "": 0,
    "b16x4": 16,
    "b8x4": 8,
}  # layout in a kernel's name -> outputs of a block; 0: dense


@dataclasses.dataclass(frozen=True)
class Packed:
    """The CONST arguments of an int8 kernel, and the sizes that describe them.

    Args:
        arrays: `w` and `head`; sparse also `counts` and `index`.
        sizes: `pairs`; sparse also `blocks`.
    """

    arrays: dict[str, Array]
    sizes: dict[str, int]


def pairs_fit(*weights: Array, wide: bool = False) -> bool:
    """Whether no two neighbouring inputs, 2k and 2k + 1, exceed what sixteen bits can hold.

    Args:
        weights: int8 [.., inputs].
        wide: The other factor goes up to 255, not 254.
    """
    return all(int(np.abs(_pairs(w)).max(initial=0)) <= PAIR_LIMIT - wide for w in weights)


def wide_fits(w: Array) -> bool:
    """Whether products with inputs up to 255 fit: signed ones stop at 2 * 128 * 128 - 1."""
    return int(_pairs(w).min(initial=0)) > 2 * np.iinfo(np.int8).min


def _pairs(w: Array) -> Array:
    even = np.pad(w, [(0, 0)] * (w.ndim - 1) + [(0, w.shape[-1] % 2)]).astype(np.int16)
    return np.asarray(even[..., ::2] + even[..., 1::2])


def blocks(w: Array, outputs: int) -> Array:
    """Cut w [G, N, K] into blocks: [panel, K / 4, G, outputs, 4], padded with zeros."""
    gates, n, k = w.shape
    if k > MOST_INPUTS:
        raise ValueError(f"{k} inputs: int8 kernels sum over at most {MOST_INPUTS}")
    pad = ((0, 0), (0, -n % outputs), (0, -k % QUAD))
    panels = -(-n // outputs)
    split = np.pad(w, pad).reshape(gates, panels, outputs, (k + 3) // QUAD, QUAD)
    return np.ascontiguousarray(split.transpose(1, 3, 0, 2, 4)).astype(np.int8)


def pack_dense(parts: Sequence[Array]) -> Array:
    """Pack parts [G, N, K] that share their panels; the last panel is as narrow as it may be."""
    n = parts[0].shape[1]
    cut = [blocks(w, PANEL) for w in parts]
    out = []
    for p, u in enumerate(range(0, n, PANEL)):
        width = min(PANEL, round_up(n, QUAD) - u)
        out += [part[p, :, :, :width].reshape(-1) for part in cut]
    return np.concatenate([np.zeros(0, np.int8), *out])


def unpack_dense(packed: Array, gates: int, outputs: int, inputs: Sequence[int]) -> list[Array]:
    """Undo `pack_dense`: the parts [G, N, K]."""
    found: list[list[Array]] = [[] for _ in inputs]
    at = 0
    for u in range(0, outputs, PANEL):
        width = min(PANEL, round_up(outputs, QUAD) - u)
        for part, k in zip(found, inputs, strict=True):
            quads = (k + 3) // QUAD
            size = quads * gates * width * QUAD
            block = packed[at : at + size].reshape(quads, gates, width, QUAD)
            part.append(block.transpose(1, 2, 0, 3).reshape(gates, width, quads * QUAD))
            at += size
    joined = [np.concatenate(part, axis=1) for part in found]
    return [w[:, :outputs, :k] for w, k in zip(joined, inputs, strict=True)]


def pack_sparse(parts: Sequence[Array], width: int) -> tuple[Array, Array, Array]:
    """Pack the blocks that are not all zero: values, counts [panel, part, G], block columns."""
    values, counts, index = [], [], []
    cut = [blocks(w, width).transpose(0, 2, 1, 3, 4) for w in parts]  # [panel, G, quad, ...]
    kept = [np.asarray(part.any(axis=(3, 4))) for part in cut]
    for p in range(len(cut[0])):
        for part, keep in zip(cut, kept, strict=True):
            gate, quad = np.nonzero(keep[p])
            values.append(part[p][gate, quad].reshape(-1))
            counts.append(keep[p].sum(axis=1))
            index.append(quad)
    empty = np.zeros(0)
    return (
        np.concatenate([empty, *values]).astype(np.int8),
        np.stack(counts).reshape(len(cut[0]), len(parts), -1).astype(np.uint16),
        np.concatenate([empty, *index]).astype(np.uint16),
    )


def unpack_sparse(
    values: Array, counts: Array, index: Array, width: int, outputs: int, inputs: Sequence[int]
) -> list[Array]:
    """Undo `pack_sparse`: the parts [G, N, K]."""
    panels, _, gates = counts.shape
    found = [np.zeros((panels, gates, (k + 3) // QUAD, width, QUAD), np.int8) for k in inputs]
    stream = values[: len(index) * width * QUAD].reshape(-1, width, QUAD)
    at = 0
    for p, part, g in np.ndindex(*counts.shape):
        n = int(counts[p, part, g])
        found[part][p, g, index[at : at + n]] = stream[at : at + n]
        at += n
    dense = [f.transpose(1, 0, 3, 2, 4).reshape(gates, panels * width, -1) for f in found]
    return [w[:, :outputs, :k] for w, k in zip(dense, inputs, strict=True)]


def pack_head(parts: Sequence[tuple[Array, Array]], biases: Array, width: int) -> Array:
    """Rows of a chain's panels: scales and sums of weights of each gate and part, then biases.

    Args:
        parts: Weights [G, N, K] and scales [G, N] of each part.
        biases: [rows, N].
        width: Outputs of a panel.
    """
    rows = []
    for w, scale in parts:
        sums = w.astype(np.int64).sum(axis=2)
        rows += [row for gate in zip(scale, sums, strict=True) for row in gate]
    table = np.stack([*rows, *biases]).astype(np.float32)
    table = np.pad(table, ((0, 0), (0, -table.shape[1] % width)))
    return np.ascontiguousarray(table.reshape(len(table), -1, width).swapaxes(0, 1)).reshape(-1)


@dataclasses.dataclass(frozen=True)
class Weights:
    """The quantized weights of recurrent chains, as the functions of the graph take them.

    Args:
        w: int8 [chains, G * H, I].
        r: int8 [chains, G * H, H].
        w_scale: float32 [chains, G * H].
        r_scale: float32 [chains, G * H].
        x_scale: float32 [chains]; 0: each step and row has its own.
        h_scale: float32 [chains]; likewise.
    """

    w: Array
    r: Array
    w_scale: Array
    r_scale: Array
    x_scale: Array
    h_scale: Array


def pack_chains(q: Weights, biases: Array, gates: int, layout: str = "") -> Packed:
    """Pack chains whose biases are [chains, rows, H]."""
    width = WIDTHS[layout]
    hidden = q.r.shape[2]
    values, heads, counts, index = [], [], [], []
    start = 0
    for c in range(len(q.w)):
        parts = [q.w[c].reshape(gates, hidden, -1), q.r[c].reshape(gates, hidden, hidden)]
        scales = [s[c].reshape(gates, hidden) for s in (q.w_scale, q.r_scale)]
        header = np.zeros(HEADER, np.float32)
        header[:2] = q.x_scale[c], q.h_scale[c]
        panels = pack_head(list(zip(parts, scales, strict=True)), biases[c], width or PANEL)
        heads += [header, panels]
        if not width:
            values.append(pack_dense(parts))
            continue
        v, n, at = pack_sparse(parts, width)
        values.append(v)
        counts.append(np.concatenate([[start & 0xFFFF, start >> 16], n.reshape(-1)]))
        index.append(at)
        start += len(at)
    arrays = {
        "w": np.concatenate([*values, np.zeros(OVERREAD, np.int8)]),
        "head": np.concatenate([*heads, np.zeros(PANEL, np.float32)]),
    }
    sizes = {"pairs": int(pairs_fit(q.w, q.r))}
    if width:
        arrays["counts"] = np.concatenate(counts).astype(np.uint16)
        arrays["index"] = np.concatenate(index).astype(np.uint16)
        sizes["blocks"] = start
    return Packed(arrays, sizes)


def unpack_chains(
    packed: Packed, chains: int, gates: int, inputs: int, hidden: int, layout: str = ""
) -> tuple[Array, Array]:
    """Return w [chains, G * H, I] and r [chains, G * H, H]."""
    width, both = WIDTHS[layout], (inputs, hidden)
    found = []
    if not width:
        size = sum((k + 3) // QUAD for k in both) * gates * round_up(hidden, QUAD) * QUAD
        for c in range(chains):
            stream = packed.arrays["w"][c * size : (c + 1) * size]
            found.append(unpack_dense(stream, gates, hidden, both))
    else:
        panels = -(-hidden // width)
        words = packed.arrays["counts"].astype(np.int64).reshape(chains, -1)
        for row in words:
            start = int(row[0] | row[1] << 16)
            counts = row[2:].reshape(panels, 2, gates)
            index = packed.arrays["index"][start : start + counts.sum()]
            values = packed.arrays["w"][start * width * QUAD :]
            found.append(unpack_sparse(values, counts, index, width, hidden, both))
    w, r = (np.stack([f[i] for f in found]) for i in (0, 1))
    return w.reshape(chains, gates * hidden, inputs), r.reshape(chains, gates * hidden, hidden)
