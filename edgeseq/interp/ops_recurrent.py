"""RNN, GRU and LSTM: every direction, layout, activation and optional input of the standard.

All three run the same loop; they differ in one step. Weights are ONNX's: `W` [directions, gates *
hidden, input], `R` [directions, gates * hidden, hidden], `B` [directions, 2 * gates * hidden].
"""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: ARG001, D103

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator

import torch
import torch.nn.functional as F

from edgeseq.interp.call import Call, Op, Tensor, as_list
from edgeseq.interp.ops_index import reverse_by_length

Activation = Callable[[Tensor], Tensor]
Step = Callable[[Tensor, list[Tensor]], list[Tensor]]  # (x W^T, states) -> states, hidden first


@dataclasses.dataclass(frozen=True)
class Direction:
    """The weights of one direction: `wb` and `rb` are the two halves of the bias."""

    w: Tensor
    r: Tensor
    wb: Tensor
    rb: Tensor
    activations: list[Activation]


def rnn(
    call: Call,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
) -> list[Tensor]:
    def step(d: Direction, index: int) -> Step:
        clip, f = _clip(call), d.activations[0]
        return lambda xw, s: [f(clip(xw + F.linear(s[0], d.r) + d.rb))]

    return run(call, x, directions(call, w, r, b, ["Tanh"]), step, lengths, [h0])


def gru(
    call: Call,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
) -> list[Tensor]:
    after = bool(call.int("linear_before_reset"))

    def step(d: Direction, index: int) -> Step:
        clip, (f, g) = _clip(call), d.activations
        size = d.r.shape[1]
        r_zr, r_h = d.r[: 2 * size], d.r[2 * size :]
        b_zr, b_h = d.rb[: 2 * size], d.rb[2 * size :]

        def one(xw: Tensor, states: list[Tensor]) -> list[Tensor]:
            h = states[0]
            gates = f(clip(xw[:, : 2 * size] + F.linear(h, r_zr, b_zr)))
            z, reset = gates[:, :size], gates[:, size:]
            inner = reset * F.linear(h, r_h, b_h) if after else F.linear(reset * h, r_h, b_h)
            return [(1 - z) * g(clip(xw[:, 2 * size :] + inner)) + z * h]

        return one

    return run(call, x, directions(call, w, r, b, ["Sigmoid", "Tanh"]), step, lengths, [h0])


def lstm(
    call: Call,
    x: Tensor,
    w: Tensor,
    r: Tensor,
    b: Tensor | None = None,
    lengths: Tensor | None = None,
    h0: Tensor | None = None,
    c0: Tensor | None = None,
    peepholes: Tensor | None = None,
) -> list[Tensor]:
    coupled = bool(call.int("input_forget"))

    def step(d: Direction, index: int) -> Step:
        clip, (f, g, last) = _clip(call), d.activations
        zero = d.r.new_zeros(3 * d.r.shape[1])
        p_i, p_o, p_f = (zero if peepholes is None else peepholes[index]).chunk(3)

        def one(xw: Tensor, states: list[Tensor]) -> list[Tensor]:
            h, c = states
            i, o, forget, cell = (xw + F.linear(h, d.r, d.rb)).chunk(4, 1)
            i = f(clip(i + p_i * c))
            forget = 1 - i if coupled else f(clip(forget + p_f * c))
            c = forget * c + i * g(clip(cell))
            return [f(clip(o + p_o * c)) * last(c), c]

        return one

    both = directions(call, w, r, b, ["Sigmoid", "Tanh", "Tanh"])
    return run(call, x, both, step, lengths, [h0, c0])


def run(
    call: Call,
    x: Tensor,
    chains: list[Direction],
    step: Callable[[Direction, int], Step],
    lengths: Tensor | None,
    initial: list[Tensor | None],
) -> list[Tensor]:
    """Run all directions and lay the results out as the node asks: [Y, Y_h(, Y_c)]."""
    by_batch = call.int("layout") == 1
    x = x.transpose(0, 1) if by_batch else x
    ends = as_list(lengths) or [x.shape[0]] * x.shape[1]
    outputs, finals = [], []
    for index, direction in enumerate(chains):
        backward = index == 1 or call.text("direction", "forward") == "reverse"
        hidden = direction.r.shape[1]
        states = [_initial(s, index, x, hidden, by_batch) for s in initial]
        xs = reverse_by_length(x, ends, 0, 1) if backward else x
        y, states = _loop(xs, direction, step(direction, index), ends, states)
        outputs.append(reverse_by_length(y, ends, 0, 1) if backward else y)
        finals.append(states)
    y = torch.stack(outputs, 1)  # [time, directions, batch, hidden]
    last = [torch.stack(s, 0) for s in zip(*finals, strict=True)]
    if by_batch:
        return [y.permute(2, 0, 1, 3), *(s.transpose(0, 1) for s in last)]
    return [y, *last]


