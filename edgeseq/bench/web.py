"""The npm package of an artifact in Node, beside onnxruntime-web where that is installed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq import engines
from edgeseq.bench import frames, node, source
from edgeseq.bench.compare import SAME, compressed
from edgeseq.bench.harness import Array, Spread
from edgeseq.errors import NumericsError, UsageError
from edgeseq.runtime import Model, read_manifest

STARTS = {"edgeseq": 9, node.PEER: 3}  # fresh processes


@dataclasses.dataclass(frozen=True)
class WebReport:
    """What was measured, by side: `edgeseq`, `onnxruntime-web`.

    Args:
        model: Name of the model.
        node: Version of Node.
        rounds: Interleaved rounds.
        calls: Steps of every side in every round.
        against: What the peer ran.
        microseconds: Processor time of a step, input copied in, states fed back.
        p99: Microseconds that 99 of 100 single steps stay below, by the wall clock.
        start_ms: From nothing to the first output, in fresh processes, by the wall clock.
        again_ms: The same once more in each of these processes.
        bytes: Files that a page loads, uncompressed.
        ratio: How many times faster edgeseq is, per round.
        difference: Of the outputs after the last step, relative to the largest value.
        processor_share: Processor time per wall-clock time.
        versions: Of the packages.
    """

    model: str
    node: str
    rounds: int
    calls: int
    against: str
    microseconds: Mapping[str, Spread]
    p99: Mapping[str, float]
    start_ms: Mapping[str, Spread]
    again_ms: Mapping[str, Spread]
    bytes: Mapping[str, int]
    ratio: Mapping[str, Spread]
    difference: Mapping[str, float]
    processor_share: float
    versions: Mapping[str, str]


def bench_web(
    dist: Path,
    against: str | None = None,
    *,
    peer: Path | None = None,
    rounds: int = 30,
    calls: int = 200,
) -> WebReport:
    """Time the `wasm` target of an artifact in Node.

    Args:
        dist: The artifact.
        against: The ONNX file that the peer runs; None: the artifact's model.onnx.
        peer: A folder with onnxruntime-web in its node_modules; None: edgeseq alone.
        rounds: Interleaved rounds.
        calls: Steps per round and side, at least; a round lasts 50 ms or longer.

    Raises:
        ToolchainError: Node is missing, or onnxruntime-web in the folder given.
        UsageError: the artifact has no such target or no single step.
        NumericsError: the sides do not compute the same.
    """
    found = None if peer is None else node.checked_peer(peer)
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        work = Path(folder)
        _prepare(dist, against, work, rounds, calls, peer is not None)
        sides = ["edgeseq", *([node.PEER] if found else [])]
        starts = {s: [node.ask(work, s, found) for _ in range(STARTS[s])] for s in sides}
        said = node.ask(work, "steps", found)
    return _report(dist, found, said, starts, rounds, against or "model.onnx of the artifact")


def _prepare(
    dist: Path, against: str | None, work: Path, rounds: int, calls: int, peer: bool
) -> None:
    """Write what web.mjs reads: a description, the numbers, the peer's model."""
    with engines.opened(dist, "wasm", "node") as model:
        if not model.has_step:
            raise UsageError(
                f"'{model.name}' has no single step", why="whole sequences are not timed in Node"
            )
        recorded = frames.recorded(dist, model, whole=False).calls
        with model.stream() as stream:
            states = {s.input: stream.state(s.input) for s in model.states}
        constants: dict[str, Array] = {}
        if peer:
            reference = source.open_reference(against or str(dist / "model.onnx"), work)
            constants = _constants(dist, model, reference.inputs)
            file = Path(against or dist / "model.onnx")
            readable = work / "readable.onnx"
            shutil.copyfile(readable if readable.exists() else file, work / "model.onnx")
        inputs = [t.name for t in model.inputs]
        outputs = [t.name for t in model.outputs]
        pairs = {s.input: s.output for s in model.states}
    about = {
        "package": str((dist / "wasm").resolve()),
        "inputs": [described(n, recorded[0][n]) for n in inputs],
        "outputs": outputs,
        "states": [described(n, a) | {"output": pairs[n]} for n, a in states.items()],
        "constants": [described(n, a) for n, a in constants.items()],
        "frames": len(recorded),
        "rounds": rounds,
        "calls": calls,
    }
    (work / "work.json").write_text(json.dumps(about))
    arrays = [*constants.values(), *states.values(), *(f[n] for f in recorded for n in inputs)]
    (work / "frames.bin").write_bytes(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))


