"""A user's C program over the artifact: the same numbers as from Python, with a plain `cc`."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

import edgeseq
from edgeseq.runtime import host_target

pytestmark = pytest.mark.slow
STEPS = 50

PROGRAM = r"""
#include <stdio.h>
#include <stdlib.h>
#include "denoise.h"

static void must(int code, const char *what) {
    if (code) { fprintf(stderr, "%s: %s\n", what, denoise_strerror(code)); exit(1); }
}

int main(void) {
    size_t size = denoise_state_size();
    void *state = aligned_alloc(64, size), *other = aligned_alloc(64, size);
    void *arena = aligned_alloc(64, (denoise_arena_size(1) + 63) / 64 * 64);
    void *saved = malloc(size);
    float x[256], y[256];
    must(denoise_init(state), "init");
    must(denoise_init(other), "init");
    for (int t = 0; fread(x, sizeof x, 1, stdin) == 1; t++) {
        must(denoise_step(state, arena, x, y), "step");
        fwrite(y, sizeof y, 1, stdout);
        if (t == 20) { /* carry on in other memory */
            must(denoise_save(state, saved), "save");
            must(denoise_load(other, saved), "load");
            void *swap = state; state = other; other = swap;
        }
    }
    ((char *)saved)[16] ^= 1; /* another model's hash */
    if (!denoise_load(state, saved)) return 2;
    return 0;
}
"""


@pytest.mark.parametrize("target", ["c", host_target()])
def test_a_c_program(denoiser: Path, tmp_path: Path, target: str) -> None:
    built = denoiser / "dist" / target
    code = built / ("denoise.c" if target == "c" else "libdenoise.a")
    (tmp_path / "main.c").write_text(PROGRAM)
    flags = ["-std=c11", "-O2", "-Wall", "-Wextra", "-Werror=implicit-function-declaration"]
    subprocess.run(
        ["cc", *flags, "-o", "main", "main.c", str(code), f"-I{built}"], cwd=tmp_path, check=True
    )
    x = np.random.default_rng(5).standard_normal((STEPS, 1, 256)).astype(np.float32) * 0.1
    done = subprocess.run([tmp_path / "main"], input=x.tobytes(), capture_output=True)
    assert (done.returncode, done.stderr) == (0, b"")
    got = np.frombuffer(done.stdout, np.float32).reshape(STEPS, 1, 256)
    stream = edgeseq.load(denoiser / "dist", target).stream()
    want = np.stack([stream.step(frame) for frame in x])
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-6)


@pytest.mark.parametrize("kind", ["libdenoise.so", "libdenoise.a"])
def test_nothing_is_needed_from_outside(denoiser: Path, tmp_path: Path, kind: str) -> None:
    library = denoiser / "dist" / host_target() / kind
    if kind.endswith(".a"):  # its members may need each other
        whole = tmp_path / "whole.o"
        command = ["ld", "-r", "-o", str(whole), "--whole-archive", str(library)]
        subprocess.run(command, check=True)
        library = whole
    listed = subprocess.run(["nm", "-u", str(library)], capture_output=True, text=True, check=True)
    assert [line for line in listed.stdout.splitlines() if " U " in line] == []


def test_validate_and_bench_say_what_they_found(denoiser: Path) -> None:
    from edgeseq.cli import main

    junit = denoiser / "numerics.xml"
    assert main(["validate", str(denoiser / "dist"), "--junit", str(junit)]) == 0
    assert 'failures="0"' in junit.read_text()
    assert main(["bench", "model", str(denoiser / "dist"), "--rounds", "2", "--steps", "20"]) == 0
