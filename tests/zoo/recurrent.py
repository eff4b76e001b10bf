"""One recurrent layer or cell in every variant, bare."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import Tensor, nn

Made = tuple[nn.Module, tuple[Any, ...], dict[str, Any] | None]

INPUT, HIDDEN = 5, 7


@dataclasses.dataclass(frozen=True)
class Variant:
    """How a recurrent layer is set up and called.

    Args:
        kind: `gru`, `lstm`, `rnn_tanh` or `rnn_relu`.
        layers: Stacked layers.
        bidirectional: Both directions.
        bias: With biases.
        batch_first: [B, T, I] instead of [T, B, I].
        batch: Batch size; 0: unbatched, [T, I].
        state: The initial state is an input.
        projection: Size of the LSTM's projection, or 0.
    """

    kind: str = "gru"
    layers: int = 1
    bidirectional: bool = False
    bias: bool = True
    batch_first: bool = False
    batch: int = 1
    state: bool = False
    projection: int = 0

    def __str__(self) -> str:
        """Name the parts that differ from the plain layer."""
        parts = [self.kind, f"l{self.layers}" if self.layers > 1 else ""]
        parts += ["bidir" if self.bidirectional else "", "" if self.bias else "nobias"]
        parts += ["bf" if self.batch_first else "", f"b{self.batch}" if self.batch != 1 else ""]
        parts += ["state" if self.state else "", f"p{self.projection}" if self.projection else ""]
        return "-".join(part for part in parts if part)

    @property
    def time_axis(self) -> int:
        """Axis of time in the input."""
        return 1 if self.batch_first and self.batch else 0

    def make_input(self, steps: int) -> Tensor:
        """Return random input of this length."""
        shape = [steps, self.batch, INPUT] if self.batch else [steps, INPUT]
        x = torch.randn(shape)
        return x.transpose(0, 1).contiguous() if self.time_axis else x

    def make_states(self) -> tuple[Tensor, ...]:
        """Return random initial states."""
        rows = self.layers * (2 if self.bidirectional else 1)
        sizes = [self.projection or HIDDEN, HIDDEN][: 2 if self.kind == "lstm" else 1]
        batch = [self.batch] if self.batch else []
        return tuple(torch.randn([rows, *batch, size]) for size in sizes)


def _layer(variant: Variant) -> nn.RNNBase:
    options: dict[str, Any] = {
        "num_layers": variant.layers,
        "bidirectional": variant.bidirectional,
        "bias": variant.bias,
        "batch_first": variant.batch_first,
        "dropout": 0.3 if variant.layers > 1 else 0.0,
    }
    if variant.kind == "gru":
        return nn.GRU(INPUT, HIDDEN, **options)
    if variant.kind == "lstm":
        return nn.LSTM(INPUT, HIDDEN, proj_size=variant.projection, **options)
    return nn.RNN(INPUT, HIDDEN, nonlinearity=variant.kind.removeprefix("rnn_"), **options)


class Layer(nn.Module):
    """The layer alone; the states of an LSTM are separate arguments and results."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.core = _layer(variant)

    def forward(self, x: Tensor, h: Tensor | None = None, c: Tensor | None = None) -> Any:
        state = (h, c) if c is not None else h
        y, last = self.core(x, state)
        return (y, *last) if isinstance(last, tuple) else (y, last)


def layer(variant: Variant, steps: int = 11) -> Made:
    """Return the variant with a dynamic time axis."""
    torch.manual_seed(0)
    states = variant.make_states() if variant.state else ()
    dynamic = {"x": {variant.time_axis: "T"}}
    return Layer(variant), (variant.make_input(steps), *states), dynamic


class Cell(nn.Module):
    """A cell that is one step of a stream."""

    def __init__(self, kind: str, bias: bool) -> None:
        super().__init__()
        if kind == "gru":
            self.core: nn.RNNCellBase = nn.GRUCell(INPUT, HIDDEN, bias)
        elif kind == "lstm":
            self.core = nn.LSTMCell(INPUT, HIDDEN, bias)
        else:
            self.core = nn.RNNCell(INPUT, HIDDEN, bias, kind.removeprefix("rnn_"))

    def forward(self, x: Tensor, h: Tensor, c: Tensor | None = None) -> Any:
        return self.core(x, h if c is None else (h, c))


def cell(kind: str, bias: bool = True, batch: int | None = 3) -> Made:
    """Return a cell with given states; `batch=None`: unbatched."""
    torch.manual_seed(0)
    lead = [] if batch is None else [batch]
    states = tuple(torch.randn([*lead, HIDDEN]) for _ in range(2 if kind == "lstm" else 1))
    return Cell(kind, bias), (torch.randn([*lead, INPUT]), *states), None


def sweep() -> list[Variant]:
    """Every kind with every option on its own, and the options together."""
    made = []
    for kind in ("gru", "lstm", "rnn_tanh", "rnn_relu"):
        made += [
            Variant(kind),
            Variant(kind, layers=3),
            Variant(kind, bidirectional=True),
            Variant(kind, bias=False),
            Variant(kind, batch_first=True, batch=2),
            Variant(kind, batch=0),
            Variant(kind, state=True),
            Variant(kind, batch=0, state=True, bidirectional=True),
            Variant(kind, 2, True, False, True, 3, True),
        ]
    made += [
        Variant("lstm", projection=3),
        Variant("lstm", projection=3, bias=False, state=True),
        Variant("lstm", 2, True, True, True, 2, True, 4),
        Variant("lstm", 2, True, projection=2, batch=0),
    ]
    return made
