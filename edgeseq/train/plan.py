"""In which order, and how, the nodes of a model run over many frames.

A frame is one run of the model: a step of a step model, a chunk of one with a time axis. The nodes
form a graph in which an edge is a value used in the same frame or, through a delay, in the next.
What lies on no cycle runs for all frames at once; a GRU, LSTM or RNN whose state goes only round
itself runs as a sequence; the other cycles are run frame by frame, and hold those nodes alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.interp.program import Program, Step
from edgeseq.train.delays import Delay, recurrent


@dataclasses.dataclass(frozen=True)
class OwnState:
    """A recurrent node whose states only it writes and reads."""

    step: Step
    states: tuple[Delay, ...]


@dataclasses.dataclass(frozen=True)
class Cycle:
    """Nodes and delays that need their own values of the frame before, in order."""

    items: tuple[Step | Delay, ...]


Item = Step | Delay
Part = Step | Delay | OwnState | Cycle


def make(
    program: Program, delays: Sequence[Delay], states: Collection[ir.Value], kept: Collection[str]
) -> list[Part]:
    """Return what to run, in order; what nobody needs is left out.

    Args:
        program: The nodes.
        delays: All its delays.
        states: The state inputs.
        kept: Outputs wanted for every frame; of the others' sources the last frame will do.
    """
    outputs = {value for value in program.outputs if value.name in kept}
    last = [v for delay in delays if delay.value in states for v in delay.sources]
    wanted = [*outputs, *last]
    by_value = {delay.value: delay for delay in delays}
    owned = ((step, _own_states(step, by_value)) for step in program.steps)
    closed = {id(step): OwnState(step, own) for step, own in owned if own is not None}
    producers: dict[ir.Value, Item] = {v: s for s in program.steps for v in s.outputs}
    producers |= by_value
    place = {id(step): i for i, step in enumerate(program.steps)}

    def used(item: Item) -> Iterable[ir.Value | None]:
        return reads(closed.get(id(item), item) if isinstance(item, Step) else item)

    def needs(item: Item) -> list[Item]:
        return [producers[v] for v in used(item) if v in producers]

    while True:
        groups = _components([producers[v] for v in wanted if v in producers], needs)
        # Sequences give the cells of an LSTM after the last frame only.
        read = {v for group in groups for item in group for v in used(item)} | outputs
        open_ = [key for key, own in closed.items() if read & {*own.step.outputs[2:]}]
        if not open_:
            break
        for key in open_:
            del closed[key]
    parts: list[Part] = []
    for group in groups:
        alone = group[0]
        if len(group) == 1 and not any(n is alone for n in needs(alone)):
            parts.append(alone if isinstance(alone, Delay) else closed.get(id(alone), alone))
        else:
            parts.append(Cycle(tuple(sorted(group, key=lambda i: place.get(id(i), -1)))))
    return parts


def writes(part: Part) -> list[ir.Value]:
    """Return the values a part computes."""
    if isinstance(part, Delay):
        return [part.value]
    if isinstance(part, OwnState):
        return list(part.step.outputs)
    if isinstance(part, Cycle):
        return [value for item in part.items for value in writes(item)]
    return list(part.outputs)


def steps(part: Part) -> list[Step]:
    """Return the nodes of a part."""
    items = part.items if isinstance(part, Cycle) else (part,)
    nodes = [item.step if isinstance(item, OwnState) else item for item in items]
    return [node for node in nodes if not isinstance(node, Delay)]


def needed(part: Part) -> list[ir.Value]:
    """Return the values a part is computed from."""
    items = part.items if isinstance(part, Cycle) else (part,)
    return [value for item in items for value in reads(item) if value is not None]


def reads(item: Step | Delay | OwnState) -> Iterable[ir.Value | None]:
    """Return the values an item is computed from."""
    if isinstance(item, Delay):
        return item.sources
    if isinstance(item, OwnState):
        return item.step.inputs[:5]
    return (*item.inputs, *captured(item))


def captured(step: Step) -> list[ir.Value]:
    """Return the values around it that the bodies of a node use."""
    found: list[ir.Value] = []
    for body in step.call.attributes.values():
        if isinstance(body, Program):
            own = {*body.inputs, *(v for inner in body.steps for v in inner.outputs)}
            used = [*body.outputs, *(v for i in body.steps for v in (*i.inputs, *captured(i)))]
            found += [v for v in used if v is not None and v not in own]
    return found


def _own_states(step: Step, delays: Mapping[ir.Value, Delay]) -> tuple[Delay, ...] | None:
    """Return the delays of a recurrent node over one step that carries only its own states."""
    if not recurrent(step) or len(step.inputs) < 6 or step.call.text("direction") == "reverse":
        return None
    x, count = step.inputs[0], 2 if step.call.op == "LSTM" else 1
    time_axis = 1 if step.call.int("layout") else 0
    one = x is not None and x.shape is not None and x.shape[time_axis] == 1
    if not one or step.call.text("direction") == "bidirectional" or step.inputs[4] is not None:
        return None
    made = [step.outputs[:2], step.outputs[2:3]]  # over one step Y equals Y_h
    found = []
    for value, own in zip(step.inputs[5 : 5 + count], made, strict=False):
        delay = delays.get(value) if value is not None else None
        if delay is None or len(delay.sources) != 1 or delay.sources[0] not in own:
            return None
        if not np.array_equal(delay.index, np.arange(len(delay.index))):
            return None
        found.append(delay)
    return tuple(found) if len(found) == count else None


def _components(roots: Sequence[Item], needs: Callable[[Item], list[Item]]) -> list[list[Item]]:
    """Return the strongly connected components, each after those it needs (Tarjan)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    stack: list[Item] = []
    waiting: set[int] = set()
    found: list[list[Item]] = []
    for root in roots:
        work = [(root, iter(needs(root)))] if id(root) not in number else []
        if work:
            number[id(root)] = low[id(root)] = len(number)
            stack.append(root)
            waiting.add(id(root))
        while work:  # not recursive: chains of nodes are longer than Python's stack
            item, rest = work[-1]
            below = next(rest, None)
            if below is None:
                work.pop()
                if work:
                    above = id(work[-1][0])
                    low[above] = min(low[above], low[id(item)])
                if low[id(item)] == number[id(item)]:
                    group: list[Item] = []
                    while not group or group[-1] is not item:
                        group.append(stack.pop())
                        waiting.discard(id(group[-1]))
                    found.append(group)
            elif id(below) not in number:
                number[id(below)] = low[id(below)] = len(number)
                stack.append(below)
                waiting.add(id(below))
                work.append((below, iter(needs(below))))
            elif id(below) in waiting:
                low[id(item)] = min(low[id(item)], number[id(below)])
    return found
