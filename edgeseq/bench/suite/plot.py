"""The table as a picture: how many times faster, on a logarithmic axis, as SVG without scripts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from edgeseq.bench.suite.run import Row

ROW, LEFT, RIGHT, TOP = 20, 250, 90, 40
WIDTH = 900
REACHED, MISSED, PLAIN = "#2a8", "#c52", "#68a"


def draw(rows: Sequence[Row], title: str) -> str:
    """Return a picture of the measured cases against a peer.

    Args:
        rows: Those without a ratio to a peer are left out.
        title: Above it.
    """
    shown = [r for r in rows if r.ratio is not None and r.peer]
    ends = [v for r in shown if r.ratio is not None for v in (r.ratio.p90, r.least or 1.0, 1.0)]
    decades = max(1, math.ceil(math.log10(max([*ends, 10.0]))))
    scale = (WIDTH - LEFT - RIGHT) / decades
    height = TOP + ROW * len(shown) + 30

    def at(ratio: float) -> float:
        return LEFT + scale * max(0.0, math.log10(max(ratio, 1.0)))

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" '
        'font-family="system-ui, sans-serif" font-size="12" fill="currentColor">',
        f'<text x="8" y="18" font-size="14">{escape(title)}</text>',
    ]
    for decade in range(decades + 1):
        x = at(10.0**decade)
        parts.append(
            f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - 26}" stroke="#8884"/>'
            f'<text x="{x:.1f}" y="{height - 10}" text-anchor="middle">{10**decade}x</text>'
        )
    parts += [_bar(row, TOP + ROW * i, at) for i, row in enumerate(shown)]
    return "\n".join([*parts, "</svg>", ""])


def _bar(row: Row, y: int, at: object) -> str:
    assert callable(at)
    assert row.ratio is not None
    color = {True: REACHED, False: MISSED, None: PLAIN}[row.reached]
    start, end = at(1.0), at(row.ratio.median)
    middle = y + ROW / 2
    parts = [
        f'<text x="{LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(row.case)}</text>',
        f'<rect x="{start:.1f}" y="{y + 4}" width="{max(end - start, 1):.1f}" height="{ROW - 8}" '
        f'fill="{color}"><title>{escape(row.peer)}</title></rect>',
        f'<line x1="{at(row.ratio.p10):.1f}" x2="{at(row.ratio.p90):.1f}" y1="{middle}" '
        f'y2="{middle}" stroke="currentColor"/>',
        f'<text x="{max(end, at(row.ratio.p90)) + 6:.1f}" y="{middle + 4}">'
        f"{row.ratio.median:.3g}x</text>",
    ]
    if row.least:
        wanted = at(row.least)
        parts.append(
            f'<line x1="{wanted:.1f}" x2="{wanted:.1f}" y1="{y + 1}" y2="{y + ROW - 1}" '
            'stroke="currentColor" stroke-width="2"/>'
        )
    return "".join(parts)
