"""`package.module:factory` -> what the factory returns, or an error about the user's code."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import inspect
import pkgutil
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from edgeseq.errors import EdgeseqError, UsageError
from edgeseq.registry import hint

_RETURNS = "return (module, example_inputs) or (module, example_inputs, dynamic)"


@dataclasses.dataclass(frozen=True)
class Made:
    """What a factory returned."""

    module: torch.nn.Module
    example_inputs: Any
    dynamic: Any = None


def call_factory(spec: str) -> Made:
    """Import the module, call the factory without arguments, and check what it returns.

    The current folder is importable meanwhile, as with `python -m`.

    Raises:
        UsageError: anything on this way that fails.
    """
    place, _, name = spec.rpartition(":")
    if not place or not name:
        raise UsageError(f"'{spec}' does not name a factory", fix="write package.module:factory")
    folder = Path(place).parent if place.endswith(".py") else Path()
    with _importable(folder.resolve()):
        factory = _find(_import(place), name, spec)
        try:
            made = factory()
        except EdgeseqError:
            raise
        except Exception as error:
            raise _failed(f"{spec} raised {_short(error)}", error) from error
    return _check(made, spec)


@contextlib.contextmanager
def _importable(folder: Path) -> Iterator[None]:
    before = list(sys.path)
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path[:] = before


def _import(place: str) -> ModuleType:
    if place.endswith(".py"):
        if not Path(place).is_file():
            raise UsageError(f"{place}: no such file", fix="check the path")
        place = Path(place).stem
    try:
        return importlib.import_module(place)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if place != missing and not place.startswith(f"{missing}."):
            raise _failed(f"importing '{place}' raised {_short(error)}", error) from error
        raise UsageError(
            f"no module '{missing}'" + (f" (for '{place}')" if place != missing else ""),
            why="looked in the current folder and in the installed packages",
            fix=_near(missing),
        ) from None
    except Exception as error:
        raise _failed(f"importing '{place}' raised {_short(error)}", error) from error


def _near(missing: str) -> str:
    """Suggest a module beside the missing one; never a list of all that is installed."""
    parent, _, _ = missing.rpartition(".")
    spec = importlib.util.find_spec(parent) if parent else None
    folders = list(spec.submodule_search_locations or []) if spec else [sys.path[0]]
    prefix = f"{parent}." if parent else ""
    known = sorted(prefix + found.name for found in pkgutil.iter_modules(folders))
    if not known:
        return "run in the folder that holds the module, or install it"
    return hint(missing, known[:20])


def _find(module: ModuleType, name: str, spec: str) -> Callable[[], Any]:
    found: Any = module
    for part in name.split("."):
        if not hasattr(found, part):
            known = [n for n, v in vars(found).items() if callable(v) and not n.startswith("_")]
            raise UsageError(
                f"'{getattr(found, '__name__', spec)}' has no '{part}'", fix=hint(part, known)
            )
        found = getattr(found, part)
    if not callable(found):
        raise UsageError(
            f"'{spec}' is not a function but of type {type(found).__name__}", fix=_RETURNS
        )
    try:
        inspect.signature(found).bind()
    except TypeError as error:
        raise UsageError(
            f"'{spec}' cannot be called without arguments: {error}",
            fix="wrap it in a function that takes none",
        ) from None
    except ValueError:
        pass  # a builtin without a signature
    factory: Callable[[], Any] = found
    return factory


def _check(made: Any, spec: str) -> Made:
    if isinstance(made, torch.nn.Module):
        raise UsageError(f"'{spec}' returns a module alone, without example inputs", fix=_RETURNS)
    if not isinstance(made, tuple) or len(made) not in (2, 3):
        raise UsageError(f"'{spec}' returns something of type {type(made).__name__}", fix=_RETURNS)
    if not isinstance(made[0], torch.nn.Module):
        raise UsageError(
            f"'{spec}' returns type {type(made[0]).__name__} where the module should be",
            fix=_RETURNS,
        )
    if not isinstance(made[1], torch.Tensor | tuple | list | Mapping):
        raise UsageError(
            f"'{spec}' returns type {type(made[1]).__name__} where the example inputs should be",
            fix="give a tuple of tensors, or a dict of them by argument name",
        )
    return Made(*made)


def _failed(what: str, error: BaseException) -> UsageError:
    frames = traceback.extract_tb(error.__traceback__)
    users = [f for f in frames if f.filename != __file__ and "importlib" not in f.filename]
    at = [f"{f.filename}:{f.lineno} in {f.name}: {f.line}" for f in users[-1:]]
    return UsageError(what, at=at, fix="mend that line; the model was not reached")


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
