"""`edgeseq.toml`: the flags of a command in a file, one table per command.

    [compile]
    model = "gtcrn.onnx"          # paths are relative to this file
    output = "dist"
    target = ["x86-64", "c"]
    shape.x = [1, "T", 80]        # --shape x=1,T,80
    dim.T = [1, 4096]             # --dim T=1:4096
    const.sr = 16000
    state.h_in = "h_out"

A flag on the command line wins over the recipe. `[prune]` holds the flags of `prune`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from edgeseq import flags
from edgeseq.errors import UsageError
from edgeseq.registry import hint


def read(file: Path, command: str = "compile") -> dict[str, Any]:
    """Return the recipe's table of a command as values by flag name (`emit_ir`, `shape`, ...).

    Raises:
        UsageError: the file cannot be read, or has an unknown key or a value of the wrong type.
    """
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        why = e.strerror if isinstance(e, OSError) else str(e)
        raise UsageError(f"cannot read the recipe '{file}'", why=why or str(e)) from None
    for name in raw:
        if name not in TABLES:
            raise UsageError(f"unknown table '[{name}]' in '{file}'", fix=hint(name, TABLES))
    table = raw.get(command, {})
    return {_flag(key, command, file): _value(key, value, file) for key, value in table.items()}


def _flag(key: str, command: str, file: Path) -> str:
    known = TABLES[command]
    if key not in known:
        raise UsageError(f"unknown key '{key}' in [{command}] of '{file}'", fix=hint(key, known))
    return key.replace("-", "_")


def _value(key: str, value: object, file: Path) -> Any:
    try:
        return KEYS[key](value, file.parent)
    except (TypeError, ValueError) as e:
        raise UsageError(f"'{key}' in '{file}' cannot be {value!r}", why=str(e)) from None


def _typed(kind: type, described: str) -> Callable[[object, Path], Any]:
    def check(value: object, _: Path) -> Any:
        if type(value) is not kind:  # bool is an int to isinstance
            raise TypeError(f"it must be {described}")
        return value

    return check


def _path(value: object, folder: Path) -> Path:
    return folder / str(_string(value, folder))


def _model(value: object, folder: Path) -> str:
    """A file beside the recipe, or `package.module:factory`."""
    text: str = _string(value, folder)
    return text if ":" in text else str(folder / text)


def _strings(value: object, _: Path) -> tuple[str, ...]:
    values = [value] if isinstance(value, str) else value
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise TypeError("it must be a string or a list of strings")
    return tuple(values)


def _table(one: Callable[[str, Any], Any]) -> Callable[[object, Path], dict[str, Any]]:
    def check(value: object, _: Path) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise TypeError("it must be a table")
        return {name: one(name, entry) for name, entry in value.items()}

    return check


def _shape(name: str, value: object) -> tuple[int | str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"the shape of '{name}' must be a list of sizes and names")
    return tuple(flags.dim(str(v)) for v in value)


def _range(name: str, value: object) -> int | tuple[int, int]:
    if isinstance(value, list) and len(value) == 2:
        value = ":".join(map(str, value))
    return flags.span(name, str(value))


def _number(name: str, value: object) -> bool | int | float:
    if not isinstance(value, int | float):
        raise TypeError(f"'{name}' must be a number, true or false")
    return value


def _text(says: str) -> Callable[[str, object], str]:
    """Entries that are texts; `says` what another one must be."""

    def check(name: str, value: object) -> str:
        if not isinstance(value, str):
            raise TypeError(says.format(name))
        return value

    return check


def _float(value: object, _: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("it must be a number")
    return float(value)


def _density(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"the density of '{name}' must be a number")
    return float(value)


def _paths(value: object, folder: Path) -> tuple[str, ...]:
    return tuple(str(folder / text) for text in _strings(value, folder))


def _decibels(value: object, _: Path) -> float:
    if isinstance(value, str):
        return flags.decibels(value)
    return float(_number("max-drop", value))


_string = _typed(str, "a string")
_bool = _typed(bool, "true or false")

# One entry per flag of `edgeseq compile`; a test compares the two.
KEYS: Mapping[str, Callable[[object, Path], Any]] = {
    "model": _model,
    "output": _path,
    "target": _strings,
    "shape": _table(_shape),
    "dim": _table(_range),
    "const": _table(_number),
    "state": _table(_text("'{}' must name an output")),
    "stream": _bool,
    "name": _string,
    "isa": _string,
    "cc": _table(_text("the compiler of '{}' must be a command")),
    "threads": _typed(int, "a whole number"),
    "force": _bool,
    "cache": _bool,
    "seed": _typed(int, "a whole number"),
    "inputs": _path,
    "sparsity": _float,
    "pattern": _string,
    "criterion": _string,
    "allocation": _string,
    "budget": _string,
    "calibrate": _paths,
    "hold-out": _bool,
    "keep-dense": _strings,
    "density": _table(_density),
    "keep-diagonal": _bool,
    "rearrange": _bool,
    "recover": _typed(int, "a whole number"),
    "recover-schedule": _string,
    "checkpoint": _path,
    "quantize": _string,
    "scheme": _table(_text("the scheme of '{}' must be a text such as 'int8'")),
    "activations": _string,
    "observer": _string,
    "rounding": _string,
    "equalize": _bool,
    "smooth": _float,
    "cell-states": _string,
    "correct-bias": _bool,
    "saturation-free": _bool,
    "keep-float": _strings,
    "drift": _typed(int, "a whole number"),
    "max-drop": _decibels,
    "cost-table": _path,
    "emit-ir": _string,
    "keep": _path,
}

_PRUNE = (
    *("model", "output", "shape", "dim", "const", "state", "seed", "force", "cost-table"),
    *("sparsity", "pattern", "criterion", "allocation", "budget", "calibrate", "hold-out"),
    *("keep-dense", "density", "keep-diagonal", "rearrange", "recover", "recover-schedule"),
    "checkpoint",
)
_QUANTIZE = (
    *("model", "output", "shape", "dim", "const", "state", "seed", "force", "calibrate"),
    "hold-out",
    *(
        "quantize",
        "scheme",
        "activations",
        "observer",
        "rounding",
        "equalize",
        "smooth",
        "cell-states",
        "correct-bias",
        "saturation-free",
    ),
    *("keep-float", "drift", "max-drop", "recover", "checkpoint"),
)
# The keys of each command's table.
TABLES: Mapping[str, tuple[str, ...]] = {
    "compile": tuple(KEYS),
    "prune": _PRUNE,
    "quantize": _QUANTIZE,
}
