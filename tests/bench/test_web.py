"""The npm package is timed in Node; beside onnxruntime-web where somebody has installed it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edgeseq.bench.web import bench_web
from edgeseq.errors import ToolchainError, UsageError
from tests.packages import build

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.tiny("STEP", tmp_path_factory.mktemp("web"))


def peer() -> Path | None:
    """A folder with onnxruntime-web, where EDGESEQ_TEST_NODE names one."""
    given = os.environ.get("EDGESEQ_TEST_NODE")
    return Path(given) if given else None


def test_times(step: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    report = bench_web(step, peer=peer(), rounds=3, calls=20)
    assert report.model == "step"
    assert 0 < report.microseconds["edgeseq"].median < 1e5
    assert report.calls > 100  # until the processor's clock can be read
    assert report.bytes["edgeseq"] < 60_000
    assert 0 < report.again_ms["edgeseq"].median < report.start_ms["edgeseq"].median
    if peer() is not None:
        assert report.difference["onnxruntime-web"] < 1e-3
        assert report.ratio["onnxruntime-web"].median > 0


def test_a_missing_peer(step: Path, tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    with pytest.raises(ToolchainError, match="no onnxruntime-web") as raised:
        bench_web(step, peer=tmp_path)
    assert raised.value.fix == f"npm install --prefix {tmp_path} onnxruntime-web"


def test_a_model_without_steps(tmp_path: Path) -> None:
    if shutil.which("node") is None:
        pytest.skip("needs node")
    dist = build.tiny("SEQUENCE", tmp_path)
    with pytest.raises(UsageError, match="no single step"):
        bench_web(dist, rounds=1, calls=1)
