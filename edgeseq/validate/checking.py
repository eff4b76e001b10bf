"""Checks a compiled target against the recorded vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseq.errors import UsageError
from edgeseq.validate import artifact as artifacts
from edgeseq.validate.artifact import Artifact
from edgeseq.validate.compare import compare, tolerance
from edgeseq.validate.finding import Finding, Verdict
from edgeseq.validate.runner import Arrays, ModelLike, Sequencer, named
from edgeseq.validate.streaming import Streams
from edgeseq.validate.vectors import Vectors, load

if TYPE_CHECKING:
    from edgeseq.validate.rerun import Against

# Of the range. Float32 and float16 models stay well below the first; a model that rounds floats to
# levels by itself may be off by some levels.
_SANE, _SANE_ROUNDED = 1e-2, 1e-1


def check(
    dist: Path, target: str, runner: ModelLike | None = None, *, against: Against | None = None
) -> Verdict:
    """Run a target over the recorded inputs, whole and in pieces, and judge every output.

    Args:
        dist: The artifact's folder.
        target: User name of the target.
        runner: Runs the target; without it `edgeseq.runtime` loads its library.
        against: Compute the oracle's outputs anew; without it the recorded ones are used.

    Raises:
        UsageError: files are missing or changed, or the artifact has no such target.
    """
    artifact = artifacts.read(dist)
    artifacts.check_files(artifact, target)
    vectors = load(dist / artifact.verify["file"])
    oracle = str(artifact.verify["oracle"])
    if against is not None:
        vectors = against.rerun(vectors, stacked=artifact.stacked)
        oracle = against.oracle.name
    if runner is None:
        from edgeseq import runtime

        runner = runtime.load(dist, target)
    checks = _Checks(artifact, vectors, runner)
    findings = tuple(checks.findings())
    return Verdict(artifact.name, target, oracle, findings, tuple(checks.skipped))


@dataclasses.dataclass
class _Checks:
    artifact: Artifact
    vectors: Vectors
    model: ModelLike
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def findings(self) -> Iterator[Finding]:
        whole = named(self.model.run(self._feed.inputs), list(self._axes))
        yield from self._reference()
        yield from self._numbers(whole)
        yield from self._last_states()
        step = self.artifact.manifest["modes"]["step"]
        if not step["supported"]:
            self.skipped.append(("streaming", step.get("reason") or "the model has no single step"))
        elif whole.keys() >= self._axes.keys():
            yield from self._streams.findings(whole)

    @property
    def _axes(self) -> dict[str, int | None]:
        return self.artifact.axes("outputs")

    @property
    def _feed(self) -> Sequencer:
        return Sequencer(
            self.vectors.inputs,
            self.artifact.axes("inputs"),
            self._axes,
            stacked=self.artifact.stacked,
        )

    @property
    def _streams(self) -> Streams:
        least = int(self.artifact.manifest["modes"]["run"]["min_T"])
        limits = {name: self._allowed("outputs", name) for name in self._axes}
        return Streams(self.model, self._feed, self._axes, limits, least)

    def _reference(self) -> Iterator[Finding]:
        """Were the oracle and its float32 reference two different models, any number would pass."""
        share = _SANE_ROUNDED if self.artifact.verify.get("rounds") else _SANE
        for name, limits in self.artifact.verify["outputs"].items():
            error, allowed = limits["e_ref"], share * limits["range"]
            reason = "" if error <= allowed else f"float32 is off by {error:.1e}: another model"
            yield Finding("reference", name, not reason, error, allowed, reason=reason)

    def _numbers(self, whole: Arrays) -> Iterator[Finding]:
        for name, axis in self._axes.items():
            if name not in self.vectors.outputs:
                raise UsageError(f"the verify vectors hold no output '{name}'", fix="compile again")
            want = self.vectors.outputs[name]
            allowed = self._allowed("outputs", name)
            yield compare("numbers", name, want, whole.get(name), allowed, axis)

    def _last_states(self) -> Iterator[Finding]:
        """The states after the last step: a wrong one shows in outputs only later, or never."""
        if not self.vectors.states:
            return
        stream = self.model.stream()
        stream.run(self._feed.inputs)
        for name in [entry["input"] for entry in self.artifact.manifest["states"]]:
            if name in self.vectors.states:  # else the passes exposed it: the model has none
                want, allowed = self.vectors.states[name], self._allowed("states", name)
                yield compare("last state", name, want, stream.state(name), allowed, None)

    def _allowed(self, kind: str, name: str) -> float:
        limits: Mapping[str, Mapping[str, float]] = self.artifact.verify[kind]
        return tolerance(limits[name])
