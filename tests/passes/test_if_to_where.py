"""Branches that the run chooses are both computed."""

import numpy as np
import onnx.reference
import onnx_ir as ir
import pytest

from edgeseq.pipeline import prepare


def test_branches_of_one_shape(check_pass):
    before = """g (float[1, 3] x, float c) => (float[1, 3] y, float[1, 1] n)
    <int64[1] last = {1}, float zero = {0.0}> {
        [r] m = Relu (x)
        [is] on = Greater (c, zero)
        [if] p, o = If (on) <
            then_branch = a () => (float[1, 3] s, float[1, 1] t) {
                [twice] s = Add (m, m)
                [sum] t = ReduceSum (s, last)
            },
            else_branch = b () => (float[1, 3] u, float[1, 1] v) {
                [copy] u = Identity (m)
                [sum] v = ReduceMax (x, last)
            }
        >
        [end] y = Neg (p)
        [rest] n = Neg (o)
    }"""
    after = """g (float[1,3] x, float c) => (y, n) <int64[1] last = {1}, float zero = {0.0}> {
        [r] m = Relu (x)
        [is] on = Greater (c, zero)
        [twice] s = Add (m, m)
        [sum] t = ReduceSum (s, last)
        [copy] u = Identity (m)
        [sum_1] v = ReduceMax (x, last)
        ["if.Where"] "if.Where.out" = Where (on, s, u)
        ["if.Where_1"] "if.Where_1.out" = Where (on, t, v)
        [end] y = Neg ("if.Where.out")
        [rest] n = Neg ("if.Where_1.out")
    }"""
    check_pass("if-to-where", before, after, tolerance=0)


def test_a_condition_of_one_element_and_outputs_of_the_graph(check_pass):
    before = """g (float x, float[1] c) => (float y) <float zero = {0.0}> {
        [is] on = LessOrEqual (c, zero)
        [if] y = If (on) <
            then_branch = a () => (float s) { [root] s = Sqrt (x) },
            else_branch = b () => (float t) { [copy] t = Identity (x) }
        >
    }"""
    after = """g (float x, float[1] c) => (y) <int64[0] ints = {}, float zero = {0.0}> {
        [is] on = LessOrEqual (c, zero)
        [root] s = Sqrt (x)
        [copy] t = Identity (x)
        ["if.Reshape"] "if.Reshape.out" = Reshape (on, ints)
        ["if.Where"] y = Where ("if.Reshape.out", s, t)
    }"""
    check_pass("if-to-where", before, after, tolerance=0)


def test_one_inside_another(apply_pass):
    outcome = apply_pass(
        "if-to-where",
        """g (float[3] x, bool c, bool d) => (float[3] y) {
            [if] y = If (c) <
                then_branch = a () => (float[3] p) {
                    [inner] p = If (d) <
                        then_branch = e () => (float[3] s) { [abs] s = Abs (x) },
                        else_branch = f () => (float[3] t) { [neg] t = Neg (x) }
                    >
                },
                else_branch = b () => (float[3] q) { [root] q = Sqrt (x) }
            >
        }""",
    )
    kinds = sorted(node.op_type for node in outcome.model.graph)
    assert kinds == ["Abs", "Neg", "Sqrt", "Where", "Where"]


def refusals(apply_pass, shape: str, then: str, inputs: str = "") -> list[str]:
    outcome = apply_pass(
        "if-to-where",
        f"""g (float[3] x, bool c{inputs}) => ({shape} y) {{
            [if] y = If (c) <
                then_branch = a () => ({shape} p) {{ {then} }},
                else_branch = b () => ({shape} q) {{ [copy] q = Identity (x) }}
            >
        }}""",
    )
    assert not outcome.record.modified
    return outcome.refusals


def test_refuses_other_shapes(apply_pass):
    then = "[twice] p = Concat <axis = 0> (x, x)"
    (why,) = refusals(apply_pass, "float[N]", then)
    assert why == "node 'if' (If): its branches give 'y' different shapes or types"


def test_refuses_a_branch_that_is_not_made_for_these_shapes():
    model = ir.from_onnx_text("""<ir_version: 13, opset_import: ["" : 26]>
    g (float[3] x, bool c, float[5, 3] m) => (float[3] y) {
        [if] y = If (c) <
            then_branch = a () => (float[3] p) { [cut] p = MatMul (x, m) },
            else_branch = b () => (float[3] q) { [copy] q = Identity (x) }
        >
    }""")
    *_, record = prepare(model, passes=("bind-shapes", "if-to-where")).records
    (refusal,) = record.refusals
    assert refusal.reason == "node 'cut' (MatMul) does not fit the shapes that were given"


def test_refuses_an_index_that_only_one_branch_may_use(apply_pass):
    then = "[pick] p = Gather (x, i)"
    (why,) = refusals(apply_pass, "float[3]", then, ", int64[3] i")
    assert why == "node 'if' (If): node 'pick' (Gather) in one branch may not be computed in vain"


@pytest.mark.parametrize("c", [-1.0, 1.0])
def test_the_condition_decides(apply_pass, c):
    before = """g (float x, float c) => (float y) <float zero = {0.0}> {
        [is] on = Greater (c, zero)
        [if] y = If (on) <
            then_branch = a () => (float s) { [neg] s = Neg (x) },
            else_branch = b () => (float t) { [copy] t = Identity (x) }
        >
    }"""
    proto = ir.to_proto(apply_pass("if-to-where", before).model)
    feed = {"x": np.float32(3), "c": np.float32(c)}
    (got,) = onnx.reference.ReferenceEvaluator(proto).run(None, feed)
    assert got == (-3 if c > 0 else 3)
