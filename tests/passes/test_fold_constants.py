"""What can be known now is computed now."""

import pytest


def test_shape_arithmetic(check_pass):
    before = """g (float[2, 3, 4] x) => (float[6, 4] y) <int64 zero = {0}, int64 one = {1}> {
        [s] shape = Shape (x)
        [a] rows = Gather (shape, zero)
        [b] columns = Gather (shape, one)
        [m] both = Mul (rows, columns)
        [axis] first = Constant <value_ints = [0]> ()
        [u] lead = Unsqueeze (both, first)
        [rest] free = Constant <value_ints = [-1]> ()
        [c] target = Concat <axis = 0> (lead, free)
        [r] y = Reshape (x, target)
    }"""
    after = """g (float[2, 3, 4] x) => (y) <int64[2] target = {6, -1}> {
        [r] y = Reshape (x, target)
    }"""
    check_pass("fold-constants", before, after, tolerance=0)


def test_weights(check_pass):
    before = """g (float[2, 3] x) => (float[2, 4] y) <float[4, 3] w> {
        [t] turned = Transpose (w)
        [m] y = MatMul (x, turned)
    }"""
    after = """g (float[2, 3] x) => (y) <float[3, 4] turned> { [m] y = MatMul (x, turned) }"""
    check_pass("fold-constants", before, after, tolerance=0)


def test_a_constant_output_is_a_copy(check_pass):
    before = """g (float[2] x) => (float[2] y, int64[1] n) {
        [a] y = Relu (x)
        [b] n = Shape (x)
    }"""
    after = """g (float[2] x) => (y, n) <int64[1] n_1 = {2}> {
        [a] y = Relu (x)
        ["b.Identity"] n = Identity (n_1)
    }"""
    check_pass("fold-constants", before, after, tolerance=0)


def test_what_depends_on_time_stays(apply_pass):
    text = """g (float[T, 2] x) => (int64[2] n) { [s] n = Shape (x) }"""
    assert not apply_pass("fold-constants", text).record.modified


def test_the_part_of_a_shape_that_is_fixed(check_pass):
    before = """g (float[T, 2] x) => (float[a, b] y) <int64 one = {1}, int64[1] zero = {0}> {
        [s] shape = Shape (x)
        [g] width = Gather (shape, one)
        [u] target = Unsqueeze (width, zero)
        [c] ones = ConstantOfShape <value = float[1] {1}> (target)
        [m] y = Mul (x, ones)
    }"""
    after = """g (float[T, 2] x) => (y) <float[2] ones> { [m] y = Mul (x, ones) }"""
    check_pass("fold-constants", before, after, tolerance=0)


def test_an_if_whose_condition_is_known_is_its_branch(check_pass):
    before = """g (float[1, 3] x) => (float[3] y) <int64 zero = {0}, int64 one = {1}> {
        [s] shape = Shape (x)
        [g] rows = Gather (shape, zero)
        [e] single = Equal (rows, one)
        [if] y = If (single) <
            then_branch = yes () => (float[3] a) {
                [axis] first = Constant <value_ints = [0]> ()
                [squeeze] a = Squeeze (x, first)
            },
            else_branch = no () => (float[1, 3] b) { [copy] b = Identity (x) }
        >
    }"""
    after = (
        """g (float[1, 3] x) => (y) <int64[1] first = {0}> { [squeeze] y = Squeeze (x, first) }"""
    )
    check_pass("fold-constants", before, after, tolerance=0)


def test_a_branch_that_is_a_value_from_outside(check_pass):
    before = """g (float[3] x) => (float[3] y) <bool yes = {1}> {
        [r] m = Relu (x)
        [if] n = If (yes) <
            then_branch = a () => (float[3] p) { [copy] p = Identity (m) },
            else_branch = b () => (float[3] q) { [neg] q = Neg (m) }
        >
        [end] y = Neg (n)
    }"""
    after = """g (float[3] x) => (y) {
        [r] m = Relu (x)
        [copy] p = Identity (m)
        [end] y = Neg (p)
    }"""
    check_pass("fold-constants", before, after, tolerance=0)


def test_nested_ifs_with_names_that_clash(check_pass):
    before = """g (float[3] x) => (float[3] y) <bool yes = {1}, bool no = {0}> {
        [r] m = Relu (x)
        [if] y = If (yes) <
            then_branch = a () => (float[3] p) {
                [inner] p = If (no) <
                    then_branch = c () => (float[3] s) { [neg] s = Abs (m) },
                    else_branch = d () => (float[3] t) { [neg] t = Neg (m) }
                >
            },
            else_branch = b () => (float[3] q) { [neg] q = Sqrt (m) }
        >
    }"""
    after = """g (float[3] x) => (y) {
        [r] m = Relu (x)
        [neg_1] y = Neg (m)
    }"""
    check_pass("fold-constants", before, after, tolerance=0)


def test_a_branch_that_does_not_fit_is_no_error_while_nobody_takes_it(apply_pass):
    outcome = apply_pass(
        "fold-constants",
        """g (float[1, 3] x, bool c) => (float[1, 3] y) <int64[1] last = {1}> {
            [if] y = If (c) <
                then_branch = a () => (float[1, 3] p) { [neg] p = Neg (x) },
                else_branch = b () => (float[1, 3] q) { [squeeze] q = Squeeze (x, last) }
            >
        }""".replace("(float[1, 3] q)", "(q)"),
    )
    assert [node.op_type for node in outcome.model.graph] == ["If"]


def test_inside_a_scan(check_pass):
    before = """g (float[T, 2] x) => (float[2] s, float[T, 2] y) <float[2] zero = {0, 0}> {
        [scan] s, y = Scan <num_scan_inputs = 1, body = b (float[2] a, float[2] i)
            => (float[2] n, float[2] o) {
                [half] h = Constant <value_float = 0.5> ()
                [decay] d = Mul (a, h)
                [add] n = Add (d, i)
                [copy] o = Neg (n)
        }> (zero, x)
    }"""
    after = """g (float[T, 2] x) => (s, y) <float h, float[2] zero> {
        [scan] s, y = Scan <num_scan_inputs = 1, body = b (float[2] a, float[2] i)
            => (float[2] n, float[2] o) {
                [decay] d = Mul (a, h)
                [add] n = Add (d, i)
                [copy] o = Neg (n)
        }> (zero, x)
    }"""
    check_pass("fold-constants", before, after, tolerance=0)


@pytest.mark.parametrize("op", ["RandomNormal <shape = [2]> ()", "RandomUniform <shape = [2]> ()"])
def test_chance_is_not_folded(apply_pass, op):
    outcome = apply_pass(
        "fold-constants", f"g (float[2] x) => (float[2] y) {{ [r] z = {op} [a] y = Add (x, z) }}"
    )
    assert not outcome.record.modified
