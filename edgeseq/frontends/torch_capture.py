"""`nn.Module` -> `torch.export.ExportedProgram`: recurrent layers whole, the module untouched."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
import torch.export._trace
import torch.fx.experimental._config
from torch.export import ExportedProgram

from edgeseq.frontends.torch_dynamic import Plan
from edgeseq.frontends.torch_errors import Fixations, explain_capture
from edgeseq.frontends.torch_ops import KeepRecurrent
from edgeseq.frontends.torch_quiet import quiet

_config: Any = torch.fx.experimental._config  # `patch` is added to it at run time
_trace: Any = torch.export._trace
_FEW = 64  # elements of a buffer whose values may decide the control flow


def capture(module: torch.nn.Module, plan: Plan) -> ExportedProgram:
    """Trace a module in eval mode.

    Raises:
        UnsupportedModelError: it cannot be traced; the message names the line of Python.
    """
    written: frozenset[str] = frozenset()
    while True:
        with _known_integers(written) as known:
            program = _export(module, plan)
        overwritten = frozenset(name for name, fake in known.items() if fake._version > 0)
        if not overwritten:
            return program
        written |= overwritten  # states, not constants: once more without their values


def _export(module: torch.nn.Module, plan: Plan) -> ExportedProgram:
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
def _known_integers(but: frozenset[str]) -> Iterator[dict[str, Any]]:
    """Let torch know the values of small integer buffers while it traces.

    Strides, lengths and paddings are often kept in buffers, and decide shapes and branches.

    Args:
        but: Buffers that the module overwrites.

    Yields:
        Name -> fake tensor, filled while torch traces.
    """
    usual, known = _trace._fakify_params_buffers, {}

    def fakify(mode: Any, module: torch.nn.Module) -> Any:
        faked = usual(mode, module)
        for name, buffer in module.named_buffers():
            whole = not (buffer.is_floating_point() or buffer.is_complex())
            if whole and buffer.numel() <= _FEW and name not in but:
                faked[name].constant = buffer.detach().clone()
                mode.fake_tensor_converter.add_constant_storage_mapping(faked[name])
                known[name] = faked[name]
        return faked

    _trace._fakify_params_buffers = fakify
    try:
        yield known
    finally:
        _trace._fakify_params_buffers = usual


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
