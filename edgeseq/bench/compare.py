"""The compiled library beside ONNX Runtime and PyTorch, or beside another artifact."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgeseq.bench import frames, harness, memory, source
from edgeseq.bench.compiled import Compiled
from edgeseq.bench.harness import Array, Latency, Side, Spread
from edgeseq.bench.ort import OnnxRuntime
from edgeseq.errors import NumericsError, ToolchainError, UsageError
from edgeseq.runtime import Model, load

# Both sides must do the same work; whether the numbers are good enough is for `validate` to say.
SAME = 1e-3
SINGLE = 50  # calls timed one by one in a round


@dataclasses.dataclass(frozen=True)
class Report:
    """What was measured.

    Args:
        model: Name of the model.
        target: The target in use.
        against: What the other sides ran.
        call: `step`, or `sequence of N steps`.
        called_from: `C` or `Python`: the caller of the compiled side.
        rounds: Interleaved rounds.
        calls: Calls of every side in every round.
        microseconds: Per call, by side.
        ratio: How many times faster the compiled side is, by the other side; per round.
        latency: Microseconds of single calls by the wall clock, by side.
        cold: Of a call with cold caches, by side.
        weight_bytes: Weights of the compiled model.
        bandwidth: Bytes a second that a plain loop reads from as much memory.
        difference: Largest difference of an output after the last call, relative to its largest
            value, by the other side.
        processor_share: Processor time per wall-clock time; below 1 the machine was busy.
        versions: Packages involved.
    """

    model: str
    target: str
    against: str
    call: str
    called_from: str
    rounds: int
    calls: int
    microseconds: Mapping[str, Spread]
    ratio: Mapping[str, Spread]
    latency: Mapping[str, Latency]
    cold: Mapping[str, Spread]
    weight_bytes: int
    bandwidth: float | None
    difference: Mapping[str, float]
    processor_share: float
    versions: Mapping[str, str]


def bench_model(
    dist: Path,
    against: str | None = None,
    *,
    target: str | None = None,
    rounds: int = 30,
    calls: int = 200,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Time an artifact next to the model it was made from.

    Args:
        dist: The artifact.
        against: An ONNX file, a .pt2, `package.module:factory`, or the folder of another artifact
            with the same inputs and outputs; None: the artifact's model.onnx.
        target: Which target; None: this machine's.
        rounds: Interleaved rounds.
        calls: Steps per round and side.
        progress: Called with the number of rounds done.

    Raises:
        UsageError: something is missing, or the model does not take the artifact's inputs.
        NumericsError: the sides do not compute the same.
    """
    model = load(dist, target)
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        artifact = _artifact(against)
        if artifact is not None:
            other = load(artifact, target)
            _check_alike(model, other, artifact)
            whole, exact = not model.has_step, not (compressed(dist) or compressed(artifact))
            work = frames.recorded(dist, model, whole=whole)
            beside: dict[str, Side] = {f"{artifact.name}/": Compiled(other, work)}
        else:
            reference = source.open_reference(against or str(dist / "model.onnx"), Path(folder))
            whole, exact = _whole(model, reference), not compressed(dist)
            work = frames.recorded(dist, model, whole=whole)
            beside = _others(model, reference, work, dist)
        ours = Compiled(model, work)
        sides: dict[str, Side] = {"edgeseq": ours, **beside}
        if whole:
            calls = max(1, calls // (work.steps or 1))
        difference = _same(sides, 1 if whole else calls, exact=exact)
        timings = harness.interleave(sides, rounds, calls, progress)
        single = min(calls, SINGLE)
        latency, cold = harness.single_calls(sides, -(-rounds // 3), single, -(-rounds // 3))
    taken = timings.microseconds
    weights = _weights(dist, model.target)
    base = taken["edgeseq"]
    others = {name: values for name, values in taken.items() if name != "edgeseq"}
    return Report(
        model=model.name,
        target=model.target,
        against=against or "model.onnx of the artifact",
        call=f"sequence of {work.steps} steps" if whole else "step",
        called_from=ours.called_from,
        rounds=rounds,
        calls=calls,
        microseconds={name: Spread.of(values) for name, values in taken.items()},
        ratio={name: Spread.of(values / base) for name, values in others.items()},
        latency=latency,
        cold=cold,
        weight_bytes=weights,
        bandwidth=_bandwidth(weights),
        difference=difference,
        processor_share=timings.processor_share,
        versions={p: importlib.metadata.version(p) for p in _packages(sides, artifact)},
    )


def _artifact(against: str | None) -> Path | None:
    """The folder of another artifact, where that is what is named."""
    folder = Path(against) if against else None
    return folder if folder and (folder / "manifest.json").is_file() else None


def _check_alike(model: Model, other: Model, folder: Path) -> None:
    """Refuse an artifact that is not called as this one is."""
    for mine, theirs in ((model.inputs, other.inputs), (model.outputs, other.outputs)):
        if [str(t) for t in mine] != [str(t) for t in theirs] or model.has_step != other.has_step:
            raise UsageError(
                f"'{folder}' is called in another way than '{model.name}'",
                why=f"it has {', '.join(map(str, theirs))}; here are {', '.join(map(str, mine))}",
                fix="give an artifact of the same model, compiled with the same shapes",
            )


def _whole(model: Model, reference: source.Reference) -> bool:
    """A sequence at once, where the artifact has no step or the other model carries no state."""
    missing = [s.input for s in model.states if s.input not in reference.inputs]
    if missing and not model.whole_sequences:
        raise UsageError(
            f"'{reference.spec}' has no input '{missing[0]}', a state of '{model.name}'",
            why=f"its inputs: {', '.join(reference.inputs)}",
            fix="give the model that was compiled",
        )
    return not model.has_step or bool(missing)


def _others(
    model: Model, reference: source.Reference, work: frames.Frames, dist: Path
) -> dict[str, Side]:
    carried = {} if work.steps is not None else _initial(model)
    pairs = [(s.input, s.output) for s in model.states if s.input in carried]
    constants = _constants(model, reference, dist, carried)
    sides: dict[str, Side] = {
        "onnxruntime": OnnxRuntime(reference.session, work, carried, pairs, constants)
    }
    if reference.module is not None:
        from edgeseq.bench.eager import Eager

        names, results = list(reference.inputs), reference.outputs
        sides["torch"] = Eager(
            reference.module, reference.example, names, results, work, carried, pairs, constants
        )
    return sides


def _initial(model: Model) -> dict[str, Array]:
    with model.stream() as stream:
        return {s.input: stream.state(s.input) for s in model.states}


def _constants(
    model: Model, reference: source.Reference, dist: Path, carried: Mapping[str, Array]
) -> dict[str, Array]:
    """Inputs that were bound when the model was compiled: the numbers given there."""
    flags = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))["flags"]
    given = flags.get("consts") or {}
    known = {t.name for t in model.inputs} | carried.keys()
    constants = {}
    for name, (dtype, shape) in reference.inputs.items():
        if name in known:
            continue
        if name not in given:
            raise UsageError(
                f"'{reference.spec}' has an input '{name}' that '{model.name}' has not",
                why=f"inputs of the artifact: {', '.join(sorted(known))}",
                fix="give the model that was compiled",
            )
        sizes = [d if isinstance(d, int) else 1 for d in shape]
        constants[name] = np.full(sizes, given[name], dtype)
    return constants


def compressed(dist: Path) -> bool:
    """Whether the artifact was pruned or quantized: it computes something near the model."""
    flags = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))["flags"]
    return bool(flags.get("quantize") or flags.get("sparse"))


