"""The command line is tested as a process, as a user meets it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Run = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def inline(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Run:
    """The same in this process: seconds faster, for whatever does not need one of its own."""

    def run(*args: object) -> subprocess.CompletedProcess[str]:
        from edgeseq.cli import main

        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("COLUMNS", "100")
        capfd.readouterr()
        code = main([str(a) for a in args])
        said = capfd.readouterr()
        return subprocess.CompletedProcess(list(args), code, said.out, said.err)

    return run


@pytest.fixture
def edgeseq(tmp_path: Path) -> Run:
    """Run `edgeseq ARGS` in an empty folder."""

    def run(*args: object, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgeseq.cli", *map(str, args)],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "COLUMNS": "100", "OMP_NUM_THREADS": "1", **(env or {})},
        )

    return run
