"""The one mapping between names users type (kebab-case) and files (snake_case)."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
from collections.abc import Iterable
from types import ModuleType

from edgeseq.errors import UsageError

_SINGULAR = {"passes": "pass", "kernels": "kernel family", "targets": "target"}


def file_name(user_name: str) -> str:
    """`arm64-linux` -> `arm64_linux`."""
    return user_name.replace("-", "_")


def user_name(file_name: str) -> str:
    """`arm64_linux` -> `arm64-linux`."""
    return file_name.replace("_", "-")


def names(kind: str) -> list[str]:
    """List the user names found in `edgeseq.<kind>` (kind: passes, kernels or targets)."""
    package = importlib.import_module(f"edgeseq.{kind}")
    found = pkgutil.iter_modules(package.__path__)
    return sorted(user_name(m.name) for m in found if not m.name.startswith("_") and not m.ispkg)


def find(kind: str, name: str) -> ModuleType:
    """Import the module behind a user name.

    Raises:
        UsageError: the name is not in the folder; the message suggests the nearest one.
    """
    known = names(kind)
    if name not in known:
        raise UsageError(f"unknown {_SINGULAR[kind]} '{name}'", fix=hint(name, known))
    return importlib.import_module(f"edgeseq.{kind}.{file_name(name)}")


def hint(name: str, known: Iterable[str]) -> str:
    """Return `did you mean 'x'? known: ...`."""
    known = sorted(known)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    start = f"did you mean '{near[0]}'? " if near else ""
    return f"{start}known: {', '.join(known)}"
