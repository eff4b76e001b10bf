"""GRU, LSTM and RNN whose hidden states are fake-quantized wherever they are multiplied.

The same order of products and sums as in the bodies of `QuantizedGRU`, `QuantizedLSTM` and
`QuantizedRNN`; cells and gates stay in float there, too.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F

from edgeseq.interp.call import Call, Tensor
from edgeseq.interp.ops_recurrent import Direction, Step, directions, run

Quantize = Callable[[Tensor], Tensor]


def recurrent(call: Call, quantize: Quantize, *inputs: Tensor | None) -> list[Tensor]:
    """Run one recurrent node of layout 0: `x` is `[time, batch, input]`, already quantized.

    Args:
        call: The node.
        quantize: Of the state before it is multiplied.
        inputs: As ONNX's operator has them.
    """
    given: list[Tensor | None] = [*inputs[:7], *[None] * (7 - len(inputs))]
    x, w, r, b, lengths, h, c = given
    assert x is not None
    assert w is not None
    assert r is not None
    cell, defaults = _CELLS[call.op]
    states = [h, c] if call.op == "LSTM" else [h]

    def step(direction: Direction, index: int) -> Step:
        del index
        return cell(call, direction, quantize)

    return run(call, x, directions(call, w, r, b, defaults), step, lengths, states)


def _gru(call: Call, d: Direction, quantize: Quantize) -> Step:
    size = d.r.shape[1]
    both, last = (d.r[: 2 * size], d.rb[: 2 * size]), (d.r[2 * size :], d.rb[2 * size :])

    def reset_after(xw: Tensor, states: list[Tensor]) -> list[Tensor]:
        product = F.linear(quantize(states[0]), d.r, d.rb)
        gates = torch.sigmoid(xw[:, : 2 * size] + product[:, : 2 * size])
        z, reset = gates[:, :size], gates[:, size:]
        new = torch.tanh(xw[:, 2 * size :] + reset * product[:, 2 * size :])
        return [torch.lerp(new, states[0], z)]

    def reset_first(xw: Tensor, states: list[Tensor]) -> list[Tensor]:
        gates = torch.sigmoid(xw[:, : 2 * size] + F.linear(quantize(states[0]), *both))
        z, reset = gates[:, :size], gates[:, size:]
        product = F.linear(quantize(reset * states[0]), *last)
        return [torch.lerp(torch.tanh(xw[:, 2 * size :] + product), states[0], z)]

    return reset_after if call.int("linear_before_reset") else reset_first


def _lstm(call: Call, d: Direction, quantize: Quantize) -> Step:
    del call

    def one(xw: Tensor, states: list[Tensor]) -> list[Tensor]:
        h, c = states
        gates = xw + F.linear(quantize(h), d.r, d.rb)
        i, o, forget, cell = gates.chunk(4, 1)
        c = torch.sigmoid(forget) * c + torch.sigmoid(i) * torch.tanh(cell)
        return [torch.sigmoid(o) * torch.tanh(c), c]

    return one


def _rnn(call: Call, d: Direction, quantize: Quantize) -> Step:
    del call
    f = d.activations[0]
    return lambda xw, states: [f(xw + F.linear(quantize(states[0]), d.r, d.rb))]


_CELLS: dict[str, tuple[Callable[[Call, Direction, Quantize], Step], list[str]]] = {
    "GRU": (_gru, ["Sigmoid", "Tanh"]),
    "LSTM": (_lstm, ["Sigmoid", "Tanh", "Tanh"]),
    "RNN": (_rnn, ["Tanh"]),
}
