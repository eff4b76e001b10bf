"""Channels change places, and the model computes what it did: whole-network rearrangement.

A channel is a set of positions that belong together (`ir/channels.py`): the rows that compute it,
the columns that read it, its bias, its place in a state. Channels that lie on the same axes equally
often can be exchanged in all of them at once. What is fixed (an input, an output, what an operator
mixes) keeps its order.
"""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.channels import Channels
from edgeseq.ir.ties import FIXED

Array = npt.NDArray[Any]


def exchangeable(found: Channels) -> list[Array]:
    """Return the sets, of two at least, of channels that weights compute and that may swap."""
    computed = np.unique(np.concatenate([[FIXED], *(found.numbers[a] for a in found.writes)]))
    where: dict[int, list[tuple[int, int]]] = {int(c): [] for c in computed if c != FIXED}
    for place, numbers in enumerate(found.numbers.values()):
        own, counts = np.unique(numbers, return_counts=True)
        for channel, count in zip(own.tolist(), counts.tolist(), strict=True):
            if channel in where:
                where[channel].append((place, count))
    alike: dict[tuple[tuple[int, int], ...], list[int]] = {}
    for channel, places in where.items():
        alike.setdefault(tuple(places), []).append(channel)
    return [np.array(channels) for channels in alike.values() if len(channels) > 1]


def permute(found: Channels, order: Array) -> list[str]:
    """Let channels change places in all weights and initial states of their model, in place.

    Args:
        found: The channels of the model.
        order: For every number of a channel: which channel takes its place. It exchanges those of
            one set of `exchangeable` alone, and `FIXED` stays.

    Returns:
        Names of the states whose positions have moved.
    """
    moved = []
    for axis, numbers in found.numbers.items():
        source = sources(numbers, order)
        if np.array_equal(source, np.arange(len(source))):
            continue
        value = axis.value
        if value.const_value is not None and value.producer() is None:
            taken = np.take(value.const_value.numpy(), source, axis=axis.number)
            value.const_value = ir.tensor(np.ascontiguousarray(taken), name=value.name)
        elif facts.get(value, facts.State) is not None:
            moved.append(str(value.name))
            _permute_start(value, axis.number, source)
    return list(dict.fromkeys(moved))


def sources(numbers: Array, order: Array) -> Array:
    """Return, for each position of an axis, the one whose content moves there.

    A channel that lies on the axis several times (in every gate) keeps the order of its copies.
    """
    by_channel = np.argsort(numbers, kind="stable")
    starts = np.searchsorted(numbers[by_channel], np.arange(len(order)))
    copy = np.empty_like(by_channel)
    copy[by_channel] = np.arange(len(numbers)) - starts[numbers[by_channel]]
    found: Array = by_channel[starts[order[numbers]] + copy]
    return found


def _permute_start(value: ir.Value, number: int, source: Array) -> None:
    """Where a state starts moves along."""
    start = facts.get(value, facts.InitialState)
    if start is None or value.dtype is None or value.shape is None:
        return
    raw = np.frombuffer(base64.b64decode(start.data), value.dtype.numpy())
    raw = np.take(raw.reshape([int(n) for n in value.shape]), source, axis=number)
    data = base64.b64encode(np.ascontiguousarray(raw).tobytes()).decode()
    facts.put(value, facts.InitialState(data))
