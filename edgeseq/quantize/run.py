"""A model -> the same model of fewer bits, and a report of what became of each layer."""

from __future__ import annotations

import dataclasses
import fnmatch
import math
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from edgeseq.errors import UsageError
from edgeseq.ir import filter_banks, fourier
from edgeseq.ir.dialect.conv import SMALL, is_small
from edgeseq.ir.edit import Editor
from edgeseq.quantize import calibrate, convolutions, windows
from edgeseq.quantize.balance import Balanced, balance
from edgeseq.quantize.layers import (
    CONVOLUTION,
    EMBEDDING,
    LINEAR,
    RECURRENT,
    Array,
    Layer,
    Left,
    find,
)
from edgeseq.quantize.observers import Seen
from edgeseq.quantize.rewrite import Change, Rewriter
from edgeseq.quantize.scheme import Scheme, Settings, parse
from edgeseq.train.calibration import Sample

_HUGE = 1e30
_FEW_UNITS = 32  # of a cell; measured, with AVX2 and with VNNI: below it floats are faster
_SEVERAL = 4  # rows, which share what is loaded of a weight
_AS_FAST = f"{SMALL}, for several rows: as fast in float"
_SPARSE = f"it is {filter_banks.BANDS}, nearly all zeros: faster in float, where they are skipped"


@dataclasses.dataclass(frozen=True)
class Quantized:
    """What a quantization did.

    Args:
        changes: Layers that changed, in the order of the graph.
        left: Layers that did not, and why.
        notes: What the user should know.
    """

    changes: tuple[Change, ...]
    left: tuple[Left, ...]
    notes: tuple[str, ...]

    @property
    def nbytes(self) -> int:
        """Bytes of the quantized weights."""
        return sum(c.nbytes for c in self.changes)

    @property
    def float_bytes(self) -> int:
        """Bytes they had in float32."""
        return sum(4 * c.elements for c in self.changes)

    def with_methods(self, moved: Mapping[str, tuple[str, ...]]) -> Quantized:
        """The same, where something was done to layers before, by node."""
        changes = [
            dataclasses.replace(c, methods=(*moved.get(c.node, ()), *c.methods))
            for c in self.changes
        ]
        return dataclasses.replace(self, changes=tuple(changes))