def described(name: str, array: Array) -> dict[str, Any]:
    """What web.mjs is told of a tensor."""
    return {"name": name, "dtype": array.dtype.name, "shape": list(array.shape)}


def _constants(dist: Path, model: Model, inputs: Mapping[str, Any]) -> dict[str, Array]:
    """Inputs that were bound when the model was compiled."""
    known = {t.name for t in model.inputs} | {s.input for s in model.states}
    flags = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))["flags"]
    given = flags.get("consts") or {}
    constants = {}
    for name, (dtype, shape) in inputs.items():
        if name in known:
            continue
        if name not in given:
            raise UsageError(f"the other model has an input '{name}' that '{model.name}' has not")
        constants[name] = np.full(
            [d if isinstance(d, int) else 1 for d in shape], given[name], dtype
        )
    return constants


def _report(
    dist: Path,
    peer: Path | None,
    said: Mapping[str, Any],
    starts: Mapping[str, list[dict[str, Any]]],
    rounds: int,
    against: str,
) -> WebReport:
    results = said["results"]
    base = np.array(results["edgeseq"]["microseconds"])
    others = [name for name in results if name != "edgeseq"]
    difference = {name: difference_of(results, name) for name in others}
    limit = float("inf") if compressed(dist) else SAME
    for name, value in difference.items():
        if not value <= limit:
            raise NumericsError(
                f"edgeseq and {name} differ by {value:.1e} of the largest value",
                at="after the last call",
                why=f"beyond {SAME:g} they do not do the same work, and times mean nothing",
            )
    sizes = {"edgeseq": _bytes(dist)}
    if peer is not None:
        web = peer / "node_modules" / node.PEER / "dist"
        sizes[node.PEER] = (web / "ort-wasm-simd-threaded.wasm").stat().st_size
    return WebReport(
        model=read_manifest(dist).name,
        node=str(said["node"]),
        rounds=rounds,
        calls=int(said["calls"]),
        against=against,
        microseconds={name: Spread.of(r["microseconds"]) for name, r in results.items()},
        p99={name: float(np.percentile(r["single"], 99)) for name, r in results.items()},
        start_ms={n: Spread.of([s["first"] for s in all_]) for n, all_ in starts.items()},
        again_ms={n: Spread.of([s["again"] for s in all_]) for n, all_ in starts.items()},
        bytes=sizes,
        ratio={name: Spread.of(np.array(results[name]["microseconds"]) / base) for name in others},
        difference=difference,
        processor_share=float(said["share"]),
        versions={name: r["version"] for name, r in results.items() if r["version"]},
    )


def difference_of(results: Mapping[str, Any], name: str) -> float:
    """Largest difference of an output from another side's, of its largest value."""
    worst = 0.0
    for ours, theirs in zip(results["edgeseq"]["outputs"], results[name]["outputs"], strict=True):
        a, b = np.array(ours), np.array(theirs)
        worst = max(worst, float(np.abs(a - b).max() / max(1e-30, np.abs(b).max())))
    return worst


def _bytes(dist: Path) -> int:
    """What a page fetches: one module, the weights, two scripts."""
    name = read_manifest(dist).name
    wanted = (f"{name}.wasm", f"{name}.weights.bin", "core.mjs", "index.mjs")
    return sum((dist / "wasm" / file).stat().st_size for file in wanted)
