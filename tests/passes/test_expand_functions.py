"""Operators that ONNX defines by others are replaced by their definition."""

import numpy as np
import onnx.reference
import onnx_ir as ir
import pytest

from edgeseq.pipeline import prepare
from tests.passes.conftest import parse, run

CASES = {
    "attention, causal": """g (float[1,4,T,8] q, float[1,4,T,8] k, float[1,4,T,8] v)
        => (float[1,4,T,8] y) { [n] y = Attention <is_causal=1> (q, k, v) }""",
    "attention, packed heads": """g (float[1,T,32] q, float[1,T,16] k, float[1,T,16] v)
        => (float[1,T,32] y) {
        [n] y = Attention <q_num_heads=4, kv_num_heads=2, softcap=2.0> (q, k, v) }""",
    "attention, mask": """g (float[1,4,6,8] q, float[1,4,6,8] k, float[1,4,6,8] v, float[6,6] m)
        => (float[1,4,6,8] y) { [n] y = Attention (q, k, v, m) }""",
    "attention, cache": """g (float[1,4,1,8] q, float[1,4,1,8] k, float[1,4,1,8] v,
        float[1,4,5,8] pk, float[1,4,5,8] pv)
        => (float[1,4,1,8] y, float[1,4,6,8] k2, float[1,4,6,8] v2) {
        [n] y, k2, v2 = Attention (q, k, v, , pk, pv) }""",
    "rotary": """g (float[1,4,6,8] x, int64[1,6] pos) => (float[1,4,6,8] y)
        <float[16,4] c, float[16,4] s> { [n] y = RotaryEmbedding (x, c, s, pos) }""",
    "window": """g (float[16] x) => (float[16] y) <int64 size = {16}> {
        [w] w = HannWindow (size) [m] y = Mul (x, w) }""",
    "crop": """g (float[1,8,10] x) => (float[1,4,12] y) <int64[2] size = {4, 12}> {
        [n] y = CenterCropPad <axes=[1, 2]> (x, size) }""",
    "groups": """g (float[1,8,T] x) => (float[1,8,T] y) <float[8] s, float[8] b> {
        [n] y = GroupNormalization <num_groups=2> (x, s, b) }""",
    "mean and variance": """g (float[2,8,4,5] x) => (float[2,8,4,5] y) {
        [n] y = MeanVarianceNormalization <axes=[0, 2, 3]> (x) }""",
}


@pytest.mark.parametrize("name", CASES)
def test_the_definition_computes_the_same(name: str) -> None:
    before = parse(CASES[name])
    after = before.clone()
    prepare(after, passes=("bind-shapes", "expand-functions", "fold-constants"), check=True)
    expanded = {node.op_type for node in before.graph} - {"Mul"}
    assert not expanded & {node.op_type for node in after.graph}
    for length in (1, 5):
        want, got = run(before, length), run(after, length)
        for output in want:
            np.testing.assert_allclose(got[output], want[output], rtol=1e-5, atol=2e-6)


def test_text_before_and_after(apply_pass) -> None:
    outcome = apply_pass(
        "expand-functions",
        """g (float[1, 8, T] x) => (float[1, 8, T] y) { [act] y = Swish <alpha = 2.0> (x) }""",
    )
    constants = ("Constant", "CastLike")
    operators = [n.op_type for n in outcome.model.graph if n.op_type not in constants]
    assert operators == ["Mul", "Sigmoid", "Mul"]


def test_a_group_far_from_zero_keeps_its_variance() -> None:
    """E[x^2] - E[x]^2 in float32 would have lost it."""
    model = parse(CASES["groups"])
    prepare(model, passes=("bind-shapes", "expand-functions", "fold-constants"))
    x = (np.random.default_rng(0).standard_normal((1, 8, 50)) + 3000).astype(np.float32)
    (got,) = onnx.reference.ReferenceEvaluator(ir.to_proto(model)).run(None, {"x": x})
    weights = {
        v.name: v.const_value.numpy() for v in parse(CASES["groups"]).graph.initializers.values()
    }
    groups = x.astype(np.float64).reshape(2, -1)
    normal = (groups - groups.mean(1, keepdims=True)) / np.sqrt(groups.var(1) + 1e-5)[:, None]
    want = normal.reshape(x.shape) * weights["s"].reshape(8, 1) + weights["b"].reshape(8, 1)
    np.testing.assert_allclose(got, want, atol=2e-3)


def test_refuses_nothing_it_does_not_know(apply_pass) -> None:
    outcome = apply_pass("expand-functions", "g (float[2] x) => (float[2] y) { y = Relu (x) }")
    assert not outcome.record.modified
