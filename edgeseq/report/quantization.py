"""`quantization.html`: layers, errors and drift of a quantized model, on a page without scripts."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgeseq.quantize.command import Done
    from edgeseq.quantize.drift import Curve

_WIDTH, _HEIGHT, _LEFT, _BELOW = 720, 260, 70, 30
_COLOURS = ("#1b6ca8", "#c8553d", "#3a7d44", "#8a4fff", "#b8860b", "#555555")
_STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:60em;margin:2em auto;padding:0 1em}
table{border-collapse:collapse}td,th{padding:.2em .8em;text-align:left;border-bottom:1px solid #ddd}
.grows{color:#b00020;font-weight:600}"""


def write(done: Done, file: Path) -> None:
    """Write the page."""
    file.write_text(page(done), encoding="utf-8")


def page(done: Done) -> str:
    """Return the page."""
    layers = [
        (
            *(c.name, c.op_type, c.scheme, c.activations, str(c.elements), str(c.nbytes)),
            ", ".join(c.methods),
        )
        for c in done.quantized.changes
    ]
    rows = [
        (c.name, c.kind, f"{-c.snr:.1f}", f"{c.largest:.2g}", f"{c.slope:+.2%}")
        for c in done.curves
    ]
    growing = [c.name for c in done.curves if c.grows]
    warning = "" if not growing else _paragraph(f"The error grows: {', '.join(growing)}.", "grows")
    inputs = "random inputs" if done.synthetic else "the calibration samples"
    notes = "".join(_paragraph(note) for note in done.notes)
    left = [(one.name, one.reason) for one in done.quantized.left]
    return f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>Quantization</title>
<style>{_STYLE}</style><h1>Quantization</h1>
<p>{done.quantized.nbytes} bytes of weights, {done.quantized.float_bytes} in float32.</p>
{notes}<h2>Error against time</h2>
<p>Quantized against float, over {done.steps} steps of {inputs}, states carried.</p>
{warning}{plot(done.curves, done.steps)}
{_table(("output", "kind", "error, dB", "largest", "slope a window"), rows)}
<h2>Layers</h2>
{_table(("layer", "operator", "scheme", "activations", "weights", "bytes", "methods"), layers)}
{_table(("left in float", "why"), left) if left else ""}</html>
"""


def plot(curves: Sequence[Curve], steps: int) -> str:
    """The error of every output and state, relative to its own size, in dB over time, as SVG."""
    shown = [(c, [_decibels(e, c.rms) for e in c.errors]) for c in curves]
    levels = [level for _, line in shown for level in line if math.isfinite(level)]
    if not levels:
        return _paragraph("There is no error at all.")
    low, high = math.floor(min(levels) / 10) * 10, math.ceil(max(levels) / 10) * 10
    high = max(high, low + 10)
    lines = [_grid(level, low, high) for level in range(low, high + 1, 10)]
    for i, (curve, line) in enumerate(shown):
        points = " ".join(
            f"{_x(j, len(line)):.1f},{_y(level, low, high):.1f}"
            for j, level in enumerate(line)
            if math.isfinite(level)
        )
        colour = _COLOURS[i % len(_COLOURS)]
        name = html.escape(curve.name)
        lines.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5">'
            f"<title>{name}</title></polyline>"
        )
    axis = f'<text x="{_WIDTH}" y="{_HEIGHT}" text-anchor="end">step {steps}</text>'
    box = f'viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" font-size="12"'
    return f"<svg {box}>{''.join(lines)}{axis}</svg>{_legend(curves)}"


def _legend(curves: Sequence[Curve]) -> str:
    names = (
        f'<span style="color:{_COLOURS[i % len(_COLOURS)]}">&#9632; {html.escape(c.name)}</span>'
        for i, c in enumerate(curves)
    )
    return f"<p>{' '.join(names)}</p>"


def _decibels(error: float, rms: float) -> float:
    return 20 * math.log10(error / rms) if error > 0 and rms > 0 else -math.inf


def _grid(level: int, low: int, high: int) -> str:
    y = _y(level, low, high)
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>'
        f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{level} dB</text>'
    )


def _x(index: int, count: int) -> float:
    return _LEFT + (_WIDTH - _LEFT) * (index + 0.5) / count


def _y(level: float, low: float, high: float) -> float:
    return 10 + (_HEIGHT - _BELOW - 10) * (high - level) / (high - low)


def _paragraph(text: str, kind: str = "") -> str:
    return f'<p class="{kind}">{html.escape(text)}</p>' if kind else f"<p>{html.escape(text)}</p>"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    top = "".join(f"<th>{html.escape(name)}</th>" for name in head)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{top}</tr>{body}</table>"
