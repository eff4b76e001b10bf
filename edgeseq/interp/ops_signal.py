"""Signal processing: windows, Fourier transforms, mel weights."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from edgeseq.interp.call import Call, Op, Tensor

_FLOAT = 1


def _cosine_window(coefficients: Sequence[float]) -> Op:
    """Sum of (-1)^k a_k cos(2 pi k n / N): Hann, Hamming and Blackman are of this form."""

    def op(call: Call, size: Tensor) -> Tensor:
        count = int(size)
        period = count if call.int("periodic", 1) else count - 1
        angle = 2 * math.pi * torch.arange(count, dtype=torch.float64) / period
        total = torch.zeros(count, dtype=torch.float64)
        for k, a in enumerate(coefficients):
            total += (-1) ** k * a * torch.cos(k * angle)
        return total.to(call.dtype(call.int("output_datatype", _FLOAT)))

    return op


def _complex(x: Tensor) -> Tensor:
    """Real [..., 1] or complex [..., 2] pairs to torch's complex numbers."""
    if x.shape[-1] == 1:
        return torch.complex(x[..., 0], torch.zeros_like(x[..., 0]))
    return torch.view_as_complex(x.contiguous())


def dft(
    call: Call, x: Tensor, length: Tensor | None = None, axis_input: Tensor | None = None
) -> Tensor:
    axis = call.int("axis", 1) if call.opset < 20 else -2
    axis = int(axis_input) if axis_input is not None else axis
    axis = axis + 1 if axis < 0 else axis  # the last axis, of pairs, is gone in `signal`
    signal = _complex(x)
    count = int(length) if length is not None else None
    if call.int("inverse") and call.int("onesided"):
        full = count or 2 * (signal.shape[axis] - 1)
        real: Tensor = torch.fft.irfft(signal, full, axis)
        return real.unsqueeze(-1)
    if call.int("inverse"):
        return torch.view_as_real(torch.fft.ifft(signal, count, axis))
    result = torch.fft.fft(signal, count, axis)
    if call.int("onesided"):
        result = result.narrow(axis, 0, result.shape[axis] // 2 + 1)
    return torch.view_as_real(result)


def stft(
    call: Call,
    signal: Tensor,
    step: Tensor,
    window: Tensor | None = None,
    length: Tensor | None = None,
) -> Tensor:
    x = _complex(signal) if signal.dim() == 3 else signal
    if window is None:
        assert length is not None
        window = torch.ones(int(length), dtype=signal.dtype)
    frames = x.unfold(1, window.shape[0], int(step)) * window
    result = torch.fft.fft(frames, dim=-1)
    if call.int("onesided", 1):
        result = result[..., : window.shape[0] // 2 + 1]
    return torch.view_as_real(result)


def mel_weights(
    call: Call, bands: Tensor, size: Tensor, rate: Tensor, low: Tensor, high: Tensor
) -> Tensor:
    count, bins = int(bands), int(size) // 2 + 1
    ends = torch.stack([low, high]).to(torch.float64)
    mel = 2595 * torch.log10(1 + ends / 700)
    points = torch.arange(count + 2) * (mel[1] - mel[0]) / (count + 2) + mel[0]
    edges = ((int(size) + 1) * 700 * (10 ** (points / 2595) - 1) / int(rate)).floor()
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    at = torch.arange(bins, dtype=torch.float64).reshape(-1, 1)
    rising = torch.where(centre == left, (at == centre).to(at.dtype), (at - left) / (centre - left))
    falling = (right - at) / (right - centre)
    weights = torch.where(at <= centre, rising, falling)
    inside = (at >= left) & ((at < right) | (at == centre))
    weights = torch.where(inside, weights, torch.zeros_like(weights))
    return weights.to(call.dtype(call.int("output_datatype", _FLOAT)))


OPS: dict[str, Op] = {
    "BlackmanWindow": _cosine_window([0.42, 0.5, 0.08]),
    "DFT": dft,
    "HammingWindow": _cosine_window([25 / 46, 21 / 46]),
    "HannWindow": _cosine_window([0.5, 0.5]),
    "MelWeightMatrix": mel_weights,
    "STFT": stft,
}