def quantize(
    model: ir.Model,
    scheme: str | Mapping[str, str],
    samples: Sequence[Sample] = (),
    settings: Settings | None = None,
    *,
    qdq: bool = False,
    seen: Mapping[str, Seen] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Quantized:
    """Quantize a model in place.

    Args:
        model: Its sizes bound and its states marked.
        scheme: `int8`, `w8`, `w4g32`, `bf16`, `fp16`; or layer name -> scheme, `float` for none.
        samples: Calibration samples: with them int8 has static scales where that is possible.
        settings: Further choices.
        qdq: Say static products as QuantizeLinear and DequantizeLinear, for other runtimes.
        seen: What was seen of activations in an earlier run over the same samples; scales are not
            moved then (`balance.balance` moved them).
        progress: Told the name of each layer that is rounded against samples.

    Raises:
        UsageError: an unknown scheme or name, samples that give no range, nothing to quantize.
    """
    settings = settings or Settings()
    edit = Editor(model)
    layers, left = find(model)
    chosen, kept = _choose(layers, scheme, settings)
    left += kept
    if not chosen:
        raise UsageError(
            "there is nothing to quantize",
            at=[f"{one.name}: {one.reason}" for one in left[:8]],
            why="no layer with constant float32 weights is left",
        )
    moved = Balanced({}, ())
    if seen is None:
        moved = balance(model, samples, settings)
        seen = calibrate.watch(model, watched(model, [layer for layer, _ in chosen]), samples)
    rewriter = Rewriter(edit, settings, seen, qdq)
    notes = [*moved.notes, *_notes(chosen, seen, settings)]
    notes += [
        f"{layer.name}: weights only, its input spans more than int8 holds"
        for layer, one in chosen
        if one.activations and not layer.why_float and rewriter.erased(layer)
    ]
    notes += convolutions.notes([layer for layer, one in chosen if one.activations])
    changes = []
    for layer, one in chosen:
        rows: tuple[Array, ...] = ()
        if settings.rounding != "nearest" and samples and _is_rounded(model, layer, one):
            progress(layer.name)
            rows = calibrate.rows_before(model, layer, samples)
        node = str(layer.node.name)
        change = dataclasses.replace(rewriter, rows=rows).rewrite(layer, one)
        changes.append(dataclasses.replace(change, node=node))
    edit.sweep()
    return Quantized(tuple(changes), tuple(left), tuple(notes)).with_methods(moved.moved)


def _is_rounded(model: ir.Model, layer: Layer, scheme: Scheme) -> bool:
    """Whether what a layer multiplies says how to round it; a loop's body hides it."""
    if layer.node.graph is not model.graph or layer.kind == EMBEDDING:
        return False
    seen = layer.kind != CONVOLUTION or windows.known(layer.node)
    return seen and scheme.weights.startswith("int")


def _choose(
    layers: Sequence[Layer], scheme: str | Mapping[str, str], settings: Settings
) -> tuple[list[tuple[Layer, Scheme]], list[Left]]:
    chosen: list[tuple[Layer, Scheme]] = []
    left: list[Left] = []
    unused = set(settings.keep)
    for layer in layers:
        hits = {k for k in settings.keep if layer in called(layers, k)}
        unused -= hits
        text = usual(layer, scheme) if isinstance(scheme, str) else scheme.get(layer.name, "float")
        if hits or text == "float":
            why = "" if hits else _better_float(layer)
            left.append(Left(layer.name, why or "asked to stay in float"))
        else:
            chosen.append((layer, parse(text)))
    if unused:
        known = ", ".join(layer.name for layer in layers[:20])
        raise UsageError(f"no layer is called '{sorted(unused)[0]}'", why=f"the layers: {known}")
    return chosen, left


def usual(layer: Layer, scheme: str) -> str:
    """The scheme of a layer that nobody named, where `scheme` is asked for."""
    if scheme == "float":
        return scheme
    why = _better_float(layer)
    unused = why == fourier.FAST  # its weights, whatever their type
    return "float" if unused or (why and parse(scheme).activations) else scheme


def _better_float(layer: Layer) -> str:
    """Why a layer gains nothing from integers; an empty text where it does."""
    if layer.kind in (LINEAR, CONVOLUTION) and fourier.of_node(layer.node) is not None:
        return fourier.FAST
    if layer.kind != LINEAR:
        return ""
    if filter_banks.BANDS in layer.why_float:
        return _SPARSE
    ((_, data),) = layer.weights()
    rows = math.prod(d for d in list(layer.x.shape or ())[:-1] if isinstance(d, int))
    return _AS_FAST if rows >= _SEVERAL and is_small(layer.matrix(data), 1) else ""


def called(layers: Sequence[Layer], text: str) -> list[Layer]:
    """The layers of a name or glob; `first` and `last` are those of the graph."""
    hits = [
        layer
        for layer in layers
        if text in layer.names or any(fnmatch.fnmatchcase(name, text) for name in layer.names)
    ]
    ends = {"first": layers[:1], "last": layers[-1:]}
    return hits or list(ends.get(text, ()))


def watched(model: ir.Model, layers: Sequence[Layer]) -> list[str]:
    """Names of the activations whose ranges or rows are of use; a state nobody reads gets one."""
    names: dict[str, None] = {}
    for layer in layers:
        if layer.kind == EMBEDDING or layer.node.graph is not model.graph:
            continue  # what happens in the body of a loop cannot be looked at
        names[str(layer.x.name)] = None
        if layer.kind == RECURRENT:
            y = layer.node.outputs[0]
            y.name = y.name or f"{layer.node.name}.Y"
            names[y.name] = None
    return list(names)


def _units(cell: Layer) -> int:
    return int(cell.weights()[-1][1].shape[2])


def _notes(
    chosen: Sequence[tuple[Layer, Scheme]], seen: Mapping[str, Seen], settings: Settings
) -> list[str]:
    notes = []
    integer = [layer for layer, scheme in chosen if scheme.activations]
    if integer and not seen and settings.activations != "dynamic":
        notes.append("no calibration samples: activations are scaled step by step (dynamic)")
    notes += [f"{la.name}: weights only ({la.why_float})" for la in integer if la.why_float]
    small = [la.name for la in integer if la.kind == RECURRENT and _units(la) < _FEW_UNITS]
    if small:
        names = ", ".join(small[:3]) + (", ..." if len(small) > 3 else "")
        notes.append(
            f"{len(small)} cells of fewer than {_FEW_UNITS} units: smaller than in float, but "
            f"slower; --keep-float leaves them ({names})"
        )
    for name, one in seen.items():
        if one.low == one.high:
            notes.append(f"'{name}' is always {one.low:g} in the calibration samples")
        if max(-one.low, one.high) > _HUGE:
            notes.append(f"'{name}' reaches {max(-one.low, one.high):.1g} in the samples")
    return notes
