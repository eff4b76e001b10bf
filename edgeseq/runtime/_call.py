"""From what the user passes to checked arrays, and from arrays to pointers."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.runtime import _dtypes
from edgeseq.runtime._manifest import Manifest, Tensor

Array = npt.NDArray[Any]

ALIGNMENT = 64


def aligned(size: int) -> Array:
    """Return `size` bytes that start at a multiple of 64."""
    raw = np.zeros(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size]


def aligned_array(shape: Sequence[int], dtype: str) -> Array:
    """Return a zeroed array of the memory type of `dtype` that starts at a multiple of 64."""
    layout = _dtypes.memory(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * layout.itemsize
    return aligned(size).view(layout).reshape(tuple(shape))


def by_name(
    manifest: Manifest, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> list[Any]:
    """Return the given values in the order of the inputs.

    Values come as one dict, by position, by keyword, or by position and keyword.

    Raises:
        UsageError: an input is missing, unknown or given twice.
    """
    names = [t.name for t in manifest.inputs]
    expected = "inputs: " + "; ".join(map(str, manifest.inputs))
    if len(args) == 1 and not kwargs and isinstance(args[0], Mapping):
        return by_name(manifest, (), args[0])
    if len(args) > len(names):
        raise UsageError(f"{len(args)} inputs given, '{manifest.name}' takes {len(names)}: {names}")
    given: dict[str, object] = dict(zip(names, args, strict=False))
    for name, value in kwargs.items():
        if name in given:
            raise UsageError(f"input '{name}' was given twice", why=expected)
        if name not in names:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            fix = f"did you mean '{near[0]}'?" if near else ""
            raise UsageError(f"'{manifest.name}' has no input '{name}'", why=expected, fix=fix)
        given[name] = value
    missing = [n for n in names if n not in given]
    if missing:
        raise UsageError(f"input '{missing[0]}' is missing", why=expected)
    return [given[n] for n in names]


def one_step(manifest: Manifest, values: Sequence[object]) -> list[Array]:
    """Check and convert the inputs of one step."""
    arrays = []
    for tensor, value in zip(manifest.inputs, values, strict=True):
        array = _dtypes.encode(value, tensor.dtype, tensor.name)
        _dtypes.check_shape(array.shape, tensor.at(1), tensor.name, fix="run() takes many steps")
        arrays.append(array)
    return arrays


def many_steps(manifest: Manifest, values: Sequence[object]) -> tuple[list[Array], int | None]:
    """Check and convert the inputs of a sequence; return them and the number of steps.

    The number is None where a model that is one step got one frame: its outputs are then frames.
    """
    arrays = [
        _dtypes.encode(value, tensor.dtype, tensor.name)
        for tensor, value in zip(manifest.inputs, values, strict=True)
    ]
    steps = _stacked(manifest, arrays) if manifest.loop else _time(manifest, arrays)
    if steps is not None:
        check_steps(manifest, steps)
    return arrays, steps


def check_steps(manifest: Manifest, steps: int) -> None:
    """Raise a UsageError unless the model was compiled for this many steps in one call."""
    least, most = manifest.min_steps, manifest.max_steps
    if steps < least or (most is not None and steps > most):
        limit = f"at least {least}" if most is None else f"from {least} to {most}"
        raise UsageError(
            f"{steps} steps given",
            why=f"'{manifest.name}' was compiled for {limit}",
            fix="split the sequence: stream().run(chunk) keeps the state between chunks",
        )


def inputs(manifest: Manifest, steps: int | None) -> list[Array]:
    """Allocate inputs; `steps` as `many_steps` returns it."""
    return _allocate(manifest, manifest.inputs, steps)


def outputs(manifest: Manifest, steps: int | None) -> list[Array]:
    """Allocate outputs; `steps` as `many_steps` returns it."""
    return _allocate(manifest, manifest.outputs, steps)


def result(manifest: Manifest, arrays: Sequence[Array]) -> Array | dict[str, Array]:
    """One output: the array. More: a dict by name."""
    named = {
        t.name: _dtypes.decode(a, t.dtype) for t, a in zip(manifest.outputs, arrays, strict=True)
    }
    return next(iter(named.values())) if len(named) == 1 else named


def pointers(arrays: Sequence[Array]) -> list[int]:
    """Return the addresses of the arrays."""
    return [a.ctypes.data for a in arrays]


def _allocate(manifest: Manifest, tensors: Sequence[Tensor], steps: int | None) -> list[Array]:
    lead = (steps,) if manifest.loop and steps is not None else ()
    count = 1 if manifest.loop or steps is None else steps
    return [aligned_array((*lead, *t.at(count)), t.dtype) for t in tensors]


def _stacked(manifest: Manifest, arrays: Sequence[Array]) -> int | None:
    """All inputs are frames, or all are frames stacked on a leading axis of one length."""
    frames = {a.ndim == len(t.shape) for t, a in _pairs(manifest, arrays)}
    steps = None if frames <= {True} else _leading(manifest, arrays)
    for tensor, array in _pairs(manifest, arrays):
        lead: tuple[int | str, ...] = () if steps is None else (steps,)
        _dtypes.check_shape(
            array.shape,
            (*lead, *tensor.shape),
            tensor.name,
            fix=f"one frame is {_dtypes.shape_text(tensor.shape)}; "
            f"T of them are {_dtypes.shape_text(('T', *tensor.shape))}",
        )
    return steps


def _leading(manifest: Manifest, arrays: Sequence[Array]) -> int:
    longer = (a.shape[0] for t, a in _pairs(manifest, arrays) if a.ndim == len(t.shape) + 1)
    return next(longer, 1)


def _time(manifest: Manifest, arrays: Sequence[Array]) -> int:
    """Every input with a time axis has the same number of steps."""
    counts: dict[str, int] = {}
    for tensor, array in _pairs(manifest, arrays):
        _dtypes.check_shape(array.shape, tensor.shape, tensor.name)
        if tensor.time_axis is not None:
            counts[tensor.name] = array.shape[tensor.time_axis]
    if len(set(counts.values())) > 1:
        found = ", ".join(f"'{name}' has {n}" for name, n in counts.items())
        raise UsageError("the inputs differ in their number of steps", why=found)
    return next(iter(counts.values()), 1)


def _pairs(manifest: Manifest, arrays: Sequence[Array]) -> list[tuple[Tensor, Array]]:
    return list(zip(manifest.inputs, arrays, strict=True))
