"""Kernels as WebAssembly in Node compute what they do natively; beside a peer they are timed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from edgeseq import registry
from edgeseq.bench import node
from edgeseq.bench.suite import native, recurrent, wasm
from edgeseq.bench.suite.cases import Case
from edgeseq.bench.suite.run import Effort
from edgeseq.cli.bench import bench
from edgeseq.errors import ToolchainError, UsageError

LEAST = Effort(rounds=2)
SMALL = (
    Case("gru", {"I": 5, "H": 12, "T": 1}, peer=node.PEER),
    Case("lstm", {"I": 16, "H": 32, "T": 1}, "i8_b16x4", 0.3, node.PEER),
)
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="needs node")


@needs_node
@pytest.mark.slow
@pytest.mark.parametrize("case", SMALL, ids=lambda c: c.name)
def test_node_computes_what_this_machine_does(case: Case) -> None:
    problem = recurrent.build(case, np.random.default_rng(3))
    assert problem is not None
    isa = registry.find("targets", "wasm").TARGET.isas[0]
    result = wasm.in_node(problem, isa, None, 2, 21)["results"]["edgeseq"]
    assert len(result["microseconds"]) == 2
    here = native.Native(problem.call, native.best_isa(problem.call.kernel.name))
    expected = here.outputs(21)["y"].reshape(-1)
    np.testing.assert_allclose(result["outputs"][0], expected, atol=2e-6)


@needs_node
@pytest.mark.slow
def test_beside_onnxruntime_web() -> None:
    given = os.environ.get("EDGESEQ_TEST_NODE")
    if not given:
        pytest.skip("EDGESEQ_TEST_NODE names no folder with onnxruntime-web")
    (row,), versions = wasm.measure(Path(given), [], LEAST, SMALL[:1])
    assert versions.keys() == {"node", node.PEER}
    assert row.ratio is not None
    assert row.ratio.median > 0
    assert row.difference < 1e-4


def test_a_missing_peer(tmp_path: Path) -> None:
    with pytest.raises(ToolchainError, match="no onnxruntime-web"):
        wasm.measure(tmp_path, [], LEAST)


def test_a_peer_must_be_named() -> None:
    done = CliRunner().invoke(bench, ["kernels", "--target", "wasm"])
    assert isinstance(done.exception, UsageError)
    assert "--peer DIR" in done.exception.fix
