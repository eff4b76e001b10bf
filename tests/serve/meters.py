"""What the level meters of a page must show while a noisy recording of words is live."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MIN_READINGS = 40  # of windows of 20 ms: the mean power of words is then known to 2 dB


def check(levels: Sequence[tuple[float, float]]) -> None:
    """Fail unless the noise between the words is gone and the words are there.

    A busy machine drops windows here and there, and what it drops is heard as a crack: no single
    reading counts, and of the noise the quietest tenth.

    Args:
        levels: Readings before and after the model, in dB, of a second or more.
    """
    assert len(levels) >= MIN_READINGS, levels
    found = np.asarray(levels, np.float64)
    before, after = np.quantile(found, 0.1, axis=0)  # only noise is to be heard
    assert before > -40, levels
    assert after < before - 6, levels
    before, after = 10 * np.log10(np.mean(10 ** (found / 10), axis=0))  # mostly the words
    assert abs(after - before) < 8, levels
