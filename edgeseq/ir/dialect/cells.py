"""Bodies of the quantized recurrences: one Scan for each direction, the input's sums before it.

    GRU   z = sigmoid((p_z + q_z) + b_z), r alike                             order z, r, n
          n = tanh((p_n + Wb_n) + r * (q_n + Rb_n))                           linear_before_reset
          n = tanh((p_n + q_n) + b_n), q_n of quantized r * h                 else
          h' = (1 - z) * n + flush(z * h)
    LSTM  gate = act((p + q) + b); c' = flush(f * c) + i * g; h' = o * tanh(c')   order i, o, f, g
    RNN   h' = act((p + q) + b)

b = Wb + Rb; flush(v) = (v + 2^-100) - 2^-100, which leaves no denormals. With `sequence_lens`,
steps past a row's end keep its state and give 0, as in ONNX.
"""

from __future__ import annotations

from edgeseq.ir.dialect.text import (
    DOMAIN,
    SMALLEST,
    Variant,
    levels,
    quantized,
    scalar,
    scale,
    static,
)

_GATES = {"QuantizedGRU": 3, "QuantizedLSTM": 4, "QuantizedRNN": 1}
_FORWARD, _BACKWARD = "ahead", "back"
_CHAINS = {
    "forward": (_FORWARD,),
    "reverse": (_BACKWARD,),
    "bidirectional": (_FORWARD, _BACKWARD),
}


def lines(chosen: Variant) -> list[str]:
    """All lines of a body."""
    out = [
        *quantized("X", "x", dynamic=chosen.dynamic_x, zero_point="x_zero_point"),
        "batch = Shape<start = 1, end = 2> (X)",
        "units = Shape<start = 2, end = 3> (R)",
        "state_shape = Concat<axis = 0> (batch, units)",
        scalar("zero", 0),
        scalar("one", 1),
        scalar("coarse", SMALLEST),
        scalar("h_zero", 127),
        "first_axis = Constant<value_ints = [0]> ()",
        "direction_axis = Constant<value_ints = [1]> ()",
    ]
    if not chosen.dynamic_h:
        out.append(static("h"))
    if chosen.lens:
        out += [
            "steps = Shape<start = 0, end = 1> (X)",
            "steps_scalar = Squeeze (steps)",
            "from_int = Constant<value_int = 0> ()",
            "by_int = Constant<value_int = 1> ()",
            "times = Range (from_int, steps_scalar, by_int)",
            "ends_row = Cast<to = 7> (sequence_lens)",
            "last_axis = Constant<value_ints = [-1]> ()",
            "ends = Unsqueeze (ends_row, last_axis)",
        ]
    chains = _CHAINS[chosen.direction]
    for index, chain in enumerate(chains):
        out += _chain(chosen, chain, index)
    for output in _outputs(chosen):
        axis = 1 if output == "Y" else 0
        parts = ", ".join(f"{chain}_{output}" for chain in chains)
        out.append(f"{output} = Concat<axis = {axis}> ({parts})")
    return out


def _outputs(chosen: Variant) -> tuple[str, ...]:
    return ("Y", "Y_h", "Y_c") if chosen.op_type == "QuantizedLSTM" else ("Y", "Y_h")


