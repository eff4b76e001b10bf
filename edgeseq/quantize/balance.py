"""Scales moved from where they cost accuracy to where they do not; the float function stays.

equalize   d = sqrt(r1 / r2): r1 the largest weight that writes a channel, r2 the largest that reads
           it; again and again, for a layer in the middle takes part in two links
smooth     d = max|x|^a / max|w|^(1 - a): x is what the readers are given in the samples, w their
           weights of that channel

What writes a channel is divided by its d, what reads it is multiplied by it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir.edit import Editor
from edgeseq.ir.infer import describe
from edgeseq.quantize import calibrate, homogeneous, links
from edgeseq.quantize.layers import EMBEDDING, Array
from edgeseq.quantize.layers import find as find_layers
from edgeseq.quantize.links import Link
from edgeseq.quantize.scheme import Settings
from edgeseq.train.calibration import Sample

_SWEEPS = 20
_STILL = 0.01  # a sweep that moves no scale by more is the last
_LIMIT = 1e4  # a channel that hardly ever speaks is not blown up without end


@dataclasses.dataclass(frozen=True)
class Balanced:
    """What moved.

    Args:
        moved: Weight of a reader -> what was done, as `smoothed up to x3.1`.
        notes: What could not be done.
    """

    moved: Mapping[str, tuple[str, ...]]
    notes: tuple[str, ...]


def balance(model: ir.Model, samples: Sequence[Sample], settings: Settings) -> Balanced:
    """Move scales between the weights of a model, in place.

    Args:
        model: Its sizes bound and its states marked.
        samples: Calibration samples, for `smooth`.
        settings: Whether to `equalize`, and the exponent of `smooth`.
    """
    moved: dict[str, tuple[str, ...]] = {}
    if not settings.equalize and not settings.smooth:
        return Balanced(moved, ())
    edit = Editor(model)
    found, refused = links.find(model)
    if settings.equalize:
        _note(moved, "equalized", equalize(edit, found))
    if settings.smooth:
        _note(moved, "smoothed", smooth(edit, found, model, samples, settings.smooth))
    edit.sweep()
    return Balanced(moved, tuple(_left(model, found, refused, settings)))


def equalize(edit: Editor, found: Sequence[Link]) -> dict[str, float]:
    """Equalize weights with the weights behind them; return the largest factor of each reader."""
    pairs = [link for link in found if link.writers[0].node.op_type not in links.NORMS]
    total = [np.ones(link.count) for link in pairs]
    for _ in range(_SWEEPS):
        largest = 0.0
        for i, link in enumerate(pairs):
            written = link.writers[0].peaks(link.count)
            read = np.max([r.peaks(link.count) for r in link.readers], axis=0)
            factors = _safe(np.sqrt(written), np.sqrt(read))
            link.scale(edit, factors)
            total[i] *= factors
            largest = max(largest, float(np.abs(np.log(factors)).max(initial=0)))
        if largest < _STILL:
            break
    return _spans(pairs, total)


def smooth(
    edit: Editor, found: Sequence[Link], model: ir.Model, samples: Sequence[Sample], exponent: float
) -> dict[str, float]:
    """Smooth what layers are given; return the ratio of the factors of each reader."""
    axes = {str(r.x.name): r.axis for link in found for r in link.readers}
    peaks = calibrate.peaks(model, axes, samples)
    pairs, total = [], []
    for link in found:
        given = np.max([r.spread(peaks[str(r.x.name)], link.count) for r in link.readers], axis=0)
        read = np.max([r.peaks(link.count) for r in link.readers], axis=0)
        factors = _safe(given**exponent, read ** (1 - exponent))
        link.scale(edit, factors)
        pairs.append(link)
        total.append(factors)
    return _spans(pairs, total)


def _safe(above: Array, below: Array) -> Array:
    """The quotient; 1 for channels that nobody writes or reads."""
    alive = (above > 0) & (below > 0)
    factors = np.where(alive, above, 1) / np.where(alive, below, 1)
    middle = float(np.exp(np.log(factors[alive]).mean())) if alive.any() else 1.0
    limited = np.clip(factors, middle / _LIMIT, middle * _LIMIT)
    return np.asarray(np.where(alive, limited, 1.0))


def _spans(pairs: Sequence[Link], total: Sequence[Array]) -> dict[str, float]:
    """By weight of a reader, its largest factor over its smallest."""
    return {
        str(reader.node.name): float(factors.max() / factors.min())
        for link, factors in zip(pairs, total, strict=True)
        for reader in link.readers
    }


def _note(moved: dict[str, tuple[str, ...]], what: str, spans: Mapping[str, float]) -> None:
    for name, span in spans.items():
        if span > 1 + _STILL:
            moved[name] = (*moved.get(name, ()), f"{what} x{span:.3g}")


def _left(
    model: ir.Model, found: Sequence[Link], refused: Mapping[ir.Node, str], settings: Settings
) -> list[str]:
    """Which layers no scale could be moved into, where the user asked for that."""
    inside = {reader.node for link in found for reader in link.readers}
    asked = " and ".join(["equalized"] * settings.equalize + ["smoothed"] * bool(settings.smooth))
    return [
        f"{layer.name}: not {asked}, {refused.get(layer.node) or _source(layer.x)}"
        for layer in find_layers(model)[0]
        if layer.kind != EMBEDDING and layer.node not in inside
    ]


def _source(x: ir.Value) -> str:
    """What stands before a layer, but for what only moves numbers about."""
    node = x.producer()
    while node is not None and node.op_type in homogeneous.MOVES and node.inputs[0] is not None:
        x = node.inputs[0]
        node = x.producer()
    if node is None:
        return f"its input '{x.name}' is the model's"
    return f"its input comes from {describe(node)}, which takes up no scale"
