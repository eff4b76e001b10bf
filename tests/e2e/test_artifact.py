"""What an artifact promises: no dependency, no machine in it, equal bytes, checked misuse."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgeseq
from edgeseq import api, validate
from edgeseq.options import CompileOptions, Event
from edgeseq.runtime import host_target
from tests.e2e import models

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HOST = host_target()
NAMES = ("tiny", "whole")
STRICT = ("-std=c99", "-Wall", "-Wextra", "-Werror")


def compile_tiny(output: Path, *targets: str, cache: bool = False, isa: str | None = None) -> Path:
    options = CompileOptions(output, targets or (HOST, "c"), cache=cache, isa=isa, name="tiny")
    return api.compile_model(models.build(models.STEP), options).folder


@pytest.fixture(scope="session")
def dists(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the artifacts `tiny` (a step) and `whole` (a sequence)."""
    folder = tmp_path_factory.mktemp("artifacts")
    compile_tiny(folder / "tiny")
    options = CompileOptions(folder / "whole", (HOST, "c"), cache=False, dims={"T": (1, 64)})
    api.compile_model(models.build(models.SEQUENCE), options)
    return folder


@pytest.fixture(scope="session")
def loaded(dists: Path) -> Callable[[str, str], edgeseq.Model]:
    """Load a model once: target `c` is compiled when it is loaded."""
    return functools.cache(lambda name, target: edgeseq.load(dists / name, target))


