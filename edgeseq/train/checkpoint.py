"""Checkpoints that a crash cannot leave half written."""

from __future__ import annotations

import os
import pickle
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import torch

from edgeseq.errors import UsageError


def save(file: Path, content: dict[str, Any]) -> None:
    """Write beside the file, then take its place in one step."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "wb") as stream:
            torch.save(content, stream)
            stream.flush()
            os.fsync(stream.fileno())
        Path(name).replace(file)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def load(file: Path, key: str) -> dict[str, Any] | None:
    """Return what `save` wrote; None when there is no such file.

    Args:
        file: The checkpoint.
        key: Names the run; the content must hold the same under "key".

    Raises:
        UsageError: not a checkpoint, or one of another run.
    """
    if not file.exists():
        return None
    try:
        content: dict[str, Any] = torch.load(file, weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"cannot read checkpoint '{file}'",
            why=str(error).splitlines()[0],
            fix="delete it to start anew",
        ) from None
    if content.get("key") != key:
        raise UsageError(
            f"checkpoint '{file}' belongs to another run",
            why="the model, the masks, the samples or the settings differ",
            fix="delete it to start anew, or give another file",
        )
    return content
