"""`x[batch, T, 80], sr -> x[1, T, 80], 16000`: every dimension gets its size; exact.

What stays symbolic is time, one symbol: the one the user gave a range, the one the frontend
declared, or else a dimension that is called like time. Dimensions called like a batch are 1, and
first ones without a name of their own. Shapes inside the graph are dropped: later passes compute
them anew.
"""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import bodies
from edgeseq.ir.passes import GraphPass
from edgeseq.ir.settings import Settings
from edgeseq.registry import hint

BATCH_NAMES = frozenset({"batch", "batch_size", "b", "n", "bs"})
TIME_NAMES = frozenset(
    {"t", "time", "frames", "n_frames", "num_frames", "steps", "seq_len", "sequence_length"}
)
DEFAULT_RANGE = (1, 4096)
# What converters from TensorFlow and Paddle call dimensions that have no name.
_NUMBERED = re.compile(r"unk__\d+|p2o\.DynamicDimension\.\d+|\?")


class BindShapes(GraphPass):
    """Give every dimension of every input its size."""

    def run(self, edit: Editor) -> bool:
        """Bind constants, dimensions and time, in this order."""
        model = edit.model
        _check_names(model, self.settings)
        before = _signature(model)
        _bind_constants(model, self.settings, edit)
        binding = _bindings(model, self.settings)
        for value in model.graph.inputs:
            if value.shape is not None:
                value.shape = self._bound(value, binding)
        _require_all_bound(model, binding.time)
        self._declare_time(model, binding)
        _forget_shapes(model.graph)
        return _signature(model) != before

    def _bound(self, value: ir.Value, binding: _Binding) -> ir.Shape:
        given = self.settings.shapes.get(value.name or "")
        dims: list[int | ir.SymbolicDim] = []
        for axis, dim in enumerate(value.shape or ()):
            if isinstance(dim, int):
                dims.append(dim)
            elif given is not None:
                size = given[axis]
                if isinstance(size, str):
                    dims.append(binding.sizes.get(size) or ir.SymbolicDim(size))
                else:
                    dims.append(size)
            elif dim.value in binding.sizes:
                dims.append(binding.sizes[dim.value])
            elif dim.value in binding.renamed:
                dims.append(ir.SymbolicDim(binding.renamed[dim.value]))
            elif _is_batch(dim, axis):
                self.notes.append(f"dimension {axis} of '{value.name}' ({_called(dim)}) is 1")
                dims.append(1)
            else:
                dims.append(dim)
        return ir.Shape(dims)

    def _declare_time(self, model: ir.Model, binding: _Binding) -> None:
        if binding.time is None:
            facts.drop(model, facts.DimRange)
            for value in model.graph.inputs:
                facts.drop(value, facts.TimeAxis)
            return
        low, high = binding.range or DEFAULT_RANGE
        if binding.range is None:
            self.notes.append(f"dimension {binding.time} is time, {low} to {high} steps")
        facts.put(model, facts.DimRange(binding.time, low, high))
        for value in model.graph.inputs:
            for axis, dim in enumerate(value.shape or ()):
                if isinstance(dim, ir.SymbolicDim) and dim.value == binding.time:
                    facts.put(value, facts.TimeAxis(axis, binding.time))


PASS = BindShapes


@dataclasses.dataclass(frozen=True)
class _Binding:
    """Sizes by name, new names of dimensions that are time, and the name and range of time."""

    sizes: dict[str, int]
    renamed: dict[str, str]
    time: str | None
    range: tuple[int, int] | None


def _check_names(model: ir.Model, settings: Settings) -> None:
    inputs = {value.name or "": value for value in model.graph.inputs}
    dims = {dim.value for v in inputs.values() for dim in v.shape or () if _is_named(dim)}
    dims |= {size for shape in settings.shapes.values() for size in shape if isinstance(size, str)}
    for flag, given, known in (
        ("--shape", settings.shapes, inputs),
        ("--const", settings.constants, inputs),
        ("--dim", settings.dims, dims),
    ):
        for name in given:
            if name not in known:
                kind = "dimension" if flag == "--dim" else "input"
                fix = hint(name, [str(one) for one in known]) if known else "leave it out"
                raise UsageError(f"{flag} {name}: the model has no such {kind}", fix=fix)
    for name, shape in settings.shapes.items():
        _check_shape(inputs[name], shape)


def _check_shape(value: ir.Value, shape: object) -> None:
    given = list(shape) if isinstance(shape, (list, tuple)) else []
    if value.shape is None:
        value.shape = ir.Shape([None] * len(given))
    fits = len(given) == len(value.shape) and all(
        not isinstance(dim, int) or dim == size
        for dim, size in zip(value.shape, given, strict=True)
    )
    if not fits:
        raise UsageError(
            f"--shape {value.name}={_join(given)} does not fit the model",
            at=f"input '{value.name}': {_join(value.shape)}",
            why="the rank and every size the model fixes must be the same",
        )
    if any(isinstance(size, int) and size < 1 for size in given):
        raise UsageError(f"--shape {value.name}={_join(given)}: sizes are at least 1")


def _signature(model: ir.Model) -> list[object]:
    """Everything the pass may change."""
    facts_of = [dict(value.metadata_props) for value in model.graph.inputs]
    inputs = [(value.name, value.shape and value.shape.copy()) for value in model.graph.inputs]
    return [inputs, facts_of, dict(model.metadata_props)]


