"""What a compilation is asked for, and what it says on the way: the contract of `api` and `cli`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

Dim = int | str  # a size, or the name of a symbolic dimension


@dataclasses.dataclass(frozen=True)
class SparsityOptions:
    """How a model is pruned: the flags that `compile` and `prune` share.

    Args:
        sparsity: Share of the weights that become zero; None: what the pattern prescribes (N:M).
        pattern: How the zeros are arranged; None: 16x1.
        criterion: What decides; None: second-order with samples, magnitude without.
        allocation: How the budget is shared out over layers; None: erk.
        budget: Time that the pruned layers may take per step, by the cost table: `0.2ms`.
        calibrate: Files, folders and globs of samples.
        hold_out: Learn nothing from the last sample, or from the last third of a single one.
        keep_dense: Names or globs of weights to leave alone.
        densities: Name or glob -> the share of its weights that stays.
        keep_diagonal: Never prune the diagonal of a recurrent matrix.
        rearrange: First order channels so that what a group holds matters little together.
        recover: Steps of training that win the accuracy back; 0: none.
        recover_schedule: `cubic`: prune while recovering; `one-shot`: before it. None: cubic,
            unless a criterion or the diagonal is asked for, which cubic does not know.
        checkpoint: File from which an interrupted recovery goes on; None: it starts anew.
    """

    sparsity: float | None = None
    pattern: str | None = None
    criterion: str | None = None
    allocation: str | None = None
    budget: str | None = None
    calibrate: tuple[str, ...] = ()
    hold_out: bool = False
    keep_dense: tuple[str, ...] = ()
    densities: Mapping[str, float] = dataclasses.field(default_factory=dict)
    keep_diagonal: bool = False
    rearrange: bool = False
    recover: int = 0
    recover_schedule: str | None = None
    checkpoint: Path | None = None

    @property
    def asked(self) -> bool:
        """Whether anything is to be pruned: a sparsity is given, or a pattern with its own."""
        given = (self.sparsity, self.pattern, self.budget)
        return any(value is not None for value in given) or bool(self.densities)


@dataclasses.dataclass(frozen=True)
class QuantizeOptions:
    """How to quantize.

    Args:
        scheme: `int8`, `w8`, `w4g32`, `bf16` or `fp16`; None: nothing is quantized.
        schemes: Name or glob of a weight -> its own scheme; `float` for none.
        activations: Scales of int8 activations: `static`, `dynamic`, or `auto`: static where
            there are samples and one scale for all steps does not lose much.
        observer: How a static range follows from samples.
        rounding: Of weights: `nearest`, or `gptq` or `adaround`: against the samples.
        equalize: Move scales between weights that only homogeneous functions stand between.
        smooth: Move ranges from activations to weights, by this exponent; 0: none.
        cell_states: Of int8 cells: `static` or `dynamic` scales, or `float`: weights alone.
        correct_bias: Take the mean error over the samples out of each bias.
        saturation_free: Weights whose pair sums fit 16 bits, for `maddubs`.
        keep_float: Names or globs of weights to leave alone.
        drift: Steps over which the error is measured; 0: 500.
        max_drop: Largest loss in dB; beyond it the command fails. None: any.
    """

    scheme: str | None = None
    schemes: Mapping[str, str] = dataclasses.field(default_factory=dict)
    activations: str = "auto"
    observer: str = "percentile"
    rounding: str = "nearest"
    equalize: bool = False
    smooth: float = 0.0
    cell_states: str = "static"
    correct_bias: bool = True
    saturation_free: bool = False
    keep_float: tuple[str, ...] = ()
    drift: int = 0
    max_drop: float | None = None


@dataclasses.dataclass(frozen=True)
class SearchOptions:
    """How a search over number types and densities goes.

    Args:
        trials: Stop when the study has so many points; None: only time counts.
        minutes: Stop after so long; None: only points count.
        storage: A file, or the URL of a database, that keeps the study; None: memory.
        schemes: Number types to choose from, beside float.
        densities: Densities to choose from, beside 1.
        max_size: Bytes of all weights.
        max_time: Predicted seconds of a step of the layers searched.
        max_drop: Loss in dB of an output; what loses more is not worth breeding from.
    """

    trials: int | None = None
    minutes: float | None = None
    storage: str | None = None
    schemes: tuple[str, ...] = ("bf16", "int8", "int8-dynamic", "w4g32")
    densities: tuple[float, ...] = (0.5, 0.25, 0.1)
    max_size: float | None = None
    max_time: float | None = None
    max_drop: float = 1.0


@dataclasses.dataclass(frozen=True)
class CompileOptions:
    """One field per flag of `edgeseq compile`, and per key of a recipe.

    Args:
        output: Folder of the artifact.
        targets: User names of targets; empty means the host and `c`.
        shapes: Input name to its shape: ints, and names for symbolic dimensions.
        dims: Symbol to one size, or to (low, high) where it stays dynamic.
        consts: Input name to the number it is always fed; the input disappears.
        states: Pairs (graph input, graph output) that carry state from step to step, in addition
            to those found by name.
        stream: True: `step` must exist, else the compilation fails. False: states stay ordinary
            inputs and outputs. None: `step` is built where the model allows.
        name: Prefix of every C symbol; None takes it from the model's file or class.
        isa: Fix the instruction set, e.g. `x86-64-v3`; None dispatches at init.
        cc: Target to the command that compiles C for it; where absent, CC and zig's clang.
        threads: Threads that may share a large layer.
        force: Replace an output folder that exists.
        cache: Reuse compiled pieces from earlier runs.
        seed: Seed of everything random: the verify inputs that are not given.
        inputs: .npz file of sample inputs, recorded in the verify vectors.
        cost_table: File of kernel times that layouts are chosen by; None: those shipped.
        emit_ir: Stage after which the model is written beside the artifact; None: nowhere.
        keep: Folder for intermediate files (models after each pass, emitted C); None: nowhere.
        sparse: How to prune; its fields are flags of their own.
        quantize: How to quantize; likewise.
    """

    output: Path
    targets: tuple[str, ...] = ()
    shapes: Mapping[str, tuple[Dim, ...]] = dataclasses.field(default_factory=dict)
    dims: Mapping[str, int | tuple[int, int]] = dataclasses.field(default_factory=dict)
    consts: Mapping[str, bool | int | float] = dataclasses.field(default_factory=dict)
    states: tuple[tuple[str, str], ...] = ()
    stream: bool | None = None
    name: str | None = None
    isa: str | None = None
    cc: Mapping[str, str] = dataclasses.field(default_factory=dict)
    threads: int = 1
    force: bool = False
    cache: bool = True
    seed: int = 0
    inputs: Path | None = None
    cost_table: Path | None = None
    emit_ir: str | None = None
    keep: Path | None = None
    sparse: SparsityOptions = SparsityOptions()
    quantize: QuantizeOptions = QuantizeOptions()


@dataclasses.dataclass(frozen=True)
class Event:
    """Something finished; shown as one line of progress.

    Args:
        stage: `import`, `pass`, `prune`, `recover`, `quantize`, `lower`, `build`, `verify` or
            `check`.
        name: What it was: the pass, the target, the file.
        seconds: How long it took.
        nodes_before: Nodes of the graph before, where it changed the graph.
        nodes_after: Nodes of the graph after.
        detail: One short remark, e.g. `12 from the cache`.
        changed: Whether it changed anything; what did not is shown on `--verbose` alone.
    """

    stage: str
    name: str
    seconds: float
    nodes_before: int | None = None
    nodes_after: int | None = None
    detail: str = ""
    changed: bool = True
