"""Measure what kernels cost on this machine and fit a cost table to it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgeseq import registry
from edgeseq.bench.harness import Array
from edgeseq.bench.suite import native, product, recurrent
from edgeseq.bench.suite.native import Call, Native
from edgeseq.errors import UsageError
from edgeseq.lower import costs, work
from edgeseq.lower.costs import Cost, CostTable
from edgeseq.targets._target import Isa

# (inputs, units or outputs) of the layers that are measured, dense ...
LAYERS = ((16, 16), (32, 32), (64, 48), (64, 128), (128, 256), (256, 256), (256, 512), (512, 512))
# ... and in blocks: which of them, and what share is kept.
SPARSE = (
    *((32, 32, 0.5), (64, 128, 0.1), (64, 128, 0.4), (128, 256, 0.2), (128, 256, 0.8)),
    *((128, 384, 0.05), (256, 512, 0.1), (256, 512, 0.3), (512, 512, 0.5)),
)
SEQUENCE, BATCH = 10, 4  # steps and rows of the measurement that has several
USUAL = (32 << 10, 1 << 20)  # first and second cache, where the system does not say
# What differs between the points of a fit: the compiler is not to know it.
OPEN = ("I", "H", "K", "N", "ldx", "ldy", "blocks", "pairs", "x_t", "x_b", "y_t", "y_b", "y_d")


@dataclasses.dataclass(frozen=True)
class Point:
    """One measurement.

    Args:
        sizes: The kernel's.
        seconds: Of a call.
    """

    sizes: Mapping[str, int]
    seconds: float


def fit_table(
    machine: str,
    families: Sequence[str] = (),
    *,
    seconds: float = 0.003,
    tries: int = 7,
    progress: Callable[[str], None] = lambda _: None,
) -> CostTable:
    """Measure every kernel that is counted, at every level that this machine runs.

    Args:
        machine: Its name, for the table.
        families: Only these; none: all.
        seconds: Of one measurement, about.
        tries: Measurements of a point; the least counts, as others are disturbed.
        progress: Called with kernel and level before they are measured.
    """
    sizes = caches()
    levels: dict[str, dict[str, Cost]] = {}
    for name in kernels(families):
        for isa in native.runnable(name):
            progress(f"{name} {isa.level}")
            points = list(_points(name, isa, seconds, tries))
            levels.setdefault(isa.level, {})[name] = fit(name, points, sizes)
    return CostTable(machine, sizes, levels)


def kernels(families: Sequence[str]) -> list[str]:
    """Return the kernels that are counted, all or those of some families.

    Raises:
        UsageError: a family is not counted.
    """
    counted = (*work.GATES, *work.PRODUCTS)
    for name in families:
        if name not in counted:
            raise UsageError(f"'{name}' is not in a cost table", fix=registry.hint(name, counted))
    modules = [registry.find("kernels", name) for name in registry.names("kernels")]
    names = [k.name for module in modules for k in module.KERNELS]
    return [
        n
        for n in names
        if (form := work.parse(n)) is not None and form.family in (families or counted)
    ]


def fit(kernel: str, points: Sequence[Point], sizes: tuple[int, int]) -> Cost:
    """Return the costs, none negative, with the least relative error over the points."""
    counted = [work.of(kernel, p.sizes) for p in points]
    rows = np.array([costs.units(c, sizes) for c in counted if c is not None])
    taken = np.array([p.seconds for p in points])
    relative = rows / taken[:, None]
    best: tuple[float, Array] = (np.inf, np.zeros(rows.shape[1]))
    # The least squares under `>= 0` are those over some subset of the columns: there are few.
    for count in range(1, rows.shape[1] + 1):
        for chosen in itertools.combinations(range(rows.shape[1]), count):
            solution = np.zeros(rows.shape[1])
            solution[list(chosen)] = np.linalg.lstsq(
                relative[:, list(chosen)], np.ones(len(points)), rcond=None
            )[0]
            error = float(((relative @ solution - 1) ** 2).sum())
            if (solution >= 0).all() and error < best[0] * (1 - 1e-6):
                best = (error, solution)
    return Cost(*(float(f"{value:.3g}") for value in best[1]))


def _points(kernel: str, isa: Isa, seconds: float, tries: int) -> Iterator[Point]:
    form = work.parse(kernel)
    assert form is not None
    rng = np.random.default_rng(1)
    for sizes, density in _samples(form):
        call = _call(form, sizes, density, rng)
        if call is None:
            continue
        side = Native(call, isa, [n for n in call.kernel.sizes if n in OPEN])
        side.reset()
        once = min(side.time(5) / 5 for _ in range(2))
        calls = int(np.clip(seconds / max(once, 1e-8), 3, 20_000))
        yield Point(call.sizes, min(side.time(calls) / calls for _ in range(tries)))


def _samples(form: work.Format) -> Iterator[tuple[dict[str, int], float]]:
    """Sizes and densities: single rows of many sizes, then several rows of two."""
    recurrence = form.family in work.GATES
    names = ("I", "H") if recurrence else ("K", "N")
    layers = SPARSE if form.sparse else tuple((*layer, 1.0) for layer in LAYERS)
    more = {"T": SEQUENCE, "B": BATCH} if recurrence else {"M": BATCH * SEQUENCE}
    for inputs, outputs, density in layers:
        yield {names[0]: inputs, names[1]: outputs, "T": 1}, density
    for inputs, outputs, density in layers[3:5]:
        yield {names[0]: inputs, names[1]: outputs, **more}, density


def _call(
    form: work.Format, sizes: Mapping[str, int], density: float, rng: np.random.Generator
) -> Call | None:
    make = recurrent.make if form.family in work.GATES else product.make
    found = make(form, sizes, density, rng)
    return None if found is None else found[0]


def caches() -> tuple[int, int]:
    """Return half of the first and second cache: the rest of a model needs the other halves."""
    found = dict(zip((1, 2), USUAL, strict=True))
    for folder in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        kind, level, size = ((folder / n).read_text().strip() for n in ("type", "level", "size"))
        if kind != "Instruction" and int(level) in found and size.endswith("K"):
            found[int(level)] = int(size[:-1]) << 10
    return found[1] // 2, found[2] // 2
