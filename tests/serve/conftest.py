"""Artifacts with the target wasm, compiled once, and a server in this process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeseq import api, serve
from edgeseq.options import CompileOptions
from tests.e2e import models

ROOT = Path(__file__).resolve().parents[2]
Serving = Callable[..., contextlib.AbstractContextManager[str]]


def compiled(folder: Path, which: str) -> Path:
    dims = {"T": (1, 64)} if which == "SEQUENCE" else {}
    options = CompileOptions(folder, ("wasm",), dims=dims, name=which.lower())
    return api.compile_model(models.build(getattr(models, which)), options).folder


@pytest.fixture(scope="session")
def step(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In a folder whose name has what breaks naive code."""
    return compiled(tmp_path_factory.mktemp("serve") / "kleines Modell für 'x' & 音", "STEP")


@pytest.fixture(scope="session")
def sequence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("serve") / "dist", "SEQUENCE")


@pytest.fixture(scope="session")
def denoiser(tmp_path_factory: pytest.TempPathFactory) -> Path:
    source = f"{ROOT / 'examples/denoise/model.py'}:streaming"
    options = CompileOptions(tmp_path_factory.mktemp("serve") / "dist", ("wasm",), name="denoise")
    return api.compile_model(source, options).folder


@pytest.fixture
def peer() -> Path | None:
    """Where npm has installed onnxruntime-web."""
    folder = os.environ.get("ONNXRUNTIME_WEB")
    return Path(folder) if folder else None


@pytest.fixture
def serving() -> Serving:
    """Serve an artifact while a block runs; gives the address."""

    @contextlib.contextmanager
    def start(dist: Path, **options: object) -> Iterator[str]:
        server = serve.Server(serve.prepare(dist, **options), 0)
        thread = threading.Thread(target=server.serve)
        thread.start()
        try:
            yield server.url
        finally:
            server.stop()
            thread.join()
            server.close()

    return start
