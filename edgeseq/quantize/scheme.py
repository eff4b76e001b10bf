"""What a quantization is asked for: `int8`, `w8`, `w4g32`, `bf16`, `fp16`, by text."""

from __future__ import annotations

import dataclasses
import re

from edgeseq.errors import UsageError
from edgeseq.registry import hint

KNOWN = ("int8", "int8-dynamic", "w8", "w4g32", "w4g64", "bf16", "fp16", "mixed")
ROUNDINGS = ("nearest", "gptq", "adaround")
CELL_STATES = ("static", "dynamic", "float")
ACTIVATIONS = ("auto", "static", "dynamic")
OBSERVERS = ("min-max", "moving", "percentile", "mse", "entropy")


@dataclasses.dataclass(frozen=True)
class Scheme:
    """How a layer is stored and computed.

    Args:
        weights: `int8`, `int4`, `bfloat16` or `float16`.
        activations: Quantize what the weights are multiplied by, too: integer products.
        group: int4: inputs that share a scale.
        dynamic: Their scales are those of each step and row, whatever the settings say.
    """

    weights: str
    activations: bool = False
    group: int = 0
    dynamic: bool = False

    @property
    def text(self) -> str:
        """As the user writes it."""
        if self.weights == "int4":
            return f"w4g{self.group}"
        if self.dynamic:
            return "int8-dynamic"
        names = {"int8": "int8" if self.activations else "w8", "bfloat16": "bf16"}
        return names.get(self.weights, "fp16")

    def nbytes(self, outputs: int, inputs: int) -> int:
        """Bytes of a matrix: its levels and its scales."""
        if self.weights == "int4":
            groups = -(-inputs // self.group)
            return outputs * (-(-inputs // 2) + 2 * groups)
        if self.weights == "int8":
            return outputs * (inputs + 4)
        return outputs * inputs * 2


def parse(text: str) -> Scheme:
    """Read a scheme.

    Raises:
        UsageError: there is no such scheme.
    """
    match text:
        case "int8":
            return Scheme("int8", activations=True)
        case "int8-dynamic":
            return Scheme("int8", activations=True, dynamic=True)
        case "w8":
            return Scheme("int8")
        case "bf16":
            return Scheme("bfloat16")
        case "fp16":
            return Scheme("float16")
    found = re.fullmatch(r"w4g(\d+)", text)
    if found is None:
        raise UsageError(f"unknown quantization '{text}'", fix=hint(text, KNOWN))
    group = int(found[1])
    if group not in (16, 32, 64, 128):
        raise UsageError(
            f"quantization '{text}' has groups of {group} inputs",
            why="groups are of 16, 32, 64 or 128 inputs",
            fix="--quantize w4g32",
        )
    return Scheme("int4", group=group)


@dataclasses.dataclass(frozen=True)
class Settings:
    """What a user may choose beside the scheme.

    Args:
        observer: How the range of an activation follows from what was seen.
        percentile: Of the `percentile` observer: share of the values inside the range, in percent.
        symmetric: Ranges of activations are symmetric about 0.
        rounding: `nearest`, or against the calibration samples: `gptq`, input by input, or
            `adaround`, all at once.
        correct_bias: Take the mean error of a product, over the samples, out of its bias.
        equalize: Move scales between weights that only homogeneous functions stand between.
        smooth: Exponent by which ranges move from activations to weights; 0: none do.
        saturation_free: Weights whose pair sums fit 16 bits (for `maddubs`), at some cost.
        keep: Names of layers or weights that stay as they are.
        activations: `static` scales where there are samples, `dynamic` ones, of each step and row,
            everywhere, or `auto`: static but where that loses much more.
        cell_states: Of int8 cells: `static` or `dynamic` scales where a state is multiplied, or
            `float`: the cell has `w8` weights.
    """

    observer: str = "percentile"
    percentile: float = 99.99
    symmetric: bool = False
    rounding: str = "nearest"
    correct_bias: bool = True
    equalize: bool = False
    smooth: float = 0.0
    saturation_free: bool = False
    keep: tuple[str, ...] = ()
    activations: str = "auto"
    cell_states: str = "static"
