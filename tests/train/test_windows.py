"""Samples are cut along time, all inputs at the same place."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
import pytest

from edgeseq.train import windows


@pytest.mark.parametrize(("fixture", "axis"), [("step_model", 0), ("sequence_model", 1)])
def test_the_loudest_steps(fixture: str, axis: int, request: pytest.FixtureRequest) -> None:
    model: ir.Model = request.getfixturevalue(fixture)
    shape = [100, 1, 6] if axis == 0 else [1, 100, 6]
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    quiet = np.ones(100, bool)
    quiet[37:57] = False
    np.moveaxis(x, axis, 0)[quiet] *= 1e-3
    cut = windows.loudest({"x": x}, model, 20)
    np.testing.assert_array_equal(cut["x"], x.take(range(37, 57), axis))
    whole = windows.loudest({"x": x}, model, 1000)
    np.testing.assert_array_equal(whole["x"], x)


def test_silence_is_cut_at_its_beginning(sequence_model: ir.Model) -> None:
    cut = windows.loudest({"x": np.zeros((1, 50, 6), np.float32)}, sequence_model, 8)
    assert cut["x"].shape == (1, 8, 6)
