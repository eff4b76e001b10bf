"""What the README shows, run as it is written."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
TEXT = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_tour(denoiser: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", block("python")],
        cwd=denoiser,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("<edgeseq.Model denoise on ")


def test_the_c_lines(denoiser: Path, tmp_path: Path) -> None:
    """Inside a function that has what they need, without a warning."""
    source = block("c").replace(
        '#include "denoise.h"',
        '#include "denoise.h"\nint use(void *state, void *arena, const float *x, float *y);\n'
        "int use(void *state, void *arena, const float *x, float *y) {\n",
    )
    (tmp_path / "use.c").write_text(source + "return 0; }\n")
    header = denoiser / "dist" / "c"
    subprocess.run(
        ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-c", "use.c", f"-I{header}"],
        cwd=tmp_path,
        check=True,
    )
