"""Measure what kernels cost on this machine and fit a cost table to it."""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from edgeseq import registry
from edgeseq.bench.harness import Array
from edgeseq.bench.suite import native, product, recurrent
from edgeseq.bench.suite.native import Call, Native
from edgeseq.errors import UsageError
from edgeseq.lower import costs, work
from edgeseq.lower.costs import Cost, CostTable
from edgeseq.runtime import host_target
from edgeseq.targets._target import Isa

# (inputs, units or outputs, share of the blocks kept) of the layers that are measured with a single
# row: from what the first cache holds to what the second does not.
DENSE = ((16, 16, 1.0), (48, 48, 1.0), (64, 128, 1.0), (128, 256, 1.0), (256, 512, 1.0))
SPARSE = (
    *((32, 32, 0.5), (64, 128, 0.1), (64, 128, 0.5)),
    *((128, 256, 0.2), (256, 512, 0.1), (256, 512, 0.5)),
)
SEVERAL, SEQUENCE, BATCH = 3, 10, 4  # index of the layer, steps, rows
OPEN = ("blocks",)  # all else is a literal, as in an artifact
USUAL = (32 << 10, 1 << 20)  # first and second cache, where the system does not say


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
        for isa in _levels(name):
            progress(f"{name} {isa.level}")
            points = _points(name, isa, seconds, tries)
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


def _levels(kernel: str) -> list[Isa]:
    """Those of this machine that artifacts are compiled for, unless one is fixed."""
    host = registry.find("targets", host_target()).TARGET
    order = [i.level for i in host.isas]
    usual = order[order.index(host.generated) :]
    return [i for i in native.runnable(kernel) if i.level in usual]


def _points(kernel: str, isa: Isa, seconds: float, tries: int) -> list[Point]:
    """Measure a kernel at every sample, in turn: what disturbs, disturbs all of them a little."""
    form = work.parse(kernel)
    assert form is not None
    rng = np.random.default_rng(1)
    calls = [_call(form, sizes, density, rng) for sizes, density in _samples(form)]
    made = [c for c in calls if c is not None]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # compilers are processes
        sides = list(pool.map(lambda c: Native(c, isa, _open(c)), made))
    counts = [_count(side, seconds) for side in sides]
    taken = [[s.time(n) / n for s, n in zip(sides, counts, strict=True)] for _ in range(tries)]
    least = np.min(taken, axis=0)
    return [Point(c.sizes, float(t)) for c, t in zip(made, least, strict=True)]


def _open(call: Call) -> list[str]:
    return [n for n in call.kernel.sizes if n in OPEN]


def _count(side: Native, seconds: float) -> int:
    """How many calls take about this long."""
    once = min(side.time(5) / 5 for _ in range(2))
    return int(np.clip(seconds / max(once, 1e-8), 3, 20_000))


def _samples(form: work.Format) -> Iterator[tuple[dict[str, int], float]]:
    """Sizes and densities: single rows of many sizes, then several rows."""
    recurrence = form.family in work.GATES
    names = ("I", "H") if recurrence else ("K", "N")
    layers = SPARSE if form.sparse else DENSE
    for inputs, outputs, density in layers:
        yield {names[0]: inputs, names[1]: outputs, "T": 1}, density
    inputs, outputs, density = layers[SEVERAL]
    more = {"T": SEQUENCE, "B": BATCH} if recurrence else {"M": BATCH * SEQUENCE}
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
