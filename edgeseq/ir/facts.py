"""Facts about values and models: frozen dataclasses kept in `metadata_props`.

They survive a save and a load, because `metadata_props` is part of the ONNX file. A fact is read
with `get(value, State)` and written with `put(value, State(...))`.
"""

from __future__ import annotations

import dataclasses
import json
from typing import Any, Protocol, TypeVar


class HasMetadata(Protocol):
    """A value, node or model of onnx_ir."""

    @property
    def metadata_props(self) -> dict[str, str]:
        """Free text by key, saved with the model."""


@dataclasses.dataclass(frozen=True)
class State:
    """This graph input is a state: after a step it takes the value of graph output `output`."""

    output: str


@dataclasses.dataclass(frozen=True)
class TimeAxis:
    """Axis `axis` of this graph input or output is time; its length is the symbol `symbol`."""

    axis: int
    symbol: str


@dataclasses.dataclass(frozen=True)
class SourceName:
    """The user's own name of this tensor or node, e.g. `encoder.gru.weight_hh_l0`."""

    name: str


@dataclasses.dataclass(frozen=True)
class DimRange:
    """On a model: symbolic dimension `symbol` lies in [`low`, `high`]."""

    symbol: str
    low: int
    high: int


@dataclasses.dataclass(frozen=True)
class InitialState:
    """On a state input that does not start at zero: its first value, little-endian, base64."""

    data: str


@dataclasses.dataclass(frozen=True)
class NotStreamable:
    """On a model with a time axis that cannot run step by step: why, and which node says so."""

    node: str
    reason: str


@dataclasses.dataclass(frozen=True)
class Streamable:
    """On a model with a time axis: all that it remembers is in its states."""


@dataclasses.dataclass(frozen=True)
class Warnings:
    """On a model: what the frontend found suspicious, one line each."""

    text: str


@dataclasses.dataclass(frozen=True)
class Sparsity:
    """On a weight: its zeros follow `pattern` (see `ir/patterns.py`); `density` is what is stored.

    A weight of several linear maps (the gates of a GRU) has one pattern; the density is their mean.
    """

    pattern: str
    density: float


Fact = TypeVar(
    "Fact",
    State,
    TimeAxis,
    SourceName,
    DimRange,
    InitialState,
    NotStreamable,
    Streamable,
    Warnings,
    Sparsity,
)
AnyFact = (
    State
    | TimeAxis
    | SourceName
    | DimRange
    | InitialState
    | NotStreamable
    | Streamable
    | Warnings
    | Sparsity
)


def put(holder: HasMetadata, fact: AnyFact) -> None:
    """Attach a fact, replacing one of the same kind."""
    holder.metadata_props[_key(type(fact))] = json.dumps(dataclasses.asdict(fact), sort_keys=True)


def get(holder: HasMetadata, kind: type[Fact]) -> Fact | None:
    """Return the fact of this kind, or None."""
    text = holder.metadata_props.get(_key(kind))
    return None if text is None else kind(**json.loads(text))


def drop(holder: HasMetadata, kind: type[Any]) -> None:
    """Remove the fact of this kind, if there is one."""
    holder.metadata_props.pop(_key(kind), None)


def _key(kind: type[Any]) -> str:
    return f"edgeseq.{kind.__name__}"
