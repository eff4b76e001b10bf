"""GRU, LSTM and RNN: steps with the state carried, and sequences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edgeseq import registry
from edgeseq.bench.harness import Array
from edgeseq.bench.suite import problem
from edgeseq.bench.suite.cases import Case
from edgeseq.bench.suite.native import Call, find_kernel
from edgeseq.bench.suite.problem import FRAMES, Problem
from edgeseq.kernels import _exact as exact
from edgeseq.kernels import _quantized, rnn_i8
from edgeseq.kernels._family import Kernel
from edgeseq.kernels._formats import Format
from edgeseq.lower import work

STATES = {"gru": ("h0",), "lstm": ("h0", "c0"), "rnn": ("h0",)}
PROJECTED = 64  # steps whose inputs are multiplied in one pass over their weights
Weights = Mapping[str, Array]  # W [1, GH, I], R [1, GH, H], B [1, 2GH], as ONNX orders them


def build(case: Case, rng: np.random.Generator) -> Problem | None:
    """Return the case with numbers in it, or None where there is no such kernel."""
    form = work.parse(f"{case.family}_{case.form}")
    found = None if form is None else make(form, case.sizes, case.density, rng)
    if form is None or found is None:
        return None
    call, weights = found
    inputs, hidden, steps = (case.sizes[n] for n in ("I", "H", "T"))
    pairs = [(n, f"{n[0]}_n") for n in STATES[case.family]]
    stored = sum(a.nbytes for a in call.consts.values())
    of_inputs = stored * inputs // (inputs + hidden)
    read_again = of_inputs * -(-steps // PROJECTED) + (stored - of_inputs) * steps
    return Problem(
        call=call,
        model=_model(case, weights, pairs),
        frames=call.frames,
        states=call.states,
        pairs=pairs,
        outputs={"y": "y"},
        footprint=stored,
        moved=read_again + 4 * steps * inputs,
        tolerance=problem.TOLERANCE[form.weights],
    )


def make(
    form: work.Format, sizes: Mapping[str, int], density: float, rng: np.random.Generator
) -> tuple[Call, Weights] | None:
    """Return a call and its weights in float32, or None where there is no such kernel.

    Args:
        form: The kernel's name, taken apart.
        sizes: I, H, T and perhaps B.
        density: Share of the blocks that are kept.
        rng: Source of all numbers.
    """
    kernel = find_kernel(form.name)
    if kernel is None:
        return None
    inputs, hidden, steps, batch = sizes["I"], sizes["H"], sizes["T"], sizes.get("B", 1)
    weights = _draw(form, inputs, hidden, density, rng)
    extra, consts = _pack(form, weights)
    shape = (steps, batch, inputs)
    xs = [rng.uniform(-1, 1, shape).astype(np.float32) for _ in range(FRAMES if steps == 1 else 1)]
    states = {
        n: rng.uniform(-0.5, 0.5, (1, batch, hidden)).astype(np.float32)
        for n in STATES[form.family]
    }
    all_sizes = _sizes(kernel, inputs, hidden, steps, batch) | extra
    return Call(kernel, all_sizes, consts, [{"x": x} for x in xs], states), weights


def _draw(
    form: work.Format, inputs: int, hidden: int, density: float, rng: np.random.Generator
) -> dict[str, Array]:
    """Draw weights that the format holds exactly, with whole blocks of zeros."""
    gates = work.GATES[form.family]
    bound = 1 / np.sqrt(hidden * max(density, 0.01))
    found = {}
    for name, cols in (("W", inputs), ("R", hidden)):
        full = rng.uniform(-bound, bound, (gates, hidden, cols)).astype(np.float32)
        kept = [problem.mask(rng, hidden, cols, form, density) for _ in range(gates)]
        zeroed = (full * np.stack(kept)).reshape(1, gates * hidden, cols)
        found[name] = problem.representable(zeroed, form.weights)
    found["B"] = rng.uniform(-0.1, 0.1, (1, 2 * gates * hidden)).astype(np.float32)
    return found


def _sizes(kernel: Kernel, inputs: int, hidden: int, steps: int, batch: int) -> dict[str, int]:
    """The int parameters of one forward chain; what is not named is 0."""
    known = {"T": steps, "B": batch, "I": inputs, "H": hidden, "groups": 1, "directions": 1}
    known |= {"x_t": batch * inputs, "x_b": inputs, "x_zero": exact.MIDDLE}
    known |= {"y_t": batch * hidden, "y_b": hidden, "y_d": batch * hidden}
    known["act"] = rnn_i8.ACTIVATIONS["Tanh"]
    return {name: known.get(name, 0) for name in kernel.sizes}


def _pack(form: work.Format, weights: Weights) -> tuple[dict[str, int], dict[str, Array]]:
    """Return the sizes and the CONST arguments that the format adds."""
    options: dict[str, Any] = {"gru": {"reset_first": False}}.get(form.family, {})
    if form.weights == "i8":
        family = registry.find("kernels", f"{form.family}-i8")
        packed = family.pack(_int8(weights), weights["B"], layout=form.layout, **options)
        return packed.sizes, packed.arrays
    family = registry.find("kernels", form.family)
    stored = Format(form.weights, form.rows if form.sparse else 0, form.window)
    if form.family == "lstm":
        options["p"] = None
    tensors = (weights["W"], weights["R"], weights["B"])
    if not form.sparse:
        return {}, {"w": family.pack(*tensors, form=stored, **options)}
    blocks = family.pack_blocks(*tensors, form=stored, **options)
    return {"blocks": blocks.blocks}, blocks.arrays()


def _int8(weights: Weights) -> _quantized.Weights:
    """The inputs are within [-1, 1], as is h: both are quantized in steps of 1/127."""
    (w, w_scale), (r, r_scale) = (problem.quantized(weights[n]) for n in ("W", "R"))
    step = np.full(1, 1 / 127, np.float32)
    return _quantized.Weights(w, r, w_scale, r_scale, step, step)


def _model(case: Case, weights: Weights, pairs: list[tuple[str, str]]) -> Any:
    from onnx import helper

    inputs, hidden, steps = (case.sizes[n] for n in ("I", "H", "T"))
    flags = {"linear_before_reset": 1} if case.family == "gru" else {}
    node = helper.make_node(
        case.family.upper(),
        ["x", "W", "R", "B", "", *(a for a, _ in pairs)],
        ["y", *(b for _, b in pairs)],
        hidden_size=hidden,
        **flags,
    )
    state = [1, 1, hidden]
    return problem.model_of(
        [node],
        {"x": [steps, 1, inputs], **{a: state for a, _ in pairs}},
        {"y": [steps, 1, 1, hidden], **{b: state for _, b in pairs}},
        weights,
    )
