"""What the page has to know of an artifact, and the recorded arrays as they lie in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from edgeseq.errors import UsageError
from edgeseq.runtime import encode
from edgeseq.validate.artifact import Artifact
from edgeseq.validate.compare import tolerance
from edgeseq.validate.vectors import Arrays, Vectors, load

Array = npt.NDArray[Any]
ALIGNED = 8  # no type of an array in JavaScript asks for more


def describe(artifact: Artifact, package: Mapping[str, bytes]) -> tuple[dict[str, Any], bytes]:
    """Return the description and the bytes of the arrays that it points into.

    Raises:
        UsageError: vectors are missing or damaged.
    """
    manifest, verify = artifact.manifest, artifact.verify
    vectors = load(artifact.folder / verify["file"])
    arrays = _Arrays()
    described = {
        "name": artifact.name,
        "edgeseq": manifest["edgeseq"],
        "hash": manifest["model_hash"],
        "source": manifest["source"]["spec"],
        "weight_bytes": manifest["targets"]["wasm"]["weight_bytes"],
        "state_bytes": manifest["targets"]["wasm"]["state_size"],
        "files": {name: len(content) for name, content in sorted(package.items())},
        "audio": "worklet.mjs" in package,
        "step": bool(manifest["modes"]["step"]["supported"]),
        "step_reason": manifest["modes"]["step"].get("reason"),
        "steps": int(verify["steps"]),
        "stacked": artifact.stacked,
        "oracle": verify["oracle"],
        "peer": None,
    }
    axes = {kind: artifact.axes(kind) for kind in ("inputs", "outputs")}
    described["inputs"] = [
        _tensor(t, axes["inputs"])
        | arrays.add(encode(_of(vectors.inputs, t["name"]), t["dtype"], t["name"]))
        for t in manifest["inputs"]
    ]
    described["outputs"] = [
        _tensor(t, axes["outputs"])
        | arrays.add(_of(vectors.outputs, t["name"]))
        | {"allowed": tolerance(verify["outputs"][t["name"]])}
        for t in manifest["outputs"]
    ]
    described["states"] = [_state(s, artifact, vectors, arrays) for s in manifest["states"]]
    return described, arrays.content()


def _tensor(entry: Mapping[str, Any], axes: Mapping[str, int | None]) -> dict[str, Any]:
    name = entry["name"]
    return {"name": name, "dtype": entry["dtype"], "declared": entry["shape"], "axis": axes[name]}


def _state(
    entry: Mapping[str, Any], artifact: Artifact, vectors: Vectors, arrays: _Arrays
) -> dict[str, Any]:
    """A state; one that the passes exposed was not recorded."""
    name = entry["input"]
    described = {"name": name, "output": entry["output"], "dtype": entry["dtype"]}
    described |= {"at": entry["offset"], "declared": entry["shape"], "recorded": None}
    if name in vectors.states:
        described["recorded"] = arrays.add(vectors.states[name])
        described["allowed"] = tolerance(artifact.verify["states"][name])
    return described


def _of(arrays: Arrays, name: str) -> Array:
    if name not in arrays:
        raise UsageError(f"the verify vectors hold no '{name}'", fix="compile again")
    return arrays[name]


class _Arrays:
    """Arrays behind each other; each one's place goes into the description."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._end = 0

    def add(self, array: Array) -> dict[str, Any]:
        content = np.ascontiguousarray(array).tobytes()
        place = {"stored": array.dtype.name, "shape": list(array.shape), "offset": self._end}
        self._parts.append(content + bytes(-len(content) % ALIGNED))
        self._end += len(self._parts[-1])
        return place

    def content(self) -> bytes:
        return b"".join(self._parts)
