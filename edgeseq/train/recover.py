"""Wins back what pruning lost: the pruned model learns from its dense self, without labels."""

from __future__ import annotations

import dataclasses
import hashlib
import math
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

from edgeseq.errors import UsageError
from edgeseq.options import Event
from edgeseq.registry import hint
from edgeseq.train import calibration, checkpoint
from edgeseq.train.calibration import Sample
from edgeseq.train.fake import Fakes
from edgeseq.train.student import Loss, Student
from edgeseq.train.targets import Fixed, Gradual, Mask, Target

_HELD_OUT = 8  # one sample in so many is not learnt from, where there are enough


@dataclasses.dataclass(frozen=True)
class Settings:
    """How to recover.

    Args:
        streams: Samples side by side in a step.
        window: Time steps of each; gradients do not reach further back.
        rate: Highest learning rate.
        ramp: Share of the steps over which a gradual target falls to its density.
        rounds: How often its masks are chosen anew.
        draws: How many backward passes over a quarter of the streams tell in each round what the
            weights are worth; with 0 it is their magnitude.
        hint: Weight of inner values (what the pruned layers compute) beside the outputs.
        check: Steps between looks at held-out windows.
        patience: Looks without an improvement before stopping early.
        loss: What a step minimises; None: the relative error of the outputs (`distill.errors`).
        also: Names or globs of float weights to train besides those of the pruned layers.
    """

    streams: int = 32
    window: int = 64
    rate: float = 4e-3
    ramp: float = 0.3
    rounds: int = 20
    draws: int = 16
    hint: float = 1.0
    check: int = 50
    patience: int = 8
    loss: Loss | None = None
    also: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Record:
    """One look at held-out windows.

    Args:
        step: Steps done.
        loss: Mean training loss since the look before.
        held_out: Loss of the outputs on held-out windows, with the masks of this step.
        density: Share of the masked weights that are left.
    """

    step: int
    loss: float
    held_out: float
    density: float


@dataclasses.dataclass(frozen=True)
class Recovered:
    """What came out.

    Args:
        model: A copy with the recovered weights; its zeros are exactly those of the masks.
        masks: What stayed of each pruned initializer.
        history: The looks, in order.
        before: Held-out loss pruned but not recovered.
        after: Held-out loss of `model`.
        stopped: Why it ended: "done", "no further improvement" or "diverged".
        notes: What the user should know.
        integers: Levels and scales of each weight that is quantized.
        scales: Those of activations (`<node>.x`) and states (`<node>.h`).
    """

    model: ir.Model
    masks: dict[str, Mask]
    history: tuple[Record, ...]
    before: float
    after: float
    stopped: str
    notes: tuple[str, ...] = ()
    integers: Mapping[str, tuple[torch.Tensor, torch.Tensor]] = dataclasses.field(
        default_factory=dict
    )
    scales: Mapping[str, float] = dataclasses.field(default_factory=dict)


def recover(
    model: ir.Model,
    masks: Mapping[str, Mask] | Target,
    samples: Sequence[Sample],
    steps: int,
    *,
    teacher: ir.Model | None = None,
    settings: Settings | None = None,
    seed: int = 0,
    progress: Callable[[Record], None] | None = None,
    checkpoint_file: Path | None = None,
    fakes: Fakes | None = None,
) -> Recovered:
    """Train the weights that are left until the model does what its dense self does.

    Args:
        model: As the pipeline prepares it; not changed.
        masks: True is kept, by name of the initializer; or a target that prunes gradually.
        samples: As `calibration.load` returns them; without any, synthetic ones are made.
        steps: Optimiser steps; 0 prunes only.
        teacher: The dense model, where `model` is not dense any more.
        settings: How to go about it.
        seed: The same seed gives the same result on the same machine.
        progress: Called with each record.
        checkpoint_file: Written at every look; where it is there already, it is gone on from.
        fakes: What of the model is quantized (`twin.make`); the scales are learnt, too.

    Raises:
        UsageError: a mask that fits no initializer, or a checkpoint of another run.
    """
    settings = settings or Settings()
    target = masks if not isinstance(masks, Mapping) else Fixed(masks)
    _check(model, target)
    notes = []
    if not samples:
        notes.append("recovered on synthetic inputs: give recordings with --calibrate")
        samples = calibration.synthetic(model, count=16, steps=2 * settings.window, seed=seed)
    learnt, held_out = _split(samples)
    student = Student(model, teacher or model, target, learnt, held_out, settings, seed, fakes)
    run = _Recovery(student, target, steps, settings, progress, checkpoint_file)
    key = ""
    if checkpoint_file is not None:
        key = _key(model, teacher, target, samples, steps, settings, seed)
    return run.run(notes, key)


