"""How a constant weight is stored: dense or in blocks, in float32 or in halves.

The graph says what a weight is (zeros, a Cast from a half); here it becomes one of the formats that
the kernels have. The cost table decides among them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.kernels import _formats
from edgeseq.kernels._blocks import Blocks, share
from edgeseq.kernels._family import Kernel, Role
from edgeseq.kernels._formats import Format
from edgeseq.lower.select import Array, Choice, Shapes, constant
from edgeseq.lower.size import Size
from edgeseq.lower.work import PANEL

_HALVES = {ir.DataType.BFLOAT16: "bf16", ir.DataType.FLOAT16: "f16"}
# The share of stored blocks from which on dense always wins. A block of N:M weights takes more
# instructions: 5 in 8 were counted to cost what dense weights do.
WORTH_A_LOOK = 0.75
WORTH_A_LOOK_N_OF_M = 0.6


@dataclasses.dataclass(frozen=True, eq=False)
class Weight:
    """A constant as the graph stores it.

    Args:
        array: Its values in float32.
        element: "f32", "bf16" or "f16".
    """

    array: Array
    element: str


def weight(value: ir.Value | None) -> Weight | None:
    """A float32 initializer, or a half that is cast to float32; None if it is neither."""
    cast = None if value is None else value.producer()
    half = None if cast is None or cast.op_type != "Cast" or cast.domain else cast.inputs[0]
    element = None if half is None or half.dtype is None else _HALVES.get(half.dtype)
    if element is None:
        array = constant(value)
        return None if array is None else Weight(array, "f32")
    # What a Cast makes is known, too, but it is the half that is stored.
    array = constant(half)
    if array is None or value is None or value.dtype != ir.DataType.FLOAT:
        return None
    return Weight(array.astype(np.float32), element)


def options(element: str, matrices: Sequence[Array]) -> list[Format]:
    """The formats a weight can have, dense first.

    Args:
        element: How its numbers are stored.
        matrices: The linear maps that it is made of, [outputs, inputs] each.
    """
    found = [next(f for f in _formats.DENSE if f.element == element)]
    left = sum(int(np.count_nonzero(m)) for m in matrices) / max(sum(m.size for m in matrices), 1)
    if left >= WORTH_A_LOOK:  # no format stores less than that
        return found
    return found + worth_a_look(element, lambda form: _share(matrices, form))


def worth_a_look(element: str, share: Callable[[Format], float]) -> list[Format]:
    """The sparse formats of an element that may be faster than the dense one.

    Args:
        element: As above.
        share: The blocks that a format stores, as a share of those of dense matrices.
    """
    found, blocks = [], WORTH_A_LOOK
    for form in (f for f in _formats.SPARSE if f.element == element):
        left = share(form)
        if form.width == PANEL and not form.window:
            blocks = min(blocks, left)
        # A block of N:M weights takes more instructions than one whose outputs share an input.
        if left < (min(WORTH_A_LOOK_N_OF_M, blocks) if form.window else WORTH_A_LOOK):
            found.append(form)
    return found


def _share(matrices: Sequence[Array], form: Format) -> float:
    """The blocks that are stored, as a share of those of dense matrices."""
    total = sum(m.size for m in matrices)
    return sum(share(m, form) * m.size for m in matrices) / max(total, 1)


Pack = Callable[[Format], Array | Blocks]


def choose(
    base: Choice,
    kernels: Mapping[Format, Kernel],
    forms: Sequence[Format],
    pack: Pack,
    shapes: Shapes,
    others: Mapping[str, Array | None] | None = None,
) -> Choice:
    """The choice in the format that the cost table finds cheapest.

    Args:
        base: The choice but for its kernel and constants.
        kernels: The family's kernel of each format.
        forms: Formats to choose from, dense first.
        pack: Packs the weight in a format.
        shapes: Holds the cost table.
        others: Further constants by argument name.
    """
    made = [_stored(base, kernels[form], pack(form), others or {}) for form in forms]
    if len(made) == 1:
        return made[0]
    priced = [(choice, choice.kernel.name, at_one_step(choice)) for choice in made]
    costing = shapes.costing
    best, why = costing.table.cheapest(priced, costing.levels)
    return dataclasses.replace(best, why=f"{best.why}; {why}")


def _stored(
    base: Choice, kernel: Kernel, packed: Array | Blocks, others: Mapping[str, Array | None]
) -> Choice:
    sizes, arrays = dict(base.sizes), dict(others)
    if isinstance(packed, Blocks):
        sizes["blocks"] = Size.of(packed.blocks)
        arrays.update(packed.arrays())
    else:
        arrays["w"] = packed
    return dataclasses.replace(
        base,
        kernel=kernel,
        sizes={name: sizes[name] for name in kernel.sizes},
        consts=tuple(arrays.get(a.name) for a in kernel.args if a.role is Role.CONST),
    )


def at_one_step(choice: Choice) -> dict[str, int]:
    """Sizes for the table. One step, in `run` too: both must store a weight in the same way."""
    return {name: size.at({"T": 1}) for name, size in choice.sizes.items()}
