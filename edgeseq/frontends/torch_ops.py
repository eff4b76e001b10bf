"""Recurrent layers as single operators while a module is traced.

`torch.export` runs the kernels of GRU, LSTM and RNN on fake tensors, and those unroll over time:
the length of the example becomes a constant of the program. `KeepRecurrent` is a torch function
mode that replaces the calls by two custom operators whose fake kernels only compute shapes. A mode
is popped when its `with` block ends, so nothing of torch or of the module stays changed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from edgeseq.errors import UnsupportedModelError
from edgeseq.frontends.torch_asserts import truth

NAMESPACE = "edgeseq_torch"
GATES = {"gru": 3, "lstm": 4, "rnn_tanh": 1, "rnn_relu": 1}

_VF: Any = torch._VF  # the functions nn.GRU and the others call; torch ships no types for it


@torch.library.custom_op(f"{NAMESPACE}::rnn", mutates_args=())
def rnn(
    x: Tensor,
    h0: Tensor,
    params: list[Tensor],
    kind: str,
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor]:
    """GRU or RNN over a whole sequence, as `torch.gru` in eval mode."""
    y, h = getattr(_VF, kind)(
        x, h0, params, has_biases, num_layers, 0.0, False, bidirectional, batch_first
    )
    return y.clone(), h.clone()  # an operator may not return a view of what it was given


@rnn.register_fake
def _(x: Tensor, h0: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    *_, bidirectional, _ = rest
    return _output_like(x, h0, bidirectional), torch.empty_like(h0)


@torch.library.custom_op(f"{NAMESPACE}::lstm", mutates_args=())
def lstm(
    x: Tensor,
    h0: Tensor,
    c0: Tensor,
    params: list[Tensor],
    has_biases: bool,
    num_layers: int,
    bidirectional: bool,
    batch_first: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """LSTM over a whole sequence, with or without projection, as `torch.lstm` in eval mode."""
    y, h, c = _VF.lstm(
        x, [h0, c0], params, has_biases, num_layers, 0.0, False, bidirectional, batch_first
    )
    return y.clone(), h.clone(), c.clone()


@lstm.register_fake
def _(x: Tensor, h0: Tensor, c0: Tensor, *rest: Any) -> tuple[Tensor, Tensor, Tensor]:
    *_, bidirectional, _ = rest
    return _output_like(x, h0, bidirectional), torch.empty_like(h0), torch.empty_like(c0)


def _output_like(x: Tensor, h0: Tensor, bidirectional: bool) -> Tensor:
    # h0's last axis is the projection where there is one, and so is the output's.
    features = h0.shape[-1] * (2 if bidirectional else 1)
    return x.new_empty((x.shape[0], x.shape[1], features))


class KeepRecurrent(TorchFunctionMode):
    """While this mode is active, recurrent layers and cells are recorded whole."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Iterable[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Replace the recurrent functions; every other call goes through."""
        handler = _HANDLERS.get(func)
        if handler is None:
            return func(*args, **(kwargs or {}))
        return handler(*args, **(kwargs or {}))


def _layers(kind: str) -> Callable[..., Any]:
    def call(
        x: Tensor,
        hx: Any,
        params: Any,
        has_biases: Any,
        num_layers: Any,
        _dropout: Any = 0.0,
        _train: Any = False,
        bidirectional: Any = False,
        batch_first: Any = False,
    ) -> Any:
        # A packed call has the batch sizes second and the state third, one argument later.
        if isinstance(hx, Tensor) == (kind == "lstm") or isinstance(params, Tensor):
            refuse_packed()
        flags = (has_biases, num_layers, bidirectional, batch_first)
        if kind == "lstm":
            return lstm(x, hx[0], hx[1], list(params), *flags)
        return rnn(x, hx, list(params), kind, *flags)

    return call


def _cell(kind: str) -> Callable[..., Any]:
    """A cell is a layer over one step."""

    def call(
        x: Tensor,
        hx: Any,
        w_ih: Tensor,
        w_hh: Tensor,
        b_ih: Tensor | None = None,
        b_hh: Tensor | None = None,
    ) -> Any:
        params = [w for w in (w_ih, w_hh, b_ih, b_hh) if w is not None]
        flags = (b_ih is not None, 1, False, False)
        if kind == "lstm":
            _, h, c = lstm(x.unsqueeze(0), hx[0].unsqueeze(0), hx[1].unsqueeze(0), params, *flags)
            return h.squeeze(0), c.squeeze(0)
        _, h = rnn(x.unsqueeze(0), hx.unsqueeze(0), params, kind, *flags)
        return h.squeeze(0)

    return call


def refuse_packed(*_: Any, **__: Any) -> Any:
    """Packed sequences depend on the values of the lengths, so no fixed program computes them."""
    raise UnsupportedModelError(
        "packed sequences (torch.nn.utils.rnn.pack_padded_sequence) cannot be compiled",
        why="the shape of a packed batch depends on the values of the lengths",
        fix="give the recurrent layer the padded tensor itself; for streaming, one stream per "
        "sequence needs no padding",
    )


_HANDLERS: dict[Any, Callable[..., Any]] = {
    **{getattr(_VF, kind): _layers(kind) for kind in GATES},
    **{getattr(_VF, f"{kind}_cell"): _cell(kind) for kind in GATES},
    _VF._pack_padded_sequence: refuse_packed,
    Tensor.__bool__: truth,
}
