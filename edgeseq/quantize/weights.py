"""One weight: rounded as the scheme says, and as nodes of the graph that give it back in float.

int8       DequantizeLinear(levels, scales)                      one scale per output
int4       DequantizeLinear<block_size>(levels, Cast(scales))    one scale per output and group
bf16, fp16 Cast(weight)
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import ml_dtypes
import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor
from edgeseq.quantize import levels, rounding
from edgeseq.quantize.scheme import Scheme, Settings

Array = npt.NDArray[Any]

_HALF = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


@dataclasses.dataclass(frozen=True)
class Rounded:
    """A matrix [outputs, inputs] as levels and scales.

    Args:
        levels: int8 [outputs, inputs].
        scales: float32 [outputs], or float16 [outputs, groups].
        group: Inputs that share a scale; 0: all of a row.
    """

    levels: Array
    scales: Array
    group: int = 0

    def floats(self) -> Array:
        """The weights they stand for."""
        if self.group:
            return self.levels * levels.spread(self.scales, self.group, self.levels.shape[1])
        return np.asarray(self.levels * self.scales[:, None], np.float32)


def rounded(
    w: Array,
    scheme: Scheme,
    settings: Settings,
    rows: Array | None,
    missing: Array | None = None,
) -> Rounded:
    """Round a matrix to int8 or int4.

    Args:
        w: Weights [outputs, inputs].
        scheme: How.
        settings: Rounding and saturation.
        rows: What it is multiplied by [count, inputs], where that is known, or, where that is not
            the same for all outputs, [groups, count, inputs].
        missing: What its outputs lack for other reasons [count, outputs], to be made up for.
    """
    free = settings.saturation_free and scheme.activations and scheme.weights == "int8"
    if scheme.weights == "int4":
        scales, top, group = levels.group_scales(w, scheme.group), levels.TOP4, scheme.group
        full = levels.spread(scales, group, w.shape[1])
    else:
        group, top = 0, levels.TOP8
        scales = levels.row_scales(w, saturation_free=free)
        full = scales[:, None]
    found = _levels(w, full, settings.rounding, rows, top, missing)
    return Rounded(levels.paired(found) if free else found, scales, group)


def joined(parts: Sequence[Rounded]) -> Rounded:
    """Matrices below each other."""
    return Rounded(
        np.concatenate([one.levels for one in parts]),
        np.concatenate([one.scales for one in parts]),
        parts[0].group,
    )


def _levels(
    w: Array, scales: Array, how: str, rows: Array | None, top: int, missing: Array | None
) -> Array:
    if how == "nearest" or rows is None:
        return levels.to_levels(w, scales, top)
    if rows.ndim == 3:
        return _levels_of_groups(w, scales, how, rows, top)
    exact = rows.astype(np.float64)
    gram = exact.T @ exact
    lack = None if missing is None else missing.T.astype(np.float64) @ exact
    if how == "gptq":
        return rounding.gptq(w, scales, gram, top, lack)
    from edgeseq.quantize.adaround import adaround  # torch

    return adaround(w, scales, gram, top, lack)


def _levels_of_groups(w: Array, scales: Array, how: str, rows: Array, top: int) -> Array:
    exact = rows.astype(np.float64)
    grams = exact.swapaxes(1, 2) @ exact
    parts = w.reshape(len(rows), -1, w.shape[1])
    spread = np.broadcast_to(scales, w.shape).reshape(parts.shape)
    if how == "gptq":
        each = zip(parts, spread, grams, strict=True)
        return np.concatenate([rounding.gptq(p, s, g, top) for p, s, g in each])
    from edgeseq.quantize.adaround import adaround  # torch

    return adaround(parts, spread, grams, top).reshape(w.shape)


def halved(w: Array, scheme: Scheme) -> Array:
    """The weights in half precision; what lies beyond float16 stays at its end."""
    kind = _HALF[scheme.weights]
    if scheme.weights == "float16":
        limit = np.finfo(np.float16).max
        w = np.clip(w, -limit, limit)
    return np.asarray(w.astype(kind))


def cast(edit: Editor, before: ir.Node, value: ir.Value, data: Array) -> ir.Value:
    """A half-precision initializer and the Cast that makes it float32 again."""
    name = str(value.name)
    stored = edit.constant(data, f"{name}.{data.dtype.name}")
    stored.metadata_props.update(value.metadata_props)
    return edit.emit(before, "Cast", [stored], {"to": ir.DataType.FLOAT.value})


def dequantized(
    edit: Editor, before: ir.Node, value: ir.Value, whole: Array, scales: Array, axis: int
) -> ir.Value:
    """int8 levels in the layout of the weight, and the node that scales them along one axis."""
    name = str(value.name)
    stored = edit.constant(np.ascontiguousarray(whole), f"{name}.int8")
    stored.metadata_props.update(value.metadata_props)
    factors = edit.constant(scales, f"{name}.scale")
    return edit.emit(before, "DequantizeLinear", [stored, factors], {"axis": axis})


def dequantized_groups(
    edit: Editor, before: ir.Node, value: ir.Value, one: Rounded, *, inputs_first: bool
) -> ir.Value:
    """int4 levels of a matrix, two in a byte, scaled group by group along its inputs."""
    name = str(value.name)
    whole = one.levels.T if inputs_first else one.levels
    scales = one.scales.T if inputs_first else one.scales
    stored = edit.constant(np.ascontiguousarray(whole).astype(ml_dtypes.int4), f"{name}.int4")
    stored.metadata_props.update(value.metadata_props)
    factors = edit.constant(np.ascontiguousarray(scales), f"{name}.scale")
    real = edit.emit(before, "Cast", [factors], {"to": ir.DataType.FLOAT.value})
    axis = 0 if inputs_first else 1
    attributes = {"axis": axis, "block_size": one.group}
    return edit.emit(before, "DequantizeLinear", [stored, real], attributes)
