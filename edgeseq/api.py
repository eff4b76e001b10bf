"""Compile from Python: what the command line does, as functions.

`edgeseq.compile(module, example_inputs)` and `compile_model(spec, options)` end in an `Artifact`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseq import registry
from edgeseq.errors import ToolchainError, UnsupportedModelError, UsageError
from edgeseq.options import (
    CompileOptions,
    Event,
    QuantizeOptions,
    SearchOptions,
    SparsityOptions,
)

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import torch

    from edgeseq.frontends.load import Imported
    from edgeseq.lower.build import Lowered, Modes
    from edgeseq.lower.costs import Costing
    from edgeseq.lower.toolchain import Compiler
    from edgeseq.pipeline import PassRecord
    from edgeseq.quantize.command import Done as QuantizationDone
    from edgeseq.search.pareto import Found
    from edgeseq.targets._target import Target
    from edgeseq.train.compress import Compressed
    from edgeseq.validate import Verdict

LOOP_MAX_T = 1 << 20
DEFAULT_MAX_T = 4096

Progress = Callable[[Event], None]


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A compiled model on disk.

    Args:
        folder: Where it is.
        manifest: Contents of manifest.json.
    """

    folder: Path
    manifest: Mapping[str, Any]

    def load(self, target: str | None = None) -> Any:
        """Load the compiled library; see `edgeseq.load`."""
        from edgeseq import runtime

        return runtime.load(self.folder, target)


def compile(
    module: torch.nn.Module,
    example_inputs: Sequence[Any],
    *,
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
    targets: Sequence[str] = (),
    output: str | Path,
    **options: Any,
) -> Artifact:
    """Compile a PyTorch module.

    Args:
        module: The model; it is put into eval mode for the export and left as it was.
        example_inputs: Positional inputs it can be called with.
        dynamic: Input name -> axis -> symbol, e.g. `{"x": {1: "T"}}` for a time axis.
        targets: User names of targets; empty means this machine and `c`.
        output: Folder of the artifact.
        options: Further fields of `edgeseq.options.CompileOptions`.

    Raises:
        EdgeseqError: the module cannot be compiled; the message says where and why.
    """
    from edgeseq.frontends.load import from_module

    imported = from_module(module, example_inputs, dynamic)
    chosen = CompileOptions(output=Path(output), targets=tuple(targets), **options)
    return _compile(imported, chosen, _silent)


def compile_model(
    spec: str | Path | onnx.ModelProto,
    options: CompileOptions,
    progress: Progress | None = None,
) -> Artifact:
    """Compile a model file, a `package.module:factory`, or an ONNX model in memory.

    Args:
        spec: `model.onnx`, `model.pt2`, `package.module:factory`, or a ModelProto.
        options: What to build.
        progress: Called whenever a piece is done.

    Raises:
        EdgeseqError: bad input, unsupported model, missing tool; nothing is written then.
    """
    report = progress or _silent
    _check_output(options)
    from edgeseq.frontends import load

    start = time.perf_counter()
    imported = load.load(spec) if isinstance(spec, (str, Path)) else load.from_proto(spec)
    report(Event("import", str(imported.source["spec"]), time.perf_counter() - start))
    return _compile(imported, options, report)


def prune_model(
    spec: str | Path, options: CompileOptions, progress: Progress | None = None
) -> Compressed:
    """Prune a model and write it as ONNX; of an .onnx file all but the weights stays as it is.

    Args:
        spec: `model.onnx`, `model.pt2`, or `package.module:factory`.
        options: `sparse` says how, `output` is the file; sizes, states and seed count, too.
        progress: Called whenever a piece is done.

    Raises:
        EdgeseqError: bad input; nothing is written then.
    """
    from edgeseq.train import compress, write_back

    _check_sparsity(options, required=True)
    # Without the code that computes shapes it runs several times faster; weights keep their names.
    model = _load_for_rewrite(spec, options, _BEFORE_PRUNE)
    done = compress.compress(
        model, options.sparse, options.seed, progress or _silent, options.cost_table
    )
    source = Path(spec) if Path(spec).suffix == ".onnx" and not done.reshaped else None
    notes = write_back.write(done.model, source, options.output)
    return dataclasses.replace(done, notes=(*done.notes, *notes))


