"""Prints one SHA-256 per engine of what the int8 layers of a model give: all must be equal.

    python -m tests.e2e.equality MODEL [--frames 1000] [--calibrate clips/]

The integer layers of the quantized model become a model of their own, which is fed what they get
when the whole model runs; layers in float, whose last bits differ between machines, stay out of it.
Exit code 1 where an engine differs, 6 where one is not installed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import click
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
from edgeseq.targets._target import Target

from edgeseq import api, engines, registry, validate
from edgeseq.errors import EdgeseqError, ToolchainError, UsageError
from edgeseq.frontends.states import mark_states
from edgeseq.ir import dialect
from edgeseq.options import CompileOptions, QuantizeOptions, SparsityOptions
from edgeseq.quantize.calibrate import Runner
from edgeseq.train import calibration

Array = npt.NDArray[Any]
Frames = dict[str, Array]

OPSET = 26
STATES = {"QuantizedGRU": (7,), "QuantizedRNN": (7,), "QuantizedLSTM": (7, 8)}  # inputs
OWN_PROCESSOR = "lacks instructions"  # what a library says that this machine cannot run


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the layers run: a build, and what runs it.

    Args:
        target: User name of the target.
        isa: Level that is built; None: all, chosen at init.
        engine: Name of the engine.
        cpu: Processor that QEMU shows.
    """

    target: str
    isa: str | None
    engine: str
    cpu: str | None = None

    def __str__(self) -> str:
        parts = (self.target, self.isa, self.engine, self.cpu)
        return " ".join(part for part in parts if part)


def places() -> list[Place]:
    """Every level of x86-64 and wasm, ARM with and without dot products, and C."""
    x86, wasm = _target("x86-64"), _target("wasm")
    found = [Place("c", None, engines.NATIVE)]
    found += [Place(x86.name, isa.level, engines.NATIVE) for isa in x86.isas]
    found += [Place("arm64-linux", None, "qemu", cpu) for cpu in ("cortex-a53", "cortex-a76")]
    found.append(Place("armv7-linux", None, "qemu"))
    found += [Place(wasm.name, i.level, engine) for i in wasm.isas for engine in wasm.engines]
    return found


def _target(name: str) -> Target:
    target: Target = registry.find("targets", name).TARGET
    return target


def int8_layers(model: ir.Model) -> tuple[ir.Model, dict[str, str]]:
    """Make a model of the integer layers alone.

    Returns:
        The model, its states marked, and where its inputs come from in the whole one.
    """
    graph = ir.Graph([], [], nodes=[], opset_imports={"": OPSET}, name="layers")
    made, sources = ir.Model(graph, ir_version=10), {}
    for number, node in enumerate(n for n in model.graph if n.op_type in dialect.OPS):
        states = {i: "hc"[i - 7] for i in STATES.get(node.op_type, ())}
        taken: list[ir.Value | None] = []
        for place, value in enumerate(node.inputs):
            if value is None or value.const_value is not None:
                taken.append(value and _constant(graph, value, f"w{number}_{place}"))
                continue
            name = f"{states.get(place, 'x')}{number}"
            if place not in states:
                sources[name] = str(value.name)
            taken.append(ir.Value(name=name, shape=value.shape, type=value.type))
            graph.inputs.append(taken[-1])
        attributes = {name: a.value for name, a in node.attributes.items()}
        copy = dialect.node(made, node.op_type, taken, attributes, len(node.outputs))
        for place, (output, known) in enumerate(zip(copy.outputs, node.outputs, strict=True)):
            output.name = f"y{number}" if place == 0 else f"{'hc'[place - 1]}{number}_out"
            output.shape, output.type = known.shape, known.type
            if place == 0 or (len(taken) > place + 6 and taken[place + 6] in graph.inputs):
                graph.outputs.append(output)
        graph.append(copy)
    mark_states(made, [f"{v.name}={v.name}_out" for v in graph.inputs if v.name not in sources])
    return made, sources


def _constant(graph: ir.Graph, value: ir.Value, name: str) -> ir.Value:
    own = ir.Value(name=name, shape=value.shape, type=value.type, const_value=value.const_value)
    graph.register_initializer(own)
    return own


def recorded(model: ir.Model, sources: Mapping[str, str], sample: Mapping[str, Array]) -> Frames:
    """Run the whole model over a sample and keep what the integer layers get."""
    seen = Runner(model, sorted(set(sources.values())))(dict(sample))
    return {name: np.stack(seen[source]) for name, source in sources.items()}


def digest(outputs: Sequence[Mapping[str, Array]], states: Mapping[str, Array]) -> str:
    """Hash all outputs of all frames, and the states after the last."""
    found = hashlib.sha256()
    for one in (*outputs, states):
        for name in sorted(one):
            found.update(np.ascontiguousarray(one[name], np.float32).tobytes())
    return found.hexdigest()


