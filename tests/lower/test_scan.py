"""Scan, compiled: whole sequences against the interpreter, and step by step against both."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import edgeseq
from edgeseq import api, validate
from edgeseq.options import CompileOptions
from edgeseq.testing import assert_array

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'
STREAMING = {"single steps", "chunks of 1", "ragged chunks", "saved state"}


def build(text: str, folder: Path, target: str = "c") -> Path:
    """Compile a graph in ONNX's text form, and hold its library against the interpreter."""
    model = onnx.parser.parse_model(HEADER + text)
    api.compile_model(model, CompileOptions(folder / "dist", (target,), name="m"))
    verdict = validate.check(folder / "dist", target)
    assert verdict.ok, validate.to_text(verdict)
    return folder / "dist"


def checks(dist: Path, target: str = "c") -> set[str]:
    return {f.check for f in validate.check(dist, target).findings}


LEAKY = """
leaky (float[T, 3] x) => (float[T, 3] y)
<float[3] zero = {0, 0, 0}, float[3] decay = {0.9, 0.8, 0.7}>
{
    last, y = Scan <num_scan_inputs = 1,
        body = step (float[3] s, float[3] i) => (float[3] n, float[3] o) {
            kept = Mul(s, decay)
            n = Add(kept, i)
            o = Tanh(n)
        }> (zero, x)
}
"""


@pytest.mark.parametrize("target", ["c", pytest.param("host", marks=pytest.mark.slow)])
def test_a_causal_scan_runs_whole_and_step_by_step(tmp_path: Path, target: str) -> None:
    target = api.host_targets()[0] if target == "host" else target
    dist = build(LEAKY, tmp_path, target)
    assert checks(dist, target) >= STREAMING


def test_the_recurrence_as_numpy_writes_it(tmp_path: Path) -> None:
    model = edgeseq.load(build(LEAKY, tmp_path), "c")
    x = np.random.default_rng(0).standard_normal((7, 3)).astype(np.float32)
    state, want = np.zeros(3), []
    for frame in x:
        state = state * [0.9, 0.8, 0.7] + frame
        want.append(np.tanh(state))
    assert_array(model.run(x), np.array(want), "y", tolerance=1e-6)


