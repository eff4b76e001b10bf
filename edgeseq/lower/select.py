"""Which nodes become calls of hand-written kernels, and why.

Each `select_<family>.py` offers `OPS` and `choose(node, shapes, users) -> Choice | str`: a choice,
or the reason why there is none. Families are asked in order; a node that none takes goes to TVM,
and `inspect --why` shows what the last one said.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.errors import UnsupportedModelError
from edgeseq.ir.origins import origins
from edgeseq.kernels._family import Kernel, Role
from edgeseq.lower.costs import Costing, CostTable
from edgeseq.lower.rows import Rows
from edgeseq.lower.size import Size

Array = npt.NDArray[Any]
Dim = int | str
# (operand, sizes, count, row and stride in bytes) -> changed sizes, or None
Restride = Callable[[int, Mapping[str, int], int, int, int], Mapping[str, int] | None]
_FAMILIES = (
    *("recurrent", "quantized", "fourier", "linear", "convolution", "convolution_i8"),
    *("cumsum", "scan", "scatter", "topk"),
)


@dataclasses.dataclass(frozen=True, eq=False)
class Choice:
    """A hand-written kernel in place of one or more nodes.

    Args:
        node: The node that it computes (the first, where it covers several).
        kernel: The kernel.
        sizes: Its int parameters; a Size where it depends on time.
        inputs: Values for the IN arguments in order; None passes NULL.
        consts: Packed arrays for the CONST arguments in order; None passes NULL.
        outputs: Values that it produces, in the order of the OUT arguments; None passes NULL.
        covers: Further nodes that it computes.
        in_place: The kernel allows its state inputs and outputs to be the same memory.
        why: Why this kernel, for `inspect --why`.
        read_rows: Sizes with which it reads operand i as rows in place, or None.
        write_rows: The same for result i.
        cuts: Outputs between which the shares of threads lie, 0 and all of them included; (): one
            thread computes it.
    """

    node: ir.Node
    kernel: Kernel
    sizes: Mapping[str, Size]
    inputs: tuple[ir.Value | None, ...]
    consts: tuple[Array | None, ...]
    outputs: tuple[ir.Value | None, ...]
    covers: tuple[ir.Node, ...] = ()
    in_place: bool = False
    why: str = ""
    read_rows: Restride | None = None
    write_rows: Restride | None = None
    cuts: tuple[int, ...] = ()

    def reading(self, index: int, rows: Rows) -> Choice | None:
        """The same kernel, reading its `index`-th operand as rows; None if it cannot."""
        return self._moved(self.read_rows, index, rows)

    def writing(self, index: int, rows: Rows) -> Choice | None:
        """The same kernel, writing its `index`-th result as rows; None if it cannot."""
        return self._moved(self.write_rows, index, rows)

    def _moved(self, restride: Restride | None, index: int, rows: Rows) -> Choice | None:
        numbers = rows.numbers()
        if restride is None or numbers is None or not all(s.known for s in self.sizes.values()):
            return None
        known = {n: s.constant for n, s in self.sizes.items()}
        changed = restride(index, known, *numbers)
        if changed is None:
            return None
        sizes = {**self.sizes, **{n: Size.of(v) for n, v in changed.items() if n in self.sizes}}
        return dataclasses.replace(self, sizes=sizes)

    def scratch(self) -> Size:
        """Bytes of scratch; affine in the sizes that are not known."""
        sharing = self.kernel.sharing
        if self.cuts and sharing is not None and sharing.scratch:
            return self._scratch() * (len(self.cuts) - 1)
        return self._scratch()

    def _scratch(self) -> Size:
        if not any(a.role is Role.SCRATCH for a in self.kernel.args):
            return Size.of(0)
        if all(s.known for s in self.sizes.values()):
            return Size.of(self._scratch_at(1))
        # affine in T up to rounding: a line that no sampled length exceeds
        lengths = (*range(1, 65), 1000, 4096)
        needed = {t: self._scratch_at(t) for t in lengths}
        slope = -(-(needed[4096] - needed[1]) // 4095)
        start: int = max(needed[t] - slope * t for t in lengths)
        return Size(0, "T") * slope + start

    def _scratch_at(self, steps: int) -> int:
        return int(self.kernel.scratch({n: s.at({"T": steps}) for n, s in self.sizes.items()}))

    @property
    def live_inputs(self) -> tuple[ir.Value, ...]:
        """Inputs that are not NULL."""
        return tuple(v for v in self.inputs if v is not None)

    @property
    def live_outputs(self) -> tuple[ir.Value, ...]:
        """Outputs that are not NULL."""
        return tuple(v for v in self.outputs if v is not None)


def _is_unknown(value: ir.Value) -> bool:
    return value.shape is None or any(
        not isinstance(d, int) and d.value is None for d in value.shape
    )


def _unknown(value: ir.Value) -> UnsupportedModelError:
    """What hides a shape: sizes that were not given, or numbers that only a run knows."""
    inputs = () if value.graph is None else value.graph.inputs
    open_ = {str(d) for v in inputs for d in v.shape or () if not isinstance(d, int)}
    if open_:
        flags = " ".join(f"--dim {name}=SIZE" for name in sorted(open_))
        return UnsupportedModelError(
            f"the shape of '{value.name}' is not known",
            at=f"value '{value.name}'",
            why="every shape must be known up to the time axis before lowering",
            fix=f"give the sizes that it depends on: {flags}",
        )
    first, node = value, value.producer()
    while node and (hidden := [v for v in node.inputs if v is not None and _is_unknown(v)]):
        first, node = hidden[0], hidden[0].producer()
    names = sorted(str(v.name) for v in origins(first) if v.dtype and v.dtype.is_integer())
    given = " ".join(f"--const {name}=VALUE" for name in names)
    return UnsupportedModelError(
        f"the shape of '{value.name}' depends on numbers that only a run knows",
        at=f"node '{node.name}' ({node.op_type})" if node else f"value '{value.name}'",
        why="compiled code has fixed sizes, up to the time axis",
        fix=f"fix the input that decides ({given}), or " * bool(names)
        + "make the size a constant of the model",
    )


class Shapes:
    """Shapes of values with some symbols bound, and what the kernels for them cost."""

    def __init__(self, bind: Mapping[str, int], costing: Costing | None = None) -> None:
        self.bind = bind
        self.costing = costing or Costing(CostTable("", (0, 0), {}), ())

    def of(self, value: ir.Value | None) -> tuple[Dim, ...]:
        """Each dimension: an int, or a text such as `T` or `T + 2`.

        Raises:
            UnsupportedModelError: the shape is not known.
        """
        assert value is not None
        if _is_unknown(value):
            raise _unknown(value)
        assert value.shape is not None
        return tuple(d if isinstance(d, int) else self._bound(str(d.value)) for d in value.shape)

    def alone(self) -> Shapes:
        """The same where threads do not share: inside of a loop."""
        return Shapes(self.bind, dataclasses.replace(self.costing, threads=1))

    def known(self, value: ir.Value | None) -> tuple[int, ...] | None:
        """The shape, if it has no symbol left."""
        dims = self.of(value)
        return tuple(d for d in dims if isinstance(d, int)) if all_int(dims) else None

    def _bound(self, text: str) -> Dim:
        try:
            return Size(0, text.replace("//", "/")).at(self.bind)
        except KeyError:
            return text


def all_int(dims: tuple[Dim, ...]) -> bool:
    """Whether every dimension is known."""
    return all(isinstance(d, int) for d in dims)


def size(dim: Dim) -> Size:
    """A dimension as a Size; the symbol is called T in C."""
    return Size.of(dim) if isinstance(dim, int) else Size(0, _in_t(dim))


def product(dims: Sequence[Dim]) -> Size:
    """The number of elements."""
    total = Size.of(1)
    for dim in dims:
        total = total * size(dim)
    return total


def _in_t(text: str) -> str:
    tree = ast.parse(text.replace("//", "/"), mode="eval")
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            node.id = "T"
    return f"({ast.unparse(tree)})" if not isinstance(tree.body, ast.Name) else "T"


def to_expression(text: str, symbol: Callable[[str], Any]) -> Any:
    """A dimension's text as a TIR expression."""

    def convert(node: ast.expr) -> Any:
        match node:
            case ast.Constant():
                return int(node.value)  # type: ignore[arg-type]
            case ast.Name():
                return symbol(node.id)
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return convert(left) + convert(right)
            case ast.BinOp(left=left, op=ast.Sub(), right=right):
                return convert(left) - convert(right)
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return convert(left) * convert(right)
            case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
                return convert(left) // convert(right)
        raise UnsupportedModelError(f"a dimension of the form '{text}' is not supported")

    return convert(ast.parse(text, mode="eval").body)


