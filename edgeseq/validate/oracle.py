"""Ways to run a model that the compiled code is measured against."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import torch

from edgeseq.interp import Interpreter

Array = npt.NDArray[Any]
Arrays = Mapping[str, Array]


class Oracle(Protocol):
    """Runs a model once: one step, or one whole sequence."""

    name: str

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Return every output by name."""


class Interpreted:
    """The model's graph, node by node, in torch.

    Args:
        model: The model.
        dtype: Type of every float.
        rounding: Rounds to integers; halves go to even by default.
    """

    def __init__(
        self,
        model: ir.Model,
        dtype: torch.dtype = torch.float64,
        rounding: Callable[[torch.Tensor], torch.Tensor] = torch.round,
    ) -> None:
        self.name = f"interpreter {str(dtype).removeprefix('torch.')}"
        self._interpreter = Interpreter(model, dtype, rounding=rounding)

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Return every output by name."""
        with torch.no_grad():
            outputs = self._interpreter(inputs)
        return {name: value.numpy() for name, value in outputs.items()}


class PyTorch:
    """The user's own module.

    Args:
        module: The module; it is copied, not changed.
        example_inputs: As the module takes them, by position or in a dict by keyword: their
            structure tells where each input goes.
        inputs: Names of the graph's inputs, in order.
        outputs: Names of the graph's outputs, in order.
        dtype: Type of every float.
    """

    def __init__(
        self,
        module: torch.nn.Module,
        example_inputs: tuple[Any, ...] | dict[str, Any],
        inputs: Sequence[str],
        outputs: Sequence[str],
        dtype: torch.dtype = torch.float64,
    ) -> None:
        self.name = f"pytorch {str(dtype).removeprefix('torch.')}"
        self._given = (module, example_inputs, inputs, outputs)
        self._dtype = dtype
        self._module = copy.deepcopy(module).to(dtype).eval()
        self._leaves, self._structure = torch.utils._pytree.tree_flatten(example_inputs)
        self._inputs, self._outputs = tuple(inputs), tuple(outputs)

    def in_own_type(self) -> PyTorch:
        """Return the same module in float32, or in half precision if all of it is."""
        module = self._given[0]
        weights: list[torch.Tensor] = list(module.parameters()) or list(module.buffers())
        types = {w.dtype for w in weights if w.is_floating_point()}
        half = len(types) == 1 and types <= _HALF
        return PyTorch(*self._given, dtype=types.pop() if half else torch.float32)

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Return every output by name."""
        tensors = sum(isinstance(leaf, torch.Tensor) for leaf in self._leaves)
        if tensors != len(self._inputs):
            raise ValueError(
                f"the module takes {tensors} tensors, its graph has {len(self._inputs)} inputs"
            )
        given = iter(self._inputs)
        leaves = [
            self._tensor(inputs[next(given)]) if isinstance(leaf, torch.Tensor) else leaf
            for leaf in self._leaves
        ]
        arguments = torch.utils._pytree.tree_unflatten(leaves, self._structure)
        with torch.no_grad(), _default_dtype(self._dtype):
            named = isinstance(arguments, dict)
            result = self._module(**arguments) if named else self._module(*arguments)
        flat = torch.utils._pytree.tree_leaves(result)
        arrays = [leaf.numpy() for leaf in flat if isinstance(leaf, torch.Tensor)]
        return dict(zip(self._outputs, arrays, strict=True))

    def _tensor(self, array: Array) -> torch.Tensor:
        tensor = torch.from_numpy(np.array(array))
        return tensor.to(self._dtype) if tensor.is_floating_point() else tensor


_HALF = frozenset({torch.float16, torch.bfloat16})


@contextlib.contextmanager
def _default_dtype(dtype: torch.dtype) -> Iterator[None]:
    """Let tensors that the module makes by itself be of this type too."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class OnnxRuntime:
    """ONNX Runtime in float32 with its optimisations off: the reference of the tolerance."""

    name = "onnxruntime float32"

    def __init__(self, model: ir.Model) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        proto = ir.to_proto(model).SerializeToString()
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(proto, options, providers=providers)

    def __call__(self, inputs: Arrays) -> dict[str, Array]:
        """Return every output by name."""
        names = [output.name for output in self._session.get_outputs()]
        return dict(zip(names, self._session.run(names, dict(inputs)), strict=True))


def roll(
    oracle: Oracle,
    inputs: Arrays,
    states: Arrays,
    pairs: Mapping[str, str],
    *,
    stacked: bool,
) -> tuple[dict[str, Array], dict[str, Array]]:
    """Run a recorded sequence, carrying the states.

    Args:
        oracle: Runs one call.
        inputs: The inputs; with `stacked`, steps on the leading axis.
        states: The first value of each state.
        pairs: State input -> the output that is its next value.
        stacked: One call per step; else one call for the whole sequence.

    Returns:
        The outputs that are not states, laid out like the inputs, and the last states.
    """
    if not stacked:
        result = oracle({**inputs, **states})
        last = {name: result.pop(output) for name, output in pairs.items()}
        return result, last
    steps = len(next(iter(inputs.values())))
    rows: list[dict[str, Array]] = []
    for step in range(steps):
        row = oracle({**{name: array[step] for name, array in inputs.items()}, **states})
        states = {name: row.pop(output) for name, output in pairs.items()}
        rows.append(row)
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}, dict(states)
