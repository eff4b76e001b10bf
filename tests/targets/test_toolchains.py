"""Another compiler than zig's, and another libc than glibc, around the ARM libraries."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

import edgeseq
from edgeseq import api, engines
from edgeseq.errors import ToolchainError, UsageError
from edgeseq.options import CompileOptions
from edgeseq.runtime import host_target
from tests.e2e import models

# in one process with another example of it: zig builds musl when it is first needed
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("musl")]

EMULATOR = "qemu-aarch64-static"
FRAMES = np.random.default_rng(3).standard_normal((20, 1, 4)).astype(np.float32)

# Stands in for a clang: writes down what it is asked for and lets zig do it.
CLANG = """#!{python}
import json, os, sys
with open({log!r}, "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
rest = [a for a in sys.argv[1:] if not a.startswith("--target=")]
zig = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-android"]
os.execv(sys.executable, [*zig, *rest])
"""


def compiled(folder: Path, *targets: str, cc: Mapping[str, str] | None = None) -> Path:
    options = CompileOptions(folder, targets, name="step", cc=cc or {})
    return api.compile_model(models.build(models.STEP), options).folder


def clang(path: Path, log: Path) -> Path:
    path.parent.mkdir(parents=True)
    path.write_text(CLANG.format(python=sys.executable, log=str(log)))
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.mark.parametrize("how", ["NDK", "CC", "--cc"])
def test_androids_own_compiler(how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log, ndk = tmp_path / "log", tmp_path / "ndk"
    program = clang(ndk / "toolchains/llvm/prebuilt/linux-x86_64/bin/clang", log)
    monkeypatch.setenv("ANDROID_NDK_HOME", str(ndk if how == "NDK" else tmp_path / "another"))
    cc = {}
    if how == "CC":  # goes before the NDK, with the flags that stand behind it
        monkeypatch.setenv("CC_aarch64_linux_android", f"{program} --target=arm64 -DMINE")
    if how == "--cc":  # goes before both
        monkeypatch.setenv("CC_aarch64_linux_android", "/no/such/compiler")
        cc = {"arm64-android": f"{program} --target=arm64 -DMINE"}
    dist = compiled(tmp_path / "dist", "arm64-android", cc=cc)
    asked = [json.loads(line) for line in log.read_text().splitlines()]
    asked = [command for command in asked if "--version" not in command]
    first = ["--target=aarch64-linux-android21"] if how == "NDK" else ["--target=arm64", "-DMINE"]
    assert all(command[: len(first)] == first for command in asked)
    assert all("-target" not in command for command in asked)
    linked = [command for command in asked if "-shared" in command]
    assert len(linked) == 1
    assert "-Wl,-z,max-page-size=16384" in linked[0]
    assert {Path(c[-1]).suffix for c in asked if c not in linked} == {".o"}
    if shutil.which(EMULATOR):
        with engines.opened(dist, "arm64-android", "qemu") as model, model.stream() as stream:
            got = [np.array(stream.step(frame)) for frame in FRAMES]
        assert np.isfinite(got).all()
        assert np.ptp(got) > 0.1


def test_an_ndk_without_a_compiler(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANDROID_NDK_HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with pytest.raises(ToolchainError, match="no compiler in the NDK") as error:
        compiled(tmp_path / "dist", "arm64-android")
    assert error.value.exit_code == 6
    assert "unset it to use zig's clang" in error.value.fix


def test_what_another_compiler_made_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither zig's from before, nor that of an older version of the same command."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    log = tmp_path / "log"
    program = clang(tmp_path / "bin/clang", log)

    def compilations(name: str) -> int:
        log.write_text("")
        compiled(tmp_path / name, "arm64-android", cc={"arm64-android": str(program)})
        return log.read_text().count('"-c"')

    compiled(tmp_path / "zig", "arm64-android")
    assert compilations("first") > 0
    assert compilations("again") == 0
    program.write_text(program.read_text().replace("rest =", 'print("version 2"); rest ='))
    assert compilations("newer") > 0


@pytest.mark.parametrize(
    ("cc", "error", "says"),
    [
        ({"arm64-android": "no-such-cc -O2"}, ToolchainError, "'no-such-cc -O2' for target"),
        ({"wasm": "clang"}, UsageError, "'wasm', which is not compiled"),
        ({"c": "gcc"}, UsageError, "targets with a compiler are arm64-android"),
    ],
)
def test_compilers_that_cannot_be(
    cc: dict[str, str], error: type[Exception], says: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=says):
        compiled(tmp_path / "dist", "arm64-android", "c", cc=cc)
    assert not (tmp_path / "dist").exists()


PROGRAM = r"""
#include <stdio.h>
#include "step.h"

static _Alignas(64) char state[STEP_STATE_SIZE], arena[1 << 16];

int main(void) {
    float x[4], y[2];
    if (step_arena_size(1) > sizeof arena || step_init(state)) return 1;
    while (fread(x, sizeof x, 1, stdin) == 1) {
        if (step_step(state, arena, x, y)) return 2;
        fwrite(y, sizeof y, 1, stdout);
    }
    return 0;
}
"""


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("musl") / "dist", "arm64-linux", host_target())


def link(dist: Path, folder: Path, library: str, *flags: str) -> Path:
    (folder / "main.c").write_text(PROGRAM)
    cc = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-O1", *flags]
    built = dist / "arm64-linux"
    command = [*cc, f"-I{built}", "main.c", str(built / library), "-o", "main"]
    subprocess.run(command, cwd=folder, check=True)
    return folder / "main"


def test_a_static_program_of_musl(dist: Path, tmp_path: Path) -> None:
    program = link(dist, tmp_path, "libstep.a", "-static")
    if shutil.which(EMULATOR) is None:
        pytest.skip(f"needs {EMULATOR}")
    done = subprocess.run(
        [EMULATOR, str(program)], input=FRAMES.tobytes(), capture_output=True, check=True
    )
    stream = edgeseq.load(dist, host_target()).stream()
    want = np.stack([stream.step(frame) for frame in FRAMES])
    got = np.frombuffer(done.stdout, np.float32).reshape(want.shape)
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


def test_the_shared_library_needs_no_libc(dist: Path, tmp_path: Path) -> None:
    """So a program of musl links it, and it names no library that musl would have to bring."""
    program = link(dist, tmp_path, "libstep.so", "-dynamic")
    assert needed(program) >= {"libstep.so"}
    assert needed(dist / "arm64-linux" / "libstep.so") == set()


def needed(file: Path) -> set[str]:
    """The libraries that an ELF file names."""
    command = ["readelf", "--dynamic", str(file)]
    listed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return {line.split("[")[1].rstrip("]") for line in listed.splitlines() if "(NEEDED)" in line}