def cc(where: Path, *arguments: str | Path) -> None:
    done = subprocess.run(
        ["cc", "-O2", *map(str, arguments)], cwd=where, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


def undefined(file: Path, *flags: str) -> list[str]:
    done = subprocess.run(["nm", *flags, str(file)], capture_output=True, text=True, check=True)
    return done.stdout.split()


@pytest.mark.parametrize("name", NAMES)
def test_the_shared_library_needs_nothing(dists: Path, name: str) -> None:
    library = dists / name / HOST / f"lib{name}.so"
    assert undefined(library, "-D", "--undefined-only") == []
    exported = undefined(library, "-D", "--defined-only", "--format=just-symbols")
    header = (library.parent / f"{name}.h").read_text()
    functions = re.findall(r"^\w+_API .*?(\w+)\(", header, re.MULTILINE)
    assert set(exported) == set(functions)
    assert (f"{name}_step" in functions) == (name == "tiny")
    needed = subprocess.run(["readelf", "-d", library], capture_output=True, text=True, check=True)
    assert "NEEDED" not in needed.stdout


@pytest.mark.parametrize("flags", [(), ("-ffreestanding",), ("-O0",)], ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_the_source_is_strict_c99_and_needs_nothing(
    dists: Path, name: str, flags: tuple[str, ...], tmp_path: Path
) -> None:
    cc(tmp_path, *STRICT, *flags, "-c", dists / name / "c" / f"{name}.c", "-o", "model.o")
    assert undefined(tmp_path / "model.o", "-u") == []
    size = subprocess.run(["size", "model.o"], cwd=tmp_path, capture_output=True, text=True)
    assert size.stdout.splitlines()[1].split()[1:3] == ["0", "0"], "a global that can be written"


@pytest.mark.parametrize("name", NAMES)
def test_clang_needs_nothing_either(dists: Path, name: str, tmp_path: Path) -> None:
    source = dists / name / "c" / f"{name}.c"
    command = [sys.executable, "-m", "ziglang", "cc", "-O2", "-c", str(source), "-o", "model.o"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert undefined(tmp_path / "model.o", "-u") == []


PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include "tiny.h"
#include "whole.h"

enum { STEPS = 20 };

int main(void) {
    static float x[STEPS * 4], y[STEPS * 2], z[STEPS * 3];
    void *state = aligned_alloc(64, (tiny_state_size() + 63) / 64 * 64);
    void *other = aligned_alloc(64, (whole_state_size() + 63) / 64 * 64);
    void *arena = aligned_alloc(64, (tiny_arena_size(1) + 63) / 64 * 64);
    void *large = aligned_alloc(64, (whole_arena_size(STEPS) + 63) / 64 * 64);
    if (fread(x, sizeof x, 1, stdin) != 1) return 1;
    if (tiny_init(state) || whole_init(other)) return 2;
    for (int t = 0; t < STEPS; t++) {
        if (tiny_step(state, arena, x + 4 * t, y + 2 * t)) return 3;
    }
    if (whole_run(other, large, STEPS, x, z)) return 4;
    fwrite(y, sizeof y, 1, stdout);
    fwrite(z, sizeof z, 1, stdout);
    return 0;
}
"""


@pytest.mark.parametrize("target", [HOST, "c"])
def test_two_models_in_one_c_program(
    dists: Path, loaded: Callable[[str, str], edgeseq.Model], target: str, tmp_path: Path
) -> None:
    (tmp_path / "main.c").write_text(PROGRAM)
    built = [dists / name / target for name in NAMES]
    code = [
        d / (f"{n}.c" if target == "c" else f"lib{n}.a") for d, n in zip(built, NAMES, strict=True)
    ]
    cc(tmp_path, "-o", "main", "main.c", *code, *(f"-I{folder}" for folder in built))
    x = np.random.default_rng(5).standard_normal((20, 1, 4)).astype(np.float32)
    done = subprocess.run([tmp_path / "main"], input=x.tobytes(), capture_output=True, check=True)
    got = np.frombuffer(done.stdout, np.float32)
    want = [loaded(name, target).run(x) for name in NAMES]
    np.testing.assert_array_equal(got, np.concatenate([one.ravel() for one in want]))


def test_both_targets_agree(loaded: Callable[[str, str], edgeseq.Model]) -> None:
    x = np.random.default_rng(6).standard_normal((20, 1, 4)).astype(np.float32)
    for name in NAMES:
        native, source = (loaded(name, target).run(x) for target in (HOST, "c"))
        np.testing.assert_allclose(native, source, rtol=0, atol=1e-6)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_compile_measures_the_errors(tmp_path: Path) -> None:
    events: list[Event] = []
    options = CompileOptions(tmp_path / "dist", (HOST,), name="tiny")
    dist = api.compile_model(models.build(models.STEP), options, events.append).folder
    verdict = validate.check(dist, HOST)
    assert verdict.ok
    said = [e.detail for e in events if e.stage == "check"]
    assert said == [validate.summary(verdict)]
    page = (dist / "report.html").read_text(encoding="utf-8")
    measured = {validate.describe(f) for f in verdict.findings if f.check == "numbers"}
    assert measured
    assert all(text in page for text in measured)


def test_equal_input_gives_equal_bytes_in_another_process(dists: Path, tmp_path: Path) -> None:
    """Another folder, working directory, hash seed and time."""
    program = (
        "import sys; from pathlib import Path\n"
        f"sys.path.insert(0, {str(ROOT)!r})\n"
        "from tests.e2e.test_artifact import compile_tiny\n"
        "compile_tiny(Path('elsewhere'))"
    )
    environment = {"PYTHONHASHSEED": "7", "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path, env=environment, check=True)
    first, second = contents(dists / "tiny"), contents(tmp_path / "elsewhere")
    assert first.keys() == second.keys()
    assert [name for name in first if first[name] != second[name]] in ([], ["report.html"])


def test_the_cache_gives_the_same(
    dists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    compile_tiny(tmp_path / "cold", cache=True)
    assert any((tmp_path / "cache").rglob("libtiny.so"))
    with monkeypatch.context() as only_cached:
        only_cached.setattr("edgeseq.lower.build.emit", refuse)
        compile_tiny(tmp_path / "warm", cache=True)
    want = contents(dists / "tiny")
    for folder in ("cold", "warm"):
        got = contents(tmp_path / folder)
        assert [n for n in want if got[n] != want[n]] in ([], ["report.html"]), folder


def refuse(*_: object) -> None:
    raise AssertionError("built although it is in the cache")


def test_no_path_of_this_machine(
    dists: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = f"{ROOT / 'examples/denoise/model.py'}:streaming"
    api.compile_model(spec, CompileOptions(Path("denoise"), (HOST, "c"), name="denoise"))
    machine = [str(ROOT), str(tmp_path), str(Path.home()), sys.prefix, "/tmp/", "site-packages"]
    for folder in (dists / "tiny", dists / "whole", tmp_path / "denoise"):
        for name, data in contents(folder).items():
            if folder.name == "denoise" and name in ("manifest.json", "report.html"):
                data = data.replace(spec.encode(), b"")  # as the user wrote it
            assert [path for path in machine if path.encode() in data] == [], (
                f"{folder.name}/{name}"
            )


@pytest.fixture(scope="session")
def levels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, edgeseq.Model]:
    """The step model for each instruction set that this processor has."""
    from edgeseq import registry

    folder = tmp_path_factory.mktemp("levels")
    found = {}
    for isa in registry.find("targets", HOST).TARGET.isas:
        model = edgeseq.load(compile_tiny(folder / isa.level, HOST, isa=isa.level))
        try:
            model.stream()
        except edgeseq.errors.EdgeseqError:
            continue
        found[isa.level] = model
    return found


def test_states_travel_between_instruction_sets(
    loaded: Callable[[str, str], edgeseq.Model], levels: dict[str, edgeseq.Model]
) -> None:
    if len(levels) < 2:
        pytest.skip(f"this processor has one instruction set of target {HOST}: {list(levels)}")
    x = np.random.default_rng(7).standard_normal((12, 1, 4)).astype(np.float32)
    want = loaded("tiny", "c").run(x)
    saved = None
    for start, model in zip(range(0, 12, 4), [*levels.values()] * 3, strict=False):
        stream = model.stream()
        if saved is not None:
            stream.load(saved)
        got = stream.run(x[start : start + 4])
        np.testing.assert_allclose(got, want[start : start + 4], rtol=0, atol=1e-6)
        saved = stream.save()
        assert saved[12:16] == bytes(4), "the level is not part of a saved state"
