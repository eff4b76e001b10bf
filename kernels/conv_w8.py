"""Conv and ConvTranspose of floats with int8 weights, one scale per output; c/conv_w8.c.

Each kernel of `conv` and `conv_transpose` that serves many columns has a twin here, which expands
its weights at each call and then computes the same. `usual` names the float kernel's twin.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping

import numpy as np
from edgeseq.kernels import _conv, conv, conv_transpose
from edgeseq.kernels._family import Arg, Array, Case, Kernel, Role, Sizes

MOST_WEIGHTS = 1 << 14  # expanded, they should stay in the first two levels of the cache
LEAST_COLUMNS = 8  # that share an expanded weight


def pack(levels: Array, scale: Array, groups: int, *, transposed: bool = False) -> dict[str, Array]:
    """Pack the CONST arguments `w` and `scale`.

    Args:
        levels: int8 [O, C / groups, (KH,) KW]; transposed: [C, O / groups, (KH,) KW].
        scale: float32 [O].
        groups: ONNX `group`.
        transposed: Of a ConvTranspose.
    """
    packing = _conv.pack_transposed_weights if transposed else _conv.pack_weights
    padded = np.zeros(len(scale) + _conv.PAD, np.float32)
    padded[: len(scale)] = scale
    return {"w": packing(levels, groups).astype(np.int8), "scale": padded}


def unpack(packed: Mapping[str, Array], sizes: Sizes) -> Array:
    """Undo `pack`: the levels [O, C / G, KH, KW]."""
    return _conv.unpack_weights(packed["w"], sizes)


def _taps(sizes: Sizes) -> int:
    return sizes["C"] // sizes.get("G", sizes["C"]) * sizes["KH"] * sizes["KW"]


def _twin(kernel: Kernel) -> Kernel:
    """The kernel with int8 weights."""

    def scratch(sizes: Sizes) -> int:
        return 4 * (_taps(sizes) * sizes["O"] // 16 * 16 + 32) + kernel.scratch(sizes)

    def cases(rng: np.random.Generator) -> Iterator[Case]:
        for case in itertools.islice(kernel.cases(rng), 0, None, 4):  # conv tests them all
            yield _case(case)

    x, _, b, y = _conv.ARGS
    levels = Arg("w", Role.CONST, "int8"), Arg("scale", Role.CONST)
    return dataclasses.replace(
        kernel,
        name=f"{kernel.name}_w8",
        source="conv_w8.c",
        args=(x, *levels, b, y, Arg("scratch", Role.SCRATCH)),
        scratch=scratch,
        cases=cases,
    )


def _case(case: Case) -> Case:
    """A case of a float kernel with its weights rounded; `raw` is [O, C / G, ...] in both."""
    w = case.raw["w"]
    scale = np.abs(w).reshape(len(w), -1).max(axis=1).astype(np.float32) / np.float32(127)
    spread = scale.reshape(-1, *[1] * (w.ndim - 1))
    levels = np.rint(w / spread).astype(np.int8)
    groups = case.sizes.get("G", case.sizes["C"])
    arrays = case.arrays | pack(levels, scale, groups)
    return dataclasses.replace(case, arrays=arrays, raw=case.raw | {"w": levels * spread})


KERNELS = tuple(map(_twin, (*conv.KERNELS, conv_transpose.COLUMNS)))
_TWINS = {kernel.name.removesuffix("_w8"): kernel for kernel in KERNELS}


def usual(kernel: Kernel) -> Kernel | None:
    """The twin of a float kernel, if it has one."""
    return _TWINS.get(kernel.name)
