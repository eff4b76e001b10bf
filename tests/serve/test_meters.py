"""The judgement of level meters: words through a denoiser pass, what is not that fails."""

from __future__ import annotations

import pytest

from tests.serve import meters

WORDS, NOISE = (-18.0, -19.0), (-30.0, -52.0)


def test_words_without_their_noise_pass() -> None:
    dropped = [(-80.0, -80.0), (-22.0, -80.0)]  # a page that starts, and one that is late
    meters.check([WORDS, NOISE] * 30 + dropped)


def test_cracks_between_the_words_pass() -> None:
    meters.check([WORDS, NOISE, (-30.0, -33.0), (-30.0, -31.0), (-30.0, -34.0)] * 12)


@pytest.mark.parametrize("after", ["words as they were", "silence"])
def test_another_sound_fails(after: str) -> None:
    levels = [(before, before if after != "silence" else -80.0) for before, _ in [WORDS, NOISE]]
    with pytest.raises(AssertionError):
        meters.check(levels * 30)


def test_few_readings_fail() -> None:
    with pytest.raises(AssertionError):
        meters.check([WORDS, NOISE] * 5)