def _bind_constants(model: ir.Model, settings: Settings, edit: Editor) -> None:
    for name, number in settings.constants.items():
        value = next(v for v in model.graph.inputs if v.name == name)
        dtype = (value.dtype or ir.DataType.FLOAT).numpy()
        sizes = [dim if isinstance(dim, int) else 1 for dim in value.shape or ()]
        model.graph.inputs.remove(value)
        edit.release([name])
        value.replace_all_uses_with(edit.constant(np.full(sizes, number, dtype), name))


def _bindings(model: ir.Model, settings: Settings) -> _Binding:
    """Collect what the flags say about each name, and find time."""
    sizes: dict[str, int] = {}
    ranges = {k: v for k, v in settings.dims.items() if not isinstance(v, int)}
    for name, size in settings.dims.items():
        if isinstance(size, int):
            _agree(sizes, name, size, f"--dim {name}={size}")
        elif not 1 <= size[0] <= size[1]:
            raise UsageError(
                f"--dim {name}={size[0]}:{size[1]}: a range needs 1 <= low <= high",
                fix=f"--dim {name}=1:{max(size)}",
            )
    times, renamed = set(ranges), dict[str, str]()
    for value in model.graph.inputs:
        given = settings.shapes.get(value.name or "", ())
        for dim, wish in zip(value.shape or (), given, strict=False):
            known = dim.value if isinstance(dim, ir.SymbolicDim) else None
            if isinstance(wish, str) and wish not in sizes:
                times.add(wish)
                renamed[known or wish] = wish
            elif isinstance(wish, str):
                _agree(sizes, known or wish, sizes[wish], f"--shape {value.name}")
            elif known is not None:
                _agree(sizes, known, wish, f"--shape {value.name}")
    return _find_time(model, sizes, times, ranges, renamed)


def _find_time(
    model: ir.Model,
    sizes: dict[str, int],
    times: set[str],
    ranges: dict[str, tuple[int, int]],
    renamed: dict[str, str],
) -> _Binding:
    declared = facts.get(model, facts.DimRange)
    free = {
        str(dim.value)
        for value in model.graph.inputs
        for dim in value.shape or ()
        if _is_named(dim) and dim.value not in sizes
    }
    if not times and declared is not None and declared.symbol in free:
        return _Binding(sizes, renamed, declared.symbol, (declared.low, declared.high))
    times = times or {name for name in free if name.lower() in TIME_NAMES}
    if len(times) > 1:
        raise UsageError(
            f"more than one dimension is left free: {', '.join(sorted(times))}",
            why="only time may vary after compilation",
            fix=" ".join(f"--dim {name}=100" for name in sorted(times)[1:]),
        )
    time = next(iter(times), None)
    if time in ranges and ranges[time][0] == ranges[time][1]:
        return _Binding({**sizes, time: ranges[time][0]}, renamed, None, None)
    return _Binding(sizes, renamed, time, ranges.get(time or ""))


def _agree(sizes: dict[str, int], name: str, size: int, flag: str) -> None:
    if sizes.setdefault(name, size) != size:
        raise UsageError(
            f"dimension '{name}' is given as {sizes[name]} and as {size}",
            at=flag,
            fix="give one size",
        )


def _require_all_bound(model: ir.Model, time: str | None) -> None:
    """Raise one error that names every free dimension, and the flags that bind them."""
    missing, shapes, dims = [], [], []
    for value in model.graph.inputs:
        if value.shape is None:
            missing.append(f"input '{value.name}': no shape at all")
            shapes.append(f"--shape {value.name}=1,...")
            continue
        free = [d for d in value.shape if isinstance(d, ir.SymbolicDim)]
        free = [d for d in free if d.value is None or d.value != time]
        if free:
            names = ", ".join(_called(dim) for dim in free)
            missing.append(f"input '{value.name}': {_join(value.shape)} ({names})")
            sizes = ["SIZE" if any(d is f for f in free) else str(d) for d in value.shape]
            shapes.append(f"--shape {value.name}={','.join(sizes)}")
            dims += [f"--dim {dim.value}=SIZE" for dim in free if dim.value]
    if missing:
        ways = [" ".join(shapes)] + [" ".join(dict.fromkeys(dims))] * bool(dims)
        raise UsageError(
            "dimensions without a size",
            at=missing,
            why="all sizes but time's are fixed when a model is compiled",
            fix=" or ".join(ways) + " (a dimension that is time: --dim NAME=1:4096)",
        )


def _forget_shapes(graph: ir.Graph) -> None:
    for node in graph:
        for output in node.outputs:
            if output.is_graph_output() and output.shape is not None:
                output.shape = ir.Shape([None] * len(output.shape))  # ONNX wants a rank here
            else:
                output.shape = None
        for body in bodies(node):
            _forget_shapes(body)


def _is_named(dim: int | ir.SymbolicDim) -> bool:
    return isinstance(dim, ir.SymbolicDim) and dim.value is not None


def _is_batch(dim: ir.SymbolicDim, axis: int) -> bool:
    if dim.value is None or _NUMBERED.fullmatch(dim.value):
        return axis == 0
    return dim.value.lower() in BATCH_NAMES


def _called(dim: ir.SymbolicDim) -> str:
    return f"'{dim.value}'" if dim.value else "unnamed"


def _join(shape: object) -> str:
    dims = list(shape) if isinstance(shape, (list, tuple, ir.Shape)) else []
    return ",".join("?" if _is_free(dim) else str(dim) for dim in dims)


def _is_free(dim: object) -> bool:
    return dim is None or (isinstance(dim, ir.SymbolicDim) and dim.value is None)
