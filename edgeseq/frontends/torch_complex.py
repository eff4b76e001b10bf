"""Operators on complex tensors that torch's ONNX exporter lacks, as operators on their parts.

The exporter keeps a complex tensor as a real one with the parts on a last axis, and knows
arithmetic and some others. Those here move numbers about or are made of real ones, so they are
decomposed before it sees them: `view_as_real` and `view_as_complex` cost nothing in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

Operator = Callable[..., Any]
_aten: Any = torch.ops.aten


def decompose(program: ExportedProgram) -> ExportedProgram:
    """The same program without these operators; the program itself where nothing is complex."""
    values = (node.meta.get("val") for node in program.graph.nodes)
    if not any(isinstance(v, Tensor) and v.is_complex() for v in values):
        return program
    decomposed: ExportedProgram = program.run_decompositions(
        {operator: _if_complex(function) for operator, function in _TABLE.items()}
    )
    return decomposed


def _if_complex(function: Operator) -> Operator:
    def decomposition(*args: Any, **kwargs: Any) -> Any:
        given = [*args, *kwargs.values()]
        flat = [v for a in given for v in (a if isinstance(a, list | tuple) else [a])]
        return function(*args, **kwargs) if any(map(_is_complex, flat)) else NotImplemented

    return decomposition


def _is_complex(value: Any) -> bool:
    return value.is_complex() if isinstance(value, Tensor) else isinstance(value, complex)


def _along(operator: Operator, ranks: int = 0) -> Operator:
    """An operator of (x, dim, ...), where a negative dim counts from the end.

    Args:
        operator: Works on the real view alike.
        ranks: By how much its dims may exceed those of x: 1 for unsqueeze.
    """

    def call(x: Tensor, dim: int, *args: Any, **kwargs: Any) -> Any:
        place = dim % (x.dim() + ranks)
        return _complex(operator(torch.view_as_real(x), place, *args, **kwargs))

    return call


def _complex(found: Any) -> Any:
    if isinstance(found, list | tuple):
        return [torch.view_as_complex(part.contiguous()) for part in found]
    return torch.view_as_complex(found.contiguous())


def _split(x: Tensor, sizes: Any, dim: int = 0) -> Any:
    return _complex(torch.split(torch.view_as_real(x), sizes, dim % x.dim()))


def _chunk(x: Tensor, chunks: int, dim: int = 0) -> Any:
    return _complex(torch.chunk(torch.view_as_real(x), chunks, dim % x.dim()))


def _unbind(x: Tensor, dim: int = 0) -> Any:
    return _complex(torch.unbind(torch.view_as_real(x), dim % x.dim()))


def _expand(x: Tensor, size: Sequence[int], **_: Any) -> Any:
    return _complex(torch.view_as_real(x).expand(*size, 2))


def _repeat(x: Tensor, repeats: Sequence[int]) -> Any:
    return _complex(torch.view_as_real(x).repeat(*repeats, 1))


def _pad(x: Tensor, pad: Sequence[int], mode: str = "constant", value: float | None = None) -> Any:
    grow = torch.nn.functional.pad
    if mode != "constant":
        return torch.complex(grow(x.real, list(pad), mode), grow(x.imag, list(pad), mode))
    if value:
        return torch.complex(grow(x.real, list(pad), mode, value), grow(x.imag, list(pad)))
    return _complex(grow(torch.view_as_real(x), [0, 0, *pad]))


def _constant_pad(x: Tensor, pad: Sequence[int], value: float = 0) -> Any:
    return _pad(x, pad, "constant", value)


def _where(condition: Tensor, yes: Tensor, no: Tensor) -> Any:
    yes, no = (v if v.is_complex() else torch.complex(v, torch.zeros_like(v)) for v in (yes, no))
    parts = torch.view_as_real(yes), torch.view_as_real(no)
    return _complex(torch.where(condition.unsqueeze(-1), *parts))


def _zeros_like(x: Tensor, **_: Any) -> Any:
    return _complex(torch.zeros_like(torch.view_as_real(x)))


def _ones_like(x: Tensor, **_: Any) -> Any:
    return torch.complex(torch.ones_like(x.real), torch.zeros_like(x.real))


def _times(x: Tensor, factor: Any) -> Any:
    if isinstance(factor, Tensor):
        return NotImplemented  # that the exporter knows
    a, b = (factor.real, factor.imag) if isinstance(factor, complex) else (factor, 0.0)
    if not x.is_complex():
        return torch.complex(x * a, x * b)
    re, im = x.real, x.imag
    return (
        torch.complex(re * a - im * b, re * b + im * a)
        if b
        else _complex(torch.view_as_real(x) * a)
    )


def _einsum(equation: str, operands: Sequence[Tensor], **_: Any) -> Any:
    if len(operands) == 1:
        parts = (torch.einsum(equation, part) for part in (operands[0].real, operands[0].imag))
        return torch.complex(*parts)
    if len(operands) > 2:
        return NotImplemented
    (ar, ai), (br, bi) = ((v.real, v.imag) for v in operands)
    return torch.complex(
        torch.einsum(equation, ar, br) - torch.einsum(equation, ai, bi),
        torch.einsum(equation, ar, bi) + torch.einsum(equation, ai, br),
    )


def _exp(x: Tensor) -> Any:
    return torch.polar(x.real.exp(), x.imag)


def _sgn(x: Tensor) -> Any:
    size = x.abs()
    return _complex(torch.view_as_real(x) / torch.where(size > 0, size, 1.0).unsqueeze(-1))


def _lengthened(operator: Operator, bins: Callable[[int], int]) -> Operator:
    """A transform of n points of a spectrum that has fewer or more bins: padded or cut first."""

    def call(x: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None) -> Any:
        if n is None or x.shape[dim] == bins(n):
            return NotImplemented
        behind = x.dim() - 1 - dim % x.dim()
        pads = [0, 0] * behind + [0, bins(n) - x.shape[dim]]
        return operator(_pad(x, pads), n, dim, norm)

    return call


_TABLE: Mapping[Operator, Operator] = {
    _aten.unsqueeze.default: _along(torch.unsqueeze, 1),
    _aten.squeeze.dim: _along(torch.squeeze),
    _aten.select.int: _along(torch.select),
    _aten.index_select.default: _along(torch.index_select),
    _aten.cumsum.default: _along(torch.cumsum),
    _aten.split.Tensor: _split,
    _aten.split_with_sizes.default: _split,
    _aten.chunk.default: _chunk,
    _aten.unbind.int: _unbind,
    _aten.expand.default: _expand,
    _aten.repeat.default: _repeat,
    _aten.pad.default: _pad,
    _aten.constant_pad_nd.default: _constant_pad,
    _aten.where.self: _where,
    _aten.zeros_like.default: _zeros_like,
    _aten.ones_like.default: _ones_like,
    _aten.mul.Scalar: _times,
    _aten.mul.Tensor: _times,
    _aten.einsum.default: _einsum,
    _aten.exp.default: _exp,
    _aten.sgn.default: _sgn,
    _aten.fft_irfft.default: _lengthened(torch.fft.irfft, lambda n: n // 2 + 1),
    _aten.fft_fft.default: _lengthened(torch.fft.fft, lambda n: n),
    _aten.fft_ifft.default: _lengthened(torch.fft.ifft, lambda n: n),
}
