"""The quantized functions in numpy, step by step: what the ONNX bodies are compared with."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from edgeseq.kernels import _exact

Array = npt.NDArray[Any]
F = np.float32


def product(
    v: Array, w: Array, w_scale: Array, scale: float, zero_point: int, top: int = _exact.LEVELS
) -> Array:
    """Quantize rows of `v` and multiply them with `w` [N, K]; scale 0: that of each row."""
    s = F(scale) if scale else _exact.dynamic_scale(v)
    zero_point = zero_point if scale else 127
    sums = _exact.product(_exact.quantize(v, s, zero_point, top), zero_point, w)
    return np.asarray(sums * (s * w_scale))


def matmul(a: dict[str, Array], attributes: dict[str, Any]) -> list[Array]:
    zero_point = attributes.get("x_zero_point", 127)
    scale, top = attributes.get("x_scale", 0.0), attributes.get("x_top", _exact.LEVELS)
    y = product(a["X"], a["W"].T, a["W_scale"], scale, zero_point, top)
    return [y + a["B"] if "B" in a else y]


def conv(a: dict[str, Array], attributes: dict[str, Any]) -> list[Array]:
    """By its definition: tap after tap, on integers; a scale for each batch element."""
    x, w, groups = a["X"], a["W"].astype(np.int64), attributes["group"]
    image = tuple(range(1, x.ndim))
    fixed = F(attributes.get("x_scale", 0.0))
    s = (
        fixed
        if fixed
        else _exact.dynamic_scale(x.reshape(len(x), -1)).reshape(-1, *[1] * len(image))
    )
    zero_point = attributes.get("x_zero_point", 127) if fixed else 127
    top = attributes.get("x_top", _exact.LEVELS)
    centred = _exact.quantize(x, s, zero_point, top).astype(np.int64) - zero_point
    rank = x.ndim - 2
    pads, strides, dilations = (attributes[n] for n in ("pads", "strides", "dilations"))
    centred = np.pad(centred, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)])
    reach = [d * (k - 1) for d, k in zip(dilations, w.shape[2:], strict=True)]
    out = [(n - r - 1) // t + 1 for n, r, t in zip(centred.shape[2:], reach, strides, strict=True)]
    grouped = centred.reshape(len(x), groups, -1, *centred.shape[2:])
    weights = w.reshape(groups, -1, *w.shape[1:])
    total = np.zeros((len(x), groups, weights.shape[1], *out), np.int64)
    for tap in np.ndindex(*w.shape[2:]):
        at = tuple(
            slice(k * d, k * d + (n - 1) * t + 1, t)
            for k, d, n, t in zip(tap, dilations, out, strides, strict=True)
        )
        seen = grouped[(slice(None), slice(None), slice(None), *at)]
        taps = weights[(slice(None), slice(None), slice(None), *tap)]
        total += np.einsum("goc,ngc...->ngo...", taps, seen)
    sums = total.reshape(len(x), -1, *out).astype(F)
    channels = (-1, *[1] * rank)
    y = np.asarray(sums * (s * a["W_scale"].reshape(channels)))
    return [y + a["B"].reshape(channels) if "B" in a else y]


def cell(op_type: str, a: dict[str, Array], attributes: dict[str, Any]) -> list[Array]:
    """Return Y, Y_h and, of an LSTM, Y_c."""
    direction = attributes.get("direction", "forward")
    backwards = {"forward": (False,), "reverse": (True,), "bidirectional": (False, True)}
    parts = [_chain(op_type, a, attributes, d, b) for d, b in enumerate(backwards[direction])]
    axes = (1, 0, 0)
    return [np.stack(one, axis) for one, axis in zip(zip(*parts, strict=True), axes, strict=False)]


def _chain(
    op_type: str, a: dict[str, Array], attributes: dict[str, Any], d: int, backwards: bool
) -> list[Array]:
    x = a["X"]
    steps, batch, _ = x.shape
    hidden = a["R"].shape[2]
    bias = a["B"][d] if "B" in a else np.zeros(2 * a["R"].shape[1], F)
    x_scale, h_scale = attributes.get("x_scale", 0.0), attributes.get("h_scale", 1 / 127)
    zero_point = attributes.get("x_zero_point", 127)
    p = product(x, a["W"][d], a["W_scale"][d], x_scale, zero_point)

    def q(v: Array, rows: slice) -> Array:
        return product(v, a["R"][d][rows], a["R_scale"][d][rows], h_scale, 127)

    zeros = np.zeros((batch, hidden), F)
    h = a["initial_h"][d] if "initial_h" in a else zeros
    c = a["initial_c"][d] if "initial_c" in a else zeros
    lens = a.get("sequence_lens", np.full(batch, steps))
    y = np.zeros((steps, batch, hidden), F)
    order = range(steps - 1, -1, -1) if backwards else range(steps)
    for t in order:
        new_h, new_c = _STEPS[op_type](p[t], h, c, q, bias, attributes)
        running = (t < lens)[:, None]
        y[t] = np.where(running, new_h, F(0))
        h, c = np.where(running, new_h, h), np.where(running, new_c, c)
    return [y, h, c] if op_type == "QuantizedLSTM" else [y, h]


def _gru(p: Array, h: Array, c: Array, q: Any, bias: Array, attributes: dict[str, Any]) -> Any:
    n = h.shape[1]
    wb, rb = np.split(bias, 2)
    both = wb + rb
    gates, new = slice(0, 2 * n), slice(2 * n, 3 * n)
    opened = _exact.sigmoid((p[:, gates] + q(h, gates)) + both[gates])
    z, r = opened[:, :n], opened[:, n:]
    if attributes.get("linear_before_reset", 0):
        told = _exact.tanh((p[:, new] + wb[new]) + r * (q(h, new) + rb[new]))
    else:
        told = _exact.tanh((p[:, new] + q(r * h, new)) + both[new])
    return (F(1) - z) * told + _exact.flush(z * h), c


def _lstm(p: Array, h: Array, c: Array, q: Any, bias: Array, _: dict[str, Any]) -> Any:
    wb, rb = np.split(bias, 2)
    i, o, f, g = np.split((p + q(h, slice(None))) + (wb + rb), 4, axis=1)
    c = _exact.flush(_exact.sigmoid(f) * c) + _exact.sigmoid(i) * _exact.tanh(g)
    return _exact.sigmoid(o) * _exact.tanh(c), c


def _rnn(p: Array, h: Array, c: Array, q: Any, bias: Array, attributes: dict[str, Any]) -> Any:
    wb, rb = np.split(bias, 2)
    s = (p + q(h, slice(None))) + (wb + rb)
    relu = attributes.get("activations", ["Tanh"])[0] == "Relu"
    return np.maximum(s, F(0)) if relu else _exact.tanh(s), c


_STEPS: dict[str, Any] = {"QuantizedGRU": _gru, "QuantizedLSTM": _lstm, "QuantizedRNN": _rnn}
