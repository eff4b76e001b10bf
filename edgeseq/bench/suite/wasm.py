"""Recurrent steps in WebAssembly, called from JavaScript in Node, beside onnxruntime-web."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from edgeseq import registry
from edgeseq.bench import node, web
from edgeseq.bench.harness import Array, Latency, Spread
from edgeseq.bench.suite import native, recurrent
from edgeseq.bench.suite.cases import SPARSE, Case
from edgeseq.bench.suite.native import Call
from edgeseq.bench.suite.problem import Problem
from edgeseq.bench.suite.run import QUICK, SEED, Effort, Row
from edgeseq.errors import NumericsError
from edgeseq.kernels import _build
from edgeseq.kernels._family import Role
from edgeseq.lower.toolchain import Toolchain
from edgeseq.targets._target import Isa

START = 1 << 18  # where the arguments begin: beyond the module's own memory
CALLS = 300  # in one round
_STEP = {"I": 128, "H": 256, "T": 1}
CASES: tuple[Case, ...] = (
    Case("gru", _STEP, "f32", peer=node.PEER, least=2),
    Case("gru", _STEP, "f32_b16x1", SPARSE, node.PEER),
    Case("gru", _STEP, "i8", peer=node.PEER),
    Case("gru", _STEP, "i8_b16x4", SPARSE, node.PEER, least=15),
    Case("lstm", _STEP, "f32", peer=node.PEER),
    Case("lstm", _STEP, "i8_b16x4", SPARSE, node.PEER),
)


def measure(
    peer: Path,
    families: Sequence[str],
    effort: Effort,
    cases: Sequence[Case] = CASES,
    progress: Callable[[str], None] = lambda _: None,
) -> tuple[list[Row], dict[str, str]]:
    """Measure cases in Node; return them, and the versions of what was measured.

    Args:
        peer: A folder with onnxruntime-web in its node_modules.
        families: Only these; none: all.
        effort: How many rounds.
        cases: What to measure.
        progress: Called with the name of every case before it is measured.

    Raises:
        ToolchainError: there is no Node, or no onnxruntime-web.
        NumericsError: the sides do not compute the same.
    """
    found = node.checked_peer(peer)
    rows: list[Row] = []
    versions: dict[str, str] = {}
    for case in cases:
        if families and case.family not in families:
            continue
        progress(case.name)
        row, more = _measure(case, found, effort)
        rows.append(row)
        versions |= more
    return rows, versions


def _measure(case: Case, peer: Path, effort: Effort) -> tuple[Row, dict[str, str]]:
    problem = recurrent.build(case, np.random.default_rng(SEED))
    blank = Row(case.name, case.peer, case.least)
    if problem is None:
        return dataclasses.replace(blank, missing="there is no such kernel yet"), {}
    isa: Isa = registry.find("targets", "wasm").TARGET.isas[0]
    said = in_node(problem, isa, peer, effort.rounds, CALLS // 3 if effort == QUICK else CALLS)
    results = said["results"]
    taken = {name: np.array(r["microseconds"]) for name, r in results.items()}
    difference = web.difference_of(results, node.PEER)
    if not difference <= problem.tolerance:
        raise NumericsError(
            f"edgeseq and {node.PEER} differ by {difference:.1e} of the largest value",
            at=case.name,
            why=f"{problem.tolerance:g} is allowed",
            fix="this is a bug in edgeseq: please report it",
        )
    row = dataclasses.replace(
        blank,
        kernel=problem.call.kernel.name,
        isa=isa.level,
        microseconds={name: Spread.of(values) for name, values in taken.items()},
        ratio=Spread.of(taken[node.PEER] / taken["edgeseq"]),
        latency={name: Latency.of(np.array(r["single"])) for name, r in results.items()},
        moved=problem.moved,
        difference=difference,
    )
    return row, {"node": said["node"], node.PEER: results[node.PEER]["version"]}


def in_node(
    problem: Problem, isa: Isa, peer: Path | None, rounds: int, calls: int
) -> dict[str, Any]:
    """Run a problem in Node; return what web.mjs found.

    Args:
        problem: What to compute.
        isa: A level of the target `wasm`.
        peer: Where onnxruntime-web is; None: edgeseq alone.
        rounds: Interleaved rounds.
        calls: Calls of a side in a round; the outputs are those after as many.
    """
    with tempfile.TemporaryDirectory(prefix="edgeseq-bench-") as folder:
        work = Path(folder)
        _compile(problem.call, isa, work)
        _describe(problem, work, rounds, calls)
        return node.ask(work, "steps", peer)


def _compile(call: Call, isa: Isa, work: Path) -> None:
    """Write kernel.wasm, which exports `edgeseq_bench` of the pointers that are not NULL."""
    (work / "kernel.c").write_text(native.source(call, isa, (), "edgeseq_bench"), encoding="utf-8")
    tools = Toolchain(registry.find("targets", "wasm").TARGET, work)
    tools.compile("kernel.c", "kernel.o", isa, [_build.C_FOLDER])
    tools.wasm(["kernel.o"], "kernel.wasm", ["edgeseq_bench", "__heap_base"])


class _Image:
    """Memory as the module finds it, from START on."""

    def __init__(self) -> None:
        self.content = bytearray()

    def place(self, array: Array) -> int:
        """Append a copy on 64 bytes, with as much behind it; return where it begins."""
        at = len(self.content)
        self.content += np.ascontiguousarray(array).tobytes()
        self.content += bytes(64 + -len(self.content) % 64)
        return at


def _describe(problem: Problem, work: Path, rounds: int, calls: int) -> None:
    """Write what web.mjs reads: a description, numbers, our memory, the peer's model."""
    call, image = problem.call, _Image()
    shapes = call.kernel.out_shapes(call.sizes)
    at = {name: image.place(array) for name, array in {**call.consts, **call.states}.items()}
    for arg in call.kernel.args:
        if arg.role is Role.SCRATCH:
            at[arg.name] = image.place(np.zeros(call.kernel.scratch(call.sizes), np.uint8))
        elif arg.role is Role.OUT and arg.name not in call.absent:
            in_place = arg.may_be in call.states
            zeros = np.zeros(shapes[arg.name], arg.dtype)
            at[arg.name] = at[str(arg.may_be)] if in_place else image.place(zeros)
    frames = [{**at, **{n: image.place(a) for n, a in f.items()}} for f in call.frames]
    (work / "image.bin").write_bytes(image.content)
    kernel = {
        "module": "kernel.wasm",
        "image": "image.bin",
        "at": START,
        "calls": [[START + places[name] for name in call.passed] for places in frames],
        "states": [[at[name], array.nbytes] for name, array in call.states.items()],
        "outputs": [[at[o], int(np.prod(shapes[o]))] for o in problem.outputs],
    }
    (work / "work.json").write_text(json.dumps(_peer(problem, work, rounds, calls, kernel)))


def _peer(
    problem: Problem, work: Path, rounds: int, calls: int, kernel: dict[str, Any]
) -> dict[str, Any]:
    """Write the numbers and the model of the peer; return the whole description."""
    inputs, pairs = list(problem.frames[0]), dict(problem.pairs)
    arrays = [*problem.states.values(), *(f[n] for f in problem.frames for n in inputs)]
    (work / "frames.bin").write_bytes(b"".join(np.ascontiguousarray(a).tobytes() for a in arrays))
    onnx.save(problem.model, work / "model.onnx")
    states = [web.described(n, a) | {"output": pairs[n]} for n, a in problem.states.items()]
    return {
        "kernel": kernel,
        "inputs": [web.described(n, problem.frames[0][n]) for n in inputs],
        "outputs": list(problem.outputs.values()),
        "states": states,
        "constants": [],
        "frames": len(problem.frames),
        "rounds": rounds,
        "calls": calls,
    }
