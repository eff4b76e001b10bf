"""N:M weights for c/nm.h: in every window of neighbouring inputs each output has its own few.

A block holds one weight of each of 16 outputs, and the window from which each picks its input. A
window has as many blocks as that output has weights which has the most; the others get zeros. So
patterns of N in M, where M divides the window, lose nothing, and zeros in no pattern lose what the
rows of a panel differ by. Four blocks share 20 words of the index: where their windows start, then
for each output four codes of 4 bits, the first lowest.

Windows lie side by side; the last one is moved back so that it ends where the inputs end. Where an
output has no weight for a block, its code repeats the last input that it has in the window, else
the window's first: a NaN there does reach it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from edgeseq.kernels._family import Array

WIDTH = 16  # outputs of a block
FOUR = 4  # blocks that share words of the index


def lists(matrices: Sequence[Array], window: int) -> tuple[Array, Array, Array]:
    """Pack matrices [outputs, inputs] of one chain; outputs are whole panels.

    Returns:
        The places of every list, panel by panel; the index; the blocks [places, 16].
    """
    parts = [_windows(w, window) for w in matrices]  # [panel, output, window, lane]
    each = np.cumsum([part.shape[2] for part in parts])[:-1]
    full = np.concatenate(parts, axis=2)
    starts = np.concatenate([_starts(w.shape[1], window) for w in matrices])
    alive = full != 0
    counts = alive.sum(axis=3).max(axis=1, initial=0)  # [panel, window]
    of_lists = np.stack([c.sum(axis=1) for c in np.split(counts, each, axis=1)], axis=1).reshape(-1)
    places = of_lists + -of_lists % FOUR
    first = np.cumsum(places) - places
    within = np.concatenate(
        [np.cumsum(c, axis=1) - c for c in np.split(counts, each, axis=1)], axis=1
    )
    per_list = np.array([part.shape[2] for part in parts])
    first_of_window = within + np.repeat(first.reshape(len(full), -1), per_list, axis=1)
    usual = _last_lane(alive)  # [panel, output, window]

    total = int(places.sum())
    owner = np.zeros(total, np.int64)  # panel * windows + window
    used = np.repeat(first_of_window.reshape(-1), counts.reshape(-1))
    order = np.arange(len(used)) - np.repeat(
        np.cumsum(counts.reshape(-1)) - counts.reshape(-1), counts.reshape(-1)
    )
    owner[used + order] = np.repeat(np.arange(counts.size), counts.reshape(-1))
    last = np.minimum(np.arange(total), np.repeat(first + of_lists - 1, places))
    owner = owner[last]  # padding repeats the list's last block
    codes = usual.transpose(0, 2, 1).reshape(-1, WIDTH)[owner]
    values = np.zeros((total, WIDTH), np.float32)
    panel, output, at, lane = np.nonzero(alive)
    place = first_of_window[panel, at] + (np.cumsum(alive, axis=3) - 1)[panel, output, at, lane]
    codes[place, output] = lane
    values[place, output] = full[panel, output, at, lane]
    return places, _index(starts[owner % max(counts.shape[1], 1)], codes), values


def put(w: Array, index: Array, blocks: Array) -> None:
    """Undo `lists` for one list: its blocks [places, 16] into w [16, inputs] of zeros."""
    words = index.reshape(-1, 5 * FOUR)
    starts = words[:, :FOUR].reshape(-1)
    shifts = 4 * np.arange(FOUR)[:, None]
    codes = (words[:, None, FOUR:] >> shifts & 15).reshape(-1, WIDTH)
    place, output = np.nonzero(blocks)
    w[output, starts[place] + codes[place, output]] = blocks[place, output]


def stored(w: Array, window: int) -> Array:
    """Which inputs meet which outputs of w [outputs, inputs], with a weight or a zero."""
    outputs, inputs = w.shape
    full = np.pad(w, ((0, -outputs % WIDTH), (0, 0)))
    alive = _windows(full, window) != 0
    used = np.broadcast_to(alive.any(axis=(1, 3))[:, None], alive.shape[:3])
    by_zeros = (_last_lane(alive)[..., None] == np.arange(window)) & used[..., None]
    met = np.zeros((len(full), inputs), np.bool_)
    panel, output, at, lane = np.nonzero(alive | by_zeros)
    met[panel * WIDTH + output, _starts(inputs, window)[at] + lane] = True
    return met[:outputs]


def share(w: Array, window: int) -> float:
    """Blocks that are stored of w [outputs, inputs], as a share of a dense matrix's."""
    if not w.size:
        return 0.0
    full = np.pad(w, ((0, -len(w) % WIDTH), (0, 0)))
    counts = (_windows(full, window) != 0).sum(axis=3).max(axis=1)
    return float(counts.sum() / (len(full) // WIDTH * w.shape[1]))


def _starts(inputs: int, window: int) -> Array:
    """Where windows start."""
    return np.minimum(np.arange(0, inputs, window), max(inputs - window, 0))


def _windows(w: Array, window: int) -> Array:
    """[outputs, inputs] -> [panels, 16, windows, lanes]; every input in one window."""
    outputs, inputs = w.shape
    starts = _starts(inputs, window)
    lead = inputs % window if len(starts) > 1 else 0
    found = np.zeros((outputs, len(starts) * window), w.dtype)
    whole = inputs // window * window
    found[:, :whole] = w[:, :whole]
    at = len(found[0]) - lead if lead else whole  # the last window ends with the inputs
    found[:, at : at + inputs - whole] = w[:, whole:]
    return found.reshape(outputs // WIDTH, WIDTH, len(starts), window)


def _last_lane(alive: Array) -> Array:
    """The last lane that is alive, or 0."""
    lanes = np.arange(alive.shape[3])
    found: Array = np.where(alive, lanes, 0).max(axis=3, initial=0)
    return found


def _index(starts: Array, codes: Array) -> Array:
    """Words of the index from each place's window and its codes [places, 16]."""
    shifts = 4 * np.arange(FOUR)[:, None]
    packed = (codes.reshape(-1, FOUR, WIDTH) << shifts).sum(axis=1)
    return np.concatenate([starts.reshape(-1, FOUR), packed], axis=1).reshape(-1)