def looks(progress: Callable[[Event], None]) -> Callable[[Record], None]:
    """Return what tells the looks of a recovery as events."""
    began = [time.perf_counter()]

    def look(record: Record) -> None:
        now = time.perf_counter()
        sparse = f" at density {record.density:.1%}" if record.density < 1 else ""
        detail = f"held-out loss {record.held_out:.3g}{sparse}"
        progress(Event("recover", f"step {record.step}", now - began[0], detail=detail))
        began[0] = now

    return look


class _Recovery:
    """The loop: masks, steps, looks, the best so far, checkpoints."""

    def __init__(
        self,
        student: Student,
        target: Target,
        steps: int,
        settings: Settings,
        progress: Callable[[Record], None] | None,
        file: Path | None,
    ) -> None:
        self._student = student
        self._target = target
        self._steps = steps
        self._settings = settings
        self._progress = progress
        self._file = file
        self._ramp = 0 if isinstance(target, Fixed) else int(steps * settings.ramp)
        self._history: list[Record] = []
        self._final = self._choose(1.0)
        self._best: dict[str, Any] = {}
        self._waited = 0

    def run(self, notes: Sequence[str], key: str) -> Recovered:
        student = self._student
        dense = student.snapshot()
        student.hold(self._final)
        before = student.look()
        self._best = {"loss": before, "weights": student.snapshot(), "masks": self._final}
        step = 0
        if self._ramp:
            student.load(dense)
        kept = None if self._file is None else checkpoint.load(self._file, key)
        if kept is not None:
            step = self._resume(kept)
        stopped = self._train(step, key)
        student.load(self._best["weights"])
        student.hold(self._best["masks"])
        finished = student.write()
        return Recovered(
            finished,
            dict(self._best["masks"]),
            tuple(self._history),
            before,
            float(self._best["loss"]),
            stopped,
            tuple(notes),
            student.integers(),
            student.scales(),
        )

    def _train(self, step: int, key: str) -> str:
        total = 0.0
        since = 0
        while step < self._steps:
            self._prune(step)
            total += self._student.step(_rate(step, self._steps, self._ramp) * self._settings.rate)
            since += 1
            step += 1
            if not math.isfinite(total):
                return self._diverged(step)
            if step % self._settings.check == 0 or step == self._steps:
                if step >= self._ramp:
                    self._prune(step)
                verdict = self._look(step, total / since)
                total, since = 0.0, 0
                if self._file is not None:
                    checkpoint.save(self._file, self._state(step, key))
                if verdict is not None:
                    return verdict
        return "done"

    def _prune(self, step: int) -> None:
        """Choose the masks of this step, if it is one of the rounds."""
        if step > self._ramp:
            return
        if self._ramp:
            every = max(1, self._ramp // self._settings.rounds)
            if step % every and step != self._ramp:
                return
            # The first round prunes too: a round that prunes nothing would be lost.
            self._final = self._choose(min(1.0, (step + every) / (self._ramp + every)))
        self._student.hold(self._final)

    def _choose(self, progress: float) -> dict[str, Mask]:
        weights = self._student.weights(self._target.names)
        gradual = not isinstance(self._target, Fixed) and self._settings.draws
        effects = self._student.effects(self._settings.draws) if gradual else None
        return self._target.masks(weights, progress, effects)

    def _look(self, step: int, loss: float) -> str | None:
        held_out = self._student.look()
        if not math.isfinite(held_out):
            return self._diverged(step)
        kept = sum(int(m.sum()) for m in self._final.values())
        density = kept / sum(m.size for m in self._final.values())
        record = Record(step, loss, held_out, density)
        self._history.append(record)
        if self._progress is not None:
            self._progress(record)
        if step < self._ramp:
            return None
        if held_out < self._best["loss"]:
            weights = self._student.snapshot()
            self._best = {"loss": held_out, "weights": weights, "masks": self._final}
            self._waited = 0
            return None
        self._waited += 1
        return "no further improvement" if self._waited >= self._settings.patience else None

    def _diverged(self, step: int) -> str:
        return f"diverged at step {step}; the best before is kept"

    def _state(self, step: int, key: str) -> dict[str, Any]:
        def plain(best: dict[str, Any]) -> dict[str, Any]:
            return best | {"masks": {k: _to_torch(m) for k, m in best["masks"].items()}}

        return {
            "key": key,
            "step": step,
            "best": plain(self._best),
            "masks": {k: _to_torch(m) for k, m in self._final.items()},
            "waited": self._waited,
            "history": [dataclasses.astuple(record) for record in self._history],
            "student": self._student.state(),
        }

    def _resume(self, kept: dict[str, Any]) -> int:
        self._best = kept["best"]
        self._best["masks"] = {k: m.numpy() for k, m in self._best["masks"].items()}
        self._final = {k: m.numpy() for k, m in kept["masks"].items()}
        self._waited = kept["waited"]
        self._history = [Record(*row) for row in kept["history"]]
        self._student.restore(kept["student"])
        self._student.hold(self._final)
        return int(kept["step"])


def _to_torch(mask: Mask) -> torch.Tensor:
    """Return a mask as torch saves it."""
    return torch.from_numpy(np.ascontiguousarray(mask))


def _rate(step: int, steps: int, ramp: int) -> float:
    """Warm up, stay while the masks shrink, then fall along a cosine."""
    warm = min(1.0, (step + 1) / 20)
    if step < ramp:
        return warm
    return warm * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - ramp) / (steps - ramp))))


