"""Points to measure before anything is bred: uniform ones, single layers, and greedy ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from edgeseq.quantize.search import Option, budget_of, cheapest
from edgeseq.search.space import FLOAT, Choice, Place
from edgeseq.search.trial import Measured, Point

_DROPS = (0.001, 0.01, 0.03, 0.1, 0.3, 1.0)  # dB that greedy points may lose


def uniform(places: Sequence[Place]) -> Iterator[Point]:
    """The same choice everywhere; layers that do not have it stay in float."""
    texts = dict.fromkeys(text for place in places for text in place.choices)
    for text in texts:
        yield {p.name: text if text in p.choices else FLOAT for p in places}


def single(places: Sequence[Place]) -> Iterator[Point]:
    """All in float but one layer: how sensitive that is to each of its choices."""
    base = dict.fromkeys((p.name for p in places), FLOAT)
    for place in places:
        yield from ({**base, place.name: text} for text in place.choices if text != FLOAT)


def greedy(places: Sequence[Place], known: Callable[[Point], Measured | None]) -> Iterator[Point]:
    """Within several losses the smallest and the fastest point, if errors of layers add up.

    Args:
        places: The layers.
        known: What was measured of a point, or None.
    """
    measured = _sensitivity(places, known)
    # Prices are whole numbers: bytes, and picoseconds.
    for price in (lambda c: c.nbytes, lambda c: round(1e12 * (c.seconds or 0.0))):
        options = {p.name: _ladder(p, measured[p.name], price) for p in places}
        for drop in _DROPS:
            found = cheapest(options, budget_of(drop))
            yield {name: option.scheme for name, option in found.items()}


def _sensitivity(
    places: Sequence[Place], known: Callable[[Point], Measured | None]
) -> dict[str, dict[str, float]]:
    """Layer -> choice -> its error alone, for the choices that were measured."""
    errors: dict[str, dict[str, float]] = {p.name: {FLOAT: 0.0} for p in places}
    for point in single(places):
        found = known(point)
        if found is not None:
            ((name, text),) = ((n, t) for n, t in point.items() if t != FLOAT)
            errors[name][text] = found.error
    return errors


def _ladder(
    place: Place, errors: Mapping[str, float], price: Callable[[Choice], int]
) -> list[Option]:
    """From cheap to dear; what costs more than a choice of less error is left out."""
    options = [Option(text, price(place.choices[text]), error) for text, error in errors.items()]
    ladder: list[Option] = []
    for option in sorted(options, key=lambda o: (o.nbytes, o.error)):
        if not ladder or option.error < ladder[-1].error:
            ladder.append(option)
    return ladder
