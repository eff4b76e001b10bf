"""Rounding does not add up over time: a long stream stays as near to float64 as a short one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

import edgeseq

STEPS = 3000


class Recurrent(torch.nn.Module):
    """GRU and LSTM in a row: whatever drifts would drift here."""

    def __init__(self) -> None:
        super().__init__()
        self.gru = torch.nn.GRU(12, 40, batch_first=True)
        self.lstm = torch.nn.LSTM(40, 24, batch_first=True)
        self.out = torch.nn.Linear(24, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(self.lstm(self.gru(x)[0])[0])


@pytest.mark.slow
def test_the_error_after_thousands_of_steps_is_that_of_the_first(tmp_path: Path) -> None:
    torch.manual_seed(3)
    module = Recurrent().eval()
    example = torch.randn(1, 9, 12)
    artifact = edgeseq.compile(
        module,
        (example,),
        dynamic={"x": {1: "T"}},
        targets=["x86-64"],
        output=tmp_path / "dist",
        name="drift",
    )
    x = np.random.default_rng(3).standard_normal((1, STEPS, 12)).astype(np.float32)
    with torch.no_grad():
        exact = module.double()(torch.from_numpy(x).double()).numpy()
    with artifact.load().stream() as stream:
        steps = [stream.step(x[:, t : t + 1]) for t in range(STEPS)]
    error = np.abs(np.concatenate(steps, axis=1) - exact).max(axis=(0, 2))
    first, last = error[:500].max(), error[-500:].max()
    assert last <= 2 * first
    assert error.max() <= 1e-6
    assert np.abs(artifact.load().run(x) - exact).max() <= 1e-6
