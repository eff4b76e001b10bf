"""Small artifacts written by hand, so that the runtime is tested apart from the compiler."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeseq.runtime._library import host_target

COMMON = r"""
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#define P(name) @NAME@_##name
static const char magic[8] = "EDGESEQ";
size_t P(state_size)(void) { return @SIZE@; }
size_t P(arena_size)(int64_t T) { return 64 * (size_t)T; }
int P(reset)(void *s) { memset((char *)s + 64, 0, @SIZE@ - 64); return 0; }
int P(init)(void *s) { memset(s, 0, 64); memcpy(s, magic, 8); return P(reset)(s); }
int P(save)(const void *s, void *b) { memcpy(b, s, @SIZE@); return 0; }
int P(load)(void *s, const void *b) {
    if (memcmp(b, magic, 8)) return 3;
    memcpy(s, b, @SIZE@);
    return 0;
}
const char *P(version)(void) { return "edgeseq 0.1.0 test"; }
const char *P(strerror)(int e) { return e == 3 ? "the saved state is not of this model" : "?"; }
"""

# y = gain * x + acc; acc = y; n counts steps.
LOOP = r"""
int P(step)(void *s, void *arena, const float *x, const int32_t *gain, float *y, int64_t *n) {
    float *acc = (float *)((char *)s + 64);
    int64_t *count = (int64_t *)((char *)s + 128);
    if (((uintptr_t)s | (uintptr_t)arena) % 64) return 4;
    for (int i = 0; i < 6; i++) y[i] = acc[i] = gain[0] * x[i] + acc[i];
    *n = ++*count;
    return 0;
}
int P(run)(void *s, void *arena, int64_t T, const float *x, const int32_t *gain, float *y,
           int64_t *n) {
    for (int64_t t = 0; t < T; t++)
        if (P(step)(s, arena, x + 6 * t, gain + t, y + 6 * t, n + t)) return 4;
    return 0;
}
"""

# The running sum over time of x[1, T, 2]; no single step.
GRAPH = r"""
int P(run)(void *s, void *arena, int64_t T, const float *x, const float *bias, float *y) {
    float *sum = (float *)((char *)s + 64), *copy = arena;
    for (int64_t t = 0; t < T; t++)
        for (int c = 0; c < 2; c++) {
            copy[2 * t + c] = sum[c] += x[2 * t + c];
            y[2 * t + c] = copy[2 * t + c] + bias[c];
        }
    return 0;
}
"""


def tensor(name: str, dtype: str, shape: list[Any], time_axis: int | None = None) -> dict[str, Any]:
    return {
        "name": name,
        "c_name": name,
        "dtype": dtype,
        "shape": shape,
        "time_axis": time_axis,
    }


def state(name: str, dtype: str, shape: list[int], offset: int) -> dict[str, Any]:
    return {
        "input": name,
        "output": f"{name}_out",
        "dtype": dtype,
        "shape": shape,
        "offset": offset,
        "init": "zeros",
    }


def write(folder: Path, name: str, code: str, size: int, manifest: dict[str, Any]) -> Path:
    """Write sources, library and manifest for the host and for `c`."""
    source = (COMMON + code).replace("@NAME@", name).replace("@SIZE@", str(size))
    host = host_target()
    targets: dict[str, Any] = {}
    for target, file in (("c", f"c/{name}.c"), (host, f"{host}/lib{name}.so")):
        (folder / target).mkdir(parents=True)
        if target == "c":
            (folder / file).write_text(source)
        else:
            built = ["cc", "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(folder / file)]
            subprocess.run([*built, str(folder / f"c/{name}.c")], check=True)
        digest = hashlib.sha256((folder / file).read_bytes()).hexdigest()
        library = None if target == "c" else file
        targets[target] = {"files": {file: digest}, "library": library}
    whole = {"format": 1, "name": name, "model_hash": "00" * 32, "targets": targets, **manifest}
    (folder / "manifest.json").write_text(json.dumps(whole))
    return folder


@pytest.fixture
def loop_model(tmp_path: Path) -> Path:
    """One step at a time: y[2, 3] = gain * x + acc, and a counter."""
    return write(
        tmp_path / "loop",
        "acc",
        LOOP,
        192,
        {
            "inputs": [tensor("x", "float32", [2, 3]), tensor("gain", "int32", [1])],
            "outputs": [tensor("y", "float32", [2, 3]), tensor("n", "int64", [])],
            "states": [state("acc", "float32", [2, 3], 64), state("count", "int64", [], 128)],
            "modes": {
                "step": {"supported": True, "reason": None},
                "run": {"kind": "loop", "min_T": 1, "max_T": None},
            },
        },
    )


@pytest.fixture
def graph_model(tmp_path: Path) -> Path:
    """A whole sequence at once: y = cumsum(x) + bias, from 2 to 5000 steps."""
    return write(
        tmp_path / "graph",
        "cumsum",
        GRAPH,
        128,
        {
            "inputs": [tensor("x", "float32", [1, "T", 2], 1), tensor("bias", "float32", [2])],
            "outputs": [tensor("y", "float32", [1, "T", 2], 1)],
            "states": [],
            "modes": {
                "step": {"supported": False, "reason": "the whole sequence is needed"},
                "run": {"kind": "graph", "min_T": 2, "max_T": 5000},
            },
        },
    )


Edit = Callable[[dict[str, Any]], None]


@pytest.fixture
def edit() -> Callable[[Path, Edit], None]:
    """Change a manifest in place."""

    def apply(folder: Path, change: Edit) -> None:
        file = folder / "manifest.json"
        raw = json.loads(file.read_text())
        change(raw)
        file.write_text(json.dumps(raw))

    return apply
