"""Who may import whom, read from the source; and what the light entry points must not load."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

# Each layer may import itself, where it is one folder, and the layers before it.
LAYERS = [
    {"errors", "registry", ""},
    {"ir", "options", "flags", "recipe"},
    {"frontends", "passes", "kernels", "targets", "interp", "pipeline", "packages"},
    {"lower", "validate", "engines"},
    {"train"},
    {"quantize"},
    {"bench", "report", "search"},
    {"artifact", "serve"},
    {"api"},
    {"cli", "backend", "testing"},
]
LEVEL = {name: level for level, names in enumerate(LAYERS) for name in names}
HEAVY = {"torch", "onnx", "onnx_ir", "onnxruntime", "onnxscript", "tvm"}


def sources() -> list[Path]:
    roots = [ROOT / name for name in ("edgeseq", "passes", "kernels", "targets")]
    return sorted(f for root in roots for f in root.rglob("*.py"))


def part(file: Path) -> str:
    """The folder or module of `edgeseq` a file belongs to: `lower`, `passes`, `errors`."""
    inside = file.relative_to(ROOT).parts
    inside = inside[1:] if inside[0] == "edgeseq" else inside
    return inside[0].removesuffix(".py").replace("__init__", "") if inside else ""


def imports(file: Path) -> Iterator[tuple[str, int]]:
    """Every imported module with its line; those for type checking only are left out."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{file}: relative import"
            for alias in node.names:
                deeper = f"{node.module}.{alias.name}"
                yield (deeper if node.module == "edgeseq" else node.module), node.lineno


def ours(module: str) -> str | None:
    """`edgeseq.lower.fuse` -> `lower`; None for other packages."""
    parts = module.split(".")
    if parts[0] != "edgeseq":
        return None
    return parts[1] if len(parts) > 1 and parts[1] in LEVEL.keys() | {"runtime"} else ""


def test_every_part_has_a_layer() -> None:
    assert {part(f) for f in sources()} <= LEVEL.keys() | {"runtime"}


@pytest.mark.parametrize("file", sources(), ids=lambda f: str(f.relative_to(ROOT)))
def test_import_direction(file: Path) -> None:
    me = part(file)
    wrong = []
    for module, line in imports(file):
        it = ours(module)
        if it is None or it == me or me == "":
            continue
        if me == "runtime":
            allowed = it in ("errors", "")
        elif it == "runtime":
            allowed = LEVEL[me] >= LEVEL["validate"]
        else:
            allowed = LEVEL[it] < LEVEL[me] or (LEVEL[it] == LEVEL[me] <= LEVEL["recipe"])
        if not allowed:
            wrong.append(f"line {line}: {me} imports {module}")
    assert wrong == []


def test_only_lowering_and_schedules_import_tvm() -> None:
    for file in sources():
        if part(file) != "lower" and "schedules" not in file.parts:
            found = [line for module, line in imports(file) if module.split(".")[0] == "tvm"]
            assert found == [], file


@pytest.mark.parametrize("name", ["passes", "targets"])
def test_passes_and_targets_do_not_import_each_other(name: str) -> None:
    for file in sources():
        if part(file) == name:
            found = [m for m, _ in imports(file) if ours(m) == name and "._" not in m]
            assert found == [], file


def test_help_loads_no_numpy_either() -> None:
    program = "import sys, edgeseq.cli as c; c.main(['--help']); sys.exit('numpy' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], stdout=subprocess.DEVNULL, check=True)


@pytest.mark.parametrize(
    "program",
    [
        "import edgeseq",
        "import edgeseq.runtime",
        "from edgeseq.cli import main; main(['--help'])",
        "from edgeseq.cli import main; main(['compile', '--help'])",
        "from edgeseq.cli import main; main(['passes'])",
        "from edgeseq.cli import main; main(['targets'])",
    ],
)
def test_light_entry_points_stay_light(program: str) -> None:
    tail = "; import sys, json; print(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program + tail], capture_output=True, text=True, check=True
    )
    loaded = {m.partition(".")[0] for m in json.loads(done.stdout.splitlines()[-1])}
    assert loaded & HEAVY == set()
