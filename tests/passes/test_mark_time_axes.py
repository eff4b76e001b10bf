"""Outputs that run along time are marked."""

from edgeseq.ir import facts


def test_outputs_along_time(apply_pass):
    outcome = apply_pass(
        "mark-time-axes",
        """g (float[1, T, 3] x) => (float[3, a, 1] y, float[1, b] n) <int64[1] two = {2}> {
            [turn] y = Transpose <perm = [2, 1, 0]> (x)
            [sum] n = ReduceSum <keepdims = 0> (x, two)
        }""",
    )
    found = [facts.get(value, facts.TimeAxis) for value in outcome.model.graph.outputs]
    assert found == [facts.TimeAxis(1, "T"), facts.TimeAxis(1, "T")]
    assert outcome.record.modified


def test_without_time_nothing_is_marked(apply_pass):
    outcome = apply_pass("mark-time-axes", "g (float[3] x) => (float[3] y) { [r] y = Relu (x) }")
    assert not outcome.record.modified
