"""Samples of the user are read, or refused with a reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgeseq.errors import UsageError
from edgeseq.train.calibration import data_inputs
from edgeseq.validate import inputs


def read(file: Path, model: ir.Model) -> dict[str, Any]:
    return inputs.read(file, data_inputs(model), stacked=True)


def test_samples_take_the_types_of_the_model(tmp_path: Path, loop_model: ir.Model) -> None:
    x = np.random.default_rng(0).normal(size=(12, 1, 3))
    np.savez(tmp_path / "mine.npz", x=x)
    got = read(tmp_path / "mine.npz", loop_model)
    assert got["x"].dtype == np.float32
    np.testing.assert_array_equal(got["x"], x.astype(np.float32))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"z": np.zeros((4, 1, 3))}, "holds 'z', which is no input"),
        ({"x": np.zeros((4, 1, 5))}, r"has shape \[4, 1, 5\], the model takes \[T, 1, 3\]"),
    ],
)
def test_samples_that_do_not_fit(
    tmp_path: Path, loop_model: ir.Model, arrays: dict[str, Any], words: str
) -> None:
    np.savez(tmp_path / "mine.npz", **arrays)
    with pytest.raises(UsageError, match=words):
        read(tmp_path / "mine.npz", loop_model)


def test_a_file_that_holds_no_samples(tmp_path: Path, loop_model: ir.Model) -> None:
    (tmp_path / "mine.npz").write_text("no")
    with pytest.raises(UsageError, match="cannot read sample inputs"):
        read(tmp_path / "mine.npz", loop_model)
