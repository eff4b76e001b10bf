"""A sweep as an SVG: sparsity across, output error in decibels up, one line per criterion."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 560, 320, 60, 40
_COLOURS = ("#1a6fb5", "#c4561e", "#3a8f3a", "#8a4fa0", "#777777")
_STEP = 10  # decibels between the lines of the grid


def svg(
    lines: Mapping[str, Sequence[tuple[float, float]]], knees: Mapping[str, float] | None = None
) -> str:
    """Draw criteria.

    Args:
        lines: Name -> (sparsity, relative squared error) in order of sparsity.
        knees: Name -> the sparsity to mark on its line.
    """
    # Below -120 dB nothing is of interest: an error of none is drawn there.
    levels = [[(x, 10 * math.log10(max(y, 1e-12))) for x, y in line] for line in lines.values()]
    values = [y for line in levels for _, y in line]
    low = _STEP * math.floor(min(values) / _STEP)
    high = max(_STEP * math.ceil(max(values) / _STEP), low + _STEP)

    def place(x: float, y: float) -> tuple[float, float]:
        across = _LEFT + x * (_WIDTH - _LEFT - 20)
        return round(across, 1), round(20 + (high - y) / (high - low) * (_HEIGHT - _BOTTOM - 20), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        f'width="{_WIDTH}" fill="currentColor" font-family="sans-serif" font-size="12">'
    ]
    for level in range(low, high + 1, _STEP):
        (left, y), (right, _) = place(0, level), place(1, level)
        parts.append(f'<path d="M{left} {y}H{right}" stroke="#ddd"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{level} dB</text>')
    for tenth in range(0, 11, 2):
        x, y = place(tenth / 10, low)
        parts.append(f'<text x="{x}" y="{y + 16}" text-anchor="middle">{tenth * 10} %</text>')
    x, y = place(0.5, low)
    parts.append(f'<text x="{x}" y="{y + 34}" text-anchor="middle">sparsity</text>')
    for number, (name, line) in enumerate(zip(lines, levels, strict=True)):
        colour = _COLOURS[number % len(_COLOURS)]
        points = " ".join(f"{a},{b}" for a, b in (place(*point) for point in line))
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
        )
        parts.append(
            f'<text x="{_LEFT + 12}" y="{36 + 16 * number}" fill="{colour}">'
            f"{html.escape(name)}</text>"
        )
        for at, error in line:
            if at == (knees or {}).get(name):
                a, b = place(at, error)
                parts.append(f'<circle cx="{a}" cy="{b}" r="5" fill="none" stroke="{colour}"/>')
                parts.append(f'<text x="{a + 8}" y="{b + 14}" fill="{colour}">knee</text>')
    return "\n".join([*parts, "</svg>\n"])
