"""What a compilation is asked for, and what it says on the way: the contract of `api` and `cli`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

Dim = int | str  # a size, or the name of a symbolic dimension


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
        force: Replace an output folder that exists.
        cache: Reuse compiled pieces from earlier runs.
        seed: Seed of everything random: the verify inputs that are not given.
        inputs: .npz file of sample inputs, recorded in the verify vectors.
        emit_ir: Stage after which the model is written beside the artifact; None: nowhere.
        keep: Folder for intermediate files (models after each pass, emitted C); None: nowhere.
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
    force: bool = False
    cache: bool = True
    seed: int = 0
    inputs: Path | None = None
    emit_ir: str | None = None
    keep: Path | None = None


@dataclasses.dataclass(frozen=True)
class Event:
    """Something finished; shown as one line of progress.

    Args:
        stage: `import`, `pass`, `lower`, `build`, `verify` or `check`.
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
