"""What the tests of kernels share."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.kernels.libraries import Libraries
from tests.kernels.runner import Runner


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Libraries(shared / "kernels")


@pytest.fixture(scope="session")
def runner() -> Iterator[Runner]:
    started = Runner()
    yield started
    started.close()
