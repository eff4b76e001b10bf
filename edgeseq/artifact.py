"""What stands in `dist/` beside the libraries: model.onnx, verify vectors, manifest, report."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import edgeseq
from edgeseq.errors import UsageError
from edgeseq.lower import costs
from edgeseq.lower.interface import Tensor, c_identifier
from edgeseq.options import CompileOptions

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeseq.lower.build import Lowered
    from edgeseq.pipeline import PassRecord
    from edgeseq.targets._target import Target
    from edgeseq.validate import Verdict

FORMAT = 1
RECORDED = [
    "apache-tvm",
    "numpy",
    "onnx",
    "onnx-ir",
    "onnxruntime",
    "onnxscript",
    "torch",
    "ziglang",
]


def default_name(spec: str) -> str:
    """C prefix from `dir/My-Model.onnx`, `package.module:factory` or `package.module.Class`."""
    if Path(spec).suffix in (".onnx", ".pt2"):
        return c_identifier(Path(spec).stem.lower())
    return c_identifier(re.split(r"[.:]", spec)[-1].lower())


def check_name(name: str) -> str:
    """Return a user's `--name` if it can be the prefix of C symbols.

    Raises:
        UsageError: it is not a C identifier.
    """
    if c_identifier(name) != name:
        raise UsageError(
            f"'{name}' cannot be the prefix of C functions",
            why="it must be a C identifier and no keyword",
            fix=f"--name {c_identifier(name)}",
        )
    return name


def write_model(model: ir.Model, folder: Path) -> str:
    """Write model.onnx and return the SHA-256 of its bytes."""
    import onnx_ir

    data = onnx_ir.to_proto(model).SerializeToString(deterministic=True)
    (folder / "model.onnx").write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_manifest(
    folder: Path,
    source: Mapping[str, str],
    lowered: Lowered,
    records: Sequence[PassRecord],
    options: CompileOptions,
    targets: Sequence[Target],
    files: Mapping[str, Sequence[str]],
    verify: Mapping[str, Any],
) -> dict[str, Any]:
    """Write manifest.json and return its contents; without timings: equal input, equal bytes."""
    i = lowered.interface
    manifest = {
        "format": FORMAT,
        "name": i.name,
        "edgeseq": edgeseq.__version__,
        "versions": {p: v for p in RECORDED if (v := _version(p))},
        "model_hash": i.model_hash,
        "source": dict(source),
        "inputs": [_tensor(t) for t in i.inputs],
        "outputs": [_tensor(t) for t in i.outputs],
        "states": [
            {
                "input": s.input,
                "output": s.output,
                "dtype": s.dtype,
                "shape": list(s.shape),
                "offset": s.offset,
                "init": "data" if s.init else "zeros",
            }
            for s in i.states
        ],
        "modes": {
            "step": {"supported": i.step, "reason": i.step_reason},
            "run": {"kind": "graph" if i.graph else "loop", "min_T": i.min_t, "max_T": i.max_t},
        },
        "flags": _flags(options),
        "passes": [
            {
                "name": r.name,
                "nodes_before": r.nodes_before,
                "nodes_after": r.nodes_after,
                "modified": r.modified,
                "notes": list(r.notes),
                "refusals": [str(x) for x in r.refusals],
            }
            for r in records
        ],
        "cost_table": costs.load(options.cost_table).hash,
        "kernels": [_kernel(c) for c in lowered.kernel_calls()],
        "generated": dict(sorted(lowered.reasons.items())),
        "targets": {t.name: _target(folder, lowered, t, options, files[t.name]) for t in targets},
        "verify": dict(verify),
    }
    text = json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(text, encoding="utf-8")
    return manifest


def write_report(
    folder: Path,
    manifest: Mapping[str, Any],
    records: Sequence[PassRecord],
    verdicts: Sequence[Verdict],
    timings: Mapping[str, float],
    sections: Sequence[str] = (),
) -> None:
    """Write report.html: the manifest for people, measured errors, and how long all took."""
    from edgeseq.report import render

    page = render(manifest, records, verdicts, timings, sections)
    (folder / "report.html").write_text(page, encoding="utf-8")


def _tensor(tensor: Tensor) -> dict[str, Any]:
    out = dataclasses.asdict(tensor)
    out["shape"] = list(tensor.shape)
    return out


def _kernel(call: Any) -> dict[str, Any]:
    choice = call.choice
    sizes = " ".join(f"{n}={s.c()}" for n, s in choice.sizes.items())
    return {
        "name": choice.kernel.name,
        "node": choice.node.name or choice.node.op_type,
        "detail": sizes,
        "why": choice.why,
    }


def _target(
    folder: Path,
    lowered: Lowered,
    target: Target,
    options: CompileOptions,
    names: Sequence[str],
) -> dict[str, Any]:
    from edgeseq.lower import emit

    library = next((n for n in names if n.endswith(f"lib{lowered.interface.name}.so")), None)
    built = [i.level for i in emit.built_levels(lowered, target, options.isa)]
    arena = [lowered.arena_bytes(t) for t in (1, lowered.interface.max_t)]
    per_step = -(-(arena[1] - arena[0]) // max(lowered.interface.max_t - 1, 1))
    return {
        "files": {n: _hash(folder / n) for n in names},
        "library": library,
        "isa": built,
        "machine": target.machines[0] if target.machines else None,
        **({"threads": lowered.interface.threads} if lowered.interface.threads > 1 else {}),
        "state_size": lowered.interface.state_size,
        "arena_size": {"constant": arena[0], "per_step": per_step},
        "weight_bytes": lowered.weights.nbytes,
        "bytes": sum((folder / n).stat().st_size for n in names),
    }


def _flags(options: CompileOptions) -> dict[str, Any]:
    """The flags that decide what is built; folders and cache do not, a table has its hash."""
    skipped = {"output", "force", "cache", "cost_table", "emit_ir", "keep"}
    flags: dict[str, Any] = {}
    for field in dataclasses.fields(options):
        value = getattr(options, field.name)
        if field.name in skipped or value == field.default or value in ({}, (), None):
            continue
        flags[field.name] = _plain(value)
    return flags


def _plain(value: Any) -> Any:
    """A flag for JSON; of a group of flags those that are not at their default."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        named = {f.name: (getattr(value, f.name), f.default) for f in fields}
        return {n: _plain(v) for n, (v, usual) in named.items() if v != usual and v != {}}
    return str(value) if isinstance(value, Path) else value


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
