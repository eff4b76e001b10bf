"""Scans that are linear in their state become one call, however they are written."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import onnx
import onnx_ir as ir
import pytest

from edgeseq import api, pipeline, validate
from edgeseq.lower import select, select_scan
from edgeseq.options import CompileOptions

HEADER = '<ir_version: 10, opset_import: ["" : 21]>\n'


def kernels(text: str, folder: Path) -> list[str]:
    """Compile a graph, hold it against the interpreter, and name the kernels it calls."""
    model = onnx.parser.parse_model(HEADER + text)
    api.compile_model(model, CompileOptions(folder / "dist", ("c",), name="m"))
    verdict = validate.check(folder / "dist", "c")
    assert verdict.ok, validate.to_text(verdict)
    manifest = json.loads((folder / "dist" / "manifest.json").read_text())
    return [kernel["name"] for kernel in manifest["kernels"]]


def scan(
    state: str, steps: Mapping[str, str], y: str, body: str, *, weights: str = "", more: str = ""
) -> str:
    """A Scan: the body reads the state `s` and one step `<name>t` of each sequence; it makes n, o.

    Shapes are those of one step; sequences have time in front.
    """
    sequences = ", ".join(f"float[T, {shape}] {name}" for name, shape in steps.items())
    inner = ", ".join(f"float[{shape}] {name}t" for name, shape in steps.items())
    return f"""
    g ({sequences}, float[{state}] s0) => (float[T, {y}] y, float[{state}] last) <{weights}>
    {{
        last, y = Scan <num_scan_inputs = {len(steps)} {more},
            body = step (float[{state}] s, {inner})
            => (float[{state}] n, float[{y}] o) {{ {body} }}> (s0, {", ".join(steps)})
    }}"""


AXES = "int64[1] i0 = {0}, int64[1] i1 = {1}, int64[1] i2 = {2}, int64[1] last1 = {-1}"

DIAGONAL = {
    "factors of each step": scan(
        "2, 3", {"a": "2, 3", "x": "2, 3"}, "2, 3", "m = Mul(at, s) n = Add(m, xt) o = Identity(n)"
    ),
    "constant factors": scan(
        *("3", {"x": "3"}, "3", "m = Mul(s, f) n = Add(xt, m) o = Identity(n)"),
        weights="float[3] f = {0.5, 0.25, 0.75}",
    ),
    "one constant factor": scan(
        *("2, 3", {"x": "2, 3"}, "2, 3", "m = Mul(s, f) n = Add(xt, m) o = Identity(n)"),
        weights="float f = {0.5}",
    ),
    "a running sum": scan("3", {"x": "3"}, "3", "n = Add(xt, s) o = Identity(n)"),
    "a difference": scan("3", {"x": "3"}, "3", "m = Neg(s) n = Sub(xt, s) o = Identity(n)"),
    "from the last step": scan(
        *("3", {"a": "3", "x": "3"}, "3", "m = Mul(at, s) n = Add(m, xt) o = Identity(n)"),
        more=", scan_input_directions = [1, 1], scan_output_directions = [1]",
    ),
}


@pytest.mark.parametrize("name", DIAGONAL)
def test_a_diagonal_recurrence(name: str, tmp_path: Path) -> None:
    assert kernels(DIAGONAL[name], tmp_path) == ["diag_scan_f32"]


MAMBA = {"d": "1, 4", "x": "1, 4", "b": "1, 3", "c": "1, 3"}
FACTORS = "float[4, 3] a = {-1, -2, -3, -1, -2, -3, -0.5, -1, -2, -0.1, -0.2, -0.3}"
SELECTIVE = {
    "unsqueezed": scan(
        *("1, 4, 3", MAMBA, "1, 4"),
        """
        d3 = Unsqueeze(dt, i2) da = Mul(d3, a) f = Exp(da) m = Mul(f, s)
        u = Mul(dt, xt) u3 = Unsqueeze(u, i2) b3 = Unsqueeze(bt, i1) w = Mul(u3, b3)
        n = Add(m, w) c3 = Unsqueeze(ct, i2) r = MatMul(n, c3) o = Squeeze(r, i2)
        """,
        weights=f"{AXES}, {FACTORS}",
    ),
    "in einsums, with D": scan(
        *("1, 4, 3", MAMBA, "1, 4"),
        """
        da = Einsum<equation = "bc,cn->bcn">(dt, a) f = Exp(da) m = Mul(s, f)
        w = Einsum<equation = "bc,bn,bc->bcn">(xt, bt, dt) n = Add(w, m)
        r = Einsum<equation = "bcn,bn->bc">(n, ct) k = Mul(xt, skip) o = Add(k, r)
        """,
        weights=f"{FACTORS}, float[4] skip = {{1, 2, 3, 4}}",
    ),
    "of one stream, summed, with x multiplied before": scan(
        *("4, 3", {"d": "4", "x": "4", "b": "3", "c": "3"}, "4"),
        """
        d2 = Unsqueeze(dt, last1) da = Mul(a, d2) f = Exp(da) m = Mul(f, s)
        u = Unsqueeze(xt, last1) w = Mul(u, bt) n = Add(m, w)
        p = Mul(n, ct) o = ReduceSum<keepdims = 0>(p, last1)
        """,
        weights=f"{AXES}, {FACTORS}",
    ),
    "batch first": f"""
    g (float[2, T, 4] d, float[2, T, 4] x, float[2, T, 3] b, float[2, T, 3] c)
        => (float[2, T, 4] y) <{AXES}, {FACTORS}, float[2, 4, 3] s0 = {{{", ".join("0" * 24)}}}>
    {{
        last, y = Scan <num_scan_inputs = 4, scan_input_axes = [1, 1, 1, 1],
            scan_output_axes = [1],
            body = step (float[2, 4, 3] s, float[2, 4] dt, float[2, 4] xt, float[2, 3] bt,
                float[2, 3] ct) => (float[2, 4, 3] n, float[2, 4] o) {{
            d3 = Unsqueeze(dt, i2) da = Mul(d3, a) f = Exp(da) m = Mul(f, s)
            u = Mul(dt, xt) u3 = Unsqueeze(u, i2) b3 = Unsqueeze(bt, i1) w = Mul(u3, b3)
            n = Add(m, w) c3 = Unsqueeze(ct, i2) r = MatMul(n, c3) o = Squeeze(r, i2)
        }}> (s0, d, x, b, c)
    }}""",
}


@pytest.mark.parametrize("name", SELECTIVE)
def test_a_selective_scan(name: str, tmp_path: Path) -> None:
    assert kernels(SELECTIVE[name], tmp_path) == ["selective_scan_f32"]


HEADS = {"q": "2, 3", "k": "2, 3", "v": "2, 4"}
OUTER = "k3 = Unsqueeze(kt, i2) v3 = Unsqueeze(vt, i1) w = Mul(k3, v3)"
READ = "q3 = Unsqueeze(qt, i1) r = MatMul(q3, n) o = Squeeze(r, i1)"
MATRIX = {
    "without decay": scan("2, 3, 4", HEADS, "2, 4", f"{OUTER} n = Add(s, w) {READ}", weights=AXES),
    "a factor a head (RetNet)": scan(
        *("2, 3, 4", HEADS, "2, 4", f"{OUTER} m = Mul(s, gamma) n = Add(m, w) {READ}"),
        weights=f"{AXES}, float[2, 1, 1] gamma = {{0.9, 0.95}}",
    ),
    "a factor a key, scaled (GLA)": scan(
        *("2, 3, 4", {**HEADS, "a": "2, 3"}, "2, 4"),
        f"""{OUTER} a3 = Unsqueeze(at, i2) m = Mul(a3, s) n = Add(m, w)
        q3 = Unsqueeze(qt, i2) p = Mul(q3, n) r = ReduceSum<keepdims = 0>(p, i1) o = Div(r, root)
        """,
        weights=f"{AXES}, float root = {{1.75}}",
    ),
    "logarithms, two queries a key": scan(
        *("1, 2, 3, 4", {"q": "1, 2, 2, 3", "k": "1, 2, 3", "v": "1, 2, 4", "g": "1, 2"}),
        "1, 2, 2, 4",
        """f = Exp(gt) f4 = Unsqueeze(f, last2) m = Mul(f4, s)
        w = Einsum<equation = "bhk,bhv->bhkv">(kt, vt) n = Add(m, w)
        o = Einsum<equation = "bhgk,bhkv->bhgv">(qt, n)""",
        weights="int64[2] last2 = {-1, -2}",
    ),
    "keys and queries that heads share": scan(
        *("2, 3, 4", {"q": "3", "k": "3", "v": "2, 4", "g": "2"}, "2, 4"),
        """f = Exp(gt) f3 = Unsqueeze(f, last2) m = Mul(f3, s)
        w = Einsum<equation = "k,hv->hkv">(kt, vt) n = Add(m, w)
        o = Einsum<equation = "k,hkv->hv">(qt, n)""",
        weights="int64[2] last2 = {-1, -2}",
    ),
    "a bonus for this step (RWKV)": scan(
        *("2, 3, 4", HEADS, "2, 4"),
        f"""{OUTER} b = Mul(bonus, w) now = Add(b, s) q3 = Unsqueeze(qt, i1)
        r = MatMul(q3, now) o = Squeeze(r, i1) m = Mul(s, decay) n = Add(m, w)""",
        weights=f"{AXES}, float[2, 3, 1] bonus = {{1, 2, 3, 4, 5, 6}}, "
        "float[2, 3, 1] decay = {0.5, 0.9, 0.8, 0.7, 0.6, 0.4}",
    ),
}


@pytest.mark.parametrize("name", MATRIX)
def test_linear_attention(name: str, tmp_path: Path) -> None:
    assert kernels(MATRIX[name], tmp_path) == ["outer_scan_f32"]


DELTA = {
    "gated, in einsums": scan(
        *("1, 2, 3, 4", {"q": "1, 2, 3", "k": "1, 2, 3", "v": "1, 2, 4", "b": "1, 2", "g": "1, 2"}),
        "1, 2, 4",
        """f = Exp(gt) f4 = Unsqueeze(f, last2) m = Mul(f4, s)
        known = Einsum<equation = "bhkv,bhk->bhv">(m, kt) e = Sub(vt, known)
        b3 = Unsqueeze(bt, last1) u = Mul(b3, e) w = Einsum<equation = "bhk,bhv->bhkv">(kt, u)
        n = Add(m, w) o = Einsum<equation = "bhk,bhkv->bhv">(qt, n)""",
        weights="int64[2] last2 = {-1, -2}, int64[1] last1 = {-1}",
    ),
    "without a gate, in products of matrices": scan(
        *("3, 4", {"q": "1, 3", "k": "1, 3", "v": "1, 4", "b": "1, 1"}, "1, 4"),
        """known = MatMul(kt, s) e = Sub(vt, known) u = Mul(bt, e)
        column = Transpose<perm = [1, 0]>(kt) w = MatMul(column, u)
        n = Add(s, w) o = MatMul(qt, n)""",
    ),
}


@pytest.mark.parametrize("name", DELTA)
def test_the_delta_rule(name: str, tmp_path: Path) -> None:
    assert kernels(DELTA[name], tmp_path) == ["delta_scan_f32"]


GATED = scan(
    *("2, 4", {"x": "2, 3"}, "2, 2"),
    """zw = MatMul(xt, w) zb = Add(zw, b) z = Sigmoid(zb) c = MatMul(xt, v)
    k = Sub(one, z) m = Mul(k, s) a = Mul(z, c) n = Add(m, a) t = Tanh(n) o = MatMul(t, u)""",
    weights="float one = {1}, float[4] b = {1, 0, -1, 2}, float[4, 2] u = {1, 2, 3, 4, 5, 6, 7, 8},"
    " float[3, 4] w = {1, -1, 2, 0, 1, 3, -2, 1, 0, 1, 1, -1}, "
    "float[3, 4] v = {0, 1, 1, -1, 1, -1, 2, 0, 1, 3, -2, 1}",
)


def test_gates_that_see_the_input_alone_are_products_of_matrices(tmp_path: Path) -> None:
    """A minimal gated unit: what is not recurrent left the loop."""
    found = kernels(GATED, tmp_path)
    assert sorted(found) == ["diag_scan_f32", "gemm_f32", "gemm_f32", "gemm_f32"]


LOOPS = {
    "it is not linear: a function of the state": scan(
        "3", {"x": "3"}, "3", "m = Tanh(s) n = Add(m, xt) o = Identity(n)"
    ),
    "it is not linear: the state times itself": scan(
        "3", {"x": "3"}, "3", "m = Mul(s, s) n = Add(m, xt) o = Identity(n)"
    ),
    "the state is mixed along an axis": scan(
        *("2, 2", {"x": "2, 2"}, "2, 2", "m = MatMul(w, s) n = Add(m, xt) o = Identity(n)"),
        weights="float[2, 2] w = {0.5, 0.1, -0.2, 0.4}",
    ),
    "a result is not the state itself": scan(
        *("2, 2", {"x": "2, 2"}, "2, 2", "m = Mul(s, w) n = Add(m, xt) o = MatMul(w, n)"),
        weights="float[2, 2] w = {0.5, 0.1, -0.2, 0.4}",
    ),
    "'e' is computed in the step": scan(
        "3",
        {"a": "3", "x": "3"},
        "3",
        "m = Mul(s, at) e = Softmax(xt) n = Add(m, e) o = Identity(n)",
    ),
    "sequences in both directions": scan(
        *("3", {"a": "3", "x": "3"}, "3", "m = Mul(s, at) n = Add(m, xt) o = Identity(n)"),
        more=", scan_input_directions = [1, 0]",
    ),
    "the state decays differently for each value": scan(
        *("3, 4", {"q": "1, 3", "k": "3, 1", "v": "1, 4", "a": "1, 4"}, "1, 4"),
        "m = Mul(s, at) w = Mul(kt, vt) n = Add(m, w) o = MatMul(qt, n)",
    ),
    "what is written is not the error of what is known": scan(
        *("3, 4", {"q": "1, 3", "k": "1, 3", "v": "1, 4", "b": "1, 1"}, "1, 4"),
        """known = MatMul(qt, s) e = Sub(vt, known) u = Mul(bt, e)
        column = Transpose<perm = [1, 0]>(kt) w = MatMul(column, u)
        n = Add(s, w) o = MatMul(qt, n)""",
    ),
}


@pytest.mark.parametrize("reason", LOOPS)
def test_another_scan_stays_a_loop_and_says_why(reason: str) -> None:
    model = ir.from_proto(onnx.parser.parse_model(HEADER + LOOPS[reason]))
    pipeline.prepare(model)
    (node,) = (node for node in model.graph if node.op_type == "Scan")
    why = select_scan.choose(node, select.Shapes({}))
    assert isinstance(why, str)
    assert reason in why