def quantize_model(
    spec: str | Path, options: CompileOptions, progress: Progress | None = None
) -> QuantizationDone:
    """Quantize a model and write it as ONNX, for any runtime.

    Args:
        spec: `model.onnx`, `model.pt2`, or `package.module:factory`.
        options: `quantize` says how, `output` is the file; sizes, states and seed count, too.
        progress: Called whenever a piece is done.

    Raises:
        EdgeseqError: bad input, or too large an error; nothing is written then.
    """
    from edgeseq.quantize import command

    model = _load_for_rewrite(spec, options, _BEFORE_QUANTIZE)
    done = command.apply(
        model,
        options.quantize,
        options.sparse,
        options.seed,
        progress or _silent,
        qdq=True,
    )
    _save(model, options.output)
    return done


def _load_for_rewrite(spec: str | Path, options: CompileOptions, passes: Sequence[str]) -> ir.Model:
    """Load a model whose rewritten form goes to the file `options.output`, through `passes`."""
    from edgeseq import pipeline
    from edgeseq.frontends import load
    from edgeseq.ir.settings import Settings

    if options.output.exists() and not options.force:
        raise UsageError(
            f"the output file '{options.output}' exists", fix="another -o, or --force to replace it"
        )
    model = load.load(spec).model
    _mark_states(model, options)
    settings = Settings(options.shapes, options.dims, options.consts, options.stream)
    pipeline.prepare(model, settings, passes=pipeline.PASSES[:1])
    _mark_states(model, options)
    pipeline.prepare(model, settings, passes=passes)
    return model


# What makes layers of a model easier to see and leaves its interface alone.
_BEFORE_PRUNE = ("expand-functions", "expand-quantized", "fold-constants", "constant-bounds")
_BEFORE_QUANTIZE = (
    "fold-constants",
    "eliminate-identity",
    "fuse-conv-batchnorm",
    "fuse-lstm-cell",
    "fuse-gru-cell",
    "recurrent-layout",
    "eliminate-dead",
)


def search_model(
    spec: str | Path,
    options: CompileOptions,
    wanted: SearchOptions,
    progress: Progress | None = None,
) -> Found:
    """Search number types and densities of a model's layers, and write what is best.

    Args:
        spec: As for `compile_model`.
        options: Sizes, states, samples, targets and seed; `output` is the folder to write.
        wanted: How long, where, and within which limits.
        progress: Called whenever a point is measured.

    Raises:
        EdgeseqError: bad input, or no point within the limits (what was found is written then).
    """
    from edgeseq.frontends import load
    from edgeseq.lower import costs
    from edgeseq.search.space import Costs

    try:
        from edgeseq.search import command, pareto
    except ModuleNotFoundError as e:
        raise ToolchainError(
            f"the package '{e.name}' is not installed",
            why="`edgeseq search` keeps and breeds its points with optuna",
            fix="pip install 'edgeseq[search]'",
        ) from None

    report = progress or _silent
    out = options.output
    if out.exists() and not (options.force and out.is_dir()):
        raise UsageError(f"'{out}' exists", fix="another -o, or --force to replace its files")
    table = costs.load(options.cost_table)
    names = options.targets or host_targets()
    targets = [registry.find("targets", n).TARGET for n in dict.fromkeys(names)]
    levels = dict.fromkeys(i.level for t in targets for i in t.dispatched(options.isa))
    imported = load.load(spec)
    _prepare(imported.model, options, out, report)
    found = command.search(imported.model, options, wanted, Costs(table, tuple(levels)), report)
    out.mkdir(parents=True, exist_ok=True)
    pareto.write(found, str(spec), options, out)
    command.check_found(found, wanted)
    return found


