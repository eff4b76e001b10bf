"""The little languages of the command line: `x=1,T,80`, `T=1:4096`, `sr=16000`, `h=h_out`."""

from __future__ import annotations

import re
from collections.abc import Mapping

from edgeseq.errors import UsageError


def shape(text: str) -> tuple[str, tuple[int | str, ...]]:
    """`x=1,T,80` -> `("x", (1, "T", 80))`; `x=` is a scalar."""
    name, value = _split(text, "--shape x=1,T,80")
    try:
        return name, tuple(dim(part) for part in value.split(",")) if value.strip() else ()
    except ValueError as e:
        raise _bad("--shape", text, str(e), "--shape x=1,T,80") from None


def dimension(text: str) -> tuple[str, int | tuple[int, int]]:
    """`batch=1` -> `("batch", 1)`; `T=1:4096` -> `("T", (1, 4096))`."""
    name, value = _split(text, "--dim T=1:4096")
    try:
        return name, span(name, value)
    except ValueError as e:
        raise _bad("--dim", text, str(e), "--dim T=1:4096, or --dim batch=1") from None


def const(text: str) -> tuple[str, bool | int | float]:
    """`sr=16000` -> `("sr", 16000)`; `causal=true` -> `("causal", True)`."""
    name, value = _split(text, "--const sr=16000")
    if value in ("true", "false"):
        return name, value == "true"
    for kind in (int, float):
        try:
            return name, kind(value)
        except ValueError:
            continue
    raise _bad(
        "--const", text, f"'{value}' is neither a number nor true or false", "--const sr=16000"
    )


def state(text: str) -> tuple[str, str]:
    """`h=h_out` -> `("h", "h_out")`: the input and the output that carry one state."""
    return _split(text, "--state INPUT=OUTPUT")


def compiler(text: str) -> tuple[str, str]:
    """`arm64-linux=aarch64-linux-gnu-gcc` -> the target and the command that compiles for it."""
    return _split(text, "--cc arm64-linux=aarch64-linux-gnu-gcc")


def density(text: str) -> tuple[str, float]:
    """`gru.R[z]=0.2` -> `("gru.R[z]", 0.2)`: the share of these weights that stays."""
    name, value = _split(text, "--density encoder.weight=0.2")
    try:
        return name, float(value)
    except ValueError:
        why = f"'{value}' is no number"
        raise _bad("--density", text, why, "--density encoder.weight=0.2") from None


def decibels(text: str) -> float:
    """`0.2dB` or `0.2` -> 0.2.

    Raises:
        ValueError: it is no number, or below zero.
    """
    value = float(text.strip().lower().removesuffix("db"))
    if not 0 <= value < float("inf"):
        raise ValueError(f"'{text}' is no loss in dB")
    return value


def scheme(text: str) -> tuple[str, str]:
    """`gru.weight=int8` -> `("gru.weight", "int8")`: the number type of these weights."""
    return _split(text, "--scheme encoder.weight=int8")


def size(text: str) -> float:
    """`200kB` or `200000` -> 200000.

    Raises:
        ValueError: it is no number of bytes.
    """
    return _amount(text, {"b": 1.0, "kb": 1e3, "mb": 1e6})


def duration(text: str) -> float:
    """`0.2ms` -> 0.0002 seconds.

    Raises:
        ValueError: it is no time.
    """
    return _amount(text, {"ns": 1e-9, "us": 1e-6, "ms": 1e-3, "s": 1.0})


def _amount(text: str, units: Mapping[str, float]) -> float:
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]*)", text.strip().lower())
    if found is None or (found[2] or "b") not in units:
        raise ValueError(f"'{text}' is no number of {', '.join(units)}")
    return float(found[1]) * units[found[2] or "b"]


def dim(text: str) -> int | str:
    """Read one entry of a shape: a size of at least 1, or the name of a symbol."""
    text = text.strip()
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", text):
        return text
    size = _size(text)
    if size is None:
        raise ValueError(f"'{text}' is neither a size of at least 1 nor a name")
    return size


def span(name: str, text: str) -> int | tuple[int, int]:
    """Read `5` or `1:4096`."""
    sizes = [_size(part) for part in text.split(":")]
    match sizes:
        case [int(size)]:
            return size
        case [int(low), int(high)] if low <= high:
            return low, high
    raise ValueError(f"'{text}' is neither a size of '{name}' nor a range LOW:HIGH")


def _size(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and 0 < int(text) < 2**31 else None


def _split(text: str, example: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    flag = example.split()[0]
    if not equals or not name.strip() or (flag in ("--state", "--cc") and not value.strip()):
        raise _bad(flag, text, "it has the form NAME=VALUE", example)
    return name.strip(), value.strip()


def _bad(flag: str, text: str, why: str, example: str) -> UsageError:
    return UsageError(f"cannot read {flag} '{text}'", why=why, fix=f"for example: {example}")
