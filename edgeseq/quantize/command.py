"""What `--quantize` does: read samples, quantize, and measure what it cost."""

from __future__ import annotations

import collections
import dataclasses
import math
import time
from collections.abc import Callable, Mapping, Sequence

import onnx_ir as ir

from edgeseq.errors import BudgetError, UsageError
from edgeseq.options import Event, QuantizeOptions, SparsityOptions
from edgeseq.quantize import drift, search
from edgeseq.quantize.balance import balance
from edgeseq.quantize.layers import find
from edgeseq.quantize.run import Quantized, called, quantize, usual
from edgeseq.quantize.scheme import ACTIVATIONS, CELL_STATES, OBSERVERS, ROUNDINGS, Settings
from edgeseq.registry import hint
from edgeseq.train import calibration

Progress = Callable[[Event], None]
MIXED = "mixed"
DEFAULT_DROP = 0.1  # dB, of `mixed` without --max-drop
MEASURED = 500  # steps, where no drift is asked for


@dataclasses.dataclass(frozen=True)
class Done:
    """A quantized model and what is to be said of it.

    Args:
        quantized: What became of each layer.
        curves: Error of each output and state against the float model, over time.
        steps: How many steps that is.
        synthetic: There were no samples: the error is that of random inputs.
        notes: What the user should know.
    """

    quantized: Quantized
    curves: tuple[drift.Curve, ...]
    steps: int
    synthetic: bool
    notes: tuple[str, ...]

    @property
    def drop(self) -> float:
        """By how many dB the error raises the level of the worst output."""
        outputs = [c for c in self.curves if c.kind == "output"] or list(self.curves)
        return max((10 * math.log10(1 + 10 ** (-c.snr / 10)) for c in outputs), default=0.0)


def apply(
    model: ir.Model,
    options: QuantizeOptions,
    data: SparsityOptions,
    seed: int,
    progress: Progress,
    *,
    qdq: bool = False,
    teacher: ir.Model | None = None,
) -> Done:
    """Quantize a model in place, let it recover where that is asked for, and measure it.

    Args:
        model: Its sizes bound and its states marked.
        options: What to do.
        data: Where samples are, whether one of them is held out, and the steps of recovery.
        seed: Of the inputs, where there are no samples.
        progress: Called whenever a piece is done.
        qdq: Say static products as QuantizeLinear and DequantizeLinear, for other runtimes.
        teacher: What a recovering model should do, and is measured by; None: what it did in float.

    Raises:
        UsageError: samples, names or numbers that do not fit.
        BudgetError: the error is larger than `max_drop` allows.
    """
    assert options.scheme is not None
    settings = _settings(options)
    if not data.calibrate:
        _needs_samples(settings)
    start = time.perf_counter()
    reference = model.clone()
    given = calibration.load(data.calibrate, model)
    # The last sample is the one furthest from a single recording, where there are several.
    measured = (given or calibration.synthetic(model, seed=seed))[-1]
    if given and data.hold_out:
        given, measured = calibration.split(given, model)
    balanced = balance(model, given, settings)
    floats = model.clone() if data.recover else reference
    settings = dataclasses.replace(settings, equalize=False, smooth=0.0)
    schemes = _schemes(model, options, settings, given, measured, progress)
    tell = _teller(settings.rounding, progress)
    quantized = quantize(model, schemes, given, settings, qdq=qdq, progress=tell)
    quantized = quantized.with_methods(balanced.moved)
    learnt: tuple[str, ...] = ()
    if data.recover:
        learnt = _recover(model, floats, teacher, given, data, settings, seed, progress)
        reference = reference if teacher is None else _judge(teacher, reference)
    steps = options.drift or min(MEASURED, calibration.steps_of(measured, model))
    curves = tuple(drift.measure(reference, model, measured, steps=steps))
    notes = [*balanced.notes, *quantized.notes, *learnt]
    notes += [
        f"the error of '{c.name}' grows with time: {c.errors[-1]:.2g} after {steps} steps"
        for c in curves
        if c.grows
    ]
    done = Done(quantized, curves, steps, not given, tuple(notes))
    seconds = time.perf_counter() - start
    progress(Event("quantize", options.scheme, seconds, detail=summary(done)))
    _check(done, options)
    return done


def learns(options: QuantizeOptions) -> bool:
    """Whether the scheme has levels and scales that recovery can learn."""
    return options.scheme is not None and options.scheme not in ("bf16", "fp16")


def _recover(
    model: ir.Model,
    floats: ir.Model,
    teacher: ir.Model | None,
    samples: Sequence[calibration.Sample],
    data: SparsityOptions,
    settings: Settings,
    seed: int,
    progress: Progress,
) -> tuple[str, ...]:
    """Let the quantized model learn from its float self; return what the user should know."""
    from edgeseq.train.aware import recover_quantized
    from edgeseq.train.recover import looks

    done = recover_quantized(
        model,
        floats,
        samples,
        data.recover,
        teacher=teacher,
        pairs=settings.saturation_free,
        seed=seed,
        progress=looks(progress),
        checkpoint_file=data.checkpoint,
    )
    stopped = () if done.stopped == "done" else (f"recovery stopped: {done.stopped}",)
    better = f"recovery: held-out loss {done.before:.3g} -> {done.after:.3g}"
    return (better, *done.notes, *stopped)


def _judge(teacher: ir.Model, reference: ir.Model) -> ir.Model:
    """The teacher, unless units were cut out of the model, and so of its states."""
    shapes = [[v.shape for v in m.graph.outputs] for m in (teacher, reference)]
    return teacher if shapes[0] == shapes[1] else reference


def _needs_samples(settings: Settings) -> None:
    """Complain of what has nothing to look at."""
    if settings.activations == "static":
        raise UsageError(
            "static activations need calibration samples",
            why="a static scale is the range that was seen",
            fix="--calibrate clips/, or --activations auto: without samples, scales of each step",
        )
    asked = {
        f"--rounding {settings.rounding}": settings.rounding != "nearest",
        "--smooth": bool(settings.smooth),
    }
    for flag, wanted in asked.items():
        if wanted:
            raise UsageError(
                f"{flag} needs calibration samples",
                why="it looks at what the weights are multiplied by",
                fix=f"--calibrate clips/, or leave {flag} out",
            )


def _teller(rounding: str, progress: Progress) -> Callable[[str], None]:
    """Tell of each layer that is rounded, once the next one is begun."""
    began = time.perf_counter()

    def tell(name: str) -> None:
        nonlocal began
        now = time.perf_counter()
        progress(Event(rounding, name, now - began))
        began = now

    return tell


def _schemes(
    model: ir.Model,
    options: QuantizeOptions,
    settings: Settings,
    given: Sequence[calibration.Sample],
    held_out: calibration.Sample,
    progress: Progress,
) -> str | Mapping[str, str]:
    """One scheme for all, or, where the loss is bounded, one for each layer."""
    assert options.scheme is not None
    if options.schemes:
        return _named(model, options.scheme, options.schemes)
    if options.scheme != MIXED and options.max_drop is None:
        return options.scheme
    ladder = search.MIXED if options.scheme == MIXED else (options.scheme, search.FLOAT)
    drop = DEFAULT_DROP if options.max_drop is None else options.max_drop
    start = time.perf_counter()
    one = drift.repeated(held_out, model, MEASURED)
    trial = settings
    if settings.rounding == "adaround":  # every layer would learn in every scheme
        trial = dataclasses.replace(settings, rounding="nearest")
    found = search.search(model, ladder, given, one, trial, search.budget_of(drop), lambda _: None)
    if set(found.schemes.values()) == {search.FLOAT}:
        raise _too_tight(found, drop)
    count = collections.Counter(found.schemes.values())
    detail = ", ".join(f"{n} layers {scheme}" for scheme, n in count.items())
    progress(Event("search", options.scheme, time.perf_counter() - start, detail=detail))
    return found.schemes


