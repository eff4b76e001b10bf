"""The time of a step of the layers that can be pruned, by the cost table: what `--budget` spends.

All matrices of a node run in one kernel, so it is nodes that have a time. In which format a node's
weights are stored, and whether leaving zeros out pays, is decided as lowering decides it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir.patterns import Mask
from edgeseq.kernels import _blocks, _formats
from edgeseq.lower import sparse_convolution, work
from edgeseq.lower.costs import Costing, CostTable
from edgeseq.lower.formats import worth_a_look
from edgeseq.train.prunable import CONVOLUTION, INPUT, LINEAR, RECURRENT, Matrix

Cost = Callable[[Mapping[Matrix, Mask]], float]

_UNITS = {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0}


def seconds(text: str) -> float:
    """Read `0.2ms`.

    Raises:
        UsageError: it is no time.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(ns|us|ms|s)", text.strip())
    if found is None or not float(found[1]):
        raise UsageError(f"cannot read --budget '{text}'", fix="for example: --budget 0.2ms")
    return float(found[1]) * _UNITS[found[2]]


def text(time: float) -> str:
    """`0.0002 -> 200 us`."""
    return f"{time * 1e6:.4g} us"


def model(table: CostTable) -> Cost:
    """Return what prices masks: the seconds of a step of all kernels that their matrices run in.

    A node's matrices without a mask are dense. What the table does not know costs nothing.
    """
    # The newest instruction set may add to integer kernels alone: those of floats are older.
    levels = [name for name, known in table.levels.items() if any("_f32" in k for k in known)]

    def cost(masks: Mapping[Matrix, Mask]) -> float:
        nodes: dict[ir.Node, list[Matrix]] = {}
        for matrix in masks:
            for node in dict.fromkeys(use.node for use in matrix.uses):
                nodes.setdefault(node, []).append(matrix)
        return sum(
            _seconds(node, {m: masks[m] for m in parts}, table, levels)
            for node, parts in nodes.items()
        )

    return cost


def layers(matrices: Sequence[Matrix]) -> dict[Matrix, list[Matrix]]:
    """Group matrices into those that kernels share, each under its first matrix."""
    groups: list[tuple[set[ir.Node], list[Matrix]]] = []
    for matrix in matrices:
        nodes, parts = {use.node for use in matrix.uses}, [matrix]
        for group in [g for g in groups if g[0] & nodes]:
            groups.remove(group)
            nodes, parts = nodes | group[0], [*group[1], *parts]
        groups.append((nodes, parts))
    return {parts[0]: parts for _, parts in groups}


def _seconds(
    node: ir.Node, masks: Mapping[Matrix, Mask], table: CostTable, levels: Sequence[str]
) -> float:
    """The time of the kernel that a node gets, at the newest level."""
    first = next(iter(masks))
    if first.kind in (INPUT, RECURRENT):
        family, sizes = node.op_type.lower(), _cell(node)
    elif first.kind == LINEAR:
        family, sizes = "gemm", _product(node, first)
    elif first.kind == CONVOLUTION and node.op_type == "Conv":
        return _convolution(node, first, masks[first], Costing(table, tuple(levels)))
    else:
        return 0.0
    dense = f"{family}_f32"
    options = [(dense, dense, sizes)]
    kernels = {
        form: f"{'spmv' if family == 'gemm' else family}_{form.name}" for form in _formats.SPARSE
    }

    def share(form: _formats.Format) -> float:
        blocks, whole = _blocks_left(kernels[form], sizes, masks, form)
        return blocks / whole

    for form in worth_a_look("f32", share):
        blocks, _ = _blocks_left(kernels[form], sizes, masks, form)
        each = -(-blocks // sizes.get("directions", 1))
        options.append((kernels[form], kernels[form], {**sizes, "blocks": each}))
    chosen, _ = table.cheapest(options, levels)
    found = next(sizes for name, _, sizes in options if name == chosen)
    times = (table.seconds(chosen, found, level) for level in reversed(levels))
    return next((t for t in times if t is not None), 0.0)


def _blocks_left(
    kernel: str, sizes: Mapping[str, int], masks: Mapping[Matrix, Mask], form: _formats.Format
) -> tuple[int, int]:
    """Blocks that a sparse kernel stores, and those of dense matrices; no mask is dense."""
    parsed = work.parse(kernel)
    assert parsed is not None
    if parsed.family in work.GATES:
        maps = work.GATES[parsed.family] * sizes["directions"]
        whole = maps * work.dense_blocks(parsed, sizes["H"], sizes["I"] + sizes["H"])
    else:
        whole = work.dense_blocks(parsed, sizes["N"], sizes["K"])
    saved = sum(
        (1 - _blocks.share(mask.astype(np.float32), form)) * work.dense_blocks(parsed, *mask.shape)
        for mask in masks.values()
    )
    return math.ceil(whole - saved - 1e-6), whole


def _cell(node: ir.Node) -> dict[str, int]:
    """The sizes of a recurrence for one step of the model."""
    x, weights, recurrent = node.inputs[:3]
    assert x is not None
    assert weights is not None
    assert recurrent is not None
    layout = node.attributes.get_int("layout", 0)
    steps, batch, *_ = *_known(x), 1, 1
    (directions, _, hidden), inputs = _known(recurrent), _known(weights)[2]
    return {
        **({"T": batch, "B": steps} if layout else {"T": steps, "B": batch}),
        **{"I": inputs, "H": hidden, "groups": 1, "directions": directions},
    }


def _product(node: ir.Node, matrix: Matrix) -> dict[str, int]:
    """The sizes of a product for one step; a constant on the left has its columns as rows."""
    slot = next(use.slot for use in matrix.uses if use.node is node)
    x = node.inputs[1 - slot]
    assert x is not None
    outputs, inputs = matrix.shape
    dims = _known(x)
    return {"M": max(math.prod(dims) // inputs, 1), "N": outputs, "K": inputs}


def _convolution(node: ir.Node, matrix: Matrix, mask: Mask, costing: Costing) -> float:
    """The time of a convolution for one step."""
    rows = mask.astype(np.float32).reshape(len(mask), matrix.taps, -1)
    weight = np.ascontiguousarray(rows.transpose(0, 2, 1))  # how the taps lie does not matter
    sizes = _known(node.outputs[0])
    if len(sizes) not in (3, 4):
        return 0.0
    image = [1, *sizes[2:]][-2:]
    return sparse_convolution.seconds(weight, matrix.groups, (image[0], image[1]), costing) or 0.0


def _known(value: ir.Value) -> list[int]:
    """The sizes of a value, 1 for time."""
    return [d if isinstance(d, int) else 1 for d in value.shape or ()]
