"""What a kernel has to do at given sizes: the few counts that its time is made of.

Kernels are named `<family>_<weights>[_<layout>]`, e.g. `gru_bf16_b16x1`, `gru_f32_nm8`. Only
families whose weights come in several formats are counted: there alone lowering has a choice.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping

GATES: Mapping[str, int] = {"gru": 3, "lstm": 4, "rnn": 1}
PRODUCTS = ("gemm", "spmv", "gemv")
WEIGHT_BITS: Mapping[str, int] = {"f32": 32, "bf16": 16, "f16": 16, "i8": 8}
# Levels that are floats when they are multiplied: row by row, each group of inputs with a scale.
LEVEL_BITS: Mapping[str, int] = {"i8w": 8, "i4": 4, "i4_f16": 4}
SCALE_BYTES: Mapping[str, int] = {"i8w": 4, "i4": 4, "i4_f16": 2}
ROW_TILE = 4  # rows that share one load of a weight: ES_MAX_ROWS in c/tile.h
PANEL = 16  # outputs computed together
INDEX_BYTES = 2  # of a stored block
NM_INDEX_BYTES = 10  # the same, of N:M weights
_NAME = re.compile(r"([a-z]+)_(f32|bf16|f16|i8w|i8|i4_f16|i4)(?:_b(\d+)x(\d+)|_nm(\d+))?")


@dataclasses.dataclass(frozen=True)
class Format:
    """A kernel's name, taken apart.

    Args:
        family: `gru`, `gemm`, `spmv`, ...
        weights: A key of `WEIGHT_BITS` or `LEVEL_BITS`.
        rows: Outputs of a block.
        cols: Inputs of a block.
        sparse: Blocks are stored with their index; else all of them are.
        window: N:M weights: the inputs among which an output of a block picks its own; else 0.
    """

    family: str
    weights: str
    rows: int
    cols: int
    sparse: bool
    window: int = 0

    @property
    def layout(self) -> str:
        """`b16x1`, `nm8`, or "" for dense weights."""
        if self.window:
            return f"nm{self.window}"
        return f"b{self.rows}x{self.cols}" if self.sparse else ""

    @property
    def name(self) -> str:
        """The kernel's name."""
        return "_".join(filter(None, (self.family, self.weights, self.layout)))

    @property
    def block_bytes(self) -> int:
        """Bytes that one block takes in the stream of weights."""
        bits = {**WEIGHT_BITS, **LEVEL_BITS}[self.weights]
        values = self.rows * self.cols * bits // 8
        if self.window:
            return values + NM_INDEX_BYTES
        return values + (INDEX_BYTES if self.sparse else 0)


@dataclasses.dataclass(frozen=True)
class Work:
    """Counts of one call.

    Args:
        calls: 1, and 1 more for every further step of a sequence.
        panels: Panels of 16 outputs finished (a cell: of 16 units), over all rows.
        loads: Blocks of weights loaded.
        macs: Blocks multiplied, over all rows.
        bytes: Bytes of weights, loaded once.
        passes: How often they are loaded.
    """

    calls: float
    panels: float
    loads: float
    macs: float
    bytes: float
    passes: float


def parse(kernel: str) -> Format | None:
    """Take a kernel's name apart; None for one that is not counted."""
    found = _NAME.fullmatch(kernel)
    if found is None or found[1] not in (*GATES, *PRODUCTS):
        return None
    if (found[1] == "gemv") != (found[2] in LEVEL_BITS):
        return None
    dense_cols = 4 if found[2] == "i8" else 1
    rows, cols, window = int(found[3] or PANEL), int(found[4] or dense_cols), int(found[5] or 0)
    return Format(found[1], found[2], rows, cols, bool(found[3] or window), window)


def of(kernel: str, sizes: Mapping[str, int]) -> Work | None:
    """Count the work of a call, or None for a kernel that is not counted."""
    form = parse(kernel)
    if form is None:
        return None
    if form.family in GATES:
        chains, maps = sizes.get("groups", 1) * sizes.get("directions", 1), GATES[form.family]
        outputs, inputs = sizes["H"], sizes["I"] + sizes["H"]
        steps, rows = max(sizes["T"], 1), sizes["B"]
        panels = chains * steps * rows * -(-outputs // PANEL)
    else:
        chains, maps, steps, rows = 1, 1, 1, sizes["M"]
        outputs, inputs = sizes["N"], sizes["K"]
        panels = rows * -(-outputs // PANEL)
    own = sizes["blocks"] if form.sparse else dense_blocks(form, outputs, inputs) * maps
    blocks = chains * own
    passes, scales = steps * -(-rows // ROW_TILE), 0
    if form.weights in LEVEL_BITS:
        passes = rows
        groups = -(-inputs // (sizes.get("group") or inputs or 1))
        scales = -(-outputs // PANEL) * PANEL * groups * SCALE_BYTES[form.weights]
    return Work(
        calls=steps,
        panels=panels,
        loads=blocks * passes,
        macs=blocks * steps * rows,
        bytes=blocks * form.block_bytes + scales,
        passes=passes,
    )


def dense_blocks(form: Format, outputs: int, inputs: int) -> int:
    """Blocks of one linear map that has no zeros."""
    return -(-outputs // form.rows) * -(-inputs // form.cols)
