"""RNN, GRU and LSTM as one torch call over the whole sequence, gradients included.

The interpreter's own loop defines the operators; here the usual forms of them run at the speed of
training: no activations of one's own, no clip, no lengths, no peepholes, reset after the product.
Everything else goes to the loop. Same arguments and results as `edgeseq.interp.ops_recurrent`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch

from edgeseq.interp import ops_recurrent
from edgeseq.interp.call import Call, Tensor

# Gates in torch's order, counted in ONNX's: GRU z, r, h -> r, z, n; LSTM i, o, f, c -> i, f, g, o.
_GATES = {"RNN": (0,), "GRU": (1, 0, 2), "LSTM": (0, 2, 3, 1)}
_DEFAULTS = {"RNN": ["tanh"], "GRU": ["sigmoid", "tanh"], "LSTM": ["sigmoid", "tanh", "tanh"]}


def recurrent(call: Call, *inputs: Tensor | None) -> Sequence[Tensor | None]:
    """Run one recurrent node of layout 0: `x` is `[time, batch, input]`."""
    x, w, r, b, lengths, *rest = _padded(inputs)
    assert x is not None
    assert w is not None
    assert r is not None
    if not _usual(call, w) or lengths is not None or rest[2] is not None or x.shape[0] == 0:
        return cast(Sequence[Tensor | None], ops_recurrent.OPS[call.op](call, *inputs))
    bias = w.new_zeros(len(w), 2 * w.shape[1]) if b is None else b
    outputs, finals = [], []
    for index in range(len(w)):
        backward = index == 1 or call.text("direction", "forward") == "reverse"
        weights = [_torch_order(call.op, part) for part in (w[index], r[index])]
        weights += [_torch_order(call.op, half) for half in bias[index].chunk(2)]
        zero = x.new_zeros(1, x.shape[1], r.shape[2])
        states = [zero if s is None else s[index : index + 1] for s in rest[:2]]
        y, final = _one(call, x.flip(0) if backward else x, weights, states)
        outputs.append(y.flip(0) if backward else y)
        finals.append(final)
    last = [torch.cat(states) for states in zip(*finals, strict=True)]
    return [torch.stack(outputs, 1), *last]


def _padded(inputs: Sequence[Tensor | None]) -> list[Tensor | None]:
    return [*inputs, *[None] * (8 - len(inputs))]


def _usual(call: Call, w: Tensor) -> bool:
    defaults = _DEFAULTS[call.op] * len(w)
    given = [name.lower() for name in call.attributes.get("activations", defaults)]
    relu = call.op == "RNN" and given == ["relu"] * len(w)
    reset_after = call.op != "GRU" or bool(call.int("linear_before_reset"))
    plain = not call.has("clip") and not call.int("input_forget")
    return (given == defaults or relu) and reset_after and plain


def _torch_order(op: str, rows: Tensor) -> Tensor:
    gates = rows.chunk(len(_GATES[op]))
    return torch.cat([gates[i] for i in _GATES[op]])


def _one(
    call: Call, x: Tensor, weights: list[Tensor], states: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    # has_biases, layers, dropout, training, bidirectional, batch_first
    how = (True, 1, 0.0, torch.is_grad_enabled(), False, False)
    if call.op == "LSTM":
        y, h, c = torch.lstm(x, states, weights, *how)
        return y, [h, c]
    kind = "gru"
    if call.op == "RNN":
        kind = f"rnn_{call.attributes.get('activations', ['tanh'])[0].lower()}"
    y, h = getattr(torch, kind)(x, states[0], weights, *how)
    return y, [h]
