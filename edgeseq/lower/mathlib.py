"""Transcendental functions without libm.

float32 exp, log, log1p, tanh and sigmoid become polynomials inside the kernel, so that loops over
them vectorise. The others (sin, pow, erf, ...) and every float64 one become calls of the functions
in `kernels/c/esm.h`, which compute in float64. For C everything calls `esm.h`.

Errors, swept over all binades by `tests/lower/test_mathlib.py`: exp and log 2 ulp, log1p, tanh and
sigmoid 4 ulp. exp clamps its argument to [-87.33, 88.72], sigmoid and tanh stay within their range.
Polynomial coefficients: the Cephes library's single-precision expf, logf and tanhf (S. Moshier).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import tvm_ffi
from tvm import ir, tirx

UNARY = [
    "exp",
    "exp2",
    "exp10",
    "log",
    "log2",
    "log10",
    "log1p",
    "tanh",
    "sigmoid",
    "erf",
    "sin",
    "cos",
    "tan",
    "sinh",
    "cosh",
    "asin",
    "acos",
    "atan",
    "asinh",
    "acosh",
    "atanh",
]
BINARY = ["pow", "atan2", "fmod", "hypot"]
# single instructions natively, but functions of libm in C
C_ONLY = ["sqrt", "rsqrt", "fabs", "floor", "ceil", "trunc", "round", "nearbyint"]

_EXP = (1.9875691500e-4, 1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5)
_LOG = (
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
)
_TANH = (
    -5.70498872745e-3,
    2.06390887954e-2,
    -5.37397155531e-2,
    1.33314422036e-1,
    -3.33332819422e-1,
)
LN2_HIGH, LN2_LOW = 0.693359375, -2.12194440e-4


@functools.cache
def install() -> None:
    """Register the rules with TVM, once in a process (TVM keeps them globally)."""
    for name in (*UNARY, *BINARY, *C_ONLY):
        tirx.register_intrin_lowering(f"tirx.{name}", "c", f=_extern(name), level=99)
    for name in (*UNARY, *BINARY):
        tirx.register_intrin_lowering(f"tirx.{name}", "llvm", f=_llvm(name), level=99)


class _Lanes:
    """Constants and casts in the (possibly vector) type of `x`."""

    def __init__(self, x: Any) -> None:
        dtype = str(x.ty.dtype)
        self.lanes = int(dtype.split("x")[1]) if "x" in dtype else 1
        self.scalar = dtype.split("x")[0]

    def of(self, scalar: str) -> str:
        return scalar if self.lanes == 1 else f"{scalar}x{self.lanes}"

    def const(self, value: float | int, scalar: str = "float32") -> Any:
        c = tirx.const(value, scalar)
        return c if self.lanes == 1 else tirx.Broadcast(c, self.lanes)

    def let(self, value: Any, body: Callable[[Any], Any], scalar: str = "float32") -> Any:
        var = tirx.Var("v", self.of(scalar))
        value, before = _without_lets(value)
        result = tirx.Let(var, value, body(var))
        for let in reversed(before):
            result = tirx.Let(let.var, let.value, result)
        return result


def _without_lets(value: Any) -> tuple[Any, list[Any]]:
    """Take the Lets out of an expression: in the value of another one TVM would bind them twice.

    Code generation simplifies the value of a Let before it comes to the Lets inside, which have
    other values by then, and that is an error. What stands in a branch stays there: it may read
    memory that only the branch may read.
    """
    lets: list[Any] = []

    def note(let: Any) -> tvm_ffi.WalkResult:
        lets.append(let)
        return tvm_ffi.WalkResult.ADVANCE

    def stop(call: Any) -> tvm_ffi.WalkResult:
        branch = call.op.same_as(_BRANCH)
        return tvm_ffi.WalkResult.SKIP if branch else tvm_ffi.WalkResult.ADVANCE

    tvm_ffi.structural_walk(value, [(tirx.Let, note), (ir.Call, stop)], order="pre")
    if not lets:
        return value, lets

    def body(let: Any) -> Any:
        return let.body if any(let.var.same_as(one.var) for one in lets) else let

    return tvm_ffi.structural_map(value, (tirx.Let, body)), lets


_BRANCH = ir.Op.get("prim.if_then_else")


def _horner(t: _Lanes, coefficients: tuple[float, ...], x: Any) -> Any:
    p = t.const(coefficients[0])
    for c in coefficients[1:]:
        p = p * x + t.const(c)
    return p


def _exp(t: _Lanes, x: Any) -> Any:
    def reduced(v: Any) -> Any:
        # rounded by a conversion of a positive number: not every CPU has an instruction for floor
        shifted = tirx.Cast(t.of("int32"), v * t.const(1.44269504) + t.const(256.5))
        return t.let(shifted - t.const(256, "int32"), lambda k: near(v, k), "int32")

    def near(v: Any, k: Any) -> Any:
        n = tirx.Cast(t.of("float32"), k)
        return t.let(n, lambda n: t.let(
            v - n * t.const(LN2_HIGH) - n * t.const(LN2_LOW), lambda r: scaled(k, r)))  # fmt: skip

    def scaled(k: Any, r: Any) -> Any:
        p = _horner(t, _EXP, r) * r * r + r + t.const(1.0)
        # 2^k in two halves: k may be 128, which one exponent field cannot hold
        half = k >> t.const(1, "int32")
        return p * power_of_two(half) * power_of_two(k - half)

    def power_of_two(k: Any) -> Any:
        return tirx.reinterpret(
            t.of("float32"), (k + t.const(127, "int32")) << t.const(23, "int32")
        )

    return t.let(tirx.Max(tirx.Min(x, t.const(88.72)), t.const(-87.33)), reduced)


def _sigmoid(t: _Lanes, x: Any) -> Any:
    return t.const(1.0) / (t.const(1.0) + _exp(t, t.const(0.0) - x))


def _tanh(t: _Lanes, x: Any) -> Any:
    def chosen(v: Any) -> Any:
        near = t.let(v * v, lambda z: v + v * z * _horner(t, _TANH, z))
        far = t.const(1.0) - t.const(2.0) / (t.const(1.0) + _exp(t, v + v))
        return tirx.Select(v * v < t.const(0.390625), near, far)

    return t.let(x, chosen)


def _log(t: _Lanes, x: Any) -> Any:
    """X = m 2^e with m in [sqrt(1/2), sqrt(2)); log x = log m + e log 2."""
    tiny, many = t.const(1.17549435e-38), t.const(8388608.0)  # 2^-126, 2^23

    def split(v: Any) -> Any:
        small = v < tiny
        bits = tirx.reinterpret(t.of("int32"), tirx.Select(small, v * many, v))
        e = (bits >> t.const(23, "int32")) - t.const(126, "int32")
        shift = tirx.Select(small, t.const(23.0), t.const(0.0))
        m = tirx.reinterpret(
            t.of("float32"),
            (bits & t.const(0x7FFFFF, "int32")) | t.const(0x3F000000, "int32"),
        )
        return t.let(m, lambda m: t.let(tirx.Cast(t.of("float32"), e) - shift, lambda e: low(m, e)))

    def low(m: Any, e: Any) -> Any:
        below = m < t.const(0.707106781)
        f = tirx.Select(below, m + m, m) - t.const(1.0)
        e = tirx.Select(below, e - t.const(1.0), e)
        return t.let(f, lambda f: t.let(e, lambda e: total(f, e)))

    def total(f: Any, e: Any) -> Any:
        z = f * f
        y = _horner(t, _LOG, f) * f * z + e * t.const(LN2_LOW) - z * t.const(0.5)
        return f + y + e * t.const(LN2_HIGH)

    def edges(v: Any) -> Any:
        infinite, nan = t.const(float("inf")), t.const(float("nan"))
        positive = tirx.Select(v < infinite, split(v), v)
        zero = tirx.Select(v == t.const(0.0), t.const(float("-inf")), nan)
        return tirx.Select(v > t.const(0.0), positive, zero)

    return t.let(x, edges)


def _log1p(t: _Lanes, x: Any) -> Any:
    """log(1 + x), with what the sum rounds off put back."""

    def corrected(v: Any, u: Any) -> Any:
        one = t.const(1.0)
        ratio = v / (u - one)
        exact = tirx.Select(u < t.const(float("inf")), _log(t, u) * ratio, v)
        return tirx.Select(u == one, v, exact)

    return t.let(x, lambda v: t.let(v + t.const(1.0), lambda u: corrected(v, u)))


_INLINE: dict[str, Callable[[_Lanes, Any], Any]] = {
    "exp": _exp,
    "log": _log,
    "log1p": _log1p,
    "sigmoid": _sigmoid,
    "tanh": _tanh,
}


def _llvm(name: str) -> Callable[[Any], Any]:
    """The rule for a function; it replaces those in the arguments first, TVM would later."""

    def rule(call: Any) -> Any:
        arguments = [tvm_ffi.structural_map(a, (ir.Call, _replaced)) for a in call.args]
        return _inlined(name, ir.Call(call.op, arguments, ret_ty=call.ty))

    return rule


def _replaced(call: Any) -> Any:
    name = getattr(call.op, "name", "").removeprefix("tirx.")
    return _inlined(name, call) if name in UNARY or name in BINARY else call


def _inlined(name: str, call: Any) -> Any:
    t, inline = _Lanes(call.args[0]), _INLINE.get(name)
    if inline is not None and t.scalar == "float32":
        return inline(t, call.args[0])
    return _extern(name)(call)


def _extern(name: str) -> Callable[[Any], Any]:
    def rule(call: Any) -> Any:
        scalar = _Lanes(call.args[0]).scalar
        if scalar in ("float16", "bfloat16"):
            args = [tirx.Cast("float32", a) for a in call.args]
            return tirx.Cast(scalar, tirx.call_pure_extern("float32", f"esm_{name}32", *args))
        return tirx.call_pure_extern(
            scalar, f"esm_{name}{scalar.removeprefix('float')}", *call.args
        )

    return rule