def constant(value: ir.Value | None) -> Array | None:
    """The array of an initializer."""
    if value is None or value.const_value is None:
        return None
    return np.ascontiguousarray(value.const_value.numpy())


def wanted(value: ir.Value | None) -> bool:
    """Whether anything uses this output."""
    return (
        value is not None
        and bool(value.name)
        and (value.is_graph_output() or any(True for _ in value.uses()))
    )


def only_user(value: ir.Value) -> ir.Node | None:
    """The node that alone uses a value, once; none if it is in the body of a loop."""
    users = list(value.uses())
    if len(users) != 1 or value.is_graph_output() or users[0].node.graph is not value.graph:
        return None
    return users[0].node


@dataclasses.dataclass(frozen=True)
class Selection:
    """What was chosen.

    Args:
        choices: Node -> choice.
        covered: Nodes that another node's choice computes.
        reasons: Node -> why it goes to TVM, for the operators that have kernels.
    """

    choices: Mapping[ir.Node, Choice]
    covered: frozenset[ir.Node]
    reasons: Mapping[ir.Node, str]


def families() -> list[Any]:
    """The modules `select_<family>`."""
    return [importlib.import_module(f"edgeseq.lower.select_{name}") for name in _FAMILIES]


def ops() -> frozenset[str]:
    """Operators that have kernels."""
    return frozenset(op for family in families() for op in family.OPS)


def choose(graph: ir.Graph, shapes: Shapes) -> Selection:
    """Choose kernels for a graph's nodes, in order."""
    choices: dict[ir.Node, Choice] = {}
    covered: set[ir.Node] = set()
    reasons: dict[ir.Node, str] = {}
    offers = families()
    for node in graph:
        for family in () if node in covered else offers:
            if node.op_type not in family.OPS:
                continue
            found = family.choose(node, shapes)
            if isinstance(found, str):
                reasons[node] = found
                continue
            choices[node] = found
            covered.update(found.covers)
            reasons.pop(node, None)
            break
    return Selection(choices, frozenset(covered), reasons)
