"""The tiny models, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.packages import build


@pytest.fixture(scope="session")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.tiny("STEP", tmp_path_factory.mktemp("step"))


@pytest.fixture(scope="session")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build.tiny("SEQUENCE", tmp_path_factory.mktemp("sequence"))
