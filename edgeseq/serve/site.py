"""Every file of the page: shipped ones, the npm package, the recorded vectors, the peer.

/                  index.html and what stands beside it in `page/`
/package/<file>    the npm package, as a developer installs it
/about.json        what the page shows and checks; /vectors.bin: the arrays
/peer/<file>       onnxruntime-web and the model it runs, where a folder of it is given
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from edgeseq.errors import UsageError
from edgeseq.serve import about, peer
from edgeseq.validate import artifact as artifacts
from edgeseq.validate.artifact import Artifact

TARGET = "wasm"


@dataclasses.dataclass(frozen=True)
class Site:
    """What is served, by path: a snapshot, so that compiling again cannot mix two models.

    Args:
        name: The model's.
        files: Path without the leading slash -> content.
    """

    name: str
    files: Mapping[str, bytes]


def prepare(dist: Path, *, onnxruntime_web: Path | None = None, sample_rate: int = 16000) -> Site:
    """Read an artifact.

    Args:
        dist: Its folder.
        onnxruntime_web: Where npm has installed that package, to be timed beside the model.
        sample_rate: Of the audio that the model was trained on; the page can change it.

    Raises:
        UsageError: no artifact is there, it has no npm package, or files were changed.
        ToolchainError: onnxruntime-web is not in the folder given.
    """
    artifact = artifacts.read(dist)
    if TARGET not in artifact.manifest["targets"]:
        raise UsageError(
            f"'{dist}' has nothing that a browser runs",
            why=f"it was compiled for {', '.join(sorted(artifact.manifest['targets']))}",
            fix=_compile_again(artifact),
        )
    artifacts.check_files(artifact, TARGET)
    package = {f.name: f.read_bytes() for f in (dist / TARGET).iterdir() if f.is_file()}
    described, vectors = about.describe(artifact, package)
    described["sample_rate"] = sample_rate
    served = _page() | {f"package/{name}": content for name, content in package.items()}
    if onnxruntime_web is not None:
        described["peer"], beside = peer.prepare(dist, onnxruntime_web)
        served |= {f"peer/{name}": content for name, content in beside.items()}
    served["about.json"] = json.dumps(described).encode()
    served["vectors.bin"] = vectors
    return Site(artifact.name, served)


def _page() -> dict[str, bytes]:
    folder = Path(str(files("edgeseq.serve"))) / "page"
    found = {f.name: f.read_bytes() for f in folder.iterdir() if f.is_file()}
    return found | {"": found["index.html"]}


def _compile_again(artifact: Artifact) -> str:
    source: Mapping[str, Any] = artifact.manifest.get("source", {})
    model = source.get("spec") or "MODEL"
    had = "".join(f" --target {name}" for name in sorted(artifact.manifest["targets"]))
    return f"edgeseq compile {model} --target {TARGET}{had} -o '{artifact.folder}' --force"
