"""`ExactSigmoid` and `ExactTanh`: the activations of quantized cells, one IEEE operation at a time.

They are approximations within a few ulp whose order of operations is fixed, so that every runtime
and every instruction set gives the same bits: `kernels/_exact.py` says the same in numpy and has
the error bounds, `kernels/c/exact.h` in C. A NaN stays a NaN.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import onnx
import onnx_ir as ir

from edgeseq.ir.dialect.text import DOMAIN, scalar

EXP_LIMIT = 87.0
LOG2E = 1.44269504
LN2_HIGH = 0.693359375
LN2_LOW = 2.12194440e-4
EXP = (0.0013814541, 0.0083687454, 0.041668389, 0.16666521, 0.49999994)
POWER_LIMIT = 126
TANH_LIMIT = 9.05
TANH_P = (1.32658442e-8, 2.05451036e-5, 0.00349170269, 0.133777543, 1.0)
TANH_Q = (7.74024724e-7, 3.27927932e-4, 0.0258622014, 0.46711069, 1.0)


@functools.cache
def _text(name: str) -> str:
    lines = {"ExactSigmoid": _sigmoid, "ExactTanh": _tanh}[name]()
    body = "\n".join(f"  {line}" for line in lines)
    return f'<domain: "{DOMAIN}", opset_import: ["" : 26]>\n{name} (x) => (y)\n{{\n{body}\n}}'


def functions() -> tuple[ir.Function, ...]:
    """Both functions, newly made."""
    return tuple(
        ir.serde.deserialize_function(onnx.parser.parse_function(_text(name)))
        for name in ("ExactSigmoid", "ExactTanh")
    )


def _horner(coefficients: Sequence[float], x: str, result: str) -> list[str]:
    """`result = (c0 * x + c1) * x + ...`, product and sum rounded apart."""
    out = [scalar(f"{result}_0", coefficients[0])]
    for i, c in enumerate(coefficients[1:], 1):
        name = result if i == len(coefficients) - 1 else f"{result}_{i}"
        out += [
            scalar(f"{result}_c{i}", c),
            f"{result}_t{i} = Mul ({result}_{i - 1}, {x})",
            f"{name} = Add ({result}_t{i}, {result}_c{i})",
        ]
    return out


def _clipped(limit: float, result: str) -> list[str]:
    return [
        scalar("low", -limit),
        scalar("high", limit),
        "above = Max (x, low)",
        f"{result} = Min (above, high)",
    ]


def _sigmoid() -> list[str]:
    """`1 / (1 + exp(-x))`; 2^n comes from a table, its index is clipped as a NaN has none."""
    powers = ", ".join(repr(2.0**n) for n in range(-POWER_LIMIT, POWER_LIMIT + 1))
    return [
        *_clipped(EXP_LIMIT, "clipped"),
        "a = Neg (clipped)",
        scalar("log2e", LOG2E),
        scalar("ln2_high", LN2_HIGH),
        scalar("ln2_low", LN2_LOW),
        scalar("one", 1),
        "turns = Mul (a, log2e)",
        "n = Round (turns)",
        "n_high = Mul (n, ln2_high)",
        "n_low = Mul (n, ln2_low)",
        "r_high = Sub (a, n_high)",
        "r = Add (r_high, n_low)",
        *_horner(EXP, "r", "p"),
        "pr = Mul (p, r)",
        "prr = Mul (pr, r)",
        "e_less = Add (prr, r)",
        "e = Add (e_less, one)",
        "undefined = IsNaN (n)",
        scalar("zero", 0),
        "n_known = Where (undefined, zero, n)",
        scalar("most", POWER_LIMIT),
        "place = Add (n_known, most)",
        "index = Cast<to = 7> (place)",
        f"powers = Constant<value_floats = [{powers}]> ()",
        "power = Gather<axis = 0> (powers, index)",
        "exp = Mul (e, power)",
        "whole = Add (one, exp)",
        "y = Div (one, whole)",
    ]


def _tanh() -> list[str]:
    """A quotient of polynomials; the denominator is never less than the numerator."""
    return [
        *_clipped(TANH_LIMIT, "a"),
        "u = Mul (a, a)",
        *_horner(TANH_P, "u", "p"),
        *_horner(TANH_Q, "u", "q"),
        "top = Mul (a, p)",
        "size = Abs (a)",
        "top_size = Mul (size, p)",
        "bottom = Max (q, top_size)",
        "y = Div (top, bottom)",
    ]