def host_targets() -> tuple[str, ...]:
    """Targets built where none is named: this machine's, and C source."""
    native = [
        name
        for name in registry.names("targets")
        if platform.machine() in registry.find("targets", name).TARGET.machines
        and platform.system() == "Linux"
    ]
    return (*native, "c")


def _silent(event: Event) -> None:
    del event


def _timed(progress: Progress, timings: dict[str, float]) -> Progress:
    """Also note the seconds of each stage, those of its pieces added up."""

    def done(event: Event) -> None:
        name = f"build {event.name}" if event.stage == "build" else event.stage
        timings[name] = timings.get(name, 0.0) + event.seconds
        progress(event)

    return done


def _check_output(options: CompileOptions) -> None:
    for name in options.targets:
        registry.find("targets", name)
    out = options.output
    if out.exists() and not options.force:
        raise UsageError(
            f"the output folder '{out}' exists",
            why="compile does not overwrite what it did not write in this run",
            fix=f"choose another -o, or replace it with --force (removes '{out}')",
        )
    if (
        out.exists()
        and not (out.is_dir() and (out / "manifest.json").exists())
        and (not out.is_dir() or any(out.iterdir()))
    ):
        raise UsageError(
            f"'{out}' is not an artifact, and --force replaces only artifacts",
            why="it has no manifest.json",
            fix="choose another -o",
        )


def _compile(imported: Imported, options: CompileOptions, progress: Progress) -> Artifact:
    from edgeseq import artifact, validate
    from edgeseq.lower import costs
    from edgeseq.lower.costs import Costing

    timings: dict[str, float] = {}
    progress = _timed(progress, timings)
    _check_output(options)
    _check_sparsity(options)
    table = costs.load(options.cost_table)  # what is wrong with it is said before the work
    names = options.targets or host_targets()
    targets = [registry.find("targets", n).TARGET for n in dict.fromkeys(names)]
    _check_threads(options, targets)
    compilers = _compilers(options, targets)
    spec = str(imported.source["spec"])
    name = artifact.check_name(options.name) if options.name else artifact.default_name(spec)
    with _staged(options.output) as folder:
        original, records = _prepare(imported.model, options, folder, progress)
        given = _samples(original, options)
        pruning, rounding, dense = options, options, None
        sections: list[str] = []
        if options.sparse.asked and options.sparse.recover:
            pruning, rounding = _shared(options)
            dense = imported.model.clone() if rounding.sparse.recover else None
        if options.sparse.asked:
            imported, original, record, section = _prune(imported, pruning, progress)
            records.append(record)
            sections.append(section)
        if options.quantize.scheme is not None:
            imported, original, record = _quantize(imported, rounding, progress, folder, dense)
            records.append(record)
        _check_operators(imported.model)
        modes = _modes(imported.model, options)
        model_hash = artifact.write_model(imported.model, folder)
        start = time.perf_counter()
        levels = tuple(i.level for t in targets for i in t.dispatched(options.isa))
        costing = Costing(table, tuple(dict.fromkeys(levels)), options.threads)
        lowered = _lower(imported.model, name, model_hash, modes, records, costing)
        progress(Event("lower", name, time.perf_counter() - start))
        files = {
            t.name: _build(lowered, t, compilers[t.name], options, folder, progress)
            for t in targets
        }
        start = time.perf_counter()
        verify = validate.record(
            original,
            folder,
            oracle=_oracle(imported, original, options),
            seed=options.seed,
            given=given,
        )
        progress(Event("verify", f"vectors by {verify['oracle']}", time.perf_counter() - start))
        manifest = artifact.write_manifest(
            folder, imported.source, lowered, records, options, targets, files, verify
        )
        verdicts = _check(folder, targets, progress)
        artifact.write_report(folder, manifest, records, verdicts, timings, sections)
    return Artifact(options.output, manifest)


