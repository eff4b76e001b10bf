"""Names in the model are the user's: parameters, module paths, the names that forward returns."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import onnx_ir as ir
from torch.export import ExportedProgram

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir import facts

_SCOPES = "pkg.torch.onnx.name_scopes"


def own_tensors(model: ir.Model) -> None:
    """Copy the weights out of torch, so that training on does not change the model."""
    for name, value in model.graph.initializers.items():
        if value.const_value is not None:
            array = np.array(value.const_value.numpy())
            value.const_value = ir.Tensor(array, dtype=value.const_value.dtype, name=name)
            facts.put(value, facts.SourceName(name))


def name_sources(model: ir.Model) -> None:
    """Give nodes the path of their module as `SourceName`; drop the exporter's notes.

    The notes hold file names and source lines of the machine, which a model should not carry.
    """
    for node in model.graph.all_nodes():
        scopes = node.metadata_props.get(_SCOPES)
        node.metadata_props.clear()
        path = ast.literal_eval(scopes)[:-1] if scopes else []
        if path and path[-1] and not path[-1].startswith("_empty"):  # torch's word for "none"
            facts.put(node, facts.SourceName(path[-1]))
    for value in _values(model):
        for key in [k for k in value.metadata_props if not k.startswith("edgeseq.")]:
            del value.metadata_props[key]
    model.metadata_props.clear()
    model.graph.metadata_props.clear()
    model.producer_name = "edgeseq"
    model.producer_version = None


def _values(model: ir.Model) -> Iterator[ir.Value]:
    yield from model.graph.initializers.values()
    for graph in [model.graph, *model.graph.subgraphs()]:
        yield from graph.inputs
        for node in graph:
            yield from node.outputs


def name_outputs(model: ir.Model, wishes: list[str]) -> None:
    """Name the graph outputs; the name of an input gets `_out`, as a state's new value has it."""
    _separate(model)
    inputs = {str(value.name) for value in model.graph.inputs}
    taken = {str(value.name) for value in _values(model)}
    taken -= {str(value.name) for value in model.graph.outputs}
    for value, wish in zip(model.graph.outputs, wishes, strict=True):
        name = wish = f"{wish}_out" if wish in inputs else wish
        count = 1
        while name in taken:
            count += 1
            name = f"{wish}_{count}"
        taken.add(name)
        value.name = name


def _separate(model: ir.Model) -> None:
    """Give every output a node of its own: not an input, a constant or another output."""
    seen: set[ir.Value] = set()
    for index, value in enumerate(model.graph.outputs):
        if value in seen or value.producer() is None:
            node = ir.node("Identity", [value])
            node.outputs[0].name = f"output_{index}_copy"
            node.outputs[0].type, node.outputs[0].shape = value.type, value.shape
            model.graph.append(node)
            model.graph.outputs[index] = node.outputs[0]
        seen.add(value)


def output_names(program: ExportedProgram, forward: Callable[..., Any] | None) -> list[str]:
    """Return a name for each tensor that forward returns: keys, variables, or a number.

    Raises:
        UnsupportedModelError: forward returns something that is no tensor.
    """
    returned = program.graph_signature.user_outputs
    others = [repr(value) for value in returned if value is not None and not isinstance(value, str)]
    if others:
        raise UnsupportedModelError(
            f"forward returns what is no tensor: {', '.join(others)}",
            why="the outputs of a compiled model are tensors",
            fix="return tensors only, e.g. in a module that wraps this one",
        )
    spec = program.call_spec.out_spec
    names = _tree_names(spec, _returned(forward) if forward is not None else [])
    if len(names) != len(returned):
        names = [None] * len(returned)
    numbers = ["output"] if len(names) == 1 else [f"output_{i}" for i in range(len(names))]
    made = [name or number for name, number in zip(names, numbers, strict=True)]
    return [name for name, value in zip(made, returned, strict=True) if value is not None]


def _tree_names(spec: Any, variables: list[str | None]) -> list[str | None]:
    """Give each leaf of what forward returns the name of its variable or key, numbered inside."""
    if spec is None or spec.is_leaf():
        return variables[:1] or [None]
    parts = spec.children()
    if spec.type is dict:
        variables = [key if str(key).isidentifier() else None for key in spec.context]
    if len(variables) != len(parts):
        return []
    names: list[str | None] = []
    for name, part in zip(variables, parts, strict=True):
        if part.is_leaf():
            names.append(name)
        else:
            names += [name and f"{name}_{i}" for i in range(part.num_leaves)]
    return names


def _returned(forward: Callable[..., Any]) -> list[str | None]:
    """Return the variables in the return statement of a function, None for other expressions."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(forward)))
    except (OSError, TypeError, SyntaxError):
        return []
    returns = [node.value for node in _own_nodes(tree.body[0]) if isinstance(node, ast.Return)]
    forms = {tuple(_variables(value)) for value in returns}
    return list(forms.pop()) if len(forms) == 1 else []


def _variables(value: ast.expr | None) -> list[str | None]:
    if isinstance(value, ast.Tuple | ast.List):
        return [name for part in value.elts for name in _variables(part)]
    return [value.id if isinstance(value, ast.Name) else None]


def _own_nodes(root: ast.AST) -> Iterator[ast.AST]:
    """Walk a function without the functions inside it."""
    for child in ast.iter_child_nodes(root):
        if not isinstance(child, ast.FunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from _own_nodes(child)
