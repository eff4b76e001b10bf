"""Every kernel under AddressSanitizer and UndefinedBehaviorSanitizer, over the same cases.

Guarded pages (test_kernels.py) see what leaves an array that a test made; this sees every byte
beyond it, the arrays on a kernel's own stack, and arithmetic that C does not define.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from edgeseq.kernels import _build, gemm, scatter
from edgeseq.kernels._build import ISAS
from edgeseq.kernels._family import Kernel

from tests.kernels.libraries import HERE, KERNELS, Libraries, text_of
from tests.kernels.machines import SANITIZED
from tests.kernels.runner import Runner

CHECKS = "-fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer"
FLAGS = ["-std=gnu99", "-O1", "-g1", *CHECKS.split()]  # gnu99: posix_memalign


def level() -> list[str]:
    """AVX2 where this machine has it, else plain C."""
    isa = next(isa for isa in ISAS if isa.name == "avx2")
    return [] if isa.missing() else [f"-D{isa.define}", f"-march={isa.march}"]


def build(text: str, stem: Path, includes: Sequence[Path] = ()) -> Path:
    """Compile a program of the kernels in `text` and `sanitized.c`."""
    source, program = stem.with_suffix(".c"), stem.with_suffix(".new")
    source.write_text(text)
    folders = [f"-I{folder}" for folder in (*includes, _build.C_FOLDER)]
    files = [str(source), str(HERE / "sanitized.c")]
    command = ["cc", *FLAGS, *level(), *folders, *files, "-o", str(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stderr[-2000:]}"
    return program


@pytest.fixture(scope="module")
def can_build(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Skip where the compiler comes without the sanitizers' libraries."""
    if shutil.which("cc") is None:
        pytest.skip("needs cc")
    file = tmp_path_factory.mktemp("probe") / "probe.c"
    file.write_text("int main(void) { return 0; }\n")
    command = ["cc", *FLAGS, str(file), "-o", str(file.with_suffix(""))]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs libasan and libubsan of cc")


@pytest.mark.slow
@pytest.mark.usefixtures("can_build")
@pytest.mark.parametrize(
    ("family", "kernel"),
    [
        pytest.param(f, k, id=k.name, marks=pytest.mark.xdist_group(f"sanitized {k.source}"))
        for f, k in KERNELS
    ],
)
def test_cases(family: str, kernel: Kernel, libraries: Libraries, runner: Runner) -> None:
    text = text_of(kernel.source, table=True)
    name = f"{Path(kernel.source).stem}-sanitized"
    program = libraries.once(name, lambda stem: build(text, stem))
    ended = runner.run(program, family, kernel, SANITIZED)
    assert ended.code == 0, f"seed 1, exit {ended.code}\n{ended.said}"


# A mistake, in which file, in which kernel, and what must be said about it.
BUGS = {
    "a read out of bounds": (
        ("tile.h", "for (; k < K; k++)", "for (; k <= K; k++)"),
        ("gemm", gemm.KERNELS[0]),
        "AddressSanitizer: heap-buffer-overflow",
    ),
    "an overflow of int": (
        ("scatter.c", "d4 * d5 * row, x, y)", "d4 * d5 * row * 100000000 / 100000000, x, y)"),
        ("scatter", scatter.KERNELS[0]),
        "signed integer overflow",
    ),
}


@pytest.mark.slow
@pytest.mark.usefixtures("can_build")
@pytest.mark.parametrize("bug", BUGS)
def test_a_seeded_bug_is_caught(bug: str, tmp_path: Path, runner: Runner) -> None:
    (file, right, wrong), (family, kernel), what = BUGS[bug]
    copy = tmp_path / "c"
    shutil.copytree(_build.C_FOLDER, copy)
    text = (copy / file).read_text()
    assert right in text
    (copy / file).write_text(text.replace(right, wrong))
    table = _build.source([kernel], _build.call_table([kernel]))
    program = build(table, tmp_path / "seeded", includes=[copy])
    ended = runner.run(program, family, kernel, SANITIZED)
    assert ended.code != 0, ended.said
    assert what in ended.said
