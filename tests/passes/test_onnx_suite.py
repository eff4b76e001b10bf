"""ONNX's own node tests through the frontend and all passes: no crash, and the same results."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest

from edgeseq.errors import EdgeseqError
from edgeseq.frontends.onnx import import_onnx
from edgeseq.ir.settings import Settings
from edgeseq.pipeline import prepare
from tests.zoo import onnx_suite
from tests.zoo.onnx_suite import PARTS

pytestmark = pytest.mark.xdist_group(onnx_suite.GROUP)

# Relative error by type: folding and reordering round in another place.
TOLERANCE = {2: 4e-3, 4: 1e-4, 8: 1e-6}


def session(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(model, options)


def check(case, folder):
    """Return what went wrong, or None; what ONNX Runtime or we refuse is not wrong."""
    path = folder / "model.onnx"
    path.write_bytes(case.model.SerializeToString())
    names = [value.name for value in case.model.graph.input]
    data = [v if isinstance(v, list) else np.asarray(v) for v in case.data_sets[0][0]]
    feeds = dict(zip(names, data, strict=False))
    shapes = {name: feed.shape for name, feed in feeds.items() if isinstance(feed, np.ndarray)}
    try:
        model = import_onnx(path)
        prepare(model, Settings(shapes=shapes))
    except EdgeseqError:
        return None
    except Exception as error:
        return f"{case.name}: {error!r}"
    try:
        original = session(case.model.SerializeToString())
        want = original.run(None, feeds)
        prepared = session(ir.to_proto(model).SerializeToString())
    except Exception:  # ONNX Runtime implements neither all operators nor all types
        return None
    known = {value.name for value in prepared.get_inputs()}
    results = prepared.run(None, {name: feed for name, feed in feeds.items() if name in known})
    got = dict(zip([output.name for output in prepared.get_outputs()], results, strict=True))
    # ONNX Runtime writes the lowest float where Attention's definition has -inf, and its DFT is
    # less exact than ours: the suite's own results settle where the two disagree.
    stated = case.data_sets[0][1]
    for output, expected, reference in zip(original.get_outputs(), want, stated, strict=True):
        if not (same(got[output.name], expected) or same(got[output.name], reference)):
            return f"{case.name}: {output.name} differs"
    return None


def same(got, want):
    if not isinstance(want, np.ndarray) or want.dtype.kind not in "fiub":
        return True
    if got.shape != want.shape or got.dtype != want.dtype:
        return False
    tolerance = TOLERANCE[want.dtype.itemsize] if want.dtype.kind == "f" else 0
    return np.allclose(
        got.astype(float), want.astype(float), rtol=tolerance, atol=tolerance, equal_nan=True
    )


@pytest.fixture(scope="session")
def cases():
    found = onnx_suite.cases()
    # Chance and training are not for inference: Dropout in training mode draws its mask.
    return [case for case in found if "training" not in case.name and "bernoulli" not in case.name]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("part", range(PARTS))
def test_node_tests(cases, part, tmp_path):
    problems = [problem for case in cases[part::PARTS] if (problem := check(case, tmp_path))]
    assert problems == []
    assert len(cases[part::PARTS]) > 50