def _prepare(
    model: ir.Model, options: CompileOptions, folder: Path, progress: Progress
) -> tuple[ir.Model, list[PassRecord]]:
    """Run the passes; also return the model as it was once its sizes were bound."""
    from edgeseq import pipeline
    from edgeseq.ir.settings import Settings

    stages = (options.emit_ir,) if options.emit_ir else ()
    unknown = [s for s in stages if s not in pipeline.PASSES]
    if unknown:
        fix = registry.hint(unknown[0], pipeline.PASSES)
        raise UsageError(f"unknown stage '{unknown[0]}'", fix=fix)

    def done(record: PassRecord) -> None:
        progress(_pass_event(record))
        if record.name in stages:
            _save(model, folder / f"after-{record.name}.onnx")
        if options.keep is not None:
            options.keep.mkdir(parents=True, exist_ok=True)
            count = len(list(options.keep.glob("*.onnx")))
            _save(model, options.keep / f"{count:02}-{record.name}.onnx")

    settings = Settings(options.shapes, options.dims, options.consts, options.stream)
    _mark_states(model, options)
    bound = pipeline.prepare(model, settings, passes=pipeline.PASSES[:1], progress=done)
    _mark_states(model, options)
    original = model.clone()
    rest = pipeline.prepare(model, settings, passes=pipeline.PASSES[1:], progress=done)
    return original, [*bound.records, *rest.records]


def _compilers(options: CompileOptions, targets: Sequence[Target]) -> dict[str, Compiler | None]:
    """Find the C compilers of all targets before the work; source has none."""
    from edgeseq.lower import toolchain

    built = [t.name for t in targets if not t.source_only]
    if unknown := [name for name in options.cc if name not in built]:
        raise UsageError(
            f"--cc names '{unknown[0]}', which is not compiled",
            why=f"targets with a compiler are {', '.join(built) or 'none'}",
            fix=f"--target {unknown[0]}, or leave this --cc out",
        )
    return {
        t.name: None if t.source_only else toolchain.find(t, options.cc.get(t.name))
        for t in targets
    }


def _samples(model: ir.Model, options: CompileOptions) -> dict[str, Any]:
    """Read what the verify vectors are recorded with, instead of random inputs.

    The user's samples, or a stretch of the first recording to calibrate with: a model that was made
    for recordings saturates on random numbers.
    """
    from edgeseq.train import calibration, windows
    from edgeseq.validate import inputs, recording

    if options.inputs is not None:
        stepwise = calibration.is_stepwise(model)
        return inputs.read(options.inputs, calibration.data_inputs(model), stacked=stepwise)
    if not options.sparse.calibrate:
        return {}
    sample = calibration.first(options.sparse.calibrate, model)
    return windows.loudest(sample, model, recording.length(model))


def _check_threads(options: CompileOptions, targets: Sequence[Target]) -> None:
    """Refuse shares for what has no threads."""
    if not 1 <= options.threads <= 64:
        raise UsageError(f"{options.threads} threads", why="a layer has 1 to 64 shares")
    alone = [t.name for t in targets if options.threads > 1 and not t.threads]
    if alone:
        raise UsageError(
            f"target '{alone[0]}' has no threads",
            why="its modules import nothing and share no memory",
            fix="compile it apart, without --threads",
        )


def _check_sparsity(options: CompileOptions, *, required: bool = False) -> None:
    """Refuse flags about pruning without a word on how much."""
    sparse = options.sparse
    # Samples also serve others than pruning.
    rest = dataclasses.replace(sparse, calibrate=(), hold_out=False)
    if options.quantize.scheme is not None:  # what is quantized may recover, too
        rest = dataclasses.replace(rest, recover=0, checkpoint=None)
    idle = rest == SparsityOptions()
    if not sparse.asked and (required or not idle):
        raise UsageError(
            "it is not said how much to prune", fix="--sparsity 0.9, or a pattern such as 2:4"
        )


def _shared(options: CompileOptions) -> tuple[CompileOptions, CompileOptions]:
    """Share the steps of recovery out: some while pruning, the rest quantized, masks held."""
    from edgeseq.quantize import command
    from edgeseq.train import compress

    steps, file = options.sparse.recover, options.sparse.checkpoint
    last = compress.joint_steps(steps) if command.learns(options.quantize) else 0
    beside = None if file is None else file.with_name(f"{file.name}.quantized")
    first = dataclasses.replace(options.sparse, recover=steps - last)
    second = dataclasses.replace(options.sparse, recover=last, checkpoint=beside)
    return dataclasses.replace(options, sparse=first), dataclasses.replace(options, sparse=second)


