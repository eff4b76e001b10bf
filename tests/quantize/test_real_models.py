"""Trained models of other people in int8: calibrated on some recordings, measured on others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgeseq.quantize import Settings
from tests.quantize import measure

pytestmark = pytest.mark.slow


def both(case: Any, scheme: str = "int8", **settings: Any) -> tuple[Any, Any]:
    """What the quantized models make of what is held out, and the float ones."""
    nets = [net.quantized(scheme, Settings(**settings)) for net in case.nets]
    return case.run(nets), case.run(case.nets)


def test_silero_decides_the_same(models_dir: Path) -> None:
    got, want = both(measure.silero(models_dir))
    assert np.abs(got - want).mean() <= 0.02
    assert ((got > 0.5) == (want > 0.5)).mean() >= 0.99


def test_gtcrn_stays_close(models_dir: Path) -> None:
    got, want = both(measure.gtcrn(models_dir))
    assert measure.si_sdr(got, want) >= 25


def test_the_chain_of_dtln_stays_close(models_dir: Path) -> None:
    got, want = both(measure.dtln(models_dir))
    assert measure.si_sdr(got, want) >= 25
