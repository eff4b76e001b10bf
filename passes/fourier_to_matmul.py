"""`STFT(x, 128, window) -> Conv`, `DFT(x) -> MatMul`: Fourier transforms of a known length.

So a transform is what exporters also write it as, a constant matrix; lowering recognises those of
64 points and more and computes them as fast transforms (`edgeseq/lower/select_fourier.py`).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.passes import NodePass

Matrix = npt.NDArray[np.float64]


class FourierToMatmul(NodePass):
    """Replace STFT and DFT by products with constants."""

    ops = ("STFT", "DFT")

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Replace one transform."""
        return _stft(node, edit) if node.op_type == "STFT" else _dft(node, edit)


PASS = FourierToMatmul


def _stft(node: ir.Node, edit: Editor) -> bool | str:
    signal = node.inputs[0]
    if signal is None or signal.shape is None or signal.dtype is None:
        return "the shape of its signal is not known"
    if len(signal.shape) == 3 and signal.shape[2] != 1:
        return "its signal is complex"
    step, window, length = (_data(node, index) for index in (1, 2, 3))
    if step is None or (length is None and window is None) or _varies(node, 2):
        return "its step, window or frame length is not constant"
    size = int(length.reshape(())) if length is not None else len(window)  # type: ignore[arg-type]
    shape = np.ones(size) if window is None else window.astype(np.float64)
    if len(shape) != size:
        return f"its window of {len(shape)} does not fit frames of {size}"
    bins = size // 2 + 1 if node.attributes.get_int("onesided", 1) else size
    waves = _waves(size, bins) * shape[:, None]
    weights = np.stack([waves.real, waves.imag]).transpose(0, 2, 1).reshape(2 * bins, 1, size)
    kind = signal.dtype.numpy()
    batch = signal.shape[0]
    sizes = [batch if isinstance(batch, int) else 0, 1, -1]
    row = edit.emit(node, "Reshape", [signal, edit.ints(sizes)])
    bank = edit.constant(weights.astype(kind), f"{node.name}.waves")
    stride = {"strides": ir.AttrInt64s("strides", [int(step.reshape(()))])}
    found = edit.emit(node, "Conv", [row, bank], stride)
    parts = edit.emit(node, "Reshape", [found, edit.ints([0, 2, bins, -1])])
    order = {"perm": ir.AttrInt64s("perm", [0, 3, 2, 1])}
    edit.replace_node(node, edit.emit(node, "Transpose", [parts], order))
    return True


def _dft(node: ir.Node, edit: Editor) -> bool | str:
    value = node.inputs[0]
    if value is None or value.shape is None or value.dtype is None:
        return "the shape of its input is not known"
    if _varies(node, 1) or _varies(node, 2):
        return "its axis or length is not constant"
    rank, parts, axis_data = len(value.shape), value.shape[-1], _data(node, 2)
    axis = (-2 if axis_data is None else int(axis_data.reshape(()))) % rank
    own = value.shape[axis]
    if not isinstance(own, int) or not isinstance(parts, int):
        return "the length of its axis is not known"
    matrix = _matrix(node, own, parts)
    used, parts, bins, width = matrix.shape
    order = [i for i in range(rank - 1) if i != axis] + [axis, rank - 1]
    last = _transposed(node, edit, value, order)
    if own > used:
        last = edit.emit(node, "Slice", [last, *(edit.ints([i]) for i in (0, used, rank - 2))])
    flat = edit.emit(node, "Reshape", [last, edit.ints([0] * (rank - 2) + [used * parts])])
    table = matrix.reshape(used * parts, bins * width).astype(value.dtype.numpy())
    product = edit.emit(node, "MatMul", [flat, edit.constant(table, f"{node.name}.waves")])
    result = edit.emit(node, "Reshape", [product, edit.ints([0] * (rank - 2) + [bins, width])])
    edit.replace_node(node, _transposed(node, edit, result, [order.index(i) for i in range(rank)]))
    return True


def _transposed(node: ir.Node, edit: Editor, value: ir.Value, perm: list[int]) -> ir.Value:
    return edit.emit(node, "Transpose", [value], {"perm": ir.AttrInt64s("perm", perm)})


def _matrix(node: ir.Node, own: int, parts: int) -> Matrix:
    """The transform of an axis of `own`, as [used, parts, bins, parts of the result]."""
    inverse, onesided = (node.attributes.get_int(n, 0) for n in ("inverse", "onesided"))
    given = _data(node, 1)
    size = int(given.reshape(())) if given is not None else own
    if inverse and onesided:
        return _real_inverse(size if given is not None else 2 * (own - 1), own)
    waves = _waves(size, size // 2 + 1 if onesided else size)[: min(own, size)]
    if inverse:
        waves = waves.conj() / size
    real = np.stack([waves.real, waves.imag], axis=-1)
    imaginary = np.stack([-waves.imag, waves.real], axis=-1)
    return np.stack([real, imaginary][:parts], axis=1)


def _real_inverse(size: int, own: int) -> Matrix:
    """Every bin but the first, and the last of an even length, stands for its mirror image too."""
    bins = size // 2 + 1
    waves = _waves(size, bins).T.conj() / size
    waves[1 : (size + 1) // 2] *= 2
    both = np.stack([waves.real, -waves.imag], axis=1)[..., None]
    return both[: min(own, bins)]


def _waves(size: int, bins: int) -> npt.NDArray[np.complex128]:
    """exp(-2 pi i n k / size) as [n, k]; the product is reduced first, so that it stays exact."""
    turns = np.outer(np.arange(size), np.arange(bins)) % size
    waves: npt.NDArray[np.complex128] = np.exp(-2j * np.pi * turns / size)
    return waves


def _data(node: ir.Node, index: int) -> npt.NDArray[np.generic] | None:
    return data_of(node.inputs[index]) if index < len(node.inputs) else None


def _varies(node: ir.Node, index: int) -> bool:
    """Whether an operand is there and no constant."""
    present = index < len(node.inputs) and node.inputs[index] is not None
    return present and _data(node, index) is None