def _chain(chosen: Variant, d: str, index: int) -> list[str]:
    """One direction: its weights, the sums of the input, and the Scan."""
    gates = _GATES[chosen.op_type]
    states = ["h", "c"] if chosen.op_type == "QuantizedLSTM" else ["h"]
    out = [
        f"{d}_index = Constant<value_int = {index}> ()",
        *_weights(d),
        *_bias(chosen, d, gates),
        *[line for state in states for line in _initial(chosen, d, state)],
        f"{d}_sum = MatMul (x_int, {d}_Wt)",
        f"{d}_product = Cast<to = 1> ({d}_sum)",
        f"{d}_scales = Mul (x_s, {d}_Ws)",
        f"{d}_projected = Mul ({d}_product, {d}_scales)",
    ]
    scanned = [f"{d}_projected"] + ["times"] * chosen.lens
    backwards = int(d == _BACKWARD)
    last = [f"{d}_last_{state}" for state in states]
    step = "\n    ".join(_step(chosen, d, states))
    inner = [*states, "p"] + ["time"] * chosen.lens
    kept = [f"{state}_next" for state in states]
    out += [
        f"{', '.join(last)}, {d}_steps = Scan <",
        f"  num_scan_inputs = {len(scanned)},",
        f"  scan_input_directions = [{', '.join([str(backwards)] * len(scanned))}],",
        f"  scan_output_directions = [{backwards}],",
        f"  body = {d}_step ({', '.join(inner)}) => ({', '.join([*kept, 'y'])}) {{\n    {step}",
        "  }",
        f"> ({', '.join([*(f'{d}_first_{s}' for s in states), *scanned])})",
        f"{d}_Y = Unsqueeze ({d}_steps, direction_axis)",
    ]
    out += [f"{d}_Y_{s} = Unsqueeze ({d}_last_{s}, first_axis)" for s in states]
    return out


def _weights(d: str) -> list[str]:
    out = []
    for name in ("W", "R"):
        out += [
            f"{d}_{name}8 = Gather<axis = 0> ({name}, {d}_index)",
            f"{d}_{name}32 = Cast<to = 6> ({d}_{name}8)",
            f"{d}_{name}t = Transpose<perm = [1, 0]> ({d}_{name}32)",
            f"{d}_{name}s = Gather<axis = 0> ({name}_scale, {d}_index)",
        ]
    return out


def _bias(chosen: Variant, d: str, gates: int) -> list[str]:
    """`<d>_Wb` and `<d>_Rb`, zeros without B, and their sum."""
    if chosen.bias:
        out = [
            f"{d}_B = Gather<axis = 0> (B, {d}_index)",
            f"{d}_Wb, {d}_Rb = Split<axis = 0, num_outputs = 2> ({d}_B)",
        ]
    else:
        out = [
            f"{d}_rows = Shape<start = 1, end = 2> (R)",
            f"{d}_Wb = Expand (zero, {d}_rows)",
            f"{d}_Rb = Identity ({d}_Wb)",
        ]
    out.append(f"{d}_b = Add ({d}_Wb, {d}_Rb)")
    if gates == 3:
        for name in ("Wb", "Rb", "b"):
            parts = ", ".join(f"{d}_{name}_{gate}" for gate in "zrn")
            out.append(f"{parts} = Split<axis = 0, num_outputs = 3> ({d}_{name})")
    if chosen.op_type == "QuantizedGRU" and chosen.reset_first:
        out += [
            f"{d}_Rz, {d}_Rr, {d}_Rn = Split<axis = 1, num_outputs = 3> ({d}_Rt)",
            f"{d}_Rzr = Concat<axis = 1> ({d}_Rz, {d}_Rr)",
            f"{d}_Rs_z, {d}_Rs_r, {d}_Rs_n = Split<axis = 0, num_outputs = 3> ({d}_Rs)",
            f"{d}_Rs_zr = Concat<axis = 0> ({d}_Rs_z, {d}_Rs_r)",
        ]
    return out


def _initial(chosen: Variant, d: str, state: str) -> list[str]:
    if chosen.h0 if state == "h" else chosen.c0:
        return [f"{d}_first_{state} = Gather<axis = 0> (initial_{state}, {d}_index)"]
    return [f"{d}_first_{state} = Expand (zero, state_shape)"]


def _step(chosen: Variant, d: str, states: list[str]) -> list[str]:
    """The body of the Scan."""
    cell = {"QuantizedGRU": _gru, "QuantizedLSTM": _lstm, "QuantizedRNN": _rnn}[chosen.op_type]
    out = [*_product(chosen, "h", f"{d}_Rt", f"{d}_Rs", "q"), *cell(chosen, d)]
    if chosen.op_type == "QuantizedGRU" and chosen.reset_first:
        out = [*_product(chosen, "h", f"{d}_Rzr", f"{d}_Rs_zr", "q"), *cell(chosen, d)]
    if not chosen.lens:
        return [*out, *(f"{s}_next = Identity ({s}_new)" for s in states), "y = Identity (h_new)"]
    out += ["running = Less (time, ends)", "y = Where (running, h_new, zero)"]
    return [*out, *(f"{s}_next = Where (running, {s}_new, {s})" for s in states)]


