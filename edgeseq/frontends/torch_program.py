"""Programs that `torch.export.save` wrote."""

from __future__ import annotations

import zipfile
from pathlib import Path

import torch
from torch.export import ExportedProgram

from edgeseq.errors import UsageError
from edgeseq.frontends import torch_quantized
from edgeseq.frontends.torch_quiet import quiet


def read_program(path: str) -> ExportedProgram:
    """Load a `.pt2` file.

    Raises:
        UsageError: it is missing, damaged, or of another kind.
    """
    file = Path(path)
    if not file.is_file():
        raise UsageError(f"{path}: no such file", fix="check the path")
    if not zipfile.is_zipfile(file):
        raise UsageError(
            f"{path} is not a program of torch.export, or is cut short",
            why="such a file is a zip archive",
            fix="write it again with torch.export.save",
        )
    torch_quantized.register()
    with quiet():
        try:
            return torch.export.load(path)
        except Exception as error:
            raise UsageError(
                f"{path} cannot be loaded",
                why=(str(error).strip().splitlines() or [type(error).__name__])[0],
                fix=f"write it again with torch.export.save of torch {torch.__version__}",
            ) from error
