"""The kernels, and their libraries: each is compiled once a session, for all test processes."""

from __future__ import annotations

import fcntl
from collections.abc import Callable
from pathlib import Path

from edgeseq.kernels import _build
from edgeseq.kernels._build import Isa
from edgeseq.kernels._family import Kernel

from edgeseq import registry

HERE = Path(__file__).parent
ENGINES = HERE.parents[1] / "edgeseq" / "engines"
FAMILIES = {name: registry.find("kernels", name).KERNELS for name in registry.names("kernels")}
KERNELS: list[tuple[str, Kernel]] = [(f, kernel) for f, ks in FAMILIES.items() for kernel in ks]

# Inlined for sizes that are not known, their formats would take minutes to compile;
# test_literal_sizes.py compiles them as lowering does.
MANY_FORMATS = {"conv_w8.c", "gemm.c", "gru.c", "lstm.c", "rnn.c", "spmv.c"} | {
    "gru_i8.c",
    "lstm_i8.c",
    "rnn_i8.c",
}


def text_of(source: str, *, table: bool) -> str:
    """C of all kernels of a file; `table`: and the table by which a program calls them."""
    kernels = [kernel for _, kernel in KERNELS if kernel.source == source]
    text = _build.source(kernels, _build.call_table(kernels) if table else "")
    return f"#define ES_ANY_SIZE\n{text}" if source in MANY_FORMATS else text


class Libraries:
    """Compiled families, made by whichever test process comes first."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)

    def get(self, isa: Isa, source: str) -> Path:
        """The library, program or module of a file's kernels for an instruction set."""
        return self.once(f"{Path(source).stem}-{isa.name}", lambda s: _make(isa, source, s))

    def once(self, name: str, make: Callable[[Path], Path]) -> Path:
        """What `make` compiles, given a path without its ending; others wait for the first."""
        stem = self.folder / name
        library = stem.with_suffix(".so")
        with stem.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not library.exists():
                make(stem).rename(library)
        return library


def _make(isa: Isa, source: str, stem: Path) -> Path:
    text = text_of(source, table=bool(isa.emulator))
    made = [_build.compile_object(isa, text, stem.with_suffix(".o"))]
    if isa.emulator:
        driver = (HERE / "driver.c").read_text()
        output = stem.with_suffix(".driver.o")
        made.append(_build.compile_object(isa, driver, output, includes=[ENGINES]))
    return _build.link(isa, made, stem.with_suffix(".new"))