CASES = {
    "backwards, and the other way round": """
        g (float[T, 2] x) => (float[T, 2] y, float[T, 2] z, float[2] last) <float[2] h = {1, 2}>
        {
            last, y, z = Scan <num_scan_inputs = 1, scan_input_directions = [1],
                scan_output_directions = [1, 0],
                body = b (float[2] s, float[2] i) => (float[2] n, float[2] o, float[2] p)
                <float[1] c = {0.5}> {
                    half = Mul(s, c)  n = Add(half, i)  o = Neg(n)  p = Add(n, i)
                }> (h, x)
        }""",
    "time on other axes": """
        g (float[2, 3, T] x) => (float[3, T, 2] y) <float[2, 3] h = {1, 2, 3, 4, 5, 6}>
        {
            last, y = Scan <num_scan_inputs = 1, scan_input_axes = [2], scan_output_axes = [-2],
                body = b (float[2, 3] s, float[2, 3] i) => (float[2, 3] n, float[3, 2] o)
                <float[1] c = {0.5}> {
                    half = Mul(s, c)  n = Add(half, i)  o = Transpose<perm = [1, 0]>(n)
                }> (h, x)
        }""",
    "states that change places": """
        g (float[T, 2] x, float[2] p, float[2] q) => (float[T, 2] y, float[2] r, float[2] s)
        {
            r, s, y = Scan <num_scan_inputs = 1,
                body = b (float[2] u, float[2] v, float[2] i)
                    => (float[2] m, float[2] n, float[2] o) {
                    m = Add(v, i)  n = Identity(u)  o = Mul(u, v)
                }> (p, q, x)
        }""",
    "a first state that is computed and used again": """
        g (float[T, 2] x, float[2] start) => (float[2] f, float[2] both, float[T, 2] y)
        {
            h = Exp(start)
            f, y = Scan <num_scan_inputs = 1,
                body = b (float[2] s, float[2] i) => (float[2] n, float[2] o) {
                    d = Sub(s, i)  n = Tanh(d)  o = Identity(n)
                }> (h, x)
            both = Add(h, f)
        }""",
    "a body that reads the outer graph, all of time included": """
        g (float[T, 2] x, float[2] bias) => (float[T, 2] y)
        <float[2] zero = {0, 0}, float[2, 2] w = {0.5, -0.25, 0.75, 0.1}>
        {
            e = MatMul(bias, w)
            t = Transpose<perm = [1, 0]>(x)
            f, y = Scan <num_scan_inputs = 1,
                body = b (float[2] s, float[2] i) => (float[2] n, float[2] o) {
                    r = Relu(e)  d = Sub(r, i)  q = Add(s, d)
                    k = MatMul(q, t)  p = Softmax(k)  n = MatMul(p, x)  o = Neg(n)
                }> (zero, x)
        }""",
    "results that nobody wants": """
        g (float[T, 2] x) => (float[T, 2] z) <float[2] h = {1, 2}, int64[1] k = {3}>
        {
            f, c, y, z = Scan <num_scan_inputs = 1,
                body = b (float[2] s, int64[1] e, float[2] i)
                    => (float[2] n, int64[1] k2, float[2] o, float[2] p) {
                    d = Sub(s, i)  n = Tanh(d)  o = Exp(n)  p = Sin(n)  k2 = Add(e, k)
                }> (h, k, x)
        }""",
    "integers": """
        g (int64[T] x) => (int64[T] y, int64 last) <int64 zero = {0}>
        {
            last, y = Scan <num_scan_inputs = 1,
                body = b (int64 s, int64 i) => (int64 n, int64 o) { n = Add(s, i)  o = Identity(n) }
            > (zero, x)
        }""",
    "no state at all": """
        g (float[T, 2] x, float[T, 2] z) => (float[T, 2] y)
        {
            y = Scan <num_scan_inputs = 2,
                body = b (float[2] i, float[2] j) => (float[2] o) { d = Sub(i, j)  o = Tanh(d) }
            > (x, z)
        }""",
    "a fixed number of steps": """
        g (float[5, 2] x, float[2] h) => (float[2] f, float[5, 2] y)
        {
            f, y = Scan <num_scan_inputs = 1,
                body = b (float[2] s, float[2] i) => (float[2] n, float[2] o) {
                    d = Sub(s, i)  n = Tanh(d)  o = Identity(n)
                }> (h, x)
        }""",
    "one step less than frames, perhaps none": """
        g (float[T, 2] x) => (float[2] f, float[2] n)
        <float[2] h = {1, 2}, int64[1] one = {1}, int64[1] end = {1000000}, int64[1] axis = {0}>
        {
            p = Slice(x, one, end, axis)
            f = Scan <num_scan_inputs = 1,
                body = b (float[2] s, float[2] i) => (float[2] n2) { d = Sub(s, i)  n2 = Tanh(d) }
            > (h, p)
            n = Neg(f)
        }""",
    "a loop in a loop": """
        g (float[T, 3, 2] x, float[2] h) => (float[2] f, float[T, 3, 2] y)
        {
            e = Neg(h)
            f, y = Scan <num_scan_inputs = 1,
                body = outer (float[2] s, float[3, 2] i) => (float[2] n, float[3, 2] o) {
                    n, o = Scan <num_scan_inputs = 1,
                        body = inner (float[2] u, float[2] j) => (float[2] v, float[2] w) {
                            d = Sub(u, j)  m = Add(d, e)  k = Mul(m, s)  v = Tanh(k)  w = Sin(v)
                        }> (s, i)
                }> (h, x)
        }""",
    "one loop after the other, with products": """
        g (float[T, 2] x) => (float[T, 2] z)
        <float[2] h = {1, 2}, float[2, 2] w = {0.5, -0.25, 0.75, 0.1}>
        {
            f, y = Scan <num_scan_inputs = 1,
                body = b1 (float[2] s, float[2] i) => (float[2] n, float[2] o) {
                    p = MatMul(s, w)  q = Add(p, i)  n = Tanh(q)  o = Identity(n)
                }> (h, x)
            g, z = Scan <num_scan_inputs = 1, scan_input_directions = [1],
                scan_output_directions = [1],
                body = b2 (float[2] s2, float[2] i2) => (float[2] n2, float[2] o2) {
                    p2 = MatMul(s2, w)  q2 = Add(p2, i2)  n2 = Tanh(q2)  o2 = Identity(n2)
                }> (f, y)
        }""",
}


@pytest.mark.parametrize("text", CASES.values(), ids=CASES.keys())
def test_whole_sequences(text: str, tmp_path: Path) -> None:
    dist = build(text, tmp_path)
    assert "numbers" in checks(dist)


def test_a_loop_over_no_steps_returns_its_first_state(tmp_path: Path) -> None:
    model = edgeseq.load(build(CASES["one step less than frames, perhaps none"], tmp_path), "c")
    found = model.run(np.ones((1, 2), np.float32))
    assert_array(found["f"], np.array([1.0, 2.0]), "f", tolerance=0)
    found = model.run(np.ones((2, 2), np.float32))
    assert_array(found["f"], np.tanh(np.array([0.0, 1.0])), "f", tolerance=1e-6)
