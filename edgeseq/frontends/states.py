"""Which inputs are states: after a step, a state takes the value of an output.

Four rules, in this order; each marks only pairs that nothing else competes for (`states_rules`):

1. names: `conv_cache -> conv_cache_out`, `state -> stateN`, `h0 -> hn`, `past_k -> present_k`;
2. flow: the input is the initial state of recurrent layers whose last state is the output;
3. shape: the only input and output of one shape and type, neither of them the first, where the
   input is read in slices and the output put together again, as packed states are;
4. order: all outputs but the first are as large as the last inputs, one by one, and the name of an
   input speaks of a state: `forward(x, h, c) -> y, h2, c2`.

Shapes and types must agree everywhere; a dimension that is not known agrees with all. An axis of
time is never a state. When the rules would leave no input for data, they mark nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgeseq.errors import UsageError
from edgeseq.frontends import states_rules
from edgeseq.ir import facts
from edgeseq.registry import hint

if TYPE_CHECKING:
    import onnx_ir as ir

Pair = tuple[str, str]


def mark_states(model: ir.Model, pairs: Sequence[str] | None = None) -> list[Pair]:
    """Put `State` on the inputs that are states.

    May be called again when more shapes are known; what is marked stays marked.

    Args:
        model: The model.
        pairs: The user's own, each `input=output`: then these are the states and no others. An
            empty list says that there are none.

    Returns:
        All pairs of input and output, in the order of the inputs.

    Raises:
        UsageError: a pair that is malformed, names what is not there, or does not fit.
    """
    if pairs is not None:
        _mark_given(model, pairs)
    else:
        _mark_found(model)
    return _marked(model)


def ambiguities(model: ir.Model) -> list[str]:
    """Say of each unmarked input that looks like a state why it was left alone."""
    inputs, outputs = _open(model)
    lines = []
    for value in inputs:
        rivals = [out for out in outputs if states_rules.fit(value, out)]
        named = [out for out in rivals if states_rules.named_alike(value, out)]
        if named:
            lines.append(_unclear(value, named, "by name"))
        elif value is not model.graph.inputs[0] and states_rules.is_read_as_state(value) and rivals:
            lines.append(_unclear(value, rivals, "by shape"))
    return lines


def _unclear(value: ir.Value, outputs: Sequence[ir.Value], how: str) -> str:
    names = " or ".join(f"'{out.name}'" for out in outputs)
    return (
        f"input '{value.name}' could be a state that continues as {names} ({how}); "
        f"say so with --state {value.name}={outputs[0].name}"
    )


def _marked(model: ir.Model) -> list[Pair]:
    found = [(value, facts.get(value, facts.State)) for value in model.graph.inputs]
    return [(str(value.name), fact.output) for value, fact in found if fact is not None]


def _open(model: ir.Model) -> tuple[list[ir.Value], list[ir.Value]]:
    """Return the inputs and outputs that no state has."""
    marked = dict(_marked(model))
    inputs = [v for v in model.graph.inputs if v.name not in marked]
    outputs = [v for v in model.graph.outputs if v.name not in marked.values()]
    return inputs, outputs


def _mark_found(model: ir.Model) -> None:
    rules = (
        states_rules.by_name,
        states_rules.by_flow,
        states_rules.by_shape,
        states_rules.by_order,
    )
    for rule in rules:
        inputs, outputs = _open(model)
        found = rule(model.graph, inputs, outputs)
        if len(found) == len(inputs) and found:
            continue  # no data would be left: at least one of these is data
        for value, output in found:
            facts.put(value, facts.State(str(output.name)))


def _mark_given(model: ir.Model, pairs: Sequence[str]) -> None:
    inputs = {str(value.name): value for value in model.graph.inputs}
    outputs = {str(value.name): value for value in model.graph.outputs}
    chosen: dict[str, str] = {}
    for pair in pairs:
        name, output = _split(pair)
        if name not in inputs:
            raise UsageError(f"--state {pair}: no input '{name}'", fix=hint(name, inputs))
        if output not in outputs:
            raise UsageError(f"--state {pair}: no output '{output}'", fix=hint(output, outputs))
        if name in chosen or output in chosen.values():
            twice = f"input '{name}'" if name in chosen else f"output '{output}'"
            raise UsageError(f"--state {pair}: {twice} is already in another pair")
        if not states_rules.fit(inputs[name], outputs[output]):
            raise UsageError(
                f"--state {pair}: a state and its next value must be alike",
                at=[_describe(inputs[name]), _describe(outputs[output])],
            )
        chosen[name] = output
    for name, value in inputs.items():
        facts.drop(value, facts.State)
        if name in chosen:
            facts.put(value, facts.State(chosen[name]))


def _split(pair: str) -> Pair:
    name, equals, output = pair.partition("=")
    if not equals or not name or not output:
        raise UsageError(f"--state {pair}: not a pair", fix="write it as input=output")
    return name, output


def _describe(value: ir.Value) -> str:
    shape = "unknown shape" if value.shape is None else f"[{', '.join(map(str, value.shape))}]"
    return f"'{value.name}' {value.dtype} {shape}"
