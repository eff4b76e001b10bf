"""Groups of tests reach pytest-xdist's scheduler."""

from __future__ import annotations

import pytest


@pytest.mark.xdist_group("named")
def test_a_named_group(request: pytest.FixtureRequest) -> None:
    assert request.node.nodeid.endswith("@named") == spread(request)


@pytest.fixture(scope="module")
def number(tmp_path_factory: pytest.TempPathFactory) -> int:
    file = tmp_path_factory.mktemp("shared") / "number"
    return file.write_text("made once")


def test_users_of_a_fixture_that_makes_files(number: int, request: pytest.FixtureRequest) -> None:
    assert number == len("made once")
    assert request.node.nodeid.endswith("@tests/test_conftest.py") == spread(request)


def test_others_go_anywhere(request: pytest.FixtureRequest) -> None:
    assert "@" not in request.node.nodeid


def spread(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("loadgroup", False))
