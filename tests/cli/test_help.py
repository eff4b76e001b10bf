"""`docs/cli.md` is every help page, whole. Write it anew with `python tests/cli/test_help.py`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

FILE = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
COMMANDS = ["", "compile", "validate", "bench", "bench kernels", "bench model"]
COMMANDS += ["bench overhead", "bench threads", "serve"]
COMMANDS += ["prune", "quantize", "search", "inspect", "targets", "passes", "doctor"]
HEAD = """# The command line

Results go to stdout, progress and errors to stderr. Exit codes: [errors.md](errors.md).
A recipe (`--recipe edgeseq.toml`) holds the flags of `compile` under their long names, in a table
`[compile]`; paths in it are relative to the file:

    [compile]
    model = "gtcrn.onnx"
    output = "dist"
    target = ["x86-64", "c"]
    shape.x = [1, "T", 80]        # --shape x=1,T,80
    dim.T = [1, 4096]             # --dim T=1:4096
    const.sr = 16000
    state.h_in = "h_out"
"""


def page(command: str) -> str:
    """The help of one command at 100 columns."""
    done = subprocess.run(
        [sys.executable, "-m", "edgeseq.cli", *command.split(), "--help"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "100"},
    )
    return done.stdout


def render() -> str:
    """The whole document."""
    parts = [HEAD]
    for command in COMMANDS:
        parts.append(f"\n## {f'edgeseq {command}'.strip()}\n\n```\n{page(command)}```\n")
    return "".join(parts)


def test_the_document_is_the_help() -> None:
    assert FILE.read_text(encoding="utf-8") == render()


def test_no_command_is_left_out() -> None:
    import edgeseq.cli

    files = Path(edgeseq.cli.__file__).parent.glob("[!_]*.py")
    assert {f.stem for f in files} == {c.split()[0] for c in COMMANDS if c}


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
