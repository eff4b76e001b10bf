"""Correct code passes every check; code that is wrong in one way fails in that check."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgeseq import validate
from edgeseq.errors import NumericsError, UsageError

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]

CHECKS = {
    "reference",
    "numbers",
    "single steps",
    "chunks of 1",
    "chunks of 2",
    "chunks of 7",
    "ragged chunks",
    "reset",
    "save and load",
    "saved state",
    "interleaved ahead",
    "interleaved behind",
}


class LoopStream:
    """What correct compiled code of `leaky` does, in float32."""

    def __init__(self) -> None:
        self.s = np.zeros((1, 3), np.float32)

    def step(self, inputs: Arrays) -> dict[str, Array]:
        self.s = np.float32(0.9) * self.s + inputs["x"]
        return {"y": np.tanh(self.s), "up": self.s > 0}

    def run(self, inputs: Arrays) -> dict[str, Array]:
        rows = [self.step({"x": x}) for x in inputs["x"]]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def reset(self) -> None:
        self.s = np.zeros_like(self.s)

    def save(self) -> bytes:
        return self.s.tobytes()

    def load(self, saved: bytes) -> None:
        self.s = np.frombuffer(saved, np.float32).reshape(1, 3).copy()

    def state(self, name: str) -> Array:
        assert name == "s"
        return self.s.copy()


class Model:
    """Compiled code made of a stream."""

    def __init__(self, stream: Callable[[], Any]) -> None:
        self.stream = stream

    def run(self, inputs: Arrays) -> Any:
        return self.stream().run(inputs)


def failed(verdict: validate.Verdict) -> set[tuple[str, str]]:
    return {(f.check, f.name) for f in verdict.failed}


def test_correct_loop_code_passes(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(LoopStream))
    assert verdict.ok, validate.to_text(verdict)
    assert {f.check for f in verdict.findings} == CHECKS | {"last state"}
    assert {f.name for f in verdict.findings if f.check == "numbers"} == {"y", "up"}
    validate.require([verdict])


class WrongFromStep9(LoopStream):
    count = 0

    def step(self, inputs: Arrays) -> dict[str, Any]:
        out = super().step(inputs)
        if self.count >= 9:
            out["y"][0, 2] += 0.01
        self.count += 1
        return out


def test_a_wrong_number_is_located(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(WrongFromStep9))
    finding = next(f for f in verdict.findings if (f.check, f.name) == ("numbers", "y"))
    assert not finding.ok
    assert finding.step == 9
    assert finding.index is not None
    assert finding.index[2] == 2
    assert finding.error == pytest.approx(0.01, rel=1e-3)
    assert isinstance(finding.got, float)
    assert isinstance(finding.want, float)
    assert finding.got - finding.want == pytest.approx(0.01, rel=1e-3)
    assert ("numbers", "up") not in failed(verdict)


class SlightlyWrong(LoopStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        out = super().run(inputs)
        out["y"] = out["y"] + np.float32(2e-5)
        return out


def test_an_error_far_below_the_eye_still_fails(loop_dist: Path) -> None:
    assert ("numbers", "y") in failed(validate.check(loop_dist, "fake", Model(SlightlyWrong)))


class NotANumber(LoopStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        out = super().run(inputs)
        out["y"][4:5, 0, 1] = np.nan
        return out


class Infinite(LoopStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        out = super().run(inputs)
        out["y"][4:5, 0, 1] = -np.inf
        return out


@pytest.mark.parametrize("kind", [NotANumber, Infinite])
def test_undefined_values_fail(loop_dist: Path, kind: type[LoopStream]) -> None:
    verdict = validate.check(loop_dist, "fake", Model(kind))
    finding = next(f for f in verdict.findings if (f.check, f.name) == ("numbers", "y"))
    assert (finding.ok, finding.error) == (False, np.inf)
    assert (finding.index, finding.step) == ((4, 0, 1), 4)


class Missing(LoopStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        out = super().run(inputs)
        del out["up"]
        return out


def test_a_missing_output_fails(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(Missing))
    assert [f.reason for f in verdict.failed] == ["the output is missing"]


class OneBitFlipped(LoopStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        out = super().run(inputs)
        out["up"][7:8, 0, 0] ^= True
        return out


def test_a_flipped_boolean_fails(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(OneBitFlipped))
    finding = next(f for f in verdict.failed if f.check == "numbers")
    assert (finding.name, finding.index, finding.allowed) == ("up", (7, 0, 0), 0.0)


class WrongShape(LoopStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        return {name: array[:-1] for name, array in super().run(inputs).items()}


def test_a_wrong_shape_fails(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(WrongShape))
    assert any(f.reason == "shape [39, 1, 3] instead of [40, 1, 3]" for f in verdict.failed)


class WrongState(LoopStream):
    def state(self, name: str) -> Any:
        return super().state(name) * 1.001


class StepDiffersFromRun(LoopStream):
    def run(self, inputs: Arrays) -> dict[str, Any]:
        rows = [LoopStream.step(self, {"x": x}) for x in inputs["x"]]
        return {name: np.stack([row[name] for row in rows]) for name in rows[0]}

    def step(self, inputs: Arrays) -> dict[str, Any]:
        out = super().step(inputs)
        out["y"] = out["y"] + np.float32(1e-3)
        return out


class ResetForgets(LoopStream):
    def reset(self) -> None:
        self.s[0, 0] = 0


class LoadForgets(LoopStream):
    def load(self, saved: bytes) -> None:
        super().load(saved)
        self.s[0, 0] = 0


class SharedState(LoopStream):
    shared = np.zeros((1, 3), np.float32)

    def __init__(self) -> None:
        SharedState.shared = np.zeros((1, 3), np.float32)

    @property
    def s(self) -> Any:
        return SharedState.shared

    @s.setter
    def s(self, value: Any) -> None:
        SharedState.shared = value


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (WrongState, {("last state", "s")}),
        (ResetForgets, {("reset", "y"), ("reset", "up")}),
        (LoadForgets, {("save and load", "y"), ("saved state", "y"), ("saved state", "up")}),
        (SharedState, {("interleaved ahead", "y"), ("interleaved behind", "y")}),
        (StepDiffersFromRun, {("single steps", "y")}),
    ],
)
def test_each_fault_of_a_loop_fails_its_check(
    loop_dist: Path, kind: type[LoopStream], expected: set[tuple[str, str]]
) -> None:
    found = failed(validate.check(loop_dist, "fake", Model(kind)))
    assert expected <= found
    # and no other check but those that the fault must also disturb
    assert {check for check, _ in found} <= {check for check, _ in expected} | {
        "save and load",
        "saved state",
    }


@pytest.mark.parametrize("name", ["fake/lib.so", "model.onnx", "verify/vectors.safetensors"])
@pytest.mark.parametrize("change", ["tampered", "missing"])
def test_changed_files_are_refused(loop_dist: Path, name: str, change: str) -> None:
    file = loop_dist / name
    if change == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1] + b"?")
    with pytest.raises(UsageError) as caught:
        validate.check(loop_dist, "fake", Model(LoopStream))
    words = "missing" if change == "missing" else "its SHA-256 is not the recorded one"
    assert caught.value.at == (f"{name}: {words}",)


def test_unknown_target(loop_dist: Path) -> None:
    with pytest.raises(UsageError) as caught:
        validate.check(loop_dist, "fkae", Model(LoopStream))
    assert caught.value.fix == "did you mean 'fake'? known: fake"


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda f: f.unlink(), "no compiled model in"),
        (lambda f: f.write_text("{"), "cannot read"),
        (lambda f: f.write_text('{"name": "x"}'), "cannot validate"),
    ],
)
def test_damaged_manifest(loop_dist: Path, damage: Callable[[Path], Any], words: str) -> None:
    damage(loop_dist / "manifest.json")
    with pytest.raises(UsageError, match=words):
        validate.check(loop_dist, "fake", Model(LoopStream))


def test_against_reruns_the_oracle(loop_dist: Path, loop_model: ir.Model) -> None:
    first = {"s": np.zeros((1, 3), np.float32)}
    carried = {"s": "s_out"}
    same = validate.Against(validate.Interpreted(loop_model), carried, first)
    verdict = validate.check(loop_dist, "fake", Model(LoopStream), against=same)
    assert verdict.ok
    loop_model.graph.initializers["decay"].const_value = ir.tensor(np.array([0.8], np.float32))
    other = validate.Against(validate.Interpreted(loop_model), carried, first)
    verdict = validate.check(loop_dist, "fake", Model(LoopStream), against=other)
    assert {("numbers", "y"), ("last state", "s")} <= failed(verdict)


def test_a_reference_of_another_model_fails(loop_dist: Path) -> None:
    file = loop_dist / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["verify"]["outputs"]["y"]["e_ref"] = 0.5
    file.write_text(json.dumps(manifest))
    verdict = validate.check(loop_dist, "fake", Model(LoopStream))
    assert failed(verdict) == {("reference", "y")}
    # A model that rounds to levels may be off by some of them, and no more.
    y = manifest["verify"]["outputs"]["y"]
    for share, ok in ((0.05, True), (0.2, False)):
        manifest["verify"] |= {"rounds": True}
        y["e_ref"] = share * y["range"]
        file.write_text(json.dumps(manifest))
        found = validate.check(loop_dist, "fake", Model(LoopStream))
        assert (("reference", "y") not in failed(found)) == ok


def test_text_of_a_failure(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(OneBitFlipped))
    lines = validate.to_text(verdict).splitlines()
    assert lines[0] == "edgeseq: validate: leaky on fake: 1 of 3 outputs outside tolerance"
    assert lines[1].startswith("  y   ok    max |err| ")
    assert lines[1].endswith(" (allowed 2.0e-06)")
    assert lines[2].startswith("  up  FAIL  max |err| 1.0e+00 (allowed 0.0e+00) at [7,0,0]: ")
    assert lines[2].endswith("; first diverges at step 7")
    assert lines[3].startswith("  up  FAIL  single steps: max |err| 1.0e+00")
    assert lines[-2].startswith("  s   ok    max |err| ")
    assert lines[-1].startswith("  also ok: reference, reset")


def test_text_of_a_success(loop_dist: Path) -> None:
    lines = validate.to_text(validate.check(loop_dist, "fake", Model(LoopStream))).splitlines()
    assert lines[0] == "edgeseq: validate: leaky on fake: all 3 outputs within tolerance"
    assert len(lines) == 5
    assert set(lines[4].removeprefix("  also ok: ").split(", ")) == CHECKS - {"numbers"}


def test_require_names_what_failed(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(NotANumber))
    with pytest.raises(NumericsError) as caught:
        validate.require([verdict])
    assert caught.value.exit_code == 4
    assert "fake: y: numbers" in caught.value.at


def test_json_is_strict(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(NotANumber))

    def refuse(text: str) -> None:
        raise ValueError(text)

    data = json.loads(validate.to_json([verdict]), parse_constant=refuse)
    assert data["ok"] is False
    bad = [f for f in data["verdicts"][0]["findings"] if not f["ok"]]
    assert bad[0]["error"] == "inf"
    assert bad[0]["got"] == "nan"


def test_junit(loop_dist: Path) -> None:
    verdict = validate.check(loop_dist, "fake", Model(NotANumber))
    root = ElementTree.fromstring(validate.to_junit([verdict]))
    suite = root.find("testsuite")
    assert suite is not None
    assert suite.get("failures") == str(len(verdict.failed)) != "0"
    cases = suite.findall("testcase")
    assert len(cases) == len(verdict.findings)
    assert {c.get("classname") for c in cases} == {"leaky.fake"}
    failures = [c for c in cases if c.find("failure") is not None]
    assert failures[0].get("name") == "y: numbers"
