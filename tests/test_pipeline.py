"""The runner: order, records, checks after each pass, and whose fault a failure is."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from edgeseq import pipeline, registry
from edgeseq.errors import InternalError, UsageError
from edgeseq.ir import facts
from edgeseq.pipeline import AFTER_PRUNING, PASSES, Settings, prepare, verify

HEADER = '<ir_version: 13, opset_import: ["" : 26]>\n'
GRAPH = """g (float[batch, 4] x) => (float[batch, 4] y) <int64[2] p = {1, 0}> {
    [a] m = Relu (x)
    [b] n = Identity (m)
    [c] s = Shape (n)
    [d] y = Reshape (n, s)
}"""


def model(text: str = GRAPH) -> ir.Model:
    return ir.from_onnx_text(HEADER + text)


def test_every_pass_of_the_default_list_exists_and_has_a_docstring_that_opens_with_the_rewrite():
    for name in PASSES:
        module = registry.find("passes", name)
        assert issubclass(module.PASS, ir.passes.InPlacePass), name
        assert module.__doc__, name


def test_every_pass_in_the_folder_is_in_the_default_list():
    assert set(registry.names("passes")) == {*PASSES, *AFTER_PRUNING}


def test_records_tell_what_each_pass_did():
    records = prepare(model(), check=True).records
    assert tuple(record.name for record in records) == PASSES
    first = records[0]
    assert first.modified
    assert (first.nodes_before, first.nodes_after) == (4, 4)
    assert first.notes == ("dimension 0 of 'x' ('batch') is 1",)
    assert records[-1].nodes_after == 1
    assert all(record.seconds >= 0 for record in records)


def test_stop_after_a_stage():
    records = prepare(model(), stop_after="fold-constants").records
    names = [record.name for record in records]
    assert names == ["bind-shapes", "expand-functions", "expand-quantized", "fold-constants"]


def test_stop_after_an_unknown_stage():
    with pytest.raises(UsageError) as error:
        prepare(model(), stop_after="fold-constant")
    assert error.value.render().startswith(
        "unknown stage 'fold-constant'\n  fix: did you mean 'fold-constants'? known: bind-shapes, "
    )


def test_progress_is_told_as_it_goes():
    seen: list[str] = []
    prepare(model(), stop_after="fold-constants", progress=lambda record: seen.append(record.name))
    assert seen == ["bind-shapes", "expand-functions", "expand-quantized", "fold-constants"]


def test_warnings_of_the_frontend_come_first():
    one = model()
    facts.put(one, facts.Warnings("this GRU looks wrong"))
    record = prepare(one).records[0]
    assert (record.name, record.notes) == ("import", ("this GRU looks wrong",))


def _break_shapes(self, edit):
    edit.model.graph.outputs[0].dtype = ir.DataType.INT64
    return True


def _lie(self, edit):
    return True


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (_break_shapes, "Inferred elem type differs from existing elem type"),
        (_lie, "it says modified=True, which is not so"),
    ],
)
def test_a_pass_that_breaks_the_model_is_named(monkeypatch, fault, message):
    names = ("bind-shapes", "fold-constants", "eliminate-dead")
    broken = registry.find("passes", "eliminate-dead").PASS
    monkeypatch.setattr(broken, "run", fault)
    with pytest.raises(InternalError) as error:
        prepare(model(), passes=names, check=True)
    assert str(error.value).startswith(
        "pass 'eliminate-dead' (3 of 3, after bind-shapes, fold-constants) broke: "
    )
    assert message in str(error.value)


def test_a_crash_in_a_pass_is_ours(monkeypatch):
    def crash(self, edit):
        raise KeyError("axis")

    monkeypatch.setattr(registry.find("passes", "eliminate-dead").PASS, "run", crash)
    with pytest.raises(InternalError, match=r"pass 'eliminate-dead' \(1 of 1\) broke: 'axis'"):
        prepare(model(), passes=("eliminate-dead",))


def test_verify_accepts_what_prepare_makes():
    verify(prepare(model()).model)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("g (float[2] x) => (float[2] y) { [a] m = Relu (x) [b] y = Relu (x) }", "is dead"),
        (
            "g (float[2] x) => (float[2] y) { [a] m = Identity (x) [b] y = Relu (m) }",
            "node 'a' (Identity) should be gone",
        ),
        (
            "g (float[2] x) => (float[2] y) { [a] m = Relu (x) [b] y = Relu (m) }",
            "node 'a' (Relu): 'm' has no dtype or shape",
        ),
        ("g (float[N] x) => (float[N] y) { [b] y = Relu (x) }", "'x': dimension N is not made of"),
    ],
)
def test_verify_lists_what_breaks_the_contract(text, problem):
    with pytest.raises(InternalError) as error:
        verify(model(text))
    assert problem in str(error.value)


def test_verify_checks_states():
    one = prepare(model()).model
    facts.put(one.graph.inputs[0], facts.State("nowhere"))
    with pytest.raises(InternalError, match="state 'x' has no output 'nowhere'"):
        verify(one)


def test_settings_are_the_users():
    assert Settings() == pipeline.Settings({}, {}, {}, None)