def _same(sides: Mapping[str, Side], calls: int, *, exact: bool) -> dict[str, float]:
    """Compare the outputs of every side after the same calls.

    A compressed model differs from the one it was made of: how much is in the report, and only
    what is no number is refused.
    """
    ours = sides["edgeseq"].outputs(calls)
    worst = {}
    for name, side in sides.items():
        if name == "edgeseq":
            continue
        theirs = side.outputs(calls)
        by_output = {o: _difference(a, theirs[o]) for o, a in ours.items()}
        worst[name] = max(by_output.values(), default=0.0)
        if not worst[name] <= (SAME if exact else float("inf")):
            raise NumericsError(
                f"edgeseq and {name} differ after {calls} calls",
                at=[f"{o}: {d:.1e} of the largest value" for o, d in by_output.items()],
                why=f"beyond {SAME:g} they do not do the same work, and times mean nothing",
                fix="edgeseq validate says which output is off, and where",
            )
    return worst


def _difference(a: Array, b: Array) -> float:
    x, y = (v.astype(np.float64) for v in (a, b))
    return float(np.max(np.abs(x - y), initial=0) / max(1e-30, np.max(np.abs(y), initial=0)))


def _weights(dist: Path, target: str) -> int:
    manifest = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))
    return int(manifest["targets"][target]["weight_bytes"])


def _bandwidth(footprint: int) -> float | None:
    """None where there are no weights, or no compiler to build the loop with."""
    try:
        return memory.read_bandwidth(footprint) if footprint else None
    except ToolchainError:
        return None


def _packages(sides: Mapping[str, Any], artifact: Path | None) -> list[str]:
    own = ["edgeseq", "numpy"]
    return own if artifact else [*own, *(name for name in sides if name != "edgeseq")]