def reference(layers: ir.Model, frames: Frames) -> str:
    """The hash of the layers' standard ONNX bodies in ONNX Runtime."""
    rows = Runner(layers)(frames)
    steps = len(next(iter(frames.values())))
    outputs = [{n: a[i] for n, a in rows.items() if n.startswith("y")} for i in range(steps)]
    return digest(outputs, {n[:-4]: a[-1] for n, a in rows.items() if n.endswith("_out")})


def streamed(dist: Path, place: Place, frames: Frames, states: Sequence[str]) -> str:
    """Run the compiled layers frame by frame."""
    steps = len(next(iter(frames.values())))
    processor = {"QEMU_CPU": place.cpu} if place.cpu else {}
    with mock.patch.dict("os.environ", processor):  # noqa: SIM117
        with engines.opened(dist, place.target, place.engine) as model:
            stream = model.stream()
            outputs = []
            for i in range(steps):
                given = stream.step({name: array[i] for name, array in frames.items()})
                outputs.append(dict(given) if isinstance(given, dict) else {"y0": given})
            return digest(outputs, {name: stream.state(name) for name in states})


def hashes(model: ir.Model, sample: Mapping[str, Array], folder: Path) -> Iterator[tuple[str, str]]:
    """Give each place and the hash there; "" where it is a level this processor lacks.

    Args:
        model: A quantized model, prepared, its states marked.
        sample: What it is fed, frame by frame.
        folder: For the files that are compiled.

    Raises:
        UsageError: there is no integer layer.
        ToolchainError: an engine is missing.
    """
    layers, sources = int8_layers(model)
    if not sources:
        raise UsageError("no layer of the model has int8 products")
    frames = recorded(model, sources, sample)
    yield "onnxruntime", reference(layers, frames)
    ir.save(layers, folder / "layers.onnx")
    states = [str(v.name) for v in layers.graph.inputs if v.name not in sources]
    pairs = tuple((name, f"{name}_out") for name in states)
    every = places()
    for isa in dict.fromkeys(place.isa for place in every):
        here = [place for place in every if place.isa == isa]
        targets = tuple(dict.fromkeys(place.target for place in here))
        options = CompileOptions(folder / str(isa), targets, states=pairs, isa=isa, name="layers")
        with _unproven():
            dist = api.compile_model(folder / "layers.onnx", options).folder
        for place in here:
            yield str(place), _or_nothing(dist, place, frames, states)


@contextlib.contextmanager
def _unproven() -> Iterator[None]:
    """Compile without the numbers of float64, which take most of the time and nobody reads here."""
    nothing = {"steps": 1, "oracle": "nothing", "notes": [], "outputs": {}, "states": {}}
    record = mock.Mock(return_value=nothing)
    check = mock.Mock(side_effect=UsageError("there are no vectors"))
    # their package imports both when they are first used
    with mock.patch.multiple(validate, create=True, record=record, check=check):
        yield


def _or_nothing(dist: Path, place: Place, frames: Frames, states: Sequence[str]) -> str:
    try:
        return streamed(dist, place, frames, states)
    except UsageError as error:
        if place.engine != engines.NATIVE or OWN_PROCESSOR not in str(error):
            raise
        return ""


def quantized(
    spec: str | Path | onnx.ModelProto, folder: Path, calibrate: Sequence[str] = (), **given: Any
) -> ir.Model:
    """Quantize a model to int8, and prepare it; `given` are further options of a compilation."""
    options = CompileOptions(
        folder / "whole",
        ("c",),
        name="whole",
        quantize=QuantizeOptions("int8"),
        sparse=SparsityOptions(calibrate=tuple(calibrate)),
        **given,
    )
    with _unproven():
        model = ir.load(api.compile_model(spec, options).folder / "model.onnx")
    if not calibration.is_stepwise(model):
        raise UsageError("the model has an axis of time", fix="give a model of one step")
    return model


@click.command()
@click.argument("model")
@click.option("--frames", default=1000, show_default=True, help="How many are streamed.")
@click.option("--calibrate", multiple=True, metavar="PATH", help="As of `edgeseq compile`.")
def main(model: str, frames: int, calibrate: tuple[str, ...]) -> None:
    """Print one SHA-256 per engine over the int8 layers of MODEL."""
    with TemporaryDirectory(prefix="edgeseq-equality-") as temporary:
        folder = Path(temporary)
        try:
            whole = quantized(model, folder, calibrate)
            (sample,) = calibration.synthetic(whole, count=1, steps=frames)
            found = {}
            for place, digest_ in hashes(whole, sample, folder):
                found[place] = digest_
                click.echo(f"{digest_ or 'this processor lacks it':64}  {place}")
        except ToolchainError as error:
            raise SystemExit(f"{error}\n(a missing engine fails)") from None
        except EdgeseqError as error:
            raise SystemExit(str(error)) from None
    different = len({d for d in found.values() if d})
    click.echo(f"{different} different" if different > 1 else f"all equal over {frames} frames")
    sys.exit(different > 1)


if __name__ == "__main__":
    main()
