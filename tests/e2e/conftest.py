"""The shipped denoiser, compiled once for this machine and as C source."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds `dist`."""
    from edgeseq import api
    from edgeseq.options import CompileOptions

    folder = tmp_path_factory.mktemp("denoiser")
    spec = f"{ROOT / 'examples/denoise/model.py'}:streaming"
    api.compile_model(spec, CompileOptions(folder / "dist", name="denoise"))
    return folder
