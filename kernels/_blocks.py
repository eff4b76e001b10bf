"""Block-sparse weights for c/blocks.h: blocks of `width` outputs x 1 input, one stream per chain.

Outputs are padded to whole panels of `width`. A panel is its head rows (float32), then list after
list of blocks, ordered by input. A list is padded with zeros to a multiple of four blocks; their
input is that of the last block, so that no other input's NaN can enter. N:M weights have blocks of
another kind in the same lists: `_nm`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from edgeseq.kernels import _nm
from edgeseq.kernels._family import Array
from edgeseq.kernels._formats import Format, from_halves, to_halves

FOUR = 4  # blocks that are multiplied at once
OVERREAD = 12  # floats a vector may read beyond the last block


@dataclasses.dataclass(frozen=True)
class Blocks:
    """The three constant arguments of a sparse kernel and its `blocks` size.

    Args:
        blocks: Places for blocks in each chain; shorter chains are padded.
        counts: uint16, blocks of each list with its padding, lists in stream order.
        index: uint16, the input of each block; N:M: 20 words of each four.
        w: Head rows and blocks in stream order, as words.
    """

    blocks: int
    counts: Array
    index: Array
    w: Array

    def arrays(self) -> dict[str, Array]:
        """The arguments by name."""
        return {"counts": self.counts, "index": self.index, "w": self.w}


def padded(outputs: int, width: int) -> int:
    """Outputs of whole panels."""
    return -(-outputs // width) * width


def stored(w: Array, form: Format) -> Array:
    """Which weights of w [outputs, inputs] are stored: all of a block that is not zero."""
    if form.window:
        return _nm.stored(w, form.window)
    (outputs, inputs), width = w.shape, form.width
    full = np.pad(w, ((0, padded(outputs, width) - outputs), (0, 0)))
    alive = (full != 0).reshape(len(full) // width, width, inputs).any(axis=1)
    return np.repeat(alive, width, axis=0)[:outputs]


def share(w: Array, form: Format) -> float:
    """Blocks that are stored of w [outputs, inputs], as a share of those of a dense matrix."""
    if form.window:
        return _nm.share(w, form.window)
    return float(stored(w, form).mean()) if w.size else 0.0


def pack(head: Array, lists: Sequence[Array], form: Format) -> Blocks:
    """Pack one chain: head [rows, outputs] and one matrix [outputs, inputs] per list.

    A weight that is not zero (a NaN included) makes its block one that is stored.
    """
    width, rows = form.width, len(head)
    outputs = padded(head.shape[1], width)
    panels = outputs // width
    lists = [np.pad(w, ((0, outputs - len(w)), (0, 0))).astype(np.float32) for w in lists]
    places, index, blocks = _nm.lists(lists, form.window) if form.window else _own(lists, width)
    words = _words(blocks, form)
    per_panel = words_of(places.reshape(panels, -1).sum(axis=1), form)
    heads = np.pad(head, ((0, 0), (0, outputs - head.shape[1])))
    heads = heads.reshape(rows, panels, width).transpose(1, 0, 2).reshape(panels, -1)
    starts = np.repeat(np.cumsum(per_panel) - per_panel, rows * width)
    stream = np.insert(words, starts, heads.reshape(-1).astype(np.float32))
    return Blocks(len(blocks), places.astype(np.uint16), index.astype(np.uint16), stream)


def _own(lists: Sequence[Array], width: int) -> tuple[Array, Array, Array]:
    """Places of every list, the input of each place, and its block [places, width]."""
    panels = len(lists[0]) // width
    ends = np.cumsum([w.shape[1] for w in lists])
    columns = np.concatenate(lists, axis=1)
    blocks = columns.reshape(panels, width, ends[-1]).transpose(0, 2, 1)  # [panel, column, output]
    alive = (blocks != 0).any(axis=2)
    parts = np.split(alive, ends[:-1], axis=1)
    counts = np.stack([part.sum(axis=1) for part in parts], axis=1).reshape(-1)
    places = counts + -counts % FOUR
    within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    place = np.repeat(np.cumsum(places) - places, counts) + within
    inputs = np.concatenate([np.arange(w.shape[1]) for w in lists])[np.nonzero(alive)[1]]
    order = np.arange(places.sum()) - np.repeat(np.cumsum(places) - places, places)
    last = np.minimum(order, np.repeat(counts, places) - 1)  # padding repeats the last block
    index = inputs[np.repeat(np.cumsum(counts) - counts, places) + last]
    values = np.zeros((len(index), width), np.float32)
    values[place] = blocks[alive]
    return places, index, values


def words_of(places: Array, form: Format) -> Array:
    """32-bit words of so many places."""
    return places * form.width // (1 if form.element == "f32" else 2)


def _words(blocks: Array, form: Format) -> Array:
    """Blocks [places, width] as words."""
    if form.element == "f32":
        return blocks.reshape(-1)
    pairs = to_halves(blocks, form.element).reshape(-1, 2, form.width)
    if form.element == "bf16":
        pairs = pairs.transpose(0, 2, 1)
    return np.ascontiguousarray(pairs).reshape(-1).view(np.float32)


def join(chains: Sequence[Blocks], form: Format) -> Blocks:
    """Chains of equal length one after another, and the zeros that vectors may read."""
    most = max(c.blocks for c in chains)
    lack = [most - c.blocks for c in chains]
    index = [np.pad(c.index, (0, n * form.index_words)) for c, n in zip(chains, lack, strict=True)]
    w = [
        np.pad(c.w, (0, int(words_of(np.array(n), form))))
        for c, n in zip(chains, lack, strict=True)
    ]
    return Blocks(
        most,
        np.concatenate([c.counts for c in chains]),
        np.concatenate(index),
        np.concatenate([*w, np.zeros(OVERREAD, np.float32)]),
    )


def unpack(
    packed: Blocks, rows: int, outputs: int, inputs: Sequence[int], form: Format, chain: int = 0
) -> tuple[Array, list[Array]]:
    """Undo `pack` for one chain of a joined array: the head and each list's matrix."""
    width, lists = form.width, len(inputs)
    panels = padded(outputs, width) // width
    heads = panels * rows * width
    start = chain * (heads + int(words_of(np.array(packed.blocks), form)))
    counts = packed.counts.reshape(-1, panels, lists)[chain].astype(np.int64)
    each = form.index_words
    at_index, at = chain * packed.blocks * each, start
    head = np.zeros((rows, panels, width), np.float32)
    found = [np.zeros((panels, width, n), np.float32) for n in inputs]
    for p in range(panels):
        head[:, p] = packed.w[at : at + rows * width].reshape(rows, width)
        at += rows * width
        for i in range(lists):
            n, words = counts[p, i], int(words_of(counts[p, i], form))
            index = packed.index[at_index : at_index + n * each].astype(np.int64)
            blocks = _values(packed.w[at : at + words], form)
            if form.window:
                _nm.put(found[i][p], index, blocks)
            else:
                real = np.diff(index, prepend=-1) > 0
                found[i][p][:, index[real]] = blocks[real].T
            at, at_index = at + words, at_index + n * each
    flat = [w.reshape(panels * width, w.shape[2])[:outputs] for w in found]
    return head.reshape(rows, -1)[:, :outputs], flat


def _values(words: Array, form: Format) -> Array:
    """The blocks [places, width] in words."""
    if form.element == "f32":
        return words.reshape(-1, form.width)
    halves = np.ascontiguousarray(words).view(np.uint16)
    if form.element == "bf16":
        halves = halves.reshape(-1, form.width, 2).transpose(0, 2, 1)
    blocks = np.ascontiguousarray(halves).reshape(-1, form.width)
    return from_halves(blocks, form.element)
