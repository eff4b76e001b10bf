"""`Conv(Pad(x, zeros)) -> Conv(x, pads)`, and `auto_pad` becomes pads; exact.

Afterwards every convolution says its kernel, strides, dilations and pads in full. Refused where the
pads are not zeros on spatial axes.
"""

from __future__ import annotations

import onnx_ir as ir

from edgeseq.ir.edit import Editor, data_of
from edgeseq.ir.infer import describe
from edgeseq.ir.passes import NodePass


class ExplicitPads(NodePass):
    """Let a convolution do its own padding."""

    ops = ("Conv",)

    def rewrite(self, node: ir.Node, edit: Editor) -> bool | str:
        """Spell out the attributes, then take over a Pad before."""
        source, weight = node.inputs[0], node.inputs[1]
        if source is None or source.shape is None or weight is None or weight.shape is None:
            return False
        sizes, kernel = list(source.shape[2:]), [int(k) for k in list(weight.shape)[2:]]
        full = {
            "kernel_shape": kernel,
            "strides": _ints(node, "strides", [1] * len(kernel)),
            "dilations": _ints(node, "dilations", [1] * len(kernel)),
        }
        pads = _own_pads(node, sizes, full)
        if pads is None:
            return "its automatic padding depends on time"
        before = source.producer()
        taken = None
        if before is not None and before.op_type == "Pad" and not before.domain:
            taken = _pads_of(before, len(source.shape))
            if taken is None:
                self.refuse(node, f"{describe(before)} does not pad spatial axes with zeros")
            else:
                pads = [one + other for one, other in zip(pads, taken, strict=True)]
        full["pads"] = pads
        said = all(_ints(node, name, []) == full[name] for name in full)
        if taken is None and said and "auto_pad" not in node.attributes:
            return False
        group = node.attributes.get("group")
        attributes = {**full, "group": 1 if group is None else group.as_int()}
        data = source if taken is None or before is None else before.inputs[0]
        edit.remake(node, "Conv", [data, *node.inputs[1:]], attributes)
        return True


PASS = ExplicitPads


def _ints(node: ir.Node, name: str, default: list[int]) -> list[int]:
    attribute = node.attributes.get(name)
    return default if attribute is None else list(attribute.as_ints())


def _own_pads(
    node: ir.Node, sizes: list[int | ir.SymbolicDim], full: dict[str, list[int]]
) -> list[int] | None:
    auto = node.attributes.get("auto_pad")
    mode = "NOTSET" if auto is None else auto.as_string()
    if mode in ("NOTSET", "VALID"):
        none = [0] * 2 * len(sizes)
        return _ints(node, "pads", none) if mode == "NOTSET" else none
    begin, end = [], []
    for size, k, s, d in zip(
        sizes, full["kernel_shape"], full["strides"], full["dilations"], strict=True
    ):
        if isinstance(size, int):
            total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
        elif s == 1:
            total = (k - 1) * d
        else:
            return None
        small, large = total // 2, total - total // 2
        begin.append(small if mode == "SAME_UPPER" else large)
        end.append(large if mode == "SAME_UPPER" else small)
    return begin + end


def _pads_of(pad: ir.Node, rank: int) -> list[int] | None:
    """Return a Pad's spatial pads, or None when it pads anything else or not with zeros."""
    mode, pads = pad.attributes.get("mode"), data_of(pad.inputs[1])
    value = data_of(pad.inputs[2]) if len(pad.inputs) > 2 and pad.inputs[2] else None
    if (mode is not None and mode.as_string() != "constant") or pads is None:
        return None
    if (len(pad.inputs) > 2 and pad.inputs[2] and value is None) or (
        value is not None and value.any()
    ):
        return None
    axes = data_of(pad.inputs[3]) if len(pad.inputs) > 3 else None
    places = list(range(rank)) if axes is None else [int(axis) % rank for axis in axes]
    full = [0] * 2 * rank
    for at, place in enumerate(places):
        full[place], full[place + rank] = int(pads[at]), int(pads[at + len(places)])
    if any(full[:2]) or any(full[rank : rank + 2]) or min(full) < 0:
        return None
    return full[2:rank] + full[rank + 2 :]
