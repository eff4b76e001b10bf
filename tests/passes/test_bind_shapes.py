"""Every dimension gets its size, or the user learns which flag gives it."""

import pytest

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.pipeline import Settings

TWO = """g (float[batch, seq, 80] x, float[batch, 64] h) => (float[batch, seq, 80] y) {
    [end] y = Relu (x)
}"""
TIMED = """g (float[B, T, 80] x) => (float[B, T, 80] y) { [end] y = Relu (x) }"""


def bind(apply_pass, text, **settings):
    return apply_pass("bind-shapes", text, settings=Settings(**settings), first=())


def shapes(outcome):
    return [str(value.shape) for value in outcome.model.graph.inputs]


def test_a_shape_binds_its_dimensions_everywhere(apply_pass):
    outcome = bind(apply_pass, TWO, shapes={"x": [3, 10, 80]})
    assert shapes(outcome) == ["[3,10,80]", "[3,64]"]


def test_dims_by_name_and_a_batch_by_default(apply_pass):
    outcome = bind(apply_pass, TWO, dims={"seq": 7})
    assert shapes(outcome) == ["[1,7,80]", "[1,64]"]
    assert outcome.record.notes == (
        "dimension 0 of 'x' ('batch') is 1",
        "dimension 0 of 'h' ('batch') is 1",
    )


def test_an_unnamed_first_dimension_is_a_batch(apply_pass):
    outcome = bind(apply_pass, "g (float[?, 3] x) => (float[?, 3] y) { [e] y = Relu (x) }")
    assert shapes(outcome) == ["[1,3]"]
    assert outcome.record.notes == ("dimension 0 of 'x' (unnamed) is 1",)


def test_a_converters_number_is_no_name(apply_pass):
    text = "g (float[unk__31, unk__32, 3] x) => (float[N, M, 3] y) { [e] y = Relu (x) }"
    outcome = bind(apply_pass, text, dims={"unk__32": (1, 9)})
    assert shapes(outcome) == ["[1,unk__32,3]"]
    assert outcome.record.notes == ("dimension 0 of 'x' ('unk__31') is 1",)
    with pytest.raises(UsageError, match="dimensions without a size"):
        bind(apply_pass, text)


def test_time_by_range(apply_pass):
    outcome = bind(apply_pass, TWO, dims={"seq": (2, 50)})
    assert shapes(outcome) == ["[1,seq,80]", "[1,64]"]
    assert facts.get(outcome.model, facts.DimRange) == facts.DimRange("seq", 2, 50)
    assert facts.get(outcome.model.graph.inputs[0], facts.TimeAxis) == facts.TimeAxis(1, "seq")


def test_time_by_its_name(apply_pass):
    outcome = bind(apply_pass, TIMED)
    assert shapes(outcome) == ["[1,T,80]"]
    assert outcome.record.notes[-1] == "dimension T is time, 1 to 4096 steps"


def test_time_named_in_a_shape(apply_pass):
    outcome = bind(apply_pass, TWO, shapes={"x": [1, "T", 80]}, dims={"T": (1, 9)})
    assert shapes(outcome) == ["[1,T,80]", "[1,64]"]
    assert facts.get(outcome.model, facts.DimRange) == facts.DimRange("T", 1, 9)


def test_a_range_of_one_size_is_that_size(apply_pass):
    outcome = bind(apply_pass, TIMED, dims={"T": (5, 5)})
    assert shapes(outcome) == ["[1,5,80]"]
    assert facts.get(outcome.model, facts.DimRange) is None


def test_a_constant_replaces_its_input(apply_pass):
    text = """g (float[2] x, int64 rate) => (float[2] y) {
        [c] r = Cast <to = 1> (rate)
        [m] y = Mul (x, r)
    }"""
    outcome = bind(apply_pass, text, constants={"rate": 16000})
    assert [value.name for value in outcome.model.graph.inputs] == ["x"]
    constant = outcome.model.graph.initializers["rate"].const_value.numpy()
    assert (constant.dtype, constant.shape, constant.item()) == ("int64", (), 16000)


MISSING = """dimensions without a size
  at:  input 'x': batch,seq,80 ('seq')
  why: all sizes but time's are fixed when a model is compiled
  fix: --shape x=1,SIZE,80 or --dim seq=SIZE (a dimension that is time: --dim NAME=1:4096)"""
ERRORS = [
    ({}, MISSING.replace("batch,seq", "1,seq")),
    (
        {"shapes": {"z": [1]}},
        "--shape z: the model has no such input\n  fix: known: h, x",
    ),
    (
        {"dims": {"sec": 3}},
        "--dim sec: the model has no such dimension\n  fix: did you mean 'seq'? known: batch, seq",
    ),
    (
        {"constants": {"rate": 3}},
        "--const rate: the model has no such input\n  fix: known: h, x",
    ),
    (
        {"shapes": {"x": [1, 5, 81]}},
        "--shape x=1,5,81 does not fit the model\n"
        "  at:  input 'x': batch,seq,80\n"
        "  why: the rank and every size the model fixes must be the same",
    ),
    (
        {"shapes": {"x": [1, 5]}},
        "--shape x=1,5 does not fit the model\n"
        "  at:  input 'x': batch,seq,80\n"
        "  why: the rank and every size the model fixes must be the same",
    ),
    ({"shapes": {"x": [0, 5, 80]}}, "--shape x=0,5,80: sizes are at least 1"),
    (
        {"shapes": {"x": [2, 5, 80], "h": [3, 64]}},
        "dimension 'batch' is given as 2 and as 3\n  at:  --shape h\n  fix: give one size",
    ),
    (
        {"dims": {"seq": (0, 5)}},
        "--dim seq=0:5: a range needs 1 <= low <= high\n  fix: --dim seq=1:5",
    ),
    (
        {"dims": {"seq": (1, 5), "batch": (1, 2)}},
        "more than one dimension is left free: batch, seq\n"
        "  why: only time may vary after compilation\n"
        "  fix: --dim seq=100",
    ),
]


@pytest.mark.parametrize(("settings", "message"), ERRORS)
def test_what_does_not_fit_says_how_to_mend_it(apply_pass, settings, message):
    with pytest.raises(UsageError) as error:
        bind(apply_pass, TWO, **settings)
    assert error.value.render() == message
