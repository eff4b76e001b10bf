"""Run an artifact of another machine from Python: under QEMU, in wasmtime, Node or Chromium.

`opened(dist, target, engine)` gives what `edgeseq.load` gives, so that `validate` can check it.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseq.errors import UsageError
from edgeseq.registry import hint

if TYPE_CHECKING:
    from edgeseq.engines._engine import Engine
    from edgeseq.runtime import Model

NATIVE = "native"
PREFERRED = ("qemu", "wasmtime")


def names() -> list[str]:
    """List the engines, less the machine itself."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.name.startswith("_"))


def find(name: str) -> Engine:
    """Return an engine by its name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in names():
        raise UsageError(f"unknown engine '{name}'", fix=hint(name, [NATIVE, *names()]))
    engine: Engine = importlib.import_module(f"edgeseq.engines.{name}").ENGINE
    return engine


def choose(target: str, wanted: str | None = None) -> str | None:
    """Return the engine for a target: the one asked for, this machine, or an emulator."""
    from edgeseq.runtime import host_target

    native = target in (host_target(), "c")
    if wanted is not None:
        runs = native if wanted == NATIVE else target in find(wanted).targets
        return wanted if runs else None
    if native:
        return NATIVE
    return next((name for name in PREFERRED if target in find(name).targets), None)


@contextlib.contextmanager
def opened(dist: Path, target: str, engine: str | None = None) -> Iterator[Model]:
    """Load one target of an artifact where it can run, and end the engine afterwards.

    Args:
        dist: The artifact's folder.
        target: User name of the target.
        engine: Name of the engine; None: what the target needs.

    Raises:
        UsageError: the engine does not run this target, or the artifact does not have it.
        ToolchainError: the engine is not installed.
    """
    from edgeseq.engines._remote import Remote
    from edgeseq.runtime import Model, load, read_manifest

    manifest = read_manifest(dist)
    if target not in manifest.targets:
        raise UsageError(
            f"'{dist}' has no target '{target}'", fix=hint(target, sorted(manifest.targets))
        )
    chosen = choose(target, engine)
    if chosen is None:
        able = [name for name in names() if target in find(name).targets]
        raise UsageError(
            f"engine '{engine}' does not run target '{target}'"
            if engine
            else f"nothing here runs target '{target}'",
            fix=f"--engine {' or '.join(able)}" if able else "run it on such a machine",
        )
    if chosen == NATIVE:
        yield load(dist, target)
        return
    machine = find(chosen).start(manifest, target, _longest(dist))
    try:
        yield Model(manifest, Remote(manifest, target, machine))
    finally:
        machine.close()


def _longest(dist: Path) -> int:
    """Steps of the recorded sequence: what a machine keeps memory for."""
    manifest = json.loads((dist / "manifest.json").read_text(encoding="utf-8"))
    return max(1, int(manifest.get("verify", {}).get("steps", 1)))
