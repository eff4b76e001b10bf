"""`nn.Module` -> `torch.export.ExportedProgram`: recurrent layers whole, the module untouched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.fx.experimental._config
from torch.export import ExportedProgram

from edgeseq.frontends.torch_dynamic import Plan
from edgeseq.frontends.torch_errors import Fixations, explain_capture
from edgeseq.frontends.torch_ops import KeepRecurrent
from edgeseq.frontends.torch_quiet import quiet

_config: Any = torch.fx.experimental._config  # `patch` is added to it at run time


def capture(module: torch.nn.Module, plan: Plan) -> ExportedProgram:
    """Trace a module in eval mode.

    Raises:
        UnsupportedModelError: it cannot be traced; the message names the line of Python.
    """
    fixations = Fixations()
    # Without it torch assumes that no dynamic length is 1, and so gives wrong lower bounds.
    any_length = _config.patch(backed_size_oblivious=True)
    with _eval_mode(module), quiet(), torch.no_grad(), fixations, any_length, KeepRecurrent():
        try:
            return torch.export.export(
                module, plan.args, plan.kwargs, dynamic_shapes=plan.shapes, strict=False
            )
        except Exception as error:
            raise explain_capture(error, fixations, plan) from error


@contextlib.contextmanager
def _eval_mode(module: torch.nn.Module) -> Iterator[None]:
    modes = [(part, part.training) for part in module.modules()]
    for part, _ in modes:  # not eval(): modules override it to do more, which nothing undoes
        part.training = False
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
