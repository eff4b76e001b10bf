"""A program with a frozen length of time -> the same program for any length, where that is certain.

`torch.export` freezes the time of every GRU, LSTM and RNN, so a program made by it alone has the
example's length in all shapes. The program is traced again with that length as a symbol. Tracing
proves that shapes fit, but a number in the program could be a length that Python computed
(`x.sum(1) / x.shape[1]`), and no trace can tell. So a program is generalised only if every number
in it is explained otherwise: an axis, a stride, an epsilon, the size of a reshape that has to
divide the elements at every length, a frame counted from either end, or the shape of an initial
state.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from edgeseq.errors import EdgeseqError, UnsupportedModelError
from edgeseq.frontends import torch_ops
from edgeseq.frontends.torch_capture import capture
from edgeseq.frontends.torch_dynamic import Named, plan
from edgeseq.frontends.torch_errors import trace_line

_WINDOW = {"stride", "padding", "dilation", "groups", "output_padding", "kernel_size"}
_NORMS = {"normalized_shape", "num_groups", "eps", "momentum", "p", "negative_slope"}
_AXES = {"dim", "dims", "dim0", "dim1", "start_dim", "end_dim", "dtype", "layout", "correction"}
_RESHAPES = {"view", "reshape", "_unsafe_view"}
_FACTORIES = {"zeros", "new_zeros"}
_PARTS = {"slice", "select", "narrow"}
_ENDS = {0, 1, -1}
_HARMLESS = {0, 1, -1, 2, 0.5}
_UNLIMITED = 2**62

_aten: Any = torch.ops.aten
_KINDS = {getattr(_aten, kind).input: kind for kind in torch_ops.GATES}


@dataclasses.dataclass(frozen=True)
class Generalised:
    """A program, the dimensions that have names, and what the user should know."""

    program: ExportedProgram
    named: tuple[Named, ...]
    warning: str | None = None


def generalise(program: ExportedProgram, dynamic: Any = None) -> Generalised:
    """Free the time axis of a program where it is frozen and that is certain to be right.

    Args:
        program: Any program of `torch.export`.
        dynamic: Names of dimensions; those that are static in the program must be freed.

    Raises:
        UnsupportedModelError: a dimension in `dynamic` is frozen for good.
    """
    if dynamic:
        return _as_asked(program, dynamic)
    found = _named_symbols(program)
    lengths = {size for node in _recurrent(program) if (size := _length(node)) is not None}
    if found or len(lengths) != 1 or lengths <= {1}:
        return Generalised(program, found)
    (length,) = lengths
    doubts = list(_doubts(program, length))
    if not doubts:
        for wish in _wishes(program, length):
            try:
                return _traced_again(program, length, wish)
            except EdgeseqError:
                continue
    why = doubts[0] if doubts else "other lengths do not fit its shapes"
    return Generalised(program, (), f"time is fixed to {length} steps: {why}; {_way_out()}")


def _as_asked(program: ExportedProgram, dynamic: Any) -> Generalised:
    example = _example(program)
    named = plan(program.module(check_guards=False).forward, example, dynamic).named
    sizes = [value.shape for value in _input_values(program)]
    frozen = {one.name: sizes[one.tensor][one.axis] for one in named}
    frozen = {name: size for name, size in frozen.items() if isinstance(size, int)}
    if not frozen:
        return Generalised(program, named)
    name, length = min(frozen.items())
    doubts = list(_doubts(program, length))
    if len(frozen) > 1 or doubts:
        raise UnsupportedModelError(
            f"dimension '{name}' is frozen to {length} in the program",
            at=doubts,
            why="these numbers could have been computed from it when the program was made"
            if doubts
            else f"only one dimension can be freed, not {', '.join(sorted(frozen))}",
            fix=_way_out(),
        )
    return _traced_again(program, length, dynamic)


def _way_out() -> str:
    return (
        "export it with the dimension dynamic, or give edgeseq the module itself as "
        "package.module:factory"
    )


def _named_symbols(program: ExportedProgram) -> tuple[Named, ...]:
    """Names for the symbols a program has: `T` when there is one, else `<input>_<axis>`."""
    names = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    places = [
        (index, axis, str(size))
        for index, value in enumerate(_input_values(program))
        for axis, size in enumerate(value.shape)
        if isinstance(size, torch.SymInt)
    ]
    symbols = list(dict.fromkeys(symbol for _, _, symbol in places))
    named = []
    for symbol in symbols:
        index, axis, _ = next(place for place in places if place[2] == symbol)
        name = "T" if len(symbols) == 1 else f"{names[index]}_{axis}"
        named.append(Named(index, axis, name, None, None))
    return tuple(named)


def _wishes(program: ExportedProgram, length: int) -> Iterator[dict[str, dict[int, str]]]:
    """Axes that may be time: each one of this length alone, then all of them."""
    names = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    places = [
        (name, axis)
        for name, value in zip(names, _input_values(program), strict=False)
        for axis, size in enumerate(value.shape)
        if size == length
    ]
    for name, axis in places:
        yield {name: {axis: "T"}}
    if len(places) > 1:
        together: dict[str, dict[int, str]] = {}
        for name, axis in places:
            together.setdefault(name, {})[axis] = "T"
        yield together


def _traced_again(program: ExportedProgram, length: int, dynamic: Any) -> Generalised:
    module = program.module(check_guards=False)
    for node in module.graph.nodes:
        if node.target in _KINDS:
            _keep_whole(node, _KINDS[node.target])
        elif _operator(node) in _RESHAPES and _follows(node, length):
            x, sizes, *rest = node.args
            node.args = (x, [-1 if size == length else size for size in sizes], *rest)
    module.recompile()
    again = plan(module.forward, _example(program), dynamic)
    traced = capture(module, again)
    for node in _recurrent(traced):
        if isinstance(_sequence(node), int):
            raise UnsupportedModelError("a recurrent layer has another length", fix=_way_out())
    return Generalised(traced, again.named)


def _keep_whole(node: Node, kind: str) -> None:
    x, hx, params, has_biases, layers, _, _, bidirectional, batch_first = node.args
    flags = (has_biases, layers, bidirectional, batch_first)
    ours: Any = getattr(torch.ops, torch_ops.NAMESPACE)
    if kind == "lstm":
        assert isinstance(hx, Sequence)
        node.target = ours.lstm.default
        node.args = (x, hx[0], hx[1], params, *flags)
    else:
        node.target = ours.rnn.default
        node.args = (x, hx, params, kind, *flags)


def _recurrent(program: ExportedProgram) -> Iterator[Node]:
    ours: Any = getattr(torch.ops, torch_ops.NAMESPACE)
    for node in program.graph.nodes:
        if node.target in _KINDS or node.target in (ours.rnn.default, ours.lstm.default):
            yield node


def _sequence(node: Node) -> int | torch.SymInt:
    x, batch_first = node.args[0], node.args[-1]
    assert isinstance(x, Node)
    size: int | torch.SymInt = x.meta["val"].shape[1 if batch_first else 0]
    return size


def _length(node: Node) -> int | None:
    size = _sequence(node)
    return size if isinstance(size, int) else None


def _input_values(program: ExportedProgram) -> list[torch.Tensor]:
    names = [name for name in program.graph_signature.user_inputs if isinstance(name, str)]
    nodes = {node.name: node for node in program.graph.nodes if node.op == "placeholder"}
    values = [nodes[name].meta["val"] for name in names if name in nodes]
    return [value for value in values if isinstance(value, torch.Tensor)]


def _example(program: ExportedProgram) -> Any:
    args, kwargs = program.example_inputs or ((), {})
    return {**kwargs} if kwargs and not args else args


def _doubts(program: ExportedProgram, length: int) -> Iterator[str]:
    """Lines whose numbers may have been computed from the length."""
    for name in program.graph_signature.inputs_to_lifted_tensor_constants.values():
        yield f"constant '{name}'"
    for node in program.graph.nodes:
        if not isinstance(node.target, torch._ops.OpOverload) or node.target in _KINDS:
            continue
        schema = node.target._schema.arguments
        given = [*zip(schema, node.args, strict=False)]
        given += [(one, node.kwargs[one.name]) for one in schema if one.name in node.kwargs]
        for argument, value in given:
            numbers = list(_numbers(value))
            if numbers and not _explained(node, argument.name, numbers, length):
                line = trace_line(node.meta.get("stack_trace")) or f"node '{node.name}'"
                yield f"{line} (the number {numbers[0]})"


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for part in value:
            yield from _numbers(part)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _explained(node: Node, name: str, numbers: Sequence[float], length: int) -> bool:
    operator = _operator(node)
    if name in _WINDOW | _NORMS | _AXES:
        return True
    if operator in _RESHAPES:
        multiples = [number for number in numbers if number > 1 and number % length == 0]
        return not multiples or _follows(node, length)
    if operator in _PARTS:
        return all(number in _ENDS or number >= _UNLIMITED for number in numbers)
    if operator in _FACTORIES:
        return bool(node.users) and all(_is_initial_state(node, user) for user in node.users)
    return length > 4 and all(number in _HARMLESS for number in numbers)


def _operator(node: Node) -> str:
    """`view` for `aten.view.default`."""
    return str(node.target).split(".")[1] if isinstance(node.target, torch._ops.OpOverload) else ""


def _follows(node: Node, length: int) -> bool:
    """Whether the one size that is the length follows from the others, so that it may be -1."""
    sizes = node.args[1]
    if not isinstance(sizes, list | tuple) or -1 in sizes:
        return False
    multiples = [n for n in sizes if isinstance(n, int) and n > 1 and n % length == 0]
    return multiples == [length]


def _is_initial_state(node: Node, user: Node) -> bool:
    if user.target not in _KINDS:
        return False
    states = user.args[1]
    return node is states or (isinstance(states, Sequence) and node in states)
