"""No kernel needs a function of anybody else: it cannot allocate, nor call libc.

Every library of test_kernels.py is linked without any other, which fails where a symbol is missing;
this reads the tables of the objects themselves, before anything is linked.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
from edgeseq.kernels import _build
from edgeseq.kernels._build import ISAS, Isa

from tests.kernels.libraries import KERNELS, Libraries

pytestmark = pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")

NATIVE = [isa for isa in ISAS if isa.native]
SOURCES = sorted({kernel.source for _, kernel in KERNELS})


def undefined(made: Path) -> set[str]:
    """Symbols that an object takes from elsewhere, less what a linker provides by itself."""
    done = subprocess.run(["nm", "-u", str(made)], capture_output=True, text=True, check=True)
    return {line.split()[-1] for line in done.stdout.splitlines()} - {"_GLOBAL_OFFSET_TABLE_"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "source", [pytest.param(s, marks=pytest.mark.xdist_group(s)) for s in SOURCES]
)
def test_no_kernel_needs_a_function(source: str, libraries: Libraries) -> None:
    names = [kernel.name for _, kernel in KERNELS if kernel.source == source]
    for isa in NATIVE:
        if isa.only not in "".join(names):
            continue
        made = libraries.get(isa, source).with_suffix(".o")
        assert undefined(made) == set(), isa.name


@pytest.mark.parametrize("name", ["c", "c-gcc"])
@pytest.mark.parametrize("call", ["malloc", "calloc", "free"])
def test_what_allocates_is_seen(call: str, name: str, tmp_path: Path) -> None:
    isa: Isa = next(isa for isa in ISAS if isa.name == name)
    text = f"void *{call}(void *p, void *q);\nvoid *f(void *p);\n"
    text += f"void *f(void *p) {{ return {call}(p, p); }}\n"
    assert undefined(_build.compile_object(isa, text, tmp_path / "m.o")) == {call}
