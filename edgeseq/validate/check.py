"""Checks a compiled target against the recorded vectors."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq.errors import UsageError
from edgeseq.validate import artifact as artifacts
from edgeseq.validate.artifact import Artifact
from edgeseq.validate.compare import compare, tolerance
from edgeseq.validate.finding import Finding, Verdict
from edgeseq.validate.oracle import Oracle
from edgeseq.validate.record import rerun
from edgeseq.validate.runner import Arrays, ModelLike, Sequencer, named
from edgeseq.validate.streaming import Streams
from edgeseq.validate.vectors import Vectors, load


def check(
    dist: Path, target: str, runner: ModelLike | None = None, *, against: Oracle | None = None
) -> Verdict:
    """Run a target over the recorded inputs, whole and in pieces, and judge every output.

    Args:
        dist: The artifact's folder.
        target: User name of the target.
        runner: Runs the target; without it `edgeseq.runtime` loads its library.
        against: Compute the reference anew with this oracle; without it the recorded one is used.

    Raises:
        UsageError: files are missing or changed, or the artifact has no such target.
    """
    artifact = artifacts.read(dist)
    artifacts.check_files(artifact, target)
    vectors = load(dist / artifact.verify["file"])
    oracle = str(artifact.verify["oracle"])
    if against is not None:
        vectors = rerun(against, vectors, _states(artifact, vectors), stacked=artifact.stacked)
        oracle = against.name
    if runner is None:
        from edgeseq import runtime

        runner = runtime.load(dist, target)
    checks = _Checks(artifact, vectors, runner)
    findings = tuple(checks.findings())
    return Verdict(artifact.name, target, oracle, findings, tuple(checks.skipped))


def _states(artifact: Artifact, vectors: Vectors) -> dict[str, tuple[str, Any]]:
    """Return the states that the source model itself has; the passes may have exposed more."""
    found = {}
    for entry in artifact.manifest["states"]:
        if entry["input"] in vectors.states:
            if entry.get("init", "zeros") != "zeros":
                raise UsageError(
                    f"cannot rerun the oracle: state '{entry['input']}' does not start at zero"
                )
            zeros = np.zeros(entry["shape"], "f4" if "float" in entry["dtype"] else entry["dtype"])
            found[entry["input"]] = (entry["output"], zeros)
    return found


@dataclasses.dataclass
class _Checks:
    artifact: Artifact
    vectors: Vectors
    model: ModelLike
    skipped: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    def findings(self) -> Iterator[Finding]:
        whole = named(self.model.run(self._feed.inputs), list(self._axes))
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
        for name, want in self.vectors.states.items():
            allowed = self._allowed("states", name)
            yield compare("last state", name, want, stream.state(name), allowed, None)

    def _allowed(self, kind: str, name: str) -> float:
        limits: Mapping[str, Mapping[str, float]] = self.artifact.verify[kind]
        return tolerance(limits[name])
