"""Shares of a kernel, in any order, give the bits that one call gives."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build, _recurrent, gemm
from edgeseq.kernels._family import UNTOUCHED, Array, Case, Kernel, Role

from edgeseq import registry
from edgeseq.lower.calls import Wrapper
from edgeseq.lower.size import Size
from edgeseq.lower.threads import balanced

USUAL = {"gemm_f32", "gemm_bf16", "spmv_f32_b16x1", "spmv_bf16_nm8", "gemm_i8", "spmv_i8_b8x4"}
USUAL |= {"gru_f32", "gru_f32_b8x1", "lstm_bf16", "lstm_f32_b16x1", "rnn_f32_nm16"}
USUAL |= {"gru_i8", "lstm_i8_b16x4", "rnn_i8_b8x4", "gemv_i4_f16", "gemv_i8w"}
ALL = [
    kernel
    for family in registry.names("kernels")
    for kernel in registry.find("kernels", family).KERNELS
    if kernel.sharing is not None
]
PARAMETERS = [
    pytest.param(k, id=k.name, marks=() if k.name in USUAL else pytest.mark.slow) for k in ALL
]


def shapes() -> Iterator[_recurrent.Shape]:
    """A step, sequences that are longer than what is projected at once, chains, rows, gaps."""
    yield _recurrent.Shape(T=1, B=1, I=20, H=100)
    yield _recurrent.Shape(T=70, B=2, I=3, H=40, directions=2, reverse=2)
    yield _recurrent.Shape(T=3, B=5, I=6, H=33, groups=2, reverse=1, gap=3, batch_first=True)
    yield _recurrent.Shape(T=0, B=1, I=3, H=40)


def products(rng: np.random.Generator) -> Iterator[dict[str, int]]:
    """One row, and some that are apart."""
    yield {"rows": 1, "outputs": 150, "inputs": 40}
    yield {"rows": 7, "outputs": 97, "inputs": int(rng.integers(5, 30)), "act": 3, "gap": 3}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the families draw cases of these sizes."""
    monkeypatch.setattr(_recurrent, "shapes", shapes)
    monkeypatch.setattr(_recurrent, "few_shapes", shapes)
    monkeypatch.setattr(gemm, "shapes", products)


def test_families_are_known() -> None:
    assert {k.name for k in ALL} >= USUAL
    assert {k.source for k in ALL} == {
        *("gemm.c", "spmv.c", "gemm_i8.c", "spmv_i8.c", "gemv_i4.c"),
        *("gru.c", "lstm.c", "rnn.c", "gru_i8.c", "lstm_i8.c", "rnn_i8.c"),
    }


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("kernel", PARAMETERS)
def test_same_bits(kernel: Kernel, tmp_path: Path) -> None:
    isa = next(i for i in _build.ISAS if i.name == "avx2")
    if why := isa.missing():
        pytest.skip(why)
    plans = [(case, cuts) for case in cases(kernel) for cuts in cuts_of(kernel, case)]
    functions = [
        wrapper(kernel, case, cuts).text(f"f{i}", "extern") for i, (case, cuts) in enumerate(plans)
    ]
    # Sizes are not folded: that would take minutes to compile, and tests/e2e does it.
    top = [
        "#define ES_ANY_SIZE 1",
        "#include <stddef.h>",
        f'#include "{kernel.source}"',
        '#include "shares.h"',
    ]
    declared = [
        f"extern void f{i}({wrapper(kernel, case, cuts).parameters()});"
        for i, (case, cuts) in enumerate(plans)
    ]
    made = _build.compile_object(isa, "\n".join([*top, *declared, *functions]), tmp_path / "k.o")
    library = ctypes.CDLL(str(_build.link(isa, [made], tmp_path / "k.so")))
    alone: dict[str, Array] = {}
    shared = 0
    for i, (case, cuts) in enumerate(plans):
        got = call(getattr(library, f"f{i}"), kernel, case, cuts)
        if not cuts:
            alone = got
        for name, array in got.items():
            same = array.view(np.uint32) == alone[name].view(np.uint32)
            assert same.all(), f"{name} at {cuts} of {case.sizes}"
        shared += len(cuts) > 2
    assert shared >= 3


def cases(kernel: Kernel) -> list[Case]:
    """Those whose outputs are more than one panel."""
    assert kernel.sharing is not None
    found = []
    for case in kernel.cases(np.random.default_rng(5)):
        if case.sizes[kernel.sharing.outputs] > kernel.sharing.panel and "lens" not in case.arrays:
            found.append(case)
    return found[:4]


def cuts_of(kernel: Kernel, case: Case) -> list[tuple[int, ...]]:
    """One thread, the whole as one share, two shares of equal work, and as many as there can be."""
    sharing = kernel.sharing
    assert sharing is not None
    outputs = case.sizes[sharing.outputs]
    consts = {a.name: case.arrays[a.name] for a in kernel.args if a.name in case.arrays}
    work = sharing.work(case.sizes, consts)
    assert len(work) == -(-outputs // sharing.panel)
    assert (work > 0).all()
    two = balanced(work, 2, sharing.panel, outputs)
    return [(), (0, outputs), two, (*range(0, outputs, sharing.panel), outputs)]


def wrapper(kernel: Kernel, case: Case, cuts: tuple[int, ...]) -> Wrapper:
    """The call as lowering emits it, all sizes known."""
    given = [present(case, kernel, a.name) for a in kernel.args]
    sizes = tuple(Size.of(case.sizes[n]) for n in kernel.sizes)
    return Wrapper(kernel, sizes, tuple(not one for one in given), cuts)


def present(case: Case, kernel: Kernel, name: str) -> bool:
    arg = next(a for a in kernel.args if a.name == name)
    if arg.role in (Role.IN, Role.CONST):
        return name in case.arrays
    return name not in case.absent


TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int)
RUN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, TASK, ctypes.c_void_p, ctypes.c_int)


class Team(ctypes.Structure):
    """`es_team` of c/team.h."""

    _fields_ = (("run", RUN), ("pool", ctypes.c_void_p))


def backwards(_: int, task: object, arg: int, tasks: int) -> None:
    """A team that computes the last share first."""
    for i in reversed(range(tasks)):
        task(arg, i)  # type: ignore[operator]


def call(
    function: ctypes._NamedFuncPointer, kernel: Kernel, case: Case, cuts: tuple[int, ...]
) -> dict[str, Array]:
    """The outputs of a call; scratch memory is not-a-numbers, with one more float behind it."""
    memory = {n: a.copy() for n, a in case.arrays.items()}
    outputs = kernel.out_shapes(case.sizes)
    for name, shape in outputs.items():
        memory[name] = np.full(shape, UNTOUCHED, np.float32)
    sharing = kernel.sharing
    parts = max(len(cuts) - 1, 1) if sharing is not None and sharing.scratch else 1
    bytes_ = kernel.scratch(case.sizes) * parts
    memory["scratch"] = np.full(bytes_ // 4 + 1, np.nan, np.float32)
    pointers = [
        ctypes.c_void_p(memory[a.name].ctypes.data)
        for a in kernel.args
        if present(case, kernel, a.name)
    ]
    team = Team(RUN(backwards), None)
    function(*pointers, *([ctypes.byref(team)] if cuts else []))
    assert np.isnan(memory["scratch"][-1])
    return {name: memory[name] for name in outputs if name not in case.absent}
