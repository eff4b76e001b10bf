"""Guards and fixtures shared by every test."""

from __future__ import annotations

import importlib
import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--models", metavar="DIR", help="folder with the real trained models")
    parser.addoption(
        "--measure", action="store_true", help="also run experiments of minutes to hours"
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep users of a fixture in one process; leave out what trains for many minutes."""
    if config.getoption("loadgroup", False):  # in a process of pytest-xdist
        for item in items:
            _send_to_group(item)
    if config.getoption("--measure"):
        return
    left_out = [item for item in items if item.get_closest_marker("measure")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]


def _send_to_group(item: pytest.Item) -> None:
    """Write the group where the scheduler reads it: behind the test's id.

    pytest-xdist 3.8 does so itself, into an attribute that pytest 9.2 no longer has.
    """
    mark = item.get_closest_marker("xdist_group")
    group = _shares(item) if mark is None else mark.args[0]
    if group is not None:
        item._id = type(item.id).parse(f"{item.nodeid}@{group}")


def _shares(item: pytest.Item) -> str | None:
    """Where the fixtures live that make files once for many tests: a compilation each, mostly."""
    if not isinstance(item, pytest.Function):
        return None
    found = (defs[-1] for defs in item._fixtureinfo.name2fixturedefs.values())
    places = [f.baseid for f in found if "tmp_path_factory" in f.argnames and f.scope != "function"]
    return min(places, key=len, default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Stop if edgeseq.* is not this checkout (set EDGESEQ_TEST_INSTALLED=1 to test a wheel).

    Some tests interrupt commands. What a shell started in the background ignores SIGINT, and so
    would they.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.environ.get("EDGESEQ_TEST_INSTALLED"):
        return
    for name in ("edgeseq", "edgeseq.passes", "edgeseq.kernels", "edgeseq.targets"):
        try:
            got = Path(importlib.import_module(name).__file__ or "").parent
        except ImportError as e:
            raise pytest.UsageError(f"{e}\n  fix: pip install -e . (in {ROOT})") from None
        want = ROOT / name.rpartition(".")[2]
        if got != want:
            raise pytest.UsageError(
                f"{name} comes from {got}, not {want}\n  fix: pip install -e . (in {ROOT})"
            )


@pytest.fixture(scope="session")
def models_dir(request: pytest.FixtureRequest) -> Path:
    """The folder of real models; a test that needs it says so when it skips."""
    given = request.config.getoption("--models")
    if given is None:
        pytest.skip("needs the real models: pytest --models DIR")
    folder = Path(given)
    if not folder.is_dir():
        pytest.skip(f"needs the real models: {folder} is not a folder")
    return folder
