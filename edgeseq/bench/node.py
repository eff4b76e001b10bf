"""Programs in Node, and where npm has installed onnxruntime-web."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgeseq.errors import ToolchainError, UsageError

PEER = "onnxruntime-web"


def checked_peer(folder: Path) -> Path:
    """Return the folder's absolute path.

    Raises:
        ToolchainError: npm has not installed onnxruntime-web there.
    """
    if not (folder / "node_modules" / PEER).is_dir():
        raise ToolchainError(
            f"no {PEER} in '{folder}'", fix=f"npm install --prefix {folder} {PEER}"
        )
    return folder.resolve()


def ask(work: Path, what: str, peer: Path | None) -> dict[str, Any]:
    """Run web.mjs on a folder that describes the work, and return what it found.

    Raises:
        ToolchainError: there is no Node.
        UsageError: the program failed.
    """
    node = shutil.which("node")
    if node is None:
        raise ToolchainError("node is not installed", fix="apt-get install nodejs")
    script = Path(str(files("edgeseq.bench"))) / "web.mjs"
    command = [node, str(script), str(work), what, *([str(peer)] if peer else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError("node failed", why=done.stderr.strip()[-1500:])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer
