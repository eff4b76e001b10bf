"""What `compile` says at the end: the files and their sizes."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from edgeseq.cli import _output
from edgeseq.options import Event


def show(dist: Path, events: Sequence[Event], seconds: float, *, as_json: bool) -> None:
    """Print the files of an artifact, and its memory per target."""
    manifest = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))
    files = sorted((f, f.stat().st_size) for f in dist.rglob("*") if f.is_file())
    if as_json:
        _output.print_json(
            {
                "output": str(dist),
                "name": manifest["name"],
                "seconds": round(seconds, 3),
                "events": [dataclasses.asdict(e) for e in events],
                "files": {f.relative_to(dist).as_posix(): bytes_ for f, bytes_ in files},
                "targets": manifest["targets"],
            }
        )
        return
    _output.table(["file", "size"], [(f.as_posix(), _output.size(bytes_)) for f, bytes_ in files])
    _output.table(
        ["target", "weights", "state of a stream", "arena of a thread"],
        [(name, *_memory(t)) for name, t in sorted(manifest["targets"].items())],
    )
    for event in events:
        if event.stage == "check":
            _output.console().print(f"numbers on {event.name}: {event.detail}")
    _output.console().print(
        f"compiled in {seconds:.1f} s; next: edgeseq validate {dist}, edgeseq inspect {dist}"
    )


def _memory(target: dict[str, Any]) -> tuple[str, str, str]:
    arena = target["arena_size"]
    per_step = f" + {_output.size(arena['per_step'])} a step" if arena["per_step"] else ""
    return (
        _output.size(target["weight_bytes"]),
        _output.size(target["state_size"]),
        _output.size(arena["constant"]) + per_step,
    )