def _product(chosen: Variant, value: str, weights: str, scales: str, result: str) -> list[str]:
    """Quantize a state, multiply it with integer weights and scale the sums."""
    if chosen.dynamic_h:
        quantize = scale(value, f"{result}_v")
    else:
        quantize = [f"{result}_v_s = Identity (h_s)"]
    return [
        *quantize,
        f"{result}_v_zero = Identity (h_zero)",
        *levels(value, f"{result}_v"),
        f"{result}_sum = MatMul ({result}_v_int, {weights})",
        f"{result}_product = Cast<to = 1> ({result}_sum)",
        f"{result}_scales = Mul ({result}_v_s, {scales})",
        f"{result} = Mul ({result}_product, {result}_scales)",
    ]


def _flushed(value: str, result: str) -> list[str]:
    return [
        f"{result}_coarse = Add ({value}, coarse)",
        f"{result} = Sub ({result}_coarse, coarse)",
    ]


def _gru(chosen: Variant, d: str) -> list[str]:
    out = ["p_z, p_r, p_n = Split<axis = -1, num_outputs = 3> (p)"]
    if chosen.reset_first:
        out.append("q_z, q_r = Split<axis = -1, num_outputs = 2> (q)")
    else:
        out.append("q_z, q_r, q_n = Split<axis = -1, num_outputs = 3> (q)")
    for gate in "zr":
        out += [
            f"{gate}_sum = Add (p_{gate}, q_{gate})",
            f"{gate}_in = Add ({gate}_sum, {d}_b_{gate})",
            f"{gate} = {DOMAIN}.ExactSigmoid ({gate}_in)",
        ]
    if chosen.reset_first:
        out += [
            "reset = Mul (r, h)",
            *_product(chosen, "reset", f"{d}_Rn", f"{d}_Rs_n", "q_n"),
            "n_sum = Add (p_n, q_n)",
            f"n_in = Add (n_sum, {d}_b_n)",
        ]
    else:
        out += [
            f"n_x = Add (p_n, {d}_Wb_n)",
            f"n_h = Add (q_n, {d}_Rb_n)",
            "n_reset = Mul (r, n_h)",
            "n_in = Add (n_x, n_reset)",
        ]
    return [
        *out,
        f"n = {DOMAIN}.ExactTanh (n_in)",
        "z_rest = Sub (one, z)",
        "written = Mul (z_rest, n)",
        "kept_raw = Mul (z, h)",
        *_flushed("kept_raw", "kept"),
        "h_new = Add (written, kept)",
    ]


def _lstm(_chosen: Variant, d: str) -> list[str]:
    return [
        "sum = Add (p, q)",
        f"gates = Add (sum, {d}_b)",
        "i_in, o_in, f_in, g_in = Split<axis = -1, num_outputs = 4> (gates)",
        *[f"{gate} = {DOMAIN}.ExactSigmoid ({gate}_in)" for gate in "iof"],
        f"g = {DOMAIN}.ExactTanh (g_in)",
        "kept_raw = Mul (f, c)",
        *_flushed("kept_raw", "kept"),
        "written = Mul (i, g)",
        "c_new = Add (kept, written)",
        f"c_shown = {DOMAIN}.ExactTanh (c_new)",
        "h_new = Mul (o, c_shown)",
    ]


def _rnn(chosen: Variant, d: str) -> list[str]:
    shown = "Relu" if chosen.activation == "Relu" else f"{DOMAIN}.ExactTanh"
    return ["sum = Add (p, q)", f"h_in = Add (sum, {d}_b)", f"h_new = {shown} (h_in)"]
