"""Error against time."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgeseq.frontends.states import mark_states
from edgeseq.quantize import drift

_LEAKY = """
<ir_version: 11, opset_import: ["" : 26]>
leaky (float[1] x, float[1] h) => (float[1] y, float[1] h_out)
<float[1] a = {{{keep}}}, float[1] b = {{{offset}}}>
{{
    kept = Mul (a, h)
    more = Add (kept, x)
    h_out = Add (more, b)
    y = Identity (h_out)
}}
"""


def leaky(keep: float, offset: float) -> ir.Model:
    model = ir.from_proto(onnx.parser.parse_model(_LEAKY.format(keep=keep, offset=offset)))
    mark_states(model, ["h=h_out"])
    return model


def sample() -> dict[str, np.ndarray]:
    return {"x": np.random.default_rng(0).normal(size=(100, 1)).astype(np.float32)}


def test_a_contraction_keeps_its_error_bounded() -> None:
    curves = drift.measure(leaky(0.9, 0.0), leaky(0.9, 1e-3), sample(), steps=5000)
    assert {(c.name, c.kind) for c in curves} == {("y", "output"), ("h_out", "state")}
    for curve in curves:
        assert len(curve.errors) == drift.WINDOWS
        assert not curve.grows
        assert curve.largest == pytest.approx(1e-2, rel=1e-2)  # e / (1 - keep)
        assert curve.errors[-1] == pytest.approx(1e-2, rel=1e-2)


def test_an_integrator_gathers_its_error() -> None:
    curves = drift.measure(leaky(1.0, 0.0), leaky(1.0, 1e-3), sample(), steps=5000)
    for curve in curves:
        assert curve.grows
        assert curve.slope > 0
        assert curve.largest == pytest.approx(5.0, rel=1e-2)


def test_equal_models_do_not_drift() -> None:
    for curve in drift.measure(leaky(1.0, 0.0), leaky(1.0, 0.0), sample(), steps=200):
        assert curve.largest == 0
        assert not curve.grows
        assert curve.slope == 0
