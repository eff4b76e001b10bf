"""What each layer may be: a number type and a density, with its bytes and predicted seconds.

Only what a compiled library stores and computes differently is on offer: an int4 recurrence is
expanded to float32 when it is compiled, so it would save nothing. Nor is a convolution in int8: the
cost table has no times of convolutions.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence

import onnx_ir as ir

from edgeseq.ir.patterns import NOfM, Pattern
from edgeseq.kernels import _formats
from edgeseq.lower import work
from edgeseq.lower.costs import CostTable
from edgeseq.quantize.layers import EMBEDDING, GATES, LINEAR, RECURRENT, Layer, find
from edgeseq.quantize.scheme import parse

FLOAT, INT8 = "float", ("int8", "int8-dynamic")
_ELEMENTS = {FLOAT: "f32", "bf16": "bf16", "fp16": "f16"} | dict.fromkeys(INT8, "i8")
_BLOCK = {"f32": "b16x1", "bf16": "b16x1", "f16": "b16x1", "i8": "b16x4"}


@dataclasses.dataclass(frozen=True)
class Choice:
    """One layer in one form.

    Args:
        scheme: As `--scheme` takes it; `float` for none.
        density: Share of its weights that stays.
        nbytes: Bytes of its weights in the compiled library.
        seconds: Predicted time of a step; None: the cost table does not say.
    """

    scheme: str
    density: float
    nbytes: int
    seconds: float | None

    @property
    def text(self) -> str:
        """`int8`, or `int8@0.25` where it is pruned."""
        return self.scheme if self.density == 1 else f"{self.scheme}@{self.density:g}"


@dataclasses.dataclass(frozen=True)
class Place:
    """A layer and what it may be, by `Choice.text`; the first choice is float and dense."""

    name: str
    op_type: str
    node: str
    elements: int
    choices: Mapping[str, Choice]


@dataclasses.dataclass(frozen=True)
class Costs:
    """What seconds are read from: a table, and the instruction sets compiled for, worst first."""

    table: CostTable
    levels: tuple[str, ...]

    def seconds(self, kernel: str, sizes: Mapping[str, int]) -> float | None:
        """Time at the newest level that the table knows the kernel at."""
        times = (self.table.seconds(kernel, sizes, level) for level in reversed(self.levels))
        return next((t for t in times if t is not None), None)


def places(
    model: ir.Model,
    schemes: Sequence[str],
    densities: Sequence[float],
    prunable: frozenset[str],
    costs: Costs,
    pattern: str = "16x4",
) -> list[Place]:
    """The layers of a prepared model that have more than one choice.

    Args:
        model: The model.
        schemes: Number types to choose from; `float` is always one.
        densities: Densities to choose from; 1 is always one.
        prunable: Names of the nodes whose weights take the pattern of the search.
        costs: Where seconds come from.
        pattern: How zeros are arranged; one with a density of its own (N:M) has no other.
    """
    own = Pattern.parse(pattern).fixed_density
    thinner = densities if own is None or not densities else (own,)
    found: dict[str, Place] = {}
    for layer in find(model)[0]:
        name = str(layer.node.name)
        grid = sorted({1.0, *thinner} if name in prunable else {1.0}, reverse=True)
        made = [_choice(layer, s, d, pattern, costs) for s, d in _forms(layer, schemes, grid)]
        elements = sum(math.prod(layer.matrix(data)) for _, data in layer.weights())
        choices = {choice.text: choice for choice in made}
        if len(choices) > 1:
            found.setdefault(
                layer.name, Place(layer.name, layer.node.op_type, name, elements, choices)
            )
    return list(found.values())


def _forms(
    layer: Layer, schemes: Sequence[str], densities: Sequence[float]
) -> Iterator[tuple[str, float]]:
    """Number types and densities that the kernels of a layer have."""
    for scheme in dict.fromkeys((FLOAT, *schemes)):
        match layer.kind, scheme:
            case "convolution", _:
                continue
            case "embedding", "float" | "int8":
                yield scheme, 1.0
            case "linear" | "recurrent", "float" | "bf16" | "fp16":
                yield from ((scheme, density) for density in densities)
            case "linear" | "recurrent", "int8" | "int8-dynamic" if not layer.why_float:
                yield from ((scheme, density) for density in densities)
            case "linear", other if other.startswith("w"):
                yield scheme, 1.0


def _choice(layer: Layer, scheme: str, density: float, pattern: str, costs: Costs) -> Choice:
    shapes = [layer.matrix(data) for _, data in layer.weights()]
    if layer.kind == EMBEDDING or scheme not in _ELEMENTS:
        size = sum(_dense_bytes(scheme, *shape) for shape in shapes)
        return Choice(scheme, density, size, _level_seconds(layer, scheme, costs))
    element = _ELEMENTS[scheme]
    layouts = _layouts(pattern, element) if density < 1 else ()
    layout, seconds = _best(layer, element, layouts, density, costs)
    if not layout:
        return Choice(
            scheme, density, sum(_dense_bytes(scheme, *shape) for shape in shapes), seconds
        )
    form = work.parse(f"spmv_{element}_{layout}")
    assert form is not None
    blocks = sum(
        math.ceil(density * work.dense_blocks(form, rows, inputs)) for rows, inputs in shapes
    )
    scales = 4 * sum(rows for rows, _ in shapes) if scheme in INT8 else 0
    return Choice(scheme, density, blocks * form.block_bytes + scales, seconds)


def _layouts(pattern: str, element: str) -> tuple[str, ...]:
    """Layouts that leave the zeros of a pattern out, all of them."""
    parsed = Pattern.parse(pattern)
    if not isinstance(parsed, NOfM):
        return (_BLOCK[element],)
    known = [form.window for form in _formats.N_OF_M if form.element == element]
    return tuple(f"nm{window}" for window in known if window % parsed.m == 0)


def _dense_bytes(scheme: str, rows: int, inputs: int) -> int:
    return 4 * rows * inputs if scheme == FLOAT else parse(scheme).nbytes(rows, inputs)


def _best(
    layer: Layer, element: str, layouts: Sequence[str], density: float, costs: Costs
) -> tuple[str, float | None]:
    """The layout, "" for dense, as lowering decides it, and the time of a step."""
    if layer.kind == EMBEDDING:
        return "", 0.0
    named = {layout: _kernel(layer, element, layout, density) for layout in ("", *layouts)}
    times = {layout: costs.seconds(*kernel) for layout, kernel in named.items()}
    if times[""] is None:
        return "", None
    options = [(layout, *named[layout]) for layout, time in times.items() if time is not None]
    layout, _ = costs.table.cheapest(options, costs.levels) if len(options) > 1 else ("", "")
    return layout, times[layout]


def _level_seconds(layer: Layer, scheme: str, costs: Costs) -> float | None:
    """The time of a product with levels, or, if the table does not say, of a float one."""
    if layer.kind == EMBEDDING:
        return 0.0
    _, sizes = _kernel(layer, "f32", "", 1.0)
    group = parse(scheme).group
    name = "gemv_i4_f16" if group else "gemv_i8w"
    known = costs.seconds(name, {**sizes, "group": group})
    return _best(layer, "f32", (), 1.0, costs)[1] if known is None else known


def _kernel(layer: Layer, element: str, layout: str, density: float) -> tuple[str, dict[str, int]]:
    """The kernel of a layer in a form, and its sizes for one step."""
    shape = [d if isinstance(d, int) else 1 for d in layer.x.shape or ()]
    weights = [data for _, data in layer.weights()]
    if layer.kind == LINEAR:
        family = "spmv" if layout else "gemm"
        outputs, inputs = layer.matrix(weights[0])
        sizes = {"M": math.prod(shape[:-1]), "N": outputs, "K": inputs}
        maps = 1
    else:
        assert layer.kind == RECURRENT
        family = layer.node.op_type.lower()
        directions, outputs, inputs = (
            weights[0].shape[0],
            weights[1].shape[2],
            weights[0].shape[2] + weights[1].shape[2],
        )
        sizes = {"T": shape[0], "B": shape[1], "H": outputs, "I": inputs - outputs}
        sizes |= {"groups": 1, "directions": directions}
        maps = GATES[layer.node.op_type]  # of each direction
    kernel = "_".join(filter(None, (family, element, layout)))
    form = work.parse(kernel)
    assert form is not None
    sizes["blocks"] = math.ceil(density * maps * work.dense_blocks(form, outputs, inputs))
    return kernel, sizes
