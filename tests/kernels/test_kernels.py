"""Every kernel of every family, found by listing the folder, on every instruction set."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build
from edgeseq.kernels._build import ISAS, Isa
from edgeseq.kernels._family import Kernel, Role

from edgeseq.errors import ToolchainError
from tests.kernels.libraries import FAMILIES, KERNELS, Libraries
from tests.kernels.runner import Runner

# Always: what lowering ships, and plain C by gcc. The others take as long and find the same bugs.
USUAL = {"avx512", "avx512-vnni", "avx2", "sse2", "c-gcc"}


def usual(kernel: Kernel, isa: Isa) -> bool:
    """Not the cells of N:M weights: spmv has what they share, test_literal_sizes.py one of them."""
    return isa.name in USUAL and ("_nm" not in kernel.name or kernel.name.startswith("spmv"))


# An instruction set that adds int8 products changes no other kernel.
EVERYWHERE = [
    pytest.param(
        *(family, kernel, isa),
        id=f"{kernel.name}-{isa.name}",
        marks=[
            pytest.mark.xdist_group(kernel.source),  # who prepares the cases also runs them
            *([] if usual(kernel, isa) else [pytest.mark.slow]),
        ],
    )
    for family, kernel in KERNELS
    for isa in ISAS
    if isa.only in kernel.name
]


@pytest.mark.parametrize(("family", "kernel", "isa"), EVERYWHERE)
def test_cases(family: str, kernel: Kernel, isa: Isa, libraries: Libraries, runner: Runner) -> None:
    library = libraries.get(isa, kernel.source)  # compiles everywhere, runs where it can
    if why := isa.missing():
        pytest.skip(why)
    ended = runner.run(library, family, kernel, isa.name)
    assert ended.code == 0, f"seed 1, exit {ended.code}\n{ended.said}"


@pytest.mark.parametrize(("family", "kernel"), KERNELS, ids=[k.name for _, k in KERNELS])
def test_declaration(family: str, kernel: Kernel) -> None:
    """Names agree with the cases, and scratch does not fall as T grows."""
    inputs = {a.name for a in kernel.args if a.role in (Role.IN, Role.CONST)}
    needed = {a.name for a in kernel.args if a.role in (Role.IN, Role.CONST) and not a.optional}
    outputs = {a.name for a in kernel.args if a.role is Role.OUT}
    cases = list(kernel.cases(np.random.default_rng(0)))
    assert len(cases) >= 10
    for case in cases:
        assert set(case.sizes) == set(kernel.sizes)
        assert needed <= set(case.arrays) <= inputs
        assert case.absent <= outputs
        assert set(kernel.out_shapes(case.sizes)) == outputs
        if "T" in kernel.sizes:
            steps = [kernel.scratch(case.sizes | {"T": t}) for t in (1, 2, 63, 64, 65, 4096)]
            assert steps == sorted(steps)


BUGS = {
    "a store one lane too long": (
        "es.h",
        "if (n >= ES_W)\n    es_store(p",
        "if (n >= ES_W - 1)\n    es_store(p",
    ),
    "one input too many": ("tile.h", "for (; k < K; k++)", "for (; k <= K; k++)"),
    "one input too few": ("tile.h", "for (; k < K; k++)", "for (; k < K - 1; k++)"),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_caught(bug: str, tmp_path: Path, runner: Runner) -> None:
    file, right, wrong = BUGS[bug]
    copy = tmp_path / "c"
    shutil.copytree(_build.C_FOLDER, copy)
    text = (copy / file).read_text()
    assert right in text
    (copy / file).write_text(text.replace(right, wrong))
    isa = next(i for i in ISAS if i.name == "c")
    kernel = FAMILIES["gemm"][0]
    made = _build.compile_object(isa, _build.source([kernel]), tmp_path / "g.o", includes=[copy])
    library = _build.link(isa, [made], tmp_path / "g.so")
    ended = runner.run(library, "gemm", kernel, isa.name)
    assert ended.code != 0, ended.said
    assert ended.said.startswith("case ")


def test_an_undefined_symbol_does_not_link(tmp_path: Path) -> None:
    isa = next(i for i in ISAS if i.name == "c")
    text = "void *memcpy(void *, const void *, __SIZE_TYPE__);\nvoid f(char *a, char *b, int n);\n"
    text += "void f(char *a, char *b, int n) { memcpy(a, b, (__SIZE_TYPE__)n); }\n"
    made = _build.compile_object(isa, text, tmp_path / "m.o")
    with pytest.raises(ToolchainError, match="failed"):
        _build.link(isa, [made], tmp_path / "m.so")
