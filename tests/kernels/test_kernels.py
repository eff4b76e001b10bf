"""Every kernel of every family, found by listing the folder, on every instruction set."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from edgeseq.kernels import _build
from edgeseq.kernels._build import ISAS, Isa
from edgeseq.kernels._family import Kernel, Role

from edgeseq import registry
from edgeseq.errors import ToolchainError

HERE = Path(__file__).parent
ENGINES = HERE.parents[1] / "edgeseq" / "engines"
FAMILIES = {name: registry.find("kernels", name).KERNELS for name in registry.names("kernels")}
KERNELS = [(family, kernel) for family, kernels in FAMILIES.items() for kernel in kernels]

# Always: what lowering ships, and plain C by gcc. The others take as long and find the same bugs.
USUAL = {"avx512", "avx512-vnni", "avx2", "sse2", "c-gcc"}


def usual(kernel: Kernel, isa: Isa) -> bool:
    """Not the cells of N:M weights: spmv has what they share, test_literal_sizes.py one of them."""
    return isa.name in USUAL and ("_nm" not in kernel.name or kernel.name.startswith("spmv"))


# Other compilers' versions of what the others cover: by hand, with --measure.
RARE = {"avx512-gcc", "c", "c-one-lane-gcc"}
# An instruction set that adds int8 products changes no other kernel.
EVERYWHERE = [
    pytest.param(
        *(family, kernel, isa),
        id=f"{kernel.name}-{isa.name}",
        marks=[
            pytest.mark.xdist_group(f"{kernel.source} {isa.name}"),  # who compiles it also runs it
            *([] if usual(kernel, isa) else [pytest.mark.slow]),
        ],
    )
    for family, kernel in KERNELS
    for isa in ISAS
    if isa.only in kernel.name
]

# Inlined for sizes that are not known, their formats would take minutes to compile;
# test_literal_sizes.py compiles them as lowering does.
MANY_FORMATS = {"conv_w8.c", "gemm.c", "gru.c", "lstm.c", "rnn.c", "spmv.c"} | {
    "gru_i8.c",
    "lstm_i8.c",
    "rnn_i8.c",
}


class Libraries:
    """Compiled families, each once a session, whichever test process comes first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, isa: Isa, source: str) -> Path:
        stem = self.folder / f"{Path(source).stem}-{isa.name}"
        library = stem.with_suffix(".so")
        with stem.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not library.exists():
                self._make(isa, source, stem).rename(library)
        return library

    def _make(self, isa: Isa, source: str, stem: Path) -> Path:
        kernels = [k for _, k in KERNELS if k.source == source]
        table = _build.call_table(kernels) if isa.emulator else ""
        text = _build.source(kernels, table)
        if source in MANY_FORMATS:
            text = f"#define ES_ANY_SIZE\n{text}"
        made = [_build.compile_object(isa, text, stem.with_suffix(".o"))]
        if isa.emulator:
            driver = (HERE / "driver.c").read_text()
            output = stem.with_suffix(".driver.o")
            made.append(_build.compile_object(isa, driver, output, includes=[ENGINES]))
        return _build.link(isa, made, stem.with_suffix(".new"))


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Libraries:
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return Libraries(shared / "kernels")


def run_cases(
    library: Path, family: str, kernel: Kernel, seed: int, isa: str = "c"
) -> tuple[int, str]:
    """Run the cases in a process of their own; its exit code and its last two lines."""
    command = [sys.executable, str(HERE / "run_cases.py"), str(library), family, kernel.name]
    done = subprocess.run([*command, str(seed), isa], capture_output=True, text=True, check=False)
    lines = (done.stdout.splitlines() or ["no case"])[-2:] + done.stderr.splitlines()[-3:]
    return done.returncode, "\n".join(lines)


@pytest.mark.parametrize(("family", "kernel", "isa"), EVERYWHERE)
def test_cases(family: str, kernel: Kernel, isa: Isa, libraries: Libraries) -> None:
    library = libraries.get(isa, kernel.source)  # compiles everywhere, runs where it can
    if why := isa.missing():
        pytest.skip(why)
    code, said = run_cases(library, family, kernel, 1, isa.name)
    assert code == 0, f"seed 1, exit {code}\n{said}"


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
def test_a_seeded_bug_is_caught(bug: str, tmp_path: Path) -> None:
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
    code, said = run_cases(library, "gemm", kernel, seed=1)
    assert code != 0, said
    assert said.startswith("case ")


def test_an_undefined_symbol_does_not_link(tmp_path: Path) -> None:
    isa = next(i for i in ISAS if i.name == "c")
    text = "void *memcpy(void *, const void *, __SIZE_TYPE__);\nvoid f(char *a, char *b, int n);\n"
    text += "void f(char *a, char *b, int n) { memcpy(a, b, (__SIZE_TYPE__)n); }\n"
    made = _build.compile_object(isa, text, tmp_path / "m.o")
    with pytest.raises(ToolchainError, match="failed"):
        _build.link(isa, [made], tmp_path / "m.so")
