"""What `edgeseq search` does with a prepared model: the space, the study, and what is left."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq import __version__
from edgeseq.errors import BudgetError, UsageError
from edgeseq.ir.edit import data_of
from edgeseq.options import CompileOptions, Event, SearchOptions
from edgeseq.quantize.scheme import parse
from edgeseq.search import pareto, space, trial
from edgeseq.search.space import Costs, Place
from edgeseq.search.study import Limits, Study, Tried
from edgeseq.train import calibration
from edgeseq.train.calibration import Sample
from edgeseq.train.compress import request_of, shortened

Progress = Callable[[Event], None]
_PATTERN = "16x4"  # blocks that int8 kernels leave out, and float ones as well


def search(
    model: ir.Model,
    options: CompileOptions,
    wanted: SearchOptions,
    costs: Costs,
    progress: Progress,
) -> pareto.Found:
    """Search the number type and the density of every layer of a model, which is not changed.

    Args:
        model: Prepared as for compile.
        options: Samples, pattern, criterion and seed.
        wanted: How long, where, and within which limits.
        costs: Where predicted seconds come from.
        progress: Called whenever a point is measured.

    Raises:
        UsageError: samples, choices or a storage that do not fit, or nothing to choose.
    """
    _check(wanted)
    sparse = dataclasses.replace(
        options.sparse, sparsity=0.0, pattern=options.sparse.pattern or _PATTERN
    )
    given = calibration.load(sparse.calibrate, model)
    samples = given or calibration.synthetic(model, seed=options.seed)
    learn, held_out = calibration.split(samples, model)
    request = request_of(sparse, options.seed, bool(given))
    evidence = shortened(learn, model)
    bench = trial.Bench(model, request, learn if given else (), evidence, held_out)
    nodes = (
        frozenset(bench.matrices()) if any(d < 1 for d in wanted.densities) else frozenset[str]()
    )
    places = space.places(model, wanted.schemes, wanted.densities, nodes, costs, request.pattern)
    if not places:
        raise UsageError(
            "there is nothing to choose",
            why="no recurrent or linear layer with constant float32 weights has a smaller form",
        )
    fixed = _all_bytes(model) - sum(4 * place.elements for place in places)
    study = Study(
        places,
        lambda point: bench.measure(point, places),
        _limits(wanted, fixed),
        wanted.storage,
        _fingerprint(model, places, request, samples),
        options.seed,
    )
    study.run(wanted, _teller(progress))
    tried = study.tried()
    front = pareto.front(tried, _limits(wanted, fixed))
    weights = {p.name: trial.weight_names(bench, p) if nodes else [] for p in places}
    notes = _notes(places, synthetic=not given)
    return pareto.Found(
        tuple(places),
        weights,
        request.pattern,
        request.criterion,
        fixed,
        tuple(tried),
        tuple(front),
        notes,
    )


def check_found(found: pareto.Found, wanted: SearchOptions) -> None:
    """Complain if no point is within the limits.

    Raises:
        BudgetError: none is; says what came closest.
    """
    if found.front:
        return
    limits = _limits(wanted, found.fixed)

    best = min(found.tried, key=lambda t: max(limits.excess(t.measured).values()))
    one = best.measured
    raise BudgetError(
        f"none of {len(found.tried)} points is within the limits",
        at=f"the closest: {found.text(best)}",
        why=f"it has {found.fixed + one.nbytes} B, takes {one.seconds * 1e6:.2f} us "
        f"and loses {one.drop:.3f} dB",
        fix="wider limits, further --densities, or more --trials",
    )


def _check(wanted: SearchOptions) -> None:
    for scheme in wanted.schemes:
        if scheme != space.FLOAT:
            parse(scheme)
    for density in wanted.densities:
        if not 0 < density <= 1:
            raise UsageError(f"density {density:g} is outside (0, 1]", fix="--densities 1,0.5,0.25")
    for name in ("trials", "minutes"):
        value = getattr(wanted, name)
        if value is not None and value <= 0:
            raise UsageError(f"--{name} {value:g} is no amount to search", fix=f"--{name} 100")


def _limits(wanted: SearchOptions, fixed: int) -> Limits:
    size = None if wanted.max_size is None else wanted.max_size - fixed
    return Limits(size, wanted.max_time, wanted.max_drop)


def _all_bytes(model: ir.Model) -> int:
    arrays = (data_of(value) for value in model.graph.initializers.values())
    return sum(array.nbytes for array in arrays if array is not None)


def _fingerprint(
    model: ir.Model, places: Sequence[Place], request: object, samples: Sequence[Sample]
) -> str:
    """What must not change while a study goes on; no times, they are told anew."""
    digest = hashlib.sha256(__version__.encode())
    digest.update(repr(request).encode())
    for name, value in sorted(model.graph.initializers.items()):
        digest.update(name.encode() + np.ascontiguousarray(value.const_value.numpy()).tobytes())
    for sample in samples:
        for name, array in sorted(sample.items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    digest.update(json.dumps([[p.name, p.node, list(p.choices)] for p in places]).encode())
    return digest.hexdigest()


def _notes(places: Sequence[Place], *, synthetic: bool) -> tuple[str, ...]:
    unknown = sorted(
        {f"{p.op_type} {c.scheme}" for p in places for c in p.choices.values() if c.seconds is None}
    )
    notes = [f"the cost table has no time of {name}: it counts as 0" for name in unknown]
    if synthetic:
        notes.append("synthetic inputs: not accuracy-checked; give --calibrate")
    return tuple(notes)


def _teller(progress: Progress) -> Callable[[Tried], None]:
    began = [time.perf_counter()]

    def tell(one: Tried) -> None:
        now = time.perf_counter()
        count: Mapping[str, int] = {
            t: list(one.point.values()).count(t) for t in one.point.values()
        }
        name = ", ".join(f"{n} {text}" for text, n in count.items())
        m = one.measured
        detail = f"{m.nbytes} B, {m.seconds * 1e6:.2f} us, error {-m.snr:.1f} dB"
        progress(Event("search", name, now - began[0], detail=detail))
        began[0] = now

    return tell
