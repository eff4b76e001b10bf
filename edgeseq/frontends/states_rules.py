"""The rules that find state pairs; see `states` for what each is worth."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from edgeseq.ir import facts

if TYPE_CHECKING:
    import onnx_ir as ir

Match = tuple["ir.Value", "ir.Value"]
Slot = tuple["ir.Node", int]

_SUFFIXES = ("_out", "_output", "_next", "_new", "_updated", "_n", "_t", "n", "_o", "out", "next")
_PREFIXES = ("new_", "next_", "out_", "output_", "updated_", "present_", "n_")
# Ways to say "before": a suffix, or a prefix; without it the name is the state's stem.
_BEFORE = re.compile(r"^(?:in|prev|previous|old|last|past|init|initial)_(.+)$")
_STATE_WORD = re.compile(r"state|cache|hidden|mem|carry|buf|hist|past|prev|ctx|^[hc]_?0?$")
_BEFORE_END = re.compile(r"^(.+?)(?:_?0|_in|_input|_prev|_previous|_old|_init|_i)$")

# Where a name speaks of a state: the word that turns into one of the others in the output's name.
_BEFORE_WORDS = {"in", "input", "prev", "previous", "old", "last", "past", "init", "initial"}
_AFTER_WORDS = {"out", "output", "next", "new", "present", "updated", "final"}
_WORDS = re.compile(r"[a-z]+|\d+")

# Operators that move data without computing; a state may travel as levels.
_MOVES = {
    "Cast",
    "DequantizeLinear",
    "Flatten",
    "Gather",
    "Identity",
    "QuantizeLinear",
    "Reshape",
    "Slice",
    "Split",
    "Squeeze",
    "Transpose",
    "Unsqueeze",
}
_CUTS = {"Gather", "Slice", "Split"}
# Where initial_h stands; initial_c is the next.
_RECURRENT = {"GRU": 5, "LSTM": 5, "RNN": 5, "LSTMP": 5}
_RECURRENT |= {"QuantizedGRU": 7, "QuantizedLSTM": 7, "QuantizedRNN": 7}


def by_name(
    graph: ir.Graph, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]
) -> list[Match]:
    """Pairs whose names say so.

    The first input and output are usually the data, so `x -> x_out` is not enough for them.
    """
    return [
        (value, output)
        for value, output in _unrivalled(inputs, outputs, named_alike)
        if value is not graph.inputs[0]
        or output is not graph.outputs[0]
        or _STATE_WORD.search(_plain(value.name))
    ]


def by_flow(
    _graph: ir.Graph, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]
) -> list[Match]:
    """Pairs that are the first and the last state of the same recurrent layers."""
    starts = {value: frozenset(_slots_read(value)) for value in inputs}
    ends = {value: frozenset(_slots_written(value)) for value in outputs}
    return _unrivalled(inputs, outputs, lambda a, b: bool(starts[a]) and starts[a] == ends[b])


def by_shape(
    graph: ir.Graph, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]
) -> list[Match]:
    """Pairs that are alone with their shape, taken apart on entry and put together at the end."""
    alone = _unrivalled(inputs, outputs, lambda a, b: _known(a) and b.shape is not None)
    firsts = (graph.inputs[0], graph.outputs[0])
    return [
        (value, output)
        for value, output in alone
        if value is not firsts[0] and output is not firsts[1]
        if is_read_as_state(value) and _is_assembled(output)
    ]


def by_order(
    graph: ir.Graph, inputs: Sequence[ir.Value], outputs: Sequence[ir.Value]
) -> list[Match]:
    """`forward(x, h, cache) -> y, h2, cache2`: all outputs but the first, and the last inputs.

    Sizes must be known and the same, pair by pair, and a name must speak of a state.
    """
    count = len(graph.outputs) - 1
    if not 0 < count < len(graph.inputs):
        return []
    pairs = list(zip(graph.inputs[-count:], graph.outputs[1:], strict=True))
    if not any(_STATE_WORD.search(_plain(value.name)) for value, _ in pairs):
        return []
    if not all(a in inputs and b in outputs and _known(a) and _known(b) for a, b in pairs):
        return []
    return pairs if all(fit(value, output) for value, output in pairs) else []


def fit(value: ir.Value, output: ir.Value) -> bool:
    """Whether an input and an output may be the same state at two times."""
    if facts.get(value, facts.TimeAxis) or facts.get(output, facts.TimeAxis):
        return False
    if value.dtype != output.dtype:
        return False
    if value.shape is None or output.shape is None:
        return True
    if len(value.shape) != len(output.shape):
        return False
    sizes = zip(value.shape, output.shape, strict=True)
    return all(a == b for a, b in sizes if isinstance(a, int) and isinstance(b, int))


def named_alike(value: ir.Value, output: ir.Value) -> bool:
    """Whether the output's name is the input's with a word for `next`."""
    old, new = _plain(value.name), _plain(output.name)
    if new in _successors(old):
        return True
    stems = [match[1] for match in (_BEFORE.match(old), _BEFORE_END.match(old)) if match]
    if any(new == stem or new in _successors(stem) for stem in stems):
        return True
    return _STATE_WORD.search(old) is not None and _one_word_later(old, new)


def _one_word_later(old: str, new: str) -> bool:
    """`enc_in_cache1 -> enc_out_cache1`, and `past_key_values_0_key -> present_0_key`."""
    before = _WORDS.findall(old.replace("past_key_values", "past"))
    after = _WORDS.findall(new.replace("present_key_values", "present"))
    if len(before) != len(after):
        return False
    changes = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    return len(changes) == 1 and changes[0][0] in _BEFORE_WORDS and changes[0][1] in _AFTER_WORDS


def is_read_as_state(value: ir.Value) -> bool:
    """Whether the input starts a recurrent layer, or is only ever read in parts."""
    if any(True for _ in _slots_read(value)):
        return True
    users = [node for node in value.consumers() if node.op_type != "Shape"]
    return len(users) > 1 and all(node.op_type in _CUTS for node in users)


def _unrivalled(
    inputs: Iterable[ir.Value],
    outputs: Iterable[ir.Value],
    alike: Callable[[ir.Value, ir.Value], bool],
) -> list[Match]:
    """Pairs that fit and are alike, where neither side has a second partner."""
    matches = [(a, b) for a in inputs for b in outputs if fit(a, b) and alike(a, b)]
    firsts, seconds = [a for a, _ in matches], [b for _, b in matches]
    return [(a, b) for a, b in matches if firsts.count(a) == 1 and seconds.count(b) == 1]


def _plain(name: str | None) -> str:
    return re.sub(r":\d+$", "", name or "").replace(".", "_").replace("-", "_").lower()


def _successors(stem: str) -> set[str]:
    return {stem + suffix for suffix in _SUFFIXES} | {prefix + stem for prefix in _PREFIXES}


def _known(value: ir.Value) -> bool:
    return value.shape is not None and all(isinstance(dim, int) for dim in value.shape)


def _slots_read(value: ir.Value) -> Iterator[Slot]:
    """The state inputs of recurrent nodes that this value reaches unchanged."""
    for node, index in value.uses():
        slot = _state_slot(node, index)
        if slot is not None:
            yield node, slot
        elif node.op_type in _MOVES and index == 0:
            for output in node.outputs:
                yield from _slots_read(output)


def _slots_written(value: ir.Value) -> Iterator[Slot]:
    """The state outputs of recurrent nodes that this value consists of."""
    node = value.producer()
    if node is None:
        return
    index = node.outputs.index(value)
    if node.op_type in _RECURRENT:
        if index:
            yield node, index - 1
    elif node.op_type == "Scan":
        if index < _carried(node):
            yield node, index
    elif node.op_type in _MOVES or node.op_type == "Concat":
        parts = node.inputs if node.op_type == "Concat" else node.inputs[:1]
        for part in parts:
            if part is not None:
                yield from _slots_written(part)


def _state_slot(node: ir.Node, index: int) -> int | None:
    """Which state of a recurrent node this input starts, if it does."""
    if node.op_type in _RECURRENT:
        first = _RECURRENT[node.op_type]
        return index - first if index >= first else None
    if node.op_type == "Scan":
        return index if index < _carried(node) else None
    return None


def _carried(scan: ir.Node) -> int:
    return len(scan.inputs) - int(scan.attributes["num_scan_inputs"].as_int())


def _is_assembled(value: ir.Value) -> bool:
    """Whether the output is made of parts."""
    node = value.producer()
    while node is not None and node.op_type in _MOVES and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type in ("Concat", "ScatterND", "ScatterElements")
