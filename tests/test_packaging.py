"""The wheel holds what the tree holds, and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
MAPPED = ("passes", "kernels", "targets")


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def tree() -> set[str]:
    """Every tracked file that belongs into the wheel, as a path inside it."""
    listed = subprocess.run(
        ["git", "ls-files", "--", "edgeseq", *MAPPED],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    files = [f for f in listed.stdout.splitlines() if (ROOT / f).is_file()]
    return {f if f.startswith("edgeseq/") else f"edgeseq/{f}" for f in files}


def test_every_package_is_listed() -> None:
    packages = {str(Path(f).parent).replace("/", ".") for f in tree() if f.endswith(".py")}
    assert set(pyproject()["tool"]["setuptools"]["packages"]) == packages


@pytest.mark.slow
def test_wheel_is_the_tree(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("needs a git checkout")
    clean = tmp_path / "tree"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clean)], check=True)
    for name in ("pyproject.toml", "MANIFEST.in", "README.md"):
        (clean / name).write_bytes((ROOT / name).read_bytes())
    # What the working tree has beyond its last commit counts too.
    for file in tree():
        inside = file if (ROOT / file).is_file() else file.removeprefix("edgeseq/")
        (clean / inside).parent.mkdir(parents=True, exist_ok=True)
        (clean / inside).write_bytes((ROOT / inside).read_bytes())
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation",
         "-w", str(tmp_path), "."],
        cwd=clean, check=True,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside_wheel = {n for n in archive.namelist() if ".dist-info/" not in n}
    assert inside_wheel == tree()


def test_constraints_pin_every_requirement() -> None:
    from packaging.requirements import Requirement

    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = dict(line.split("==") for line in lines if line and not line.startswith("#"))
    pinned = {name.lower(): version for name, version in pinned.items()}
    project = pyproject()["project"]
    wanted = [*project["dependencies"]]
    for group in project["optional-dependencies"].values():
        wanted += group
    for requirement in map(Requirement, wanted):
        version = pinned.get(requirement.name.lower())
        assert version is not None, f"{requirement.name} is not pinned"
        assert requirement.specifier.contains(version), f"{requirement} against {version}"


@pytest.mark.parametrize("name", MAPPED)
def test_folders_at_the_root_import_only_as_parts_of_edgeseq(name: str) -> None:
    program = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {name}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 1
    assert f"ImportError: import edgeseq.{name}, not {name}" in done.stderr
