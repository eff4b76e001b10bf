"""Lines of ONNX text that the quantized functions share."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

DOMAIN = "edgeseq"
TOP = 254  # of the levels of an input: two of them times weights fit sixteen bits
SMALLEST = 2.0**-100  # a dynamic scale is at least this over 127, and flushing rounds to its ulp


@dataclasses.dataclass(frozen=True)
class Variant:
    """What decides the body of a quantized function.

    Args:
        op_type: The function.
        direction: `forward`, `reverse` or `bidirectional`.
        dynamic_x: The scale of the input is that of each step and row.
        dynamic_h: The same for the state.
        reset_first: GRU: `linear_before_reset = 0`.
        activation: RNN: `Tanh` or `Relu`.
        bias: B is given.
        lens: `sequence_lens` is given.
        h0: `initial_h` is given.
        c0: `initial_c` is given.
        rank: Convolution: axes of X.
        wide: Products: levels of a static input go up to 255, not 254.
    """

    op_type: str
    direction: str = "forward"
    dynamic_x: bool = True
    dynamic_h: bool = False
    reset_first: bool = True
    activation: str = "Tanh"
    bias: bool = False
    lens: bool = False
    h0: bool = False
    c0: bool = False
    rank: int = 0
    wide: bool = False

    def overload(self) -> str:
        """The variant as a name: `forward_xfix_hfix_lbr_b_h0`."""
        words = ["xdyn" if self.dynamic_x else "xfix", "wide" * self.wide, "b" * self.bias]
        if self.op_type == "QuantizedConv":
            words.insert(0, f"{self.rank - 2}d")
        elif self.op_type != "QuantizedMatMul":
            words = [self.direction, *words, "hdyn" if self.dynamic_h else "hfix"]
            words += ["lens" * self.lens, "h0" * self.h0, "c0" * self.c0]
        if self.op_type == "QuantizedGRU" and not self.reset_first:
            words.append("lbr")
        if self.op_type == "QuantizedRNN":
            words.append(self.activation.lower())
        return "_".join(word for word in words if word)


def scalar(name: str, value: float) -> str:
    """`name = value`, a float32 scalar; the text keeps all its bits."""
    return f"{name} = Constant<value_float = {float(value)!r}> ()"


def quantized(
    value: str,
    name: str,
    *,
    dynamic: bool,
    zero_point: str | None = None,
    axes: Sequence[int] = (-1,),
    top: int = TOP,
) -> list[str]:
    """Lines that make `<name>_int`, the int32 `u - zp`, and its scale `<name>_s`.

    Args:
        value: What is quantized.
        name: Prefix of the names; a static scale is the attribute `<name>_scale`.
        dynamic: The scale comes from the values.
        zero_point: Attribute with the zero point of a static scale; None: 127.
        axes: A dynamic scale is that of all values along these axes.
        top: The largest level.
    """
    lines = scale(value, name, axes) if dynamic else []
    if zero_point is not None and not dynamic:
        lines += [
            f"{name}_zero_int = Constant<value_int: int = @{zero_point}> ()",
            f"{name}_zero = Cast<to = 1> ({name}_zero_int)",
        ]
    else:
        lines.append(scalar(f"{name}_zero", 127))
    return [*([] if dynamic else [static(name)]), *lines, *levels(value, name, top)]


def static(name: str) -> str:
    """The attribute `<name>_scale` as a scalar; only outside the bodies of loops."""
    return f"{name}_s = Constant<value_float: float = @{name}_scale> ()"


def scale(value: str, name: str, axes: Sequence[int] = (-1,)) -> list[str]:
    """`max(max|v|, 2^-100) / 127` of each row: never a division by zero."""
    return [
        f"{name}_axis = Constant<value_ints = [{', '.join(map(str, axes))}]> ()",
        scalar(f"{name}_smallest", SMALLEST),
        scalar(f"{name}_top", 127),
        f"{name}_abs = Abs ({value})",
        f"{name}_largest = ReduceMax<keepdims = 1> ({name}_abs, {name}_axis)",
        f"{name}_max = Max ({name}_largest, {name}_smallest)",
        f"{name}_s = Div ({name}_max, {name}_top)",
    ]


def levels(value: str, name: str, top: int = TOP) -> list[str]:
    """`clamp(round(v / s) + zp, 0, top) - zp` as int32; 0 for a NaN."""
    return [
        scalar(f"{name}_none", 0),
        scalar(f"{name}_least", 0),
        scalar(f"{name}_most", top),
        f"{name}_units = Div ({value}, {name}_s)",
        f"{name}_round = Round ({name}_units)",
        f"{name}_undefined = IsNaN ({name}_round)",
        f"{name}_known = Where ({name}_undefined, {name}_none, {name}_round)",
        f"{name}_shift = Add ({name}_known, {name}_zero)",
        f"{name}_level = Clip ({name}_shift, {name}_least, {name}_most)",
        f"{name}_centred = Sub ({name}_level, {name}_zero)",
        f"{name}_int = Cast<to = 6> ({name}_centred)",
    ]
