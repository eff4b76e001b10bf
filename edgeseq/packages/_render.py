"""Templates of a package, and how sizes and names look in other languages."""

from __future__ import annotations

import ast
import re
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

if TYPE_CHECKING:
    from edgeseq.lower.interface import Interface, Tensor


def environment(package: str) -> jinja2.Environment:
    """The templates of `edgeseq.packages.<package>`."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(str(files(f"edgeseq.packages.{package}")))),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,
    )


def elements(interface: Interface, tensor: Tensor, divide: str) -> str:
    """Elements of a tensor in a call of `T` steps, as an expression.

    Args:
        interface: The model: one that is a single step has T of everything.
        tensor: An input or output.
        divide: How the language writes a division that rounds down, e.g. `Math.floor({a} / {b})`.
    """
    size = tensor.elements()
    text = size.c() if interface.graph else f"T * {size.c()}"
    return _written(ast.parse(text, mode="eval").body, divide)


def _written(node: ast.expr, divide: str) -> str:
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.Name):
        return node.id
    assert isinstance(node, ast.BinOp), ast.dump(node)
    a, b = _written(node.left, divide), _written(node.right, divide)
    if isinstance(node.op, ast.Div):
        return divide.format(a=a, b=b)
    sign = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*"}[type(node.op)]
    return f"({a} {sign} {b})"


def camel(text: str) -> str:
    """`my_model` -> `MyModel`."""
    return "".join(part[:1].upper() + part[1:] for part in re.split(r"_+", text) if part)


def facts(interface: Interface) -> dict[str, Any]:
    """What every template may use."""
    import edgeseq

    return {
        "m": interface.name,
        "M": interface.name.upper(),
        "Name": camel(interface.name),
        "version": edgeseq.__version__,
        "hash": interface.model_hash,
        "interface": interface,
    }
