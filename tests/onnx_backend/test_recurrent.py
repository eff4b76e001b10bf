"""ONNX's own tests of recurrent nodes, on compiled code."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests

from edgeseq import backend
from edgeseq.errors import UnsupportedModelError
from edgeseq.testing import assert_array

_PREFIXES = ("test_gru_", "test_lstm_", "test_rnn_", "test_simple_rnn_")

# Cases that cannot be compiled yet, with the reason. Each must be refused, not computed wrongly.
NOT_YET: dict[str, str] = {}


def _cases() -> list[Any]:
    with warnings.catch_warnings():  # other cases of the suite divide by zero on purpose
        warnings.simplefilter("ignore")
        return [c for c in load_model_tests(kind="node") if c.name.startswith(_PREFIXES)]


CASES = _cases()


def test_the_suite_is_all_here() -> None:
    assert len(CASES) == 18
    assert NOT_YET.keys() <= {c.name for c in CASES}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name.removeprefix("test_"))
def test_node(case: Any) -> None:
    compiled = backend.prepare(case.model)
    for inputs, expected in case.data_sets:
        if case.name in NOT_YET:
            with pytest.raises(UnsupportedModelError):
                compiled.run(inputs)
            continue
        got = compiled.run(inputs)
        assert len(got) == len(expected)
        for value, have, want in zip(case.model.graph.output, got, expected, strict=True):
            assert_array(have, want, value.name, tolerance=1e-5)


@pytest.mark.slow
def test_weights_that_change_are_bound_anew() -> None:
    case = next(c for c in CASES if c.name == "test_simple_rnn_defaults")
    (inputs, _), *_ = case.data_sets
    compiled = backend.prepare(case.model)
    first = np.asarray(compiled.run(inputs)[0])
    x, w, r = inputs
    second = np.asarray(compiled.run([x, -w, r])[0])
    assert not np.array_equal(first, second)
    assert_array(compiled.run([x, w, r])[0], first, "Y_h", tolerance=0)


def test_devices() -> None:
    assert backend.supports_device("CPU")
    assert backend.supports_device("CPU:0")
    assert not backend.supports_device("CUDA")
    assert not backend.supports_device("nonsense")
    with pytest.raises(UnsupportedModelError, match="no device 'CUDA'"):
        backend.prepare(CASES[0].model, device="CUDA")


def test_a_model_without_recurrence_compiles_at_once() -> None:
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["" : 20]>'
        "g (float[4] x) => (float[4] y, float[4] z) { y = Neg(x) z = Abs(x) }"
    )
    x = np.array([1, -2, 3, -4], np.float32)
    got = backend.run_model(model, [x])
    assert_array(got[0], -x, "y", tolerance=0)
    assert_array(got.z, np.abs(x), "z", tolerance=0)