def _prune(
    imported: Imported, options: CompileOptions, progress: Progress
) -> tuple[Imported, ir.Model, PassRecord, str]:
    """Prune the prepared model; from here on it is the original that numbers are compared with."""
    from edgeseq.pipeline import PassRecord
    from edgeseq.report import sparsity
    from edgeseq.train import analysis, compress

    start, dense = time.perf_counter(), imported.model.clone()
    done = compress.compress(
        imported.model,
        options.sparse,
        options.seed,
        progress,
        options.cost_table,
        functools.partial(_step_seconds, options=options),
    )
    count = len(done.model.graph)
    notes = (
        compress.summary(done),
        *done.notes,
        *(f"{s.name}: {s.reason}" for s in done.pruned.skipped),
    )
    seconds = time.perf_counter() - start
    record = PassRecord("prune", seconds, count, count, True, notes=notes)
    pruned = dataclasses.replace(imported, model=done.model, torch_module=None)
    start = time.perf_counter()
    study = analysis.study(dense, options.sparse, options.seed)
    detail = "how much the layers stand, for the report"
    progress(Event("prune", "study", time.perf_counter() - start, detail=detail))
    return pruned, done.model.clone(), record, sparsity.section(done, study)


def _step_seconds(model: ir.Model, options: CompileOptions) -> float:
    """Compile a prepared model as it is, for this machine, and time its steps."""
    from edgeseq.bench import step
    from edgeseq.frontends.load import Imported

    with tempfile.TemporaryDirectory(prefix="edgeseq-dense-") as folder:
        plain = dataclasses.replace(
            options,
            output=Path(folder) / "dense",
            targets=host_targets()[:1],
            emit_ir=None,
            keep=None,
            sparse=SparsityOptions(),
            quantize=QuantizeOptions(),
            shapes={},
            dims={},
            consts={},
            states=(),
        )
        _compile(Imported(model.clone(), {"spec": "dense", "sha256": ""}), plain, _silent)
        return step.seconds(plain.output)


def _quantize(
    imported: Imported,
    options: CompileOptions,
    progress: Progress,
    folder: Path,
    dense: ir.Model | None,
) -> tuple[Imported, ir.Model, PassRecord]:
    """Quantize the prepared model; what is compiled is compared with that, not with the floats."""
    from edgeseq.pipeline import PassRecord
    from edgeseq.quantize import command
    from edgeseq.report import quantization

    start = time.perf_counter()
    model, before = imported.model, len(imported.model.graph)
    done = command.apply(
        model, options.quantize, options.sparse, options.seed, progress, teacher=dense
    )
    quantization.write(done, folder / "quantization.html")
    notes = (
        command.summary(done),
        *done.notes,
        *(f"{one.name}: {one.reason}" for one in done.quantized.left),
    )
    seconds = time.perf_counter() - start
    record = PassRecord("quantize", seconds, before, len(model.graph), True, notes=notes)
    return dataclasses.replace(imported, torch_module=None), model.clone(), record


def _save(model: ir.Model, path: Path) -> None:
    import onnx_ir

    onnx_ir.save(model, path)


def _oracle(imported: Imported, original: ir.Model, options: CompileOptions) -> Any:
    """The user's module in float64, where there is one and nothing was bound away from it."""
    from edgeseq import validate

    if imported.torch_module is None or options.consts:
        return None
    return validate.PyTorch(
        imported.torch_module,
        imported.example_inputs,
        [str(v.name) for v in original.graph.inputs],
        [str(v.name) for v in original.graph.outputs],
    )


def _mark_states(model: ir.Model, options: CompileOptions) -> None:
    if options.stream is False:
        return
    from edgeseq.frontends.states import mark_states

    mark_states(model, [f"{a}={b}" for a, b in options.states] or None)


