"""GRU, LSTM and RNN of float32 with constant weights -> the fused recurrent kernels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_ir as ir

from edgeseq.kernels import _recurrent, gru, lstm, rnn
from edgeseq.kernels._blocks import Blocks
from edgeseq.kernels._family import Kernel, Role
from edgeseq.kernels._formats import ALL, F32, Format
from edgeseq.lower import formats
from edgeseq.lower import recurrent_group as group
from edgeseq.lower.select import Array, Choice, Shapes, constant, size, wanted
from edgeseq.lower.size import Size

OPS = ("GRU", "LSTM", "RNN")
_KERNELS: Mapping[str, Mapping[Format, Kernel]] = {
    "GRU": dict(zip(ALL, gru.KERNELS, strict=True)),
    "LSTM": dict(zip(ALL, lstm.KERNELS, strict=True)),
    "RNN": dict(zip(ALL, rnn.KERNELS, strict=True)),
}
_GATES = {"GRU": 3, "LSTM": 4, "RNN": 1}
_USUAL = {"GRU": ("Sigmoid", "Tanh"), "LSTM": ("Sigmoid", "Tanh", "Tanh"), "RNN": ("Tanh",)}
# alpha and beta where the node does not give them
_DEFAULTS = {
    "Affine": (1.0, 0.0),
    "LeakyRelu": (0.01, 0.0),
    "ThresholdedRelu": (1.0, 0.0),
    "ScaledTanh": (1.0, 1.0),
    "HardSigmoid": (0.2, 0.5),
    "Elu": (1.0, 0.0),
}
_TWO = ("Affine", "ScaledTanh", "HardSigmoid")  # these have a beta as well


def choose(node: ir.Node, shapes: Shapes) -> Choice | str:
    """A recurrent kernel for the node, or why there is none."""
    stored_w, stored_r = formats.weight(node.inputs[1]), formats.weight(node.inputs[2])
    b, p = constant(input_of(node, 3)), constant(input_of(node, 7))
    if stored_w is None or stored_r is None or (input_of(node, 3) is not None and b is None):
        return "the weights are not constant"
    w, r = stored_w.array, stored_r.array
    if w.dtype != np.float32:
        return f"the weights are {w.dtype}, the kernels are float32"
    element = stored_w.element if stored_w.element == stored_r.element else "f32"
    together = group.find(node, shapes)
    if together is not None:
        return _grouped(node, together, element, shapes)
    directions, hidden = r.shape[0], r.shape[2]
    layout = node.attributes.get_int("layout", 0)
    dims = shapes.of(node.inputs[0])
    batch = dims[1 - layout]
    if layout == 1 and directions > 1 and batch != 1:
        return "layout = 1 with two directions and a batch"
    found = _activations(node, directions)
    if isinstance(found, str):
        return found
    sizes = {
        "T": size(dims[layout]),
        "B": size(batch),
        "I": size(dims[2]),
        "H": Size.of(hidden),
        "groups": Size.of(1),
        "directions": Size.of(directions),
        "reverse": Size.of(reverse(node)),
        **{n: Size.of(v) for n, v in found[0].items()},
        **{n: Size.of(v) for n, v in _flags(node, p).items()},
        **strides(size(dims[layout]), size(batch), size(dims[2]), hidden, directions, layout),
    }
    kernels = _KERNELS[node.op_type]
    kernel = kernels[F32]
    base = Choice(
        node=node,
        kernel=kernel,
        sizes=sizes,
        inputs=tuple(_inputs(node, kernel)),
        consts=(),
        outputs=tuple(_outputs(node, kernel)),
        in_place=True,
        why=f"{_GATES[node.op_type]} gates of {hidden} units in one pass over the weights",
        read_rows=_read_rows if layout == 0 else None,
        write_rows=_write_rows if layout == 0 and wanted(node.outputs[0]) else None,
    )

    def pack(form: Format) -> Array | Blocks:
        return _pack(node, w, r, b, p, form)

    forms = formats.options(element, [m for both in (w, r) for m in _gates(node, both)])
    return formats.choose(base, kernels, forms, pack, shapes, {"params": found[1]})


def _gates(node: ir.Node, weights: Array) -> list[Array]:
    """The matrix of each gate of each direction."""
    gates = _GATES[node.op_type]
    return [gate for one in weights for gate in np.split(one, gates)]


def _grouped(node: ir.Node, together: group.Group, element: str, shapes: Shapes) -> Choice | str:
    """One call for several recurrences that read slices of one tensor: they hide latency."""
    found = _activations(node, together.directions)
    if isinstance(found, str):
        return found
    t, b, g, d = (together.steps, together.batch, len(together.nodes), together.directions)
    inputs, hidden = together.inputs, together.hidden
    packed = [_stacked(together.nodes, i) for i in (1, 2, 3)]
    frame = g * d * hidden
    sizes = {
        **{"T": t, "B": b, "I": inputs, "H": hidden, "groups": g, "directions": d},
        **{"reverse": reverse(node), **found[0], **_flags(node, None)},
        **{"x_t": b * g * inputs, "x_b": g * inputs, "x_g": inputs},
        **{"y_t": b * frame, "y_b": frame, "y_g": d * hidden, "y_d": hidden},
    }
    kernels = _KERNELS[node.op_type]
    kernel = kernels[F32]
    w, r = packed[0], packed[1]
    assert w is not None
    assert r is not None
    base = Choice(
        node=node,
        kernel=kernel,
        sizes={n: Size.of(v) for n, v in sizes.items()},
        inputs=tuple(
            together.source if a.name == "x" else None for a in kernel.args if a.role is Role.IN
        ),
        consts=(),
        outputs=tuple(
            together.result if a.name == "y" else None for a in kernel.args if a.role is Role.OUT
        ),
        covers=together.covers,
        why=f"{g} recurrences on slices of one tensor, side by side: latency hides",
    )

    def pack(form: Format) -> Array | Blocks:
        return _pack(node, w, r, packed[2], None, form)

    forms = formats.options(element, [m for both in (w, r) for m in _gates(node, both)])
    return formats.choose(base, kernels, forms, pack, shapes, {"params": found[1]})


def _stacked(nodes: Sequence[ir.Node], index: int) -> Array | None:
    found = [formats.weight(input_of(n, index)) for n in nodes]
    return None if found[0] is None else np.concatenate([f.array for f in found if f is not None])


def _read_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """The frames of x, apart."""
    frames = sizes["T"] * sizes["B"]
    if index != 0 or (count, row) != (frames, 4 * sizes["I"]) or stride % 4:
        return None
    return {"x_t": sizes["B"] * stride // 4, "x_b": stride // 4}


def _write_rows(
    index: int, sizes: Mapping[str, int], count: int, row: int, stride: int
) -> Mapping[str, int] | None:
    """The frames of y (each with both directions), apart."""
    steps, batch, directions, hidden = (sizes[n] for n in ("T", "B", "directions", "H"))
    if index != 0 or stride % 4 or sizes["groups"] != 1:
        return None
    step = stride // 4
    if (count, row) == (steps, 4 * directions * batch * hidden):
        return {"y_t": step}
    if directions == 1 and (count, row) == (steps * batch, 4 * hidden):
        return {"y_t": batch * step, "y_b": step}
    return None


def input_of(node: ir.Node, index: int) -> ir.Value | None:
    """An input, or None where it is absent."""
    return node.inputs[index] if index < len(node.inputs) else None


def _inputs(node: ir.Node, kernel: Kernel) -> list[ir.Value | None]:
    place = {"x": 0, "lens": 4, "h0": 5, "c0": 6}
    return [input_of(node, place[a.name]) for a in kernel.args if a.role is Role.IN]


def _outputs(node: ir.Node, kernel: Kernel) -> list[ir.Value | None]:
    place = {"y": 0, "h_n": 1, "c_n": 2}
    found = []
    for arg in kernel.args:
        if arg.role is Role.OUT:
            index = place[arg.name]
            value = node.outputs[index] if index < len(node.outputs) else None
            found.append(value if wanted(value) else None)
    return found


def reverse(node: ir.Node) -> int:
    """The `reverse` size of a recurrent kernel."""
    direction = node.attributes.get_string("direction", "forward")
    return {"forward": 0, "reverse": 1, "bidirectional": 2}[direction]


def _flags(node: ir.Node, peepholes: Array | None) -> dict[str, int]:
    get = node.attributes.get_int
    return {
        "reset_first": 1 - get("linear_before_reset", 0),
        "peepholes": int(peepholes is not None),
        "couple": get("input_forget", 0),
    }


def strides(
    steps: Size, batch: Size, inputs: Size, hidden: int, directions: int, layout: int
) -> dict[str, Size]:
    """Distances in floats; `groups` is 1, so theirs do not matter."""
    none, h = Size.of(0), Size.of(hidden)
    if layout == 0:
        return {
            "x_t": batch * inputs,
            "x_b": inputs,
            "x_g": none,
            "y_t": batch * (h * directions),
            "y_d": batch * h,
            "y_b": h,
            "y_g": none,
        }
    return {
        "x_t": inputs,
        "x_b": steps * inputs,
        "x_g": none,
        "y_t": h * directions,
        "y_d": h,
        "y_b": steps * (h * directions),
        "y_g": none,
    }


def _activations(node: ir.Node, directions: int) -> tuple[dict[str, int], Array | None] | str:
    """The `acts` and `clip` sizes and the `params` array."""
    usual = _USUAL[node.op_type]
    names = [_canonical(n) for n in node.attributes.get_strings("activations", usual * directions)]
    count = len(usual)
    if any(
        tuple(names[i * count : (i + 1) * count]) != tuple(names[:count]) for i in range(directions)
    ):
        return "the directions have different activations"
    names = names[:count]
    unknown = [n for n in names if n not in _recurrent.ACTIVATIONS]
    if unknown:
        return f"activation {unknown[0]} is not known"
    clip = node.attributes.get_float("clip", 0.0)
    if tuple(names) == usual and not clip:
        return {"acts": 0, "clip": 0}, None
    alphas = iter(node.attributes.get_floats("activation_alpha", ()))
    betas = iter(node.attributes.get_floats("activation_beta", ()))
    pairs = [_parameters(n, alphas, betas) for n in names]
    acts = 0 if tuple(names) == usual else _recurrent.acts(names)
    return {"acts": acts, "clip": int(clip != 0.0)}, _recurrent.params(pairs, clip)


def _parameters(
    name: str, alphas: Sequence[float] | object, betas: Sequence[float] | object
) -> tuple[float, float]:
    alpha, beta = _DEFAULTS.get(name, (0.0, 0.0))
    if name in _DEFAULTS:
        alpha = next(alphas, alpha)  # type: ignore[call-overload]
    if name in _TWO:
        beta = next(betas, beta)  # type: ignore[call-overload]
    return float(alpha), float(beta)


def _canonical(name: str) -> str:
    """ONNX compares activation names without case."""
    table = {n.lower(): n for n in _recurrent.ACTIVATIONS}
    return table.get(name.lower(), name)


def _pack(
    node: ir.Node, w: Array, r: Array, b: Array | None, p: Array | None, form: Format
) -> Array | Blocks:
    if node.op_type == "GRU":
        first = not node.attributes.get_int("linear_before_reset", 0)
        make = gru.pack_blocks if form.width else gru.pack
        return make(w, r, b, reset_first=first, form=form)
    if node.op_type == "LSTM":
        return (lstm.pack_blocks if form.width else lstm.pack)(w, r, b, p, form)
    return (rnn.pack_blocks if form.width else rnn.pack)(w, r, b, form)
