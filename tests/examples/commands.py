"""The commands of an example's README, run as they are written there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LEFT_OUT = shutil.ignore_patterns("node_modules", "package-lock.json", "__pycache__", ".ruff_cache")


def of(example: str) -> list[str]:
    """The indented lines of its README."""
    text = (ROOT / "examples" / example / "README.md").read_text(encoding="utf-8")
    return re.findall(r"^ {4}(\S.*)$", text, re.MULTILINE)


def starting(example: str, *words: str) -> list[str]:
    """Those that start with one of these; there are some for each."""
    chosen = [c for c in of(example) if c.startswith(words)]
    for word in words:
        assert any(c.startswith(word) for c in chosen), word
    return chosen


def checkout(folder: Path, example: str) -> Path:
    """Copy the example and the denoiser into an empty repository."""
    for name in ("denoise", example):
        shutil.copytree(ROOT / "examples" / name, folder / "examples" / name, ignore=LEFT_OUT)
    return folder


def run(command: str, folder: Path) -> str:
    """Run a line with this environment's `edgeseq` and `python`; return what it printed."""
    bin_ = Path(sys.executable).parent
    done = subprocess.run(
        ["sh", "-c", command],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PATH": f"{bin_}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def reference(folder: Path) -> None:
    """Compile the denoiser for this machine into `host`."""
    model = "examples/denoise/model.py:streaming"
    run(f"edgeseq compile {model} --name denoise --target x86-64 -o host", folder)
