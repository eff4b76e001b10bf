"""The points that no other beats, as a table, as JSON, as a plot, and as recipes for `compile`."""

from __future__ import annotations

import collections
import dataclasses
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgeseq.options import CompileOptions
from edgeseq.search import plot
from edgeseq.search.space import FLOAT, Choice, Place
from edgeseq.search.study import Limits, Tried
from edgeseq.search.trial import Measured


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Args:
        places: The layers and their choices.
        weights: Layer -> what a recipe calls its weights that can be pruned.
        pattern: How zeros are arranged.
        criterion: What chose them.
        fixed: Bytes of all other weights.
        tried: All points.
        front: Those that no other beats, within the limits, smallest first.
        notes: What the user should know.
    """

    places: tuple[Place, ...]
    weights: Mapping[str, Sequence[str]]
    pattern: str
    criterion: str
    fixed: int
    tried: tuple[Tried, ...]
    front: tuple[Tried, ...]
    notes: tuple[str, ...]

    def choices(self, one: Tried) -> dict[str, Choice]:
        """What each layer is at a point."""
        return {p.name: p.choices[one.point[p.name]] for p in self.places}

    def text(self, one: Tried) -> str:
        """`3 int8, 1 float@0.5`."""
        count = collections.Counter(one.point.values())
        return ", ".join(f"{n} {text}" for text, n in count.most_common())


def front(tried: Sequence[Tried], limits: Limits) -> list[Tried]:
    """The points within the limits that no other beats in error, bytes and seconds."""
    kept: list[Tried] = []
    for one in sorted(tried, key=lambda t: _values(t.measured)):
        inside = limits.hold(one.measured)
        if inside and not any(beats(k.measured, one.measured, equal=True) for k in kept):
            kept.append(one)
    return kept


def beats(a: Measured, b: Measured, *, equal: bool = False) -> bool:
    """Whether `a` is nowhere worse than `b`, and somewhere better (or `equal`)."""
    pairs = list(zip(_values(a), _values(b), strict=True))
    return all(x <= y for x, y in pairs) and (equal or any(x < y for x, y in pairs))


def _values(one: Measured) -> tuple[float, float, float]:
    return one.nbytes, one.seconds, one.error


def rows(found: Found) -> list[tuple[str, str, str, str, str]]:
    """One row per point of the front: name, bytes, time, error, what the layers are."""
    return [
        (
            _name(number),
            str(found.fixed + one.measured.nbytes),
            f"{one.measured.seconds * 1e6:.2f}",
            f"{-one.measured.snr:.1f}" if one.measured.error else "none",
            found.text(one),
        )
        for number, one in enumerate(found.front, 1)
    ]


HEAD = ("point", "bytes", "us a step", "error, dB", "layers")


def write(found: Found, model: str, options: CompileOptions, folder: Path) -> None:
    """Write table, plot and recipes into a folder."""
    table = [HEAD, *rows(found)]
    widths = [max(len(row[i]) for row in table) for i in range(len(HEAD))]
    lines = ["  ".join(c.ljust(w) for c, w in zip(r, widths, strict=True)).rstrip() for r in table]
    (folder / "pareto.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    body = {"points": [_described(found, n, one) for n, one in enumerate(found.front, 1)]}
    extra = {"tried": len(found.tried), "other_bytes": found.fixed, "notes": list(found.notes)}
    (folder / "pareto.json").write_text(json.dumps(body | extra, indent=1) + "\n", encoding="utf-8")
    (folder / "pareto.svg").write_text(plot.svg(found.tried, found.front), encoding="utf-8")
    for number, one in enumerate(found.front, 1):
        text = _recipe(found, one, _name(number), model, options, folder)
        (folder / f"{_name(number)}.toml").write_text(text, encoding="utf-8")


def _name(number: int) -> str:
    return f"point-{number:02}"


def _described(found: Found, number: int, one: Tried) -> dict[str, Any]:
    return {
        "recipe": f"{_name(number)}.toml",
        "bytes": one.measured.nbytes,
        "seconds": one.measured.seconds,
        "error": one.measured.error,
        "layers": {
            n: {"scheme": c.scheme, "density": c.density} for n, c in found.choices(one).items()
        },
    }


def _recipe(
    found: Found, one: Tried, name: str, model: str, options: CompileOptions, folder: Path
) -> str:
    """The flags that compile a point."""
    given: dict[str, Any] = {"model": _beside(model, folder), "output": name}
    given |= _of_model(options)
    if options.sparse.calibrate:
        given["calibrate"] = [_beside(path, folder) for path in options.sparse.calibrate]
        given["hold-out"] = True  # the sample that the errors were measured on
    chosen = found.choices(one)
    given |= _sparse(found, chosen) | _quantized(chosen)
    return "\n".join(["[compile]", *(f"{key} = {_toml(v)}" for key, v in given.items()), ""])


def _of_model(options: CompileOptions) -> dict[str, Any]:
    """Sizes, constants and states, as the model was searched with."""
    tables: dict[str, Mapping[str, Any]] = {
        "shape": options.shapes,
        "dim": options.dims,
        "const": options.consts,
        "state": dict(options.states),
    }
    found = {
        f"{table}.{_key(name)}": value
        for table, one in tables.items()
        for name, value in one.items()
    }
    return found | ({"target": list(options.targets)} if options.targets else {})


def _sparse(found: Found, chosen: Mapping[str, Choice]) -> dict[str, Any]:
    if all(choice.density == 1 for choice in chosen.values()):
        return {}
    densities = {
        f"density.{_key(weight)}": choice.density
        for name, choice in chosen.items()
        for weight in found.weights[name]
    }
    return {"pattern": found.pattern, "criterion": found.criterion, "sparsity": 0.0, **densities}


def _quantized(chosen: Mapping[str, Choice]) -> dict[str, Any]:
    """The most frequent scheme, and the layers that have another."""
    schemes = collections.Counter(c.scheme for c in chosen.values() if c.scheme != FLOAT)
    if not schemes:
        return {}
    usual = schemes.most_common(1)[0][0]
    return {"quantize": usual} | {f"scheme.{_key(n)}": c.scheme for n, c in chosen.items()}


def _beside(path: str, folder: Path) -> str:
    """A path as seen from the folder; `package.module:factory` stays."""
    return path if ":" in path else os.path.relpath(path, folder)


def _key(name: str) -> str:
    return json.dumps(name)


def _toml(value: object) -> str:
    return json.dumps(list(value) if isinstance(value, tuple) else value)
