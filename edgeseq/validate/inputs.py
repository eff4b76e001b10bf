"""Inputs to record with: the user's samples, else smooth random values that the model can take."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir import facts

Array = npt.NDArray[Any]

_SMOOTHNESS = 0.8  # correlation of neighbours in time: signals and features change slowly
_SCALE = 0.5  # between samples of audio (below 1) and normalised features (about 1)
_TRANSPARENT = frozenset({"Cast", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})


def numpy_type(value: ir.Value) -> np.dtype[Any]:
    """Return the numpy type of a value; bfloat16, which numpy lacks, travels as float32."""
    assert value.dtype is not None, f"'{value.name}' has no type"
    if value.dtype == ir.DataType.BFLOAT16:
        return np.dtype(np.float32)
    kind: np.dtype[Any] = value.dtype.numpy()
    return kind


def shape_of(value: ir.Value, length: int) -> tuple[int, ...]:
    """Return the shape for this many time steps."""
    assert value.shape is not None, f"'{value.name}' has no shape"
    sizes = []
    for dim in value.shape:
        if isinstance(dim, int):
            sizes.append(dim)
            continue
        symbols = {str(s): length for s in dim.free_symbols()}
        sizes.append(int(dim.evaluate(symbols)))
    return tuple(sizes)


def initial_state(value: ir.Value) -> Array:
    """Return the first value of a state: zeros, or what the model says."""
    shape = shape_of(value, 1)
    given = facts.get(value, facts.InitialState)
    if given is None:
        return np.zeros(shape, numpy_type(value))
    raw = base64.b64decode(given.data)
    return np.frombuffer(raw, numpy_type(value).newbyteorder("<")).reshape(shape).copy()


def make(
    values: list[ir.Value], steps: int, *, stacked: bool, seed: int, positive: bool
) -> dict[str, Array]:
    """Make an array per input.

    Args:
        values: The inputs without the states.
        steps: Number of time steps.
        stacked: Put the steps on a new leading axis; else the model has its own time axis.
        seed: Of the random numbers.
        positive: Make floats positive, for models that take logarithms or roots of them.
    """
    made = {}
    for position, value in enumerate(values):
        random = np.random.default_rng([seed, position])
        shape = shape_of(value, steps)
        time = facts.get(value, facts.TimeAxis)
        axis = None if time is None else time.axis
        if stacked:
            shape, axis = (steps, *shape), 0
        array = _random(value, shape, axis, random)
        if positive and array.dtype.kind == "f":
            array = np.abs(array)
        made[str(value.name)] = array
    return made


def _random(
    value: ir.Value, shape: tuple[int, ...], axis: int | None, random: np.random.Generator
) -> Array:
    kind = numpy_type(value)
    if kind.kind == "f":
        noise = random.normal(scale=_SCALE, size=shape)
        return (noise if axis is None else _smooth(noise, axis)).astype(kind)
    if kind.kind == "b":
        return random.integers(0, 2, size=shape).astype(kind)
    return random.integers(0, _limit(value, kind), size=shape).astype(kind)


def _smooth(noise: Array, axis: int) -> Array:
    """A first-order recursive filter along time that keeps the variance."""
    rows = np.moveaxis(noise, axis, 0).copy()
    for now in range(1, len(rows)):
        rows[now] = _SMOOTHNESS * rows[now - 1] + np.sqrt(1 - _SMOOTHNESS**2) * rows[now]
    return np.moveaxis(rows, 0, axis)


def _limit(value: ir.Value, kind: np.dtype[Any]) -> int:
    """Return a bound below which every integer is legal: the size of the table it indexes."""
    found = _index_limits(value)
    if found:
        return min(found)
    return 128 if kind.itemsize == 1 else 2  # bytes are data; wider integers mostly choose


def _index_limits(value: ir.Value) -> list[int]:
    limits: list[int] = []
    for use in value.uses():
        node, index = use.node, use.idx
        if node.op_type in _TRANSPARENT and index == 0:
            limits += _index_limits(node.outputs[0])
        elif node.op_type == "Gather" and index == 1:
            table = node.inputs[0]
            axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
            if table.shape is not None and isinstance(table.shape[axis], int):
                limits.append(table.shape[axis])
        elif node.op_type == "OneHot" and index == 0:
            depth = node.inputs[1].const_value
            limits += [] if depth is None else [int(depth.numpy().reshape(-1)[0])]
    return limits


def read(file: Path, values: list[ir.Value], *, stacked: bool) -> dict[str, Array]:
    """Read the user's samples, and check that they fit the inputs.

    Raises:
        UsageError: not an .npz file, an unknown name, or a shape that does not fit.
    """
    known = {str(value.name): value for value in values}
    try:
        with np.load(file, allow_pickle=False) as archive:
            given = {name: archive[name] for name in archive.files}
    except (OSError, ValueError, AttributeError) as error:
        raise UsageError(
            f"cannot read sample inputs '{file}'", why=str(error), fix="numpy.savez(file, x=...)"
        ) from None
    for name, array in given.items():
        if name not in known:
            raise UsageError(
                f"'{file}' holds '{name}', which is no input", fix=f"inputs: {', '.join(known)}"
            )
        _check_sample(name, array, known[name], stacked)
    return {name: array.astype(numpy_type(known[name])) for name, array in given.items()}


def _check_sample(name: str, array: Array, value: ir.Value, stacked: bool) -> None:
    want = [d if isinstance(d, int) else None for d in value.shape or ()]
    want = [None, *want] if stacked else want
    fits = len(want) == array.ndim and all(
        w in (None, n) for w, n in zip(want, array.shape, strict=True)
    )
    if not fits:
        text = ", ".join("T" if w is None else str(w) for w in want)
        raise UsageError(
            f"sample input '{name}' has shape {list(array.shape)}, the model takes [{text}]"
        )


def length_of(arrays: Mapping[str, Array], values: list[ir.Value], *, stacked: bool) -> int | None:
    """Return the number of time steps that the samples have; None when none says it.

    Raises:
        UsageError: they differ.
    """
    lengths = set()
    for value in values:
        time = facts.get(value, facts.TimeAxis)
        axis = 0 if stacked else None if time is None else time.axis
        if value.name in arrays and axis is not None:
            lengths.add(arrays[str(value.name)].shape[axis])
    if len(lengths) > 1:
        raise UsageError(f"the sample inputs differ in their number of steps: {sorted(lengths)}")
    return lengths.pop() if lengths else None
