"""All points of a search as an SVG: error against bytes, and error against time."""

from __future__ import annotations

import math
from collections.abc import Sequence

from edgeseq.search.study import Tried

_WIDTH, _HEIGHT, _LEFT, _BOTTOM, _TOP = 360, 320, 60, 44, 20
_STEP = 10  # decibels between the lines of the grid
_FLOOR = -120.0  # where points without any error are drawn


def svg(tried: Sequence[Tried], front: Sequence[Tried]) -> str:
    """Draw two panels; the front is blue, all other points are grey."""
    errors = [_level(t) for t in tried] or [0.0]
    low = _STEP * math.floor(min(errors) / _STEP)
    high = max(_STEP * math.ceil(max(errors) / _STEP), low + _STEP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {2 * _WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">'
    ]
    for number, title in enumerate(("kB of weights", "predicted us a step")):
        parts += _panel(number, title, tried, front, (low, high))
    return "\n".join([*parts, "</svg>\n"])


def _panel(
    number: int,
    title: str,
    tried: Sequence[Tried],
    front: Sequence[Tried],
    levels: tuple[int, int],
) -> list[str]:
    low, high = levels
    most = max((_across(t, number) for t in tried), default=0.0) or 1.0
    left, right = number * _WIDTH + _LEFT, (number + 1) * _WIDTH - 20
    bottom = _HEIGHT - _BOTTOM

    def place(across: float, level: float) -> tuple[float, float]:
        x = left + across / most * (right - left)
        return round(x, 1), round(_TOP + (high - level) / (high - low) * (bottom - _TOP), 1)

    parts = []
    for level in range(low, high + 1, _STEP):
        _, y = place(0, level)
        parts.append(f'<path d="M{left} {y}H{right}" stroke="#ddd"/>')
        if (level - low) % (2 * _STEP) == 0:
            parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{level} dB</text>')
    for quarter in range(5):
        x, _ = place(most * quarter / 4, low)
        label = f"{most * quarter / 4:.3g}"
        parts.append(f'<text x="{x}" y="{bottom + 16}" text-anchor="middle">{label}</text>')
    middle = (left + right) / 2
    parts.append(f'<text x="{middle}" y="{bottom + 34}" text-anchor="middle">{title}</text>')
    chosen = {id(t) for t in front}
    for one in sorted(tried, key=lambda t: id(t) in chosen):
        x, y = place(_across(one, number), _level(one))
        look = 'r="4" fill="#1a6fb5"' if id(one) in chosen else 'r="2.5" fill="#bbb"'
        parts.append(f'<circle cx="{x}" cy="{y}" {look}/>')
    return parts


def _across(one: Tried, number: int) -> float:
    return one.measured.seconds * 1e6 if number else one.measured.nbytes / 1e3


def _level(one: Tried) -> float:
    return max(-one.measured.snr, _FLOOR)
