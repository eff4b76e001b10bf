"""What `check` needs to know of an artifact, and whether its files are as they were written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgeseq.errors import UsageError
from edgeseq.registry import hint


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A folder written by `edgeseq compile`.

    Args:
        folder: Where it is.
        manifest: Its `manifest.json`.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def name(self) -> str:
        """The model's name."""
        return str(self.manifest["name"])

    @property
    def stacked(self) -> bool:
        """Whether the model is one step, run in a loop."""
        return bool(self.manifest["modes"]["run"]["kind"] == "loop")

    @property
    def verify(self) -> Mapping[str, Any]:
        """The section on the verify vectors."""
        section: Mapping[str, Any] = self.manifest["verify"]
        return section

    def axes(self, kind: str) -> dict[str, int | None]:
        """Return the time axis of each of the `inputs` or `outputs`, as the vectors lie."""
        return {
            entry["name"]: 0 if self.stacked else entry["time_axis"]
            for entry in self.manifest[kind]
        }


def read(folder: Path) -> Artifact:
    """Read the manifest.

    Raises:
        UsageError: there is none, or it is damaged or has no verify vectors.
    """
    file = folder / "manifest.json"
    try:
        manifest = json.loads(file.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise UsageError(
            f"no compiled model in '{folder}'",
            why="manifest.json is not there",
            fix=f"edgeseq compile MODEL -o {folder}",
        ) from None
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read '{file}'", why=str(error), fix="compile again") from None
    needed = ("name", "modes", "inputs", "outputs", "states", "targets", "verify", "model_hash")
    missing = [key for key in needed if key not in manifest]
    if missing:
        raise UsageError(
            f"cannot validate '{folder}'",
            why=f"its manifest has no {', '.join(missing)}",
            fix="compile again",
        )
    return Artifact(folder, manifest)


def check_files(artifact: Artifact, target: str) -> None:
    """Compare the files with their recorded hashes: the target's, the model and the vectors.

    Raises:
        UsageError: the target was not compiled, or a file is missing or changed.
    """
    targets = artifact.manifest["targets"]
    if target not in targets:
        raise UsageError(
            f"'{artifact.folder}' has no target '{target}'", fix=hint(target, sorted(targets))
        )
    wanted = dict(targets[target]["files"])
    wanted["model.onnx"] = artifact.manifest["model_hash"]
    wanted[artifact.verify["file"]] = artifact.verify.get("sha256")
    wrong = [line for name, digest in wanted.items() if (line := _problem(artifact, name, digest))]
    if wrong:
        raise UsageError(
            f"files of '{artifact.folder}' are not as they were compiled",
            at=wrong,
            why="what is validated must be what was built",
            fix="compile again",
        )


def _problem(artifact: Artifact, name: str, digest: str | None) -> str:
    file = artifact.folder / name
    if not file.is_file():
        return f"{name}: missing"
    if digest is None or hashlib.sha256(file.read_bytes()).hexdigest() == digest:
        return ""
    return f"{name}: its SHA-256 is not the recorded one"