def _too_tight(found: search.Found, drop: float) -> BudgetError:
    """No layer fits the budget: say which came closest."""
    steps = [
        (o, n) for n, rungs in found.options.items() for o in rungs if o.scheme != search.FLOAT
    ]
    least, name = min(steps, key=lambda one: one[0].error)
    alone = 10 * math.log10(1 + least.error)
    return BudgetError(
        f"no layer can be quantized for a loss of {drop:g} dB",
        at=f"{name} in {least.scheme} alone costs {alone:.2g} dB",
        why="no other costs less",
        fix="a larger --max-drop, or a wider scheme: bf16",
    )


def _named(model: ir.Model, default: str, own: Mapping[str, str]) -> dict[str, str]:
    """The scheme of every layer, where the user gives some of them another; the last name wins."""
    if default == MIXED:
        raise UsageError(
            "--scheme does not go with --quantize mixed",
            why="mixed chooses the scheme of each layer itself",
            fix="--quantize int8 --scheme NAME=bf16",
        )
    layers = find(model)[0]
    found = {layer.name: usual(layer, default) for layer in layers}
    for text, scheme in own.items():
        hits = called(layers, text)
        if not hits:
            raise UsageError(f"no layer is called '{text}'", fix=hint(text, found))
        found |= dict.fromkeys((layer.name for layer in hits), scheme)
    return found


def summary(done: Done) -> str:
    """`12 layers, 71744 B of 286976 B, output error -31.2 dB`."""
    q = done.quantized
    outputs = [c for c in done.curves if c.kind == "output"] or list(done.curves)
    error = min((c.snr for c in outputs), default=math.inf)
    static = sum(c.activations == "static" for c in q.changes)
    dynamic = sum(c.activations == "dynamic" for c in q.changes)
    text = f"{len(q.changes)} layers"
    if static or dynamic:
        text += f" ({static} static, {dynamic} dynamic)"
    text += f", {q.nbytes} B of {q.float_bytes} B"
    text += f", output error {-error:.1f} dB" if math.isfinite(error) else ""
    return text + " (synthetic inputs: not accuracy-checked)" * done.synthetic


def _settings(options: QuantizeOptions) -> Settings:
    for flag, value, known in (
        ("--observer", options.observer, OBSERVERS),
        ("--activations", options.activations, ACTIVATIONS),
        ("--rounding", options.rounding, ROUNDINGS),
        ("--cell-states", options.cell_states, CELL_STATES),
    ):
        if value not in known:
            raise UsageError(f"unknown {flag} '{value}'", fix=hint(value, known))
    if not 0 <= options.smooth <= 1:
        raise UsageError(f"--smooth {options.smooth:g} is outside [0, 1]", fix="--smooth 0.5")
    return Settings(
        observer=options.observer,
        activations=options.activations,
        rounding=options.rounding,
        equalize=options.equalize,
        smooth=options.smooth,
        cell_states=options.cell_states,
        correct_bias=options.correct_bias,
        saturation_free=options.saturation_free,
        keep=options.keep_float,
    )


def _check(done: Done, options: QuantizeOptions) -> None:
    if options.max_drop is None or done.drop <= options.max_drop:
        return
    worst = sorted(done.curves, key=lambda c: c.snr)[0]
    raise BudgetError(
        f"quantization costs {done.drop:.2f} dB, {options.max_drop:g} dB are allowed",
        at=f"'{worst.name}': error {-worst.snr:.1f} dB over {done.steps} steps",
        why="the error's power is added to the output's" + " (random inputs)" * done.synthetic,
        fix="--calibrate your clips, keep layers in float with --keep-float, or a wider scheme",
    )
