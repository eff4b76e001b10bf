"""Scan whose step is linear in its state -> one call of a scan kernel.

What the step computes is found in `ir/recurrence.py`; here its operands become pointers and
strides. Any other Scan runs step by step.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.ir.recurrence import recognise
from edgeseq.ir.recurrence_step import NoRecurrenceError, Step
from edgeseq.kernels import _matrix_scan, delta_scan, diag_scan, outer_scan, selective_scan
from edgeseq.kernels._family import Kernel, Role
from edgeseq.lower import scan
from edgeseq.lower.scan_operands import NotAsItStandsError, Operands, Placed
from edgeseq.lower.select import Array, Choice, Shapes, constant, size
from edgeseq.lower.size import Size

OPS = ("Scan",)
_GROUP = -1  # the name of the axis that only the query has


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """A scan kernel for the node, or why it runs step by step."""
    found = scan.describe(node)
    if len(found.initial) != 1:
        return f"{len(found.initial)} states"
    if any(v is not None and v.dtype != ir.DataType.FLOAT for v in (*node.inputs, *node.outputs)):
        return "the kernels are float32"
    if len({s.backwards for s in (*found.inputs, *found.outputs)}) != 1:
        return "sequences in both directions"
    step = Step(
        state=found.body.inputs[0],
        new=found.body.outputs[0],
        results=tuple(s.inner for s in found.outputs),
    )
    try:
        recurrence = recognise(step)
        return _Call(found, recurrence, shapes).choice()
    except (NoRecurrenceError, NotAsItStandsError) as error:
        return str(error)


@dataclasses.dataclass(frozen=True)
class _Call(Operands):
    """Builds the call of the kernel for a recurrence."""

    def choice(self) -> Choice:
        """The choice of its kernel."""
        build = {
            "diagonal": self.diagonal,
            "selective": self.selective,
            "outer": self.matrix,
            "delta": self.matrix,
        }
        return build[self.recurrence.kind]()

    def finish(
        self,
        kernel: Kernel,
        sizes: Mapping[str, Size],
        values: Mapping[str, Placed | None],
        consts: Mapping[str, Array | None],
        why: str,
    ) -> Choice:
        """The choice, from what is known by argument name."""
        initial = self.scan.initial[0]
        zeros = constant(initial)
        given: dict[str, ir.Value | None] = {n: p.value if p else None for n, p in values.items()}
        given["h0"] = None if zeros is not None and not zeros.any() else initial
        given["h_n"] = self.scan.final[0]
        common = {"T": self.steps, "reverse": self.backwards}
        return Choice(
            node=self.scan.node,
            kernel=kernel,
            sizes={n: {**sizes, **common}[n] for n in kernel.sizes},
            inputs=tuple(given.get(a.name) for a in kernel.args if a.role is Role.IN),
            consts=tuple(consts.get(a.name) for a in kernel.args if a.role is Role.CONST),
            outputs=tuple(given.get(a.name) for a in kernel.args if a.role is Role.OUT),
            in_place=True,
            why=why,
        )

    def diagonal(self) -> Choice:
        """One row of all elements, or one for each stream."""
        x, a, y = self.needed("x"), self.placed("a"), self.result()
        if y is None and self.scan.final[0] is None:
            raise NotAsItStandsError("nobody wants a result")
        factors = self.array("a")
        if factors is None and a is None:
            factors = np.full([1] * len(self.dims), self.recurrence.decay, np.float32)
        streams, first = self.rows([p for p in (x, a, y) if p is not None])
        if factors is not None:
            if first and factors.shape[0] != 1:
                raise NotAsItStandsError("each stream has factors of its own")
            factors = np.broadcast_to(factors, [1, *self.dims[1:]] if first else self.dims)
        count = int(np.prod(self.dims)) // streams
        sizes = {"B": Size.of(streams), "N": Size.of(count)}
        for prefix, placed in (("a", a), ("x", x), ("y", y)):
            sizes |= self.strides(prefix, placed, 0 if first else -1)
        values = {"a": a, "x": x, "y": y}
        packed = None if factors is None else np.ascontiguousarray(factors).reshape(-1)
        why = f"a diagonal recurrence of {count} elements"
        return self.finish(diag_scan.KERNELS[0], sizes, values, {"factors": packed}, why)

    def rows(self, operands: Sequence[Placed]) -> tuple[int, bool]:
        """How many streams there are, and whether they are the state's first axis."""
        axes = range(len(self.dims))
        try:
            for one in operands:
                self.dense(one, axes, "rows")
        except NotAsItStandsError:
            if len(self.dims) < 2:
                raise
            for one in operands:
                self.dense(one, axes[1:], "rows")
            return self.dims[0], True
        return 1, False

    def selective(self) -> Choice:
        """The selective scan."""
        channel, state = self.recurrence.axes
        stream = self.leading(2)
        names = {"x": "x", "d": "dt", "b": "bm", "c": "cm"}
        placed = {name: self.needed(name) for name in names.values()}
        placed["y"] = self._wanted_result()
        factors = self.array("a")
        if factors is None:
            raise NotAsItStandsError("A is not constant")
        sizes = {p: self.strides(p, placed[n], stream) for p, n in {**names, "y": "y"}.items()}
        for name, one in placed.items():
            self.dense(one, [state if name in ("bm", "cm") else channel], name)
        skip = self.array("skip")
        if skip is None and "skip" in self.recurrence.operands:
            raise NotAsItStandsError("D is not constant")
        channels, states = self.dims[channel], self.dims[state]
        flat = {
            **{
                "B": Size.of(self.dims[stream] if stream >= 0 else 1),
                "C": Size.of(channels),
            },
            **{"N": Size.of(states), "softplus": Size.of(0), "z_t": Size.of(0), "z_b": Size.of(0)},
            **{"scaled": Size.of(int(self.recurrence.scaled))},
        }
        for one_by_one in sizes.values():
            flat |= one_by_one
        lead = [1] * (len(self.dims) - 2)
        if list(factors.shape[:-2]) != lead or (
            skip is not None and skip.size not in (1, channels)
        ):
            raise NotAsItStandsError("each stream has factors of its own")
        consts = {
            "a": np.ascontiguousarray(np.broadcast_to(factors, (*lead, channels, states))).ravel(),
            "skip": None if skip is None else np.broadcast_to(skip.reshape(-1), (channels,)).copy(),
        }
        why = f"a selective scan of {channels} channels x {states} states"
        return self.finish(selective_scan.KERNELS[0], flat, placed, consts, why)

    def _wanted_result(self) -> Placed:
        found = self.result()
        if found is None:
            raise NotAsItStandsError("nobody wants its result")
        return found

    def matrix(self) -> Choice:
        """Linear attention with decay, with or without the delta rule."""
        key, column = self.recurrence.axes
        delta = self.recurrence.kind == "delta"
        head = key - 1 if key >= 1 else -1
        stream = self.leading(3) if key >= 1 else -1
        placed: dict[str, Placed | None] = {n: self.needed(n) for n in ("q", "k", "x")}
        placed["decay"] = self.placed("decay")
        if delta:
            placed["beta"] = self.needed("beta")
        result = placed["y"] = self._wanted_result()
        dims = self.dims
        group = self._group(result)
        sizes = {"G": group, "K": Size.of(dims[key]), "V": Size.of(dims[column])}
        sizes["H"] = Size.of(dims[head] if head >= 0 else 1)
        sizes["B"] = Size.of(dims[stream] if stream >= 0 else 1)
        prefixes = {"q": "q", "k": "k", "x": "x", "g": "decay", "y": "y"}
        for prefix, name in {**prefixes, **({"beta": "beta"} if delta else {})}.items():
            sizes |= self.strides(prefix, placed[name], stream)
            one = placed[name]
            strides = {} if one is None else one.strides
            sizes[f"{prefix}_h"] = strides.get(head, Size.of(0)) if head >= 0 else Size.of(0)
        for name, axis in (("q", key), ("k", key), ("x", column), ("y", column), ("decay", key)):
            one = placed[name]
            if one is not None and (name != "decay" or key in one.strides):
                self.dense(one, [axis], name)
        consts, decays = self._factors(sizes)
        operand = self.recurrence.operands.get("decay")
        sizes |= {"decays": Size.of(decays)}
        sizes["log"] = Size.of(
            int(
                operand is not None
                and operand.log
                and "decay" in placed
                and placed["decay"] is not None
            )
        )
        kernel = delta_scan.KERNELS[0] if delta else outer_scan.KERNELS[0]
        why = f"{sizes['H'].c()} states of {dims[key]} x {dims[column]}"
        return self.finish(kernel, sizes, placed, consts, why)

    def _group(self, result: Placed) -> Size:
        """How many queries share a key: an axis of the result that the state has not."""
        operand = self.recurrence.operands["y"]
        if _GROUP not in operand.labels:
            return Size.of(1)
        known = self.shapes.of(self.scan.outputs[0].inner)[operand.labels.index(_GROUP)]
        key, column = self.recurrence.axes
        for name, axis in (("q", key), ("y", column)):
            placed = result if name == "y" else self.needed(name)
            if placed.strides.get(_GROUP) != Size.of(self.dims[axis]):
                raise NotAsItStandsError(f"'{placed.value.name}' ({name}) is not dense")
        return size(known)

    def _factors(self, sizes: dict[str, Size]) -> tuple[dict[str, Array | None], int]:
        """Constant factors and the bonus, and which kind of decay there is."""
        heads, keys = sizes["H"].constant, sizes["K"].constant
        operand = self.recurrence.operands.get("decay")
        consts: dict[str, Array | None] = {}
        if self.recurrence.scale != 1.0:
            consts["scale"] = np.array([self.recurrence.scale], np.float32)
        bonus = self.array("bonus")
        if bonus is None and "bonus" in self.recurrence.operands:
            raise NotAsItStandsError("the bonus is not constant")
        consts["bonus"] = None if bonus is None else self._of_heads(bonus, heads, keys)
        factors = self.array("decay")
        if operand is not None and factors is None:
            by_key = self.recurrence.axes[0] in operand.labels
            return consts, _matrix_scan.Decay.KEY if by_key else _matrix_scan.Decay.HEAD
        if factors is None and self.recurrence.decay == 1.0:
            return consts, _matrix_scan.Decay.NONE
        if factors is None:
            factors = np.full([1] * len(self.dims), self.recurrence.decay, np.float32)
        elif operand is not None and operand.log:
            factors = np.exp(factors.astype(np.float64)).astype(np.float32)
        consts["factors"] = self._of_heads(factors, heads, keys)
        sizes["g_h"] = Size.of(keys)
        return consts, _matrix_scan.Decay.KEY

    def _of_heads(self, data: Array, heads: int, keys: int) -> Array:
        """A constant along the state's axes as [heads, keys]."""
        full = [1] * len(self.dims)
        full[self.recurrence.axes[0]] = keys
        if len(full) > 2:
            full[-3] = heads
        if any(a not in (1, b) for a, b in zip(data.shape, full, strict=True)):
            raise NotAsItStandsError("each stream has factors of its own")
        return np.ascontiguousarray(np.broadcast_to(data, full)).reshape(-1)