def _pass_event(record: PassRecord) -> Event:
    return Event(
        "pass",
        record.name,
        record.seconds,
        record.nodes_before,
        record.nodes_after,
        detail="; ".join(record.notes),
        changed=record.modified,
    )


def _check_operators(model: ir.Model) -> None:
    from edgeseq.frontends.onnx import check_supported
    from edgeseq.lower.relax_import import supported_ops

    check_supported(model, supported_ops())


def _modes(model: ir.Model, options: CompileOptions) -> Modes:
    from edgeseq.ir import facts
    from edgeseq.lower.build import Modes
    from edgeseq.lower.relax_import import symbols_of

    symbols = symbols_of(model)
    if not symbols:
        return Modes(True, None, None, 1, LOOP_MAX_T)
    (symbol,) = symbols
    hindrance = facts.get(model, facts.NotStreamable)
    if hindrance is not None and options.stream:
        raise UnsupportedModelError(
            "the model cannot run step by step",
            at=f"node '{hindrance.node}'",
            why=hindrance.reason,
            fix="leave out --stream: run() computes whole sequences",
        )
    bounds = facts.get(model, facts.DimRange)
    low, high = (bounds.low, bounds.high) if bounds else (1, DEFAULT_MAX_T)
    reason = None if hindrance is None else hindrance.reason
    return Modes(hindrance is None, reason, symbol, low, high)


def _lower(
    model: ir.Model,
    name: str,
    model_hash: str,
    modes: Modes,
    records: Sequence[PassRecord],
    costing: Costing,
) -> Lowered:
    from edgeseq.lower import build

    passes = [r.name for r in records if r.modified]
    return build.lower(model, name, model_hash, modes, passes, costing)


def _build(
    lowered: Lowered,
    target: Target,
    compiler: Compiler | None,
    options: CompileOptions,
    folder: Path,
    progress: Progress,
) -> list[str]:
    from edgeseq.lower import build, cache

    start = time.perf_counter()
    out = folder / target.name
    out.mkdir()
    made_by = compiler.identity() if compiler else ""
    entry = cache.key(
        lowered.fingerprint(), target.name, options.isa or "", platform.machine(), made_by
    )
    files = cache.fetch(entry, out) if options.cache else None
    cached = files is not None
    if files is None:
        files = build.emit(lowered, target, options.isa, out, compiler)
        if options.cache:
            cache.store(entry, out, files)
    detail = "from the cache" if cached else ""
    progress(Event("build", target.name, time.perf_counter() - start, detail=detail))
    return [f"{target.name}/{f}" for f in sorted(files)]


def _check(folder: Path, targets: Sequence[Target], progress: Progress) -> list[Verdict]:
    """Run what this machine can run against the vectors; others are left to `validate`."""
    from edgeseq import validate

    verdicts = []
    for target in targets:
        if target.source_only or platform.machine() not in target.machines:
            continue
        start = time.perf_counter()
        try:
            verdict = validate.check(folder, target.name)
        except UsageError as error:  # e.g. built for a newer processor than this one
            detail = f"not run here: {error}"
        else:
            verdicts.append(verdict)
            detail = validate.summary(verdict)
        progress(Event("check", target.name, time.perf_counter() - start, detail=detail))
    return verdicts


@contextlib.contextmanager
def _staged(output: Path) -> Iterator[Path]:
    """A folder beside `output` that takes its name only if all goes well."""
    output.parent.mkdir(parents=True, exist_ok=True)
    staged = Path(tempfile.mkdtemp(prefix=f".{output.name}-", dir=output.parent))
    try:
        yield staged
        staged.chmod(0o755)
        old = None
        if output.exists():
            old = Path(tempfile.mkdtemp(prefix=f".{output.name}-old-", dir=output.parent))
            output.rename(old / "replaced")
        staged.rename(output)
        if old is not None:
            shutil.rmtree(old)
    except BaseException:
        shutil.rmtree(staged, ignore_errors=True)
        raise