def _loop(
    x: Tensor, d: Direction, step: Step, ends: list[int], states: list[Tensor]
) -> tuple[Tensor, list[Tensor]]:
    ragged = any(end != x.shape[0] for end in ends)
    end = torch.tensor(ends).reshape(-1, 1)
    rows = []
    for t, xw in enumerate(F.linear(x, d.w, d.wb)):
        new = step(xw, states)
        row = new[0]
        if ragged:  # a row past its end keeps its state and gives zeros
            new = [torch.where(t < end, n, s) for n, s in zip(new, states, strict=True)]
            row = torch.where(t < end, row, torch.zeros_like(row))
        states = new
        rows.append(row)
    shape = (0, x.shape[1], d.r.shape[1])
    return (torch.stack(rows) if rows else x.new_zeros(shape)), states


def _initial(state: Tensor | None, index: int, x: Tensor, hidden: int, by_batch: bool) -> Tensor:
    if state is None:
        return x.new_zeros(x.shape[1], hidden)
    return state[:, index] if by_batch else state[index]


def directions(
    call: Call, w: Tensor, r: Tensor, b: Tensor | None, defaults: list[str]
) -> list[Direction]:
    """Take the weights apart, one direction after the other."""
    count = w.shape[0]
    bias = w.new_zeros(count, 2 * w.shape[1]) if b is None else b
    kinds = [name.lower() for name in call.attributes.get("activations", defaults * count)]
    alphas = iter(call.attributes.get("activation_alpha", ()))
    betas = iter(call.attributes.get("activation_beta", ()))
    functions = [_activation(kind, alphas, betas) for kind in kinds]
    size = len(defaults)
    halves = [bias[i].chunk(2) for i in range(count)]
    return [
        Direction(w[i], r[i], wb, rb, functions[i * size : (i + 1) * size])
        for i, (wb, rb) in enumerate(halves)
    ]


def _clip(call: Call) -> Activation:
    limit = call.float("clip", math.inf)
    return (lambda x: x) if limit == math.inf else (lambda x: x.clamp(-limit, limit))


def _activation(kind: str, alphas: Iterator[float], betas: Iterator[float]) -> Activation:
    """Build an activation; those with parameters take theirs from the lists, in order."""
    plain: dict[str, Activation] = {
        "relu": torch.relu,
        "tanh": torch.tanh,
        "sigmoid": torch.sigmoid,
        "softsign": F.softsign,
        "softplus": lambda x: torch.logaddexp(x, torch.zeros_like(x)),
    }
    if kind in plain:
        return plain[kind]
    defaults = {
        "affine": (1.0, 0.0),
        "leakyrelu": (0.01, 0.0),
        "thresholdedrelu": (1.0, 0.0),
        "scaledtanh": (1.0, 1.0),
        "hardsigmoid": (0.2, 0.5),
        "elu": (1.0, 0.0),
    }
    alpha = next(alphas, defaults[kind][0])
    beta = (
        next(betas, defaults[kind][1]) if kind in ("affine", "scaledtanh", "hardsigmoid") else 0.0
    )
    parameterised: dict[str, Activation] = {
        "affine": lambda x: alpha * x + beta,
        "leakyrelu": lambda x: F.leaky_relu(x, alpha),
        "thresholdedrelu": lambda x: torch.where(x > alpha, x, torch.zeros_like(x)),
        "scaledtanh": lambda x: alpha * torch.tanh(beta * x),
        "hardsigmoid": lambda x: (alpha * x + beta).clamp(0, 1),
        "elu": lambda x: F.elu(x, alpha),
    }
    return parameterised[kind]


OPS: dict[str, Op] = {"GRU": gru, "LSTM": lstm, "RNN": rnn}
