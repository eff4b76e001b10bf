"""What `inspect` shows of an artifact: its manifest, as tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from edgeseq.cli import _output


def show(dist: Path, *, why: bool, as_json: bool) -> None:
    """Print an artifact's manifest.

    Raises:
        UsageError: there is none, or it is damaged.
    """
    from edgeseq.runtime import read_manifest

    read_manifest(dist)
    raw = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))
    if as_json:
        _output.print_json(raw)
        return
    click.echo(_headline(raw) + "\n")
    _output.table(["", "name", "type", "shape"], _tensors(raw))
    _output.table(["target", "levels", "library", "weights", "state", "files"], _targets(raw))
    _output.table(["pass", "nodes before", "nodes after"], _passes(raw))
    _output.table(["kernel", "node", "sizes", *(["why"] if why else [])], _kernels(raw, why))
    if why:
        _output.table(["pass", "left alone, or decided"], _remarks(raw))
        _output.table(["node", "why no hand-written kernel"], raw.get("generated", {}).items())


def _headline(raw: Mapping[str, Any]) -> str:
    modes = raw["modes"]
    step = "step" if modes["step"]["supported"] else f"no step ({modes['step']['reason']})"
    run = modes["run"]
    kind = "whole sequences" if run["kind"] == "graph" else "repeated steps"
    return (
        f"{raw['name']} from {raw['source']['spec']}, edgeseq {raw['edgeseq']}\n"
        f"{step}; run: {kind} of {run['min_T']} to {run['max_T']} steps"
    )


def _tensors(raw: Mapping[str, Any]) -> list[tuple[str, str, str, str]]:
    rows = []
    for kind in ("inputs", "outputs"):
        rows += [(kind[:-1], t["name"], t["dtype"], _shape(t["shape"])) for t in raw[kind]]
    return rows + [
        ("state", f"{s['input']} <- {s['output']}", s["dtype"], _shape(s["shape"]))
        for s in raw["states"]
    ]


def _shape(shape: list[int | str]) -> str:
    return f"[{', '.join(map(str, shape))}]"


def _targets(raw: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    return [
        (
            name,
            " ".join(t["isa"]) or None,
            t["library"],
            _output.size(t["weight_bytes"]),
            _output.size(t["state_size"]),
            _output.size(t["bytes"]),
        )
        for name, t in sorted(raw["targets"].items())
    ]


def _passes(raw: Mapping[str, Any]) -> list[tuple[str, int, int]]:
    return [
        (p["name"], p["nodes_before"], p["nodes_after"]) for p in raw["passes"] if p["modified"]
    ]


def _kernels(raw: Mapping[str, Any], why: bool) -> list[tuple[str, ...]]:
    return [
        (k["name"], k["node"], k["detail"], *([k["why"]] if why else [])) for k in raw["kernels"]
    ]


def _remarks(raw: Mapping[str, Any]) -> list[tuple[str, str]]:
    return [
        (p["name"], remark)
        for p in raw["passes"]
        for remark in (*p.get("notes", ()), *p.get("refusals", ()))
    ]
