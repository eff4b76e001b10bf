"""The npm package of an artifact in Node, beside onnxruntime-web where that is installed."""

from __future__ import annotations

import dataclasses
import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq import engines
from edgeseq.bench import frames, source
from edgeseq.bench.compare import SAME, compressed
from edgeseq.bench.harness import Array, Spread
from edgeseq.errors import NumericsError, ToolchainError, UsageError
from edgeseq.runtime import Model, read_manifest

STARTS = {"edgeseq": 9, "onnxruntime-web": 3}  # fresh processes


@dataclasses.dataclass(frozen=True)
class WebReport:
    """What was measured, by side: `edgeseq`, `onnxruntime-web`.

    Args:
        model: Name of the model.
        node: Version of Node.
        rounds: Interleaved rounds.
        calls: Steps of every side in every round.
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
        calls: Steps per round and side.

    Raises:
        ToolchainError: Node is missing, or onnxruntime-web in the folder given.
        UsageError: the artifact has no such target or no single step.
        NumericsError: the sides do not compute the same.
    """
    node = shutil.which("node")
    if node is None:
        raise ToolchainError("node is not installed", fix="apt-get install nodejs")
    if peer is not None and not (peer / "node_modules" / "onnxruntime-web").is_dir():
        raise ToolchainError(
            f"no onnxruntime-web in '{peer}'", fix=f"npm install --prefix {peer} onnxruntime-web"
        )
    script = Path(str(files("edgeseq.bench"))) / "web.mjs"
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        work = Path(folder)
        _prepare(dist, against, work, rounds, calls, peer is not None)
        more = [str(peer.resolve())] if peer else []

        def said(what: str) -> dict[str, Any]:
            return _said([node, str(script), str(work), what, *more])

        sides = ["edgeseq", *(["onnxruntime-web"] if peer else [])]
        starts = {side: [said(side) for _ in range(STARTS[side])] for side in sides}
        return _report(dist, peer, said("steps"), starts, rounds, calls)


def _said(command: list[str]) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise UsageError("node failed", why=done.stderr.strip()[-1500:])
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


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
    described = {
        "package": str((dist / "wasm").resolve()),
        "inputs": [_described(n, recorded[0][n]) for n in inputs],
        "outputs": outputs,
        "states": [_described(n, a) | {"output": pairs[n]} for n, a in states.items()],
        "constants": [_described(n, a) for n, a in constants.items()],
        "frames": len(recorded),
        "rounds": rounds,
        "calls": calls,
    }
    (work / "work.json").write_text(json.dumps(described))
    arrays = [*constants.values(), *states.values(), *(f[n] for f in recorded for n in inputs)]
    (work / "frames.bin").write_bytes(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))


def _described(name: str, array: Array) -> dict[str, Any]:
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
    calls: int,
) -> WebReport:
    results = said["results"]
    base = np.array(results["edgeseq"]["microseconds"])
    others = [name for name in results if name != "edgeseq"]
    difference = {name: _difference(results, name) for name in others}
    limit = float("inf") if compressed(dist) else SAME
    for name, value in difference.items():
        if not value <= limit:
            raise NumericsError(
                f"edgeseq and {name} differ by {value:.1e} of the largest value",
                at=f"after {calls} calls",
                why=f"beyond {SAME:g} they do not do the same work, and times mean nothing",
            )
    sizes = {"edgeseq": _bytes(dist)}
    if peer is not None:
        web = peer / "node_modules" / "onnxruntime-web" / "dist"
        sizes["onnxruntime-web"] = (web / "ort-wasm-simd-threaded.wasm").stat().st_size
    return WebReport(
        model=read_manifest(dist).name,
        node=str(said["node"]),
        rounds=rounds,
        calls=calls,
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


def _difference(results: Mapping[str, Any], name: str) -> float:
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