def _split(samples: Sequence[Sample]) -> tuple[Sequence[Sample], Sequence[Sample]]:
    if len(samples) < _HELD_OUT:
        return samples, samples
    held_out = samples[::_HELD_OUT]
    return [s for i, s in enumerate(samples) if i % _HELD_OUT], held_out


def _check(model: ir.Model, target: Target) -> None:
    known = model.graph.initializers
    for name in target.names:
        if name not in known or known[name].const_value is None:
            raise UsageError(f"no weight '{name}' to mask", fix=hint(name, list(known)))
    if isinstance(target, Fixed):
        for name, mask in target.given.items():
            shape = tuple(known[name].const_value.shape)
            if mask.shape != shape:
                raise UsageError(
                    f"the mask of weight '{name}' is {list(mask.shape)}, the weight {list(shape)}"
                )


def _key(
    model: ir.Model,
    teacher: ir.Model | None,
    target: Target,
    samples: Sequence[Sample],
    steps: int,
    settings: Settings,
    seed: int,
) -> str:
    """Return a digest of all that a run depends on."""
    digest = hashlib.sha256()
    for each in (model, teacher):
        for name, value in sorted(each.graph.initializers.items()) if each is not None else ():
            digest.update(name.encode() + np.ascontiguousarray(value.const_value.numpy()).tobytes())
    weights = {name: _array(model, name) for name in target.names}
    for name, mask in sorted(target.masks(weights, 1.0, None).items()):
        digest.update(name.encode() + np.packbits(mask).tobytes())
    for sample in samples:
        for name, array in sorted(sample.items()):
            digest.update(name.encode() + np.ascontiguousarray(array).tobytes())
    plain = dataclasses.replace(settings, loss=None)
    share = target.share if isinstance(target, Gradual) else None
    digest.update(repr((plain, steps, seed, settings.loss is None, share)).encode())
    return digest.hexdigest()


def _array(model: ir.Model, name: str) -> Any:
    """Return an initializer as an array."""
    return model.graph.initializers[name].const_value.numpy()
