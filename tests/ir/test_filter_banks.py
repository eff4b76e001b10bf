"""Transforms are told from learnt weights."""

import numpy as np
import pytest

from edgeseq.ir import filter_banks

N = np.arange(128)
ANGLES = 2 * np.pi * np.outer(np.arange(65), N) / 128
DFT = np.concatenate([np.cos(ANGLES), -np.sin(ANGLES)])
WINDOW = np.hanning(128)
CENTRES = np.linspace(2, 62, 20)
MEL = np.maximum(0, 1 - np.abs(np.arange(65) - CENTRES[:, None]) / 3)


@pytest.mark.parametrize("bank", [DFT, DFT * WINDOW, (DFT * WINDOW).T, DFT.T])
def test_fourier(bank):
    assert filter_banks.kind(bank) == "a Fourier transform"


def test_mel():
    assert filter_banks.kind(MEL) == filter_banks.kind(MEL.T) == "a bank of band filters"


def test_learnt_weights_are_neither():
    random = np.random.default_rng(0)
    assert filter_banks.kind(random.normal(size=(130, 128))) is None
    assert filter_banks.kind(np.abs(random.normal(size=(20, 65)))) is None
    smooth = np.cumsum(random.normal(size=(64, 64)), axis=1)
    assert filter_banks.kind(smooth - smooth.mean()) is None
    assert filter_banks.kind(np.zeros((64, 64))) is None
