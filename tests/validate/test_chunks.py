"""Chunks of a sequence: each fault of carrying the state fails in the check of its chunk size."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgeseq import validate

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

CHECKS = {
    "reference",
    "numbers",
    "single steps",
    "chunks of 1",
    "chunks of 2",
    "chunks of 7",
    "ragged chunks",
    "reset",
    "save and load",
    "saved state",
    "interleaved ahead",
    "interleaved behind",
}


class GraphStream:
    """What correct compiled code of `running` does: the sum so far is its state."""

    def __init__(self) -> None:
        self.sum = np.zeros((1, 1, 2), np.float32)

    def step(self, inputs: Arrays) -> dict[str, Array]:
        return self.run(inputs)

    def run(self, inputs: Arrays) -> dict[str, Array]:
        y = self.sum + np.cumsum(inputs["x"], 1, dtype=np.float32)
        self.sum = y[:, -1:].copy()
        return {"y": y, "total": y[:, -1].copy()}

    def reset(self) -> None:
        self.sum = np.zeros_like(self.sum)

    def save(self) -> bytes:
        return self.sum.tobytes()

    def load(self, saved: bytes) -> None:
        self.sum = np.frombuffer(saved, np.float32).reshape(1, 1, 2).copy()

    def state(self, name: str) -> Array:
        raise KeyError(name)


class Model:
    """Compiled code made of a stream."""

    def __init__(self, stream: Callable[[], Any]) -> None:
        self.stream = stream

    def run(self, inputs: Arrays) -> Any:
        return self.stream().run(inputs)


def failed(verdict: validate.Verdict) -> set[tuple[str, str]]:
    return {(f.check, f.name) for f in verdict.failed}


def test_correct_graph_code_passes(graph_dist: Path) -> None:
    verdict = validate.check(graph_dist, "fake", Model(GraphStream))
    assert verdict.ok, validate.to_text(verdict)
    assert {f.check for f in verdict.findings} == CHECKS


class ChunkBoundary(GraphStream):
    """Forgets the carried sum when a chunk is as long as two steps."""

    def run(self, inputs: Arrays) -> dict[str, Any]:
        if inputs["x"].shape[1] == 2:
            self.reset()
        return super().run(inputs)


class SevenIsUnlucky(GraphStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        out = super().run(inputs)
        if inputs["x"].shape[1] == 7:
            out["y"][0, 6] += 1
        return out


class RaggedOnly(GraphStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        out = super().run(inputs)
        if inputs["x"].shape[1] == 11:
            self.sum += 1
        return out


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (ChunkBoundary, {"chunks of 2"}),
        (SevenIsUnlucky, {"chunks of 7"}),
        (RaggedOnly, {"ragged chunks"}),
    ],
)
def test_each_fault_of_chunks_fails_its_check(
    graph_dist: Path, kind: type[GraphStream], expected: set[str]
) -> None:
    found = {check for check, _ in failed(validate.check(graph_dist, "fake", Model(kind)))}
    assert expected <= found
    assert found <= expected | {"ragged chunks"}


def test_without_a_step_streaming_is_skipped_with_the_reason(graph_dist: Path) -> None:
    file = graph_dist / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["modes"]["step"] = {"supported": False, "reason": "it looks into the future"}
    file.write_text(json.dumps(manifest))
    verdict = validate.check(graph_dist, "fake", Model(ChunkBoundary))
    assert verdict.ok
    assert verdict.skipped == (("streaming", "it looks into the future"),)
    assert "skipped: streaming: it looks into the future" in validate.to_text(verdict)


def test_a_single_output_may_come_as_an_array(graph_dist: Path) -> None:
    file = graph_dist / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["outputs"] = manifest["outputs"][:1]
    file.write_text(json.dumps(manifest))

    class Bare(GraphStream):
        def run(self, inputs: Arrays) -> Any:
            return super().run(inputs)["y"]

    assert validate.check(graph_dist, "fake", Model(Bare)).ok
