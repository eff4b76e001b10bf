"""Runs calibration samples through the float model and keeps what its activations were.

ONNX Runtime computes, with the wanted values as further outputs; states start where the model says
and are carried, so the statistics are those of the model in use, its first steps included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import onnxruntime

from edgeseq.errors import UsageError
from edgeseq.ir import facts
from edgeseq.quantize import windows
from edgeseq.quantize.layers import CONVOLUTION, GATES, RECURRENT, Layer
from edgeseq.quantize.observers import Seen
from edgeseq.train.calibration import Sample, data_inputs, is_stepwise, steps_of
from edgeseq.validate import inputs

Array = npt.NDArray[Any]

ROWS = 4096  # kept of each activation, evenly over all samples
IMAGES = 1 << 21  # elements of images kept of each activation


class Runner:
    """A model in ONNX Runtime that carries its states from call to call.

    Args:
        model: The model, its sizes bound and its states marked.
        further: Names of values to return beside the outputs.
    """

    def __init__(self, model: ir.Model, further: Sequence[str] = ()) -> None:
        self._pairs = {
            str(v.name): state.output
            for v in model.graph.inputs
            if (state := facts.get(v, facts.State)) is not None
        }
        self._first = {
            str(v.name): inputs.initial_state(v)
            for v in model.graph.inputs
            if v.name in self._pairs
        }
        self._model = model
        self._stepwise = is_stepwise(model)
        self._names = [str(v.name) for v in data_inputs(model)]
        proto = ir.to_proto(model)
        known = {v.name for v in proto.graph.output}
        for name in further:
            if name not in known:
                proto.graph.output.add().name = name
        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self._outputs = [o.name for o in self._session.get_outputs()]

    def __call__(self, sample: Sample) -> dict[str, list[Array]]:
        """Return every output of every call: one call a step, or one for the whole sequence."""
        states = dict(self._first)
        rows: dict[str, list[Array]] = {name: [] for name in self._outputs}
        for step in range(steps_of(sample, self._model) if self._stepwise else 1):
            fed = {n: sample[n][step] if self._stepwise else sample[n] for n in self._names}
            found = self._session.run(self._outputs, {**fed, **states})
            for name, array in zip(self._outputs, found, strict=True):
                rows[name].append(array)
            states = {name: rows[output][-1] for name, output in self._pairs.items()}
        return rows


def state_outputs(model: ir.Model) -> list[str]:
    """Names of the outputs that are the next states."""
    found = (facts.get(v, facts.State) for v in model.graph.inputs)
    return [state.output for state in found if state is not None]


def watch(model: ir.Model, names: Sequence[str], samples: Sequence[Sample]) -> dict[str, Seen]:
    """Run the samples and return what was seen of each named value.

    Raises:
        UsageError: a value was NaN or infinite.
    """
    if not names or not samples:
        return {}
    runner = Runner(model, names)
    pieces: dict[str, list[Array]] = {name: [] for name in names}
    spans: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    share = max(1, ROWS // max(1, len(samples)))
    images = _images(model)
    for number, sample in enumerate(samples):
        outputs = runner(sample)
        for name in names:
            rows = np.concatenate([_rows(a, images.get(name)) for a in outputs[name]])
            if not np.isfinite(rows).all():
                raise _not_finite(name, number)
            spans[name].append((float(rows.min()), float(rows.max())))
            most = min(share, len(rows))
            if name in images:
                most = min(most, max(1, IMAGES // len(samples) // rows.shape[1]))
            pick = np.linspace(0, len(rows) - 1, most).astype(np.int64)
            pieces[name].append(rows[pick])
    return {
        name: Seen(
            min(low for low, _ in spans[name]),
            max(high for _, high in spans[name]),
            tuple(spans[name]),
            np.concatenate(pieces[name]),
        )
        for name in names
    }


def _images(model: ir.Model) -> dict[str, bool]:
    """What only convolutions read, and whether its size is known."""
    found: dict[str, bool] = {}
    others: set[str] = set()
    for node in model.graph:
        x = node.inputs[0] if node.inputs else None
        if x is None:
            continue
        if node.op_type in ("Conv", "ConvTranspose"):
            found[str(x.name)] = all(isinstance(d, int) for d in x.shape or ("",))
        elif node.op_type in ("MatMul", "Gemm", *GATES):
            others.add(str(x.name))
    return {name: known for name, known in found.items() if name not in others}


def _rows(a: Array, image: bool | None) -> Array:
    """What a scale may be one of: a batch element of a convolution's input, or else a row.

    Where its size is not known, a place of the image: all channels of one moment.
    """
    if image is None:
        return a.reshape(-1, a.shape[-1])
    return a.reshape(len(a), -1) if image else np.moveaxis(a, 1, -1).reshape(-1, a.shape[1])


def peaks(model: ir.Model, axes: Mapping[str, int], samples: Sequence[Sample]) -> dict[str, Array]:
    """Return the largest size of each named value, along one axis of it.

    Raises:
        UsageError: a value was NaN or infinite.
    """
    runner = Runner(model, list(axes))
    found: dict[str, Array] = {}
    for number, sample in enumerate(samples):
        outputs = runner(sample)
        for name, axis in axes.items():
            sizes = [
                np.abs(np.moveaxis(a, axis, -1)).reshape(-1, a.shape[axis]) for a in outputs[name]
            ]
            largest = np.max([one.max(axis=0) for one in sizes], axis=0)
            if not np.isfinite(largest).all():
                raise _not_finite(name, number)
            found[name] = np.maximum(found.get(name, 0), largest)
    return found


def rows_before(model: ir.Model, layer: Layer, samples: Sequence[Sample]) -> tuple[Array, ...]:
    """What a layer multiplies, row by row.

    Args:
        model: With everything before the layer as it is going to be.
        layer: Linear, recurrent, or a convolution whose windows are known.
        samples: Calibration samples.

    Returns:
        Rows of the input; of a cell, for each direction, the input beside the state before it; of
        a convolution, windows [groups, count, inputs].
    """
    if layer.kind == CONVOLUTION:
        return (_windows(model, layer, samples),)
    name, y = str(layer.x.name), str(layer.node.outputs[0].name)
    recurrent = layer.kind == RECURRENT
    runner = Runner(model, [name, y] if recurrent else [name])
    directions = layer.weights()[0][1].shape[0] if recurrent else 1
    share = max(1, ROWS // max(1, len(samples)))
    kept: list[list[Array]] = [[] for _ in range(directions)]
    for sample in samples:
        outputs = runner(sample)
        for direction, pieces in enumerate(kept):
            if recurrent:
                rows = _beside(outputs[name], outputs[y], layer.node, direction)
            else:
                rows = np.concatenate([a.reshape(-1, a.shape[-1]) for a in outputs[name]])
            pick = np.linspace(0, len(rows) - 1, min(share, len(rows))).astype(np.int64)
            pieces.append(rows[pick])
    return tuple(np.concatenate(pieces) for pieces in kept)


def _windows(model: ir.Model, layer: Layer, samples: Sequence[Sample]) -> Array:
    name, kernel = str(layer.x.name), layer.weights()[0][1].shape[2:]
    runner = Runner(model, [name])
    share = max(1, ROWS // max(1, len(samples)))
    found = []
    for sample in samples:
        images = runner(sample)[name]
        most, every = max(1, share // len(images)), max(1, len(images) // share)
        # Not always the same pixels: the next image goes on where this one ended.
        found += [
            windows.rows(image, layer.node, kernel, most, 7 * i)
            for i, image in enumerate(images[::every])
        ]
    return np.concatenate(found, axis=1)


def _beside(xs: list[Array], ys: list[Array], node: ir.Node, direction: int) -> Array:
    """[x(t), h(t - 1)] of one direction; the first step, whose h is unknown, is left out."""
    if len(xs) > 1 and all(len(x) == 1 for x in xs):
        xs, ys = [np.concatenate(xs)], [np.concatenate(ys)]  # a step a call, its state carried
    backwards = node.attributes.get_string("direction", "forward") == "reverse" or direction == 1
    rows = []
    for x, y in zip(xs, ys, strict=True):
        now, before = (x[:-1], y[1:, direction]) if backwards else (x[1:], y[:-1, direction])
        both = np.concatenate([now, before], axis=-1)
        rows.append(both.reshape(-1, both.shape[-1]))
    return np.concatenate(rows)


def _not_finite(name: str, number: int) -> UsageError:
    return UsageError(
        f"value '{name}' is infinite or undefined in calibration sample {number + 1}",
        why="a range cannot be chosen for it",
        fix="leave out that sample, or keep its layer in float with --keep-float NAME",
    )
