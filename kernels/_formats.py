"""How the numbers of a constant weight are stored: float32, or two halves in a 32-bit word.

Two consecutive inputs share a row of words. bfloat16: the first in the lower half of a word, the
second in the upper. float16: first all of the first input, then all of the second. An odd number of
inputs is padded with zeros. Arrays of words have dtype float32, whatever their bits say.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from edgeseq.kernels._family import Array


@dataclasses.dataclass(frozen=True)
class Format:
    """The storage of a weight.

    Args:
        element: "f32", "bf16" or "f16".
        width: Outputs of a block of `width` x 1 weights that is stored or not; 0: all are stored.
        window: Neighbouring inputs among which every output of a block picks its own (N:M weights,
            see `_nm`); 0: all take the same input.
    """

    element: str
    width: int = 0
    window: int = 0

    @property
    def name(self) -> str:
        """What a kernel's symbol ends with."""
        if self.window:
            return f"{self.element}_nm{self.window}"
        return f"{self.element}_b{self.width}x1" if self.width else self.element

    @property
    def index_words(self) -> int:
        """16-bit words of a block's index."""
        return 5 if self.window else 1


F32, BF16, F16 = Format("f32"), Format("bf16"), Format("f16")
DENSE = (F32, BF16, F16)
BLOCKS = (
    *(Format(element, width) for element in ("f32", "bf16") for width in (16, 8)),
    Format("f16", 16),
)
N_OF_M = tuple(Format(element, 16, window) for element in ("f32", "bf16") for window in (8, 16))
SPARSE = BLOCKS + N_OF_M
ALL = DENSE + SPARSE


def to_halves(values: Array, element: str) -> Array:
    """Round float32 to the nearest half, ties to even: uint16."""
    values = np.ascontiguousarray(values, np.float32)
    if element == "f16":
        with np.errstate(over="ignore"):
            return values.astype(np.float16).view(np.uint16)
    bits = values.view(np.uint32)
    nearest = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    quiet = (bits >> 16) | 0x40  # adding could carry a not-a-number into infinity
    return np.where(np.isnan(values), quiet, nearest).astype(np.uint16)


def from_halves(halves: Array, element: str) -> Array:
    """Undo `to_halves`, exactly."""
    if element == "f16":
        return halves.view(np.float16).astype(np.float32)
    return (halves.astype(np.uint32) << 16).view(np.float32)


def rounded(values: Array, element: str) -> Array:
    """The float32 values that a weight has once it is stored."""
    if element == "f32":
        return values.astype(np.float32)
    return from_halves(to_halves(values, element), element)


def word_rows(inputs: int, element: str) -> int:
    """Rows of words that so many inputs take."""
    return inputs if element == "f32" else (inputs + 1) // 2


def to_words(rows: Array, element: str) -> Array:
    """[inputs, gates, outputs] -> words [word_rows, gates, outputs]."""
    if element == "f32":
        return rows.astype(np.float32)
    inputs, gates, outputs = rows.shape
    rows = np.pad(rows, ((0, inputs % 2), (0, 0), (0, 0)))
    pairs = to_halves(rows, element).reshape(-1, 2, gates, outputs)
    axes = (0, 2, 3, 1) if element == "bf16" else (0, 2, 1, 3)
    words = np.ascontiguousarray(pairs.transpose(axes)).reshape(-1).view(np.float32)
    return words.reshape(-1, gates, outputs)


def from_words(words: Array, inputs: int, element: str) -> Array:
    """Undo `to_words`."""
    if element == "f32":
        return words
    count, gates, outputs = words.shape
    halves = np.ascontiguousarray(words).view(np.uint16)
    if element == "bf16":
        pairs = halves.reshape(count, gates, outputs, 2).transpose(0, 3, 1, 2)
    else:
        pairs = halves.reshape(count, gates, 2, outputs).transpose(0, 2, 1, 3)
    rows = np.ascontiguousarray(pairs).reshape(2 * count, gates, outputs)
    return from_halves(rows, element)[:inputs]
