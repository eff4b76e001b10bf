"""Small PyTorch models of the kinds people ship, through all passes, at lengths never traced."""

from __future__ import annotations

import base64

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
import torch

from edgeseq.frontends.states import mark_states
from edgeseq.frontends.torch import import_torch
from edgeseq.ir import facts
from edgeseq.pipeline import prepare, verify
from tests.zoo import models

TOLERANCE = 1e-5  # float32 sums in another order; the values are of order 1
CHUNKS = (1, 4, 2, 6)

# Name -> (nodes at most, states, whether it can run step by step).
ZOO = {
    "denoiser": (14, {"h"}, True),
    "keyword_spotter": (13, set(), False),
    "conv_recurrent": (13, {"core_h"}, True),
    "causal_convolution": (1, set(), False),
    "scan_recurrence": (6, {"h"}, True),
    "shared_and_tied": (8, {"shared_h", "shared_h_1", "normed_h", "normed_c"}, True),
    "stateful_step": (10, {"h", "level"}, True),
}


def session(model):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(ir.to_proto(model).SerializeToString(), options)


def run(runner, feeds):
    names = [output.name for output in runner.get_outputs()]
    return dict(zip(names, runner.run(None, feeds), strict=True))


def first_state(value):
    shape = [int(dim) for dim in value.shape]
    given = facts.get(value, facts.InitialState)
    if given is None:
        return np.zeros(shape, np.float32)
    return np.frombuffer(base64.b64decode(given.data), "<f4").reshape(shape)


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
def test_computes_the_same_whole_and_in_pieces(name):
    torch.set_num_threads(1)
    nodes, states, streams = ZOO[name]
    module, inputs, dynamic = getattr(models, name)()
    model = import_torch(module.eval(), inputs, dynamic)
    mark_states(model)
    original = session(model)
    records = prepare(model, check=True).records
    verify(model)
    assert records[-1].nodes_after <= nodes
    starts = {v.name: v for v in model.graph.inputs if facts.get(v, facts.State)}
    assert set(starts) == states
    assert (facts.get(model, facts.NotStreamable) is None) == streams

    time = {
        v.name: fact.axis
        for v in [*model.graph.inputs, *model.graph.outputs]
        if (fact := facts.get(v, facts.TimeAxis))
    }
    random = np.random.default_rng(0)
    feeds = {
        v.name: random.standard_normal(
            [dim if isinstance(dim, int) else sum(CHUNKS) for dim in v.shape], np.float32
        )
        for v in model.graph.inputs
        if v.name not in starts
    }
    state = {name: first_state(value) for name, value in starts.items()}
    known = {value.name for value in original.get_inputs()}
    everything = {**feeds, **state}
    want = run(original, {name: data for name, data in everything.items() if name in known})
    prepared = session(model)
    got = run(prepared, everything)
    for output, expected in want.items():
        assert np.abs(got[output] - expected).max() <= TOLERANCE, output
    if not streams or not time:
        return

    pieces, at = {output: [] for output in want}, 0
    for chunk in CHUNKS:
        part = {name: data.take(range(at, at + chunk), time[name]) for name, data in feeds.items()}
        results = run(prepared, {**part, **state})
        state = {name: results[facts.get(v, facts.State).output] for name, v in starts.items()}
        for output in want:
            pieces[output].append(results[output])
        at += chunk
    for output, expected in want.items():
        parts = pieces[output]
        joined = np.concatenate(parts, time[output]) if output in time else parts[-1]
        assert np.abs(joined - expected).max() <= TOLERANCE, output
