"""exp, tanh, sigmoid and the rest of esm.h against float64 numpy, over all binades."""

from __future__ import annotations

import ctypes
import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from edgeseq.targets.x86_64 import TARGET as X86_64

from edgeseq.lower import mathlib, sources
from edgeseq.lower.toolchain import Toolchain

ERF = np.vectorize(math.erf)


def binades(low: float = 2.0**-40, high: float = 80.0) -> np.ndarray:
    """Floats of both signs, evenly over the exponents, and around zero."""
    rng = np.random.default_rng(7)
    magnitude = np.exp2(rng.uniform(np.log2(low), np.log2(high), 6_000))
    return np.concatenate([magnitude, -magnitude, [0.0]]).astype(np.float32)


@pytest.fixture(scope="module")
def esm(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """esm.h as a library that exports all of it."""
    work = tmp_path_factory.mktemp("esm")
    (work / "esm.c").write_text(
        '#define ESM_FN __attribute__((visibility("default")))\n#include "esm.h"\n'
    )
    tools = Toolchain(X86_64, work)
    tools.compile("esm.c", "esm.o", X86_64.isas[1], [sources.kernel_folder()])
    tools.shared(["esm.o"], "libesm.so", ["esm_*"])
    return ctypes.CDLL(str(work / "libesm.so"))


def call(library: ctypes.CDLL, name: str, *arrays: np.ndarray) -> np.ndarray:
    function = getattr(library, name)
    function.argtypes = [ctypes.c_float] * len(arrays)
    function.restype = ctypes.c_float
    return np.array([function(*map(float, row)) for row in zip(*arrays, strict=True)], np.float32)


def worst_ulps(got: np.ndarray, want: np.ndarray) -> float:
    ulp = np.spacing(np.maximum(np.abs(want), np.finfo(np.float32).tiny).astype(np.float32))
    return float(np.max(np.abs(got.astype(np.float64) - want) / ulp))


UNARY: dict[str, tuple[Callable[[np.ndarray], np.ndarray], float, float]] = {
    "exp": (np.exp, 2.0, 80.0),
    "tanh": (np.tanh, 4.0, 80.0),
    "sigmoid": (lambda x: 1.0 / (1.0 + np.exp(-x)), 4.0, 80.0),
    "exp2": (np.exp2, 1.0, 80.0),
    "exp10": (lambda x: 10.0**x, 1.0, 30.0),
    "erf": (ERF, 1.0, 80.0),
    "sin": (np.sin, 1.0, 8000.0),
    "cos": (np.cos, 1.0, 8000.0),
    "tan": (np.tan, 1.0, 80.0),
    "sinh": (np.sinh, 1.0, 80.0),
    "cosh": (np.cosh, 1.0, 80.0),
    "asin": (np.arcsin, 1.0, 1.0),
    "acos": (np.arccos, 1.0, 1.0),
    "atan": (np.arctan, 1.0, 8000.0),
    "asinh": (np.arcsinh, 1.0, 8000.0),
    "atanh": (np.arctanh, 1.0, 0.99),
    "floor": (np.floor, 0.0, 8000.0),
    "ceil": (np.ceil, 0.0, 8000.0),
    "trunc": (np.trunc, 0.0, 8000.0),
    "nearbyint": (np.rint, 0.0, 8000.0),
}


@pytest.mark.parametrize("name", UNARY)
def test_unary_functions_are_within_their_ulps(esm: ctypes.CDLL, name: str) -> None:
    exact, allowed, high = UNARY[name]
    x = binades(high=high)
    assert worst_ulps(call(esm, f"esm_{name}32", x), exact(x.astype(np.float64))) <= allowed


@pytest.mark.parametrize(
    ("name", "exact"), [("log", np.log), ("log2", np.log2), ("log1p", np.log1p)]
)
def test_logarithms(esm: ctypes.CDLL, name: str, exact: Callable[[np.ndarray], np.ndarray]) -> None:
    x = np.abs(binades(low=2.0**-120, high=1e30))[:6_000]
    assert worst_ulps(call(esm, f"esm_{name}32", x), exact(x.astype(np.float64))) <= 1.0


def test_pow_of_all_signs_and_exponents(esm: ctypes.CDLL) -> None:
    x = binades(high=30.0)[:3_000]
    for y in (2.0, 3.0, -1.0, 0.5, 1.7, 0.0):
        exponent = np.full_like(x, y)
        base = np.abs(x) if y != int(y) else x
        base = base[np.abs(base) > 1e-3]
        want = base.astype(np.float64) ** float(np.float32(y))
        assert worst_ulps(call(esm, "esm_pow32", base, exponent[: base.size]), want) <= 1.0


def test_values_outside_the_domain_are_nan(esm: ctypes.CDLL) -> None:
    for name, x in (("log", -1.0), ("asin", 1.5), ("acosh", 0.5)):
        assert np.isnan(call(esm, f"esm_{name}32", np.float32([x])))[0], name


INLINED = {name: UNARY[name][:2] for name in ("exp", "tanh", "sigmoid")} | {
    "log": (np.log, 2.0),
    "log1p": (np.log1p, 4.0),
}


def generated(names: str, x: np.ndarray, folder: Path) -> np.ndarray:
    """The TIR rules of functions, the first one inside, compiled by LLVM and run."""
    import tvm
    from edgeseq.kernels.schedules import cpu
    from tvm import te, tirx

    from edgeseq.lower import tir

    source = te.placeholder((x.size,), name="x")
    tall = [getattr(tirx, name, None) or MIXED[name] for name in names.split()]
    result = te.compute(
        (x.size,), lambda i: functools.reduce(lambda v, f: f(v), tall, source[i]), name="y"
    )
    function = cpu.schedule(te.create_prim_func([source, result]))
    target = tvm.target.Target({"kind": "llvm", "mcpu": "x86-64-v3"})
    (folder / "k.o").write_bytes(tir.object_code({"k": function}, target))
    Toolchain(X86_64, folder).shared(["k.o"], "libk.so", ["k"])
    y = np.empty_like(x)
    kernel = ctypes.CDLL(str(folder / "libk.so")).k
    kernel(x.ctypes.data_as(ctypes.c_void_p), y.ctypes.data_as(ctypes.c_void_p))
    return y


@pytest.mark.parametrize("name", INLINED)
def test_inlined_polynomials_in_generated_code(name: str, tmp_path: Path) -> None:
    x = binades() if name not in ("log", "log1p") else np.abs(binades(low=2.0**-120, high=1e30))
    x = x[x > 0] if name == "log" else x
    y = generated(name, x, tmp_path)
    exact, allowed = INLINED[name]
    assert worst_ulps(y, exact(x.astype(np.float64))) <= allowed
    if name in ("tanh", "sigmoid"):
        assert np.abs(y).max() <= 1.0


@pytest.mark.parametrize("name", ["log", "log1p"])
def test_inlined_logarithms_at_the_ends_of_their_domain(name: str, tmp_path: Path) -> None:
    end = 0.0 if name == "log" else -1.0
    x = np.array([end, end - 1.0, np.inf, np.nan] * 4, np.float32)
    y = generated(name, x, tmp_path)
    assert (y[::4] == -np.inf).all()
    assert np.isnan(y[1::4]).all()
    assert (y[2::4] == np.inf).all()
    assert np.isnan(y[3::4]).all()


def test_the_schedule_knows_what_is_inlined() -> None:
    from edgeseq.kernels.schedules import cpu

    assert {f"tirx.{name}" for name in mathlib._INLINE} == cpu.FUNCTIONS


def softplus(x: Any) -> Any:
    from tvm import tirx

    away = tirx.const(0.0, "float32") - tirx.abs(x)
    return tirx.max(x, tirx.const(0.0, "float32")) + tirx.log1p(tirx.exp(away))


MIXED = {"softplus": softplus, "minus": lambda x: x * -1.0}
EXACT = {
    "softplus": lambda x: np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x))),
    "minus": np.negative,
    **{name: exact for name, (exact, _) in INLINED.items()},
}


@pytest.mark.parametrize("inner", ["softplus", "tanh", "sigmoid", "exp", "softplus minus"])
@pytest.mark.parametrize("outer", ["exp", "tanh", "sigmoid", "minus exp"])
def test_functions_of_functions_in_one_expression(inner: str, outer: str, tmp_path: Path) -> None:
    """The decay `exp(-softplus(x))` of selective scans is one: TVM's Lets must not nest."""
    names = f"{inner} {outer}"
    x = np.linspace(-2.0, 2.0, 67).astype(np.float32)
    with np.errstate(invalid="ignore"):  # log1p below -1
        want = functools.reduce(lambda v, f: EXACT[f](v), names.split(), x.astype(np.float64))
    np.testing.assert_allclose(generated(names, x, tmp_path), want, rtol=4e-6)


def test_every_function_that_generated_code_may_call_exists(esm: ctypes.CDLL) -> None:
    for name in (*mathlib.UNARY, *mathlib.BINARY, *mathlib.C_ONLY):
        for width in (32, 64):
            assert hasattr(esm, f"esm_{name}{width}"), f"esm_{name}{width}"
