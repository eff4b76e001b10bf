"""Rules of the operators that look at more than one step: what they remember (see `timeline`)."""

from __future__ import annotations

from collections.abc import Sequence

import onnx_ir as ir

from edgeseq.ir import facts
from edgeseq.ir.edit import axis_of, data_of, sole_user, static_shape
from edgeseq.ir.infer import scan_axes
from edgeseq.ir.timeline import Along, Latest, MixesTimeError, Past, Timeline, Track


def only_data(node: ir.Node, line: Timeline) -> Along:
    """The first input runs along time, and no other does."""
    first = line.along(node, 0)
    if first is None or any(line.track(value) is not None for value in node.inputs[1:]):
        raise MixesTimeError("an input other than its data changes with time")
    return first


def rank_of(node: ir.Node) -> int:
    """Return the rank of the first input."""
    value = node.inputs[0]
    return 0 if value is None or value.shape is None else len(value.shape)


def ints_of(node: ir.Node, name: str, default: list[int]) -> list[int]:
    """Return a list attribute, or its default."""
    attribute = node.attributes.get(name)
    return default if attribute is None else list(attribute.as_ints())


def conv(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """A convolution over time is causal when what it pads is the past."""
    time, weight = only_data(node, line), node.inputs[1] if len(node.inputs) > 1 else None
    if time.axis == 0:
        return [time] * len(node.outputs)
    if time.axis == 1:
        raise MixesTimeError("its channels are time")
    at, spatial = time.axis - 2, rank_of(node) - 2
    pads = ints_of(node, "pads", [0] * 2 * spatial)
    stride = ints_of(node, "strides", [1] * spatial)[at]
    kernel = ints_of(node, "kernel_shape", [])[at:][:1] or [_size(weight, time.axis)]
    reach = (kernel[0] - 1) * ints_of(node, "dilations", [1] * spatial)[at]
    past, future = pads[at], pads[at + spatial]
    if stride != 1:
        raise MixesTimeError(f"its stride over time is {stride}")
    if (past, future, reach) == (0, 0, 0):
        return [time] * len(node.outputs)
    if node.op_type not in ("Conv", "QuantizedConv"):
        raise MixesTimeError("it looks at more than one step")
    trim = _trim_after(node, time.axis, future) if future else None
    if future and trim is None:
        raise MixesTimeError(f"it looks {future} steps ahead")
    if time.lead + past < reach:
        raise MixesTimeError(f"it needs {reach} past steps and pads {time.lead + past}")
    if past:
        line.pasts.append(Past(node, time.axis, 0, past, time.lead, trim))
    return [Along(time.axis, time.lead + past - reach)]


def quantized_conv(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """A convolution of integers, all of whose steps have the same scale."""
    if node.attributes.get_float("x_scale", 0.0) == 0:
        raise MixesTimeError("its scale is that of all steps")
    return conv(node, line)


def _size(value: ir.Value | None, axis: int) -> int:
    dim = None if value is None or value.shape is None else value.shape[axis]
    if not isinstance(dim, int):
        raise MixesTimeError("the size of its kernel is not known")
    return dim


def _trim_after(node: ir.Node, axis: int, steps: int) -> ir.Node | None:
    """Find the Slice that alone uses the node and drops exactly its last steps."""
    user = sole_user(node.outputs[0])
    if user is None or user.op_type != "Slice":
        return None
    cuts = slices_of(user)
    return user if cuts == {axis: (0, -steps)} else None


def slices_of(node: ir.Node) -> dict[int, tuple[int, int]] | None:
    """Return {axis: (start, end)} of a Slice with constant bounds and step 1, ends from the end.

    An `end` of 0 or more counts from the front; a start or end at the border is 0.
    """
    source = node.inputs[0]
    data = [data_of(value) for value in node.inputs[1:]]
    if source is None or source.shape is None or any(one is None for one in data):
        return None
    numbers = [one.tolist() for one in data if one is not None]
    starts, ends = numbers[:2]
    axes = numbers[2] if len(numbers) > 2 else list(range(len(starts)))
    if any(step != 1 for step in (numbers[3] if len(numbers) > 3 else [])):
        return None
    rank, huge = len(source.shape), 1 << 31
    bounds = zip(axes, starts, ends, strict=True)
    return {axis % rank: (start, 0 if end >= huge else end) for axis, start, end in bounds}


def cut(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """A Slice shortens the past, or keeps the last step."""
    if node in line.carried:
        return [Latest()]
    time, cuts = only_data(node, line), slices_of(node)
    if cuts is None:
        raise MixesTimeError("its bounds are not constants, or it skips or reverses steps")
    trims = any(past.trim is node for past in line.pasts)
    if trims or time.axis not in cuts:
        return [time]
    start, end = cuts[time.axis]
    if (start, end) == (-1, 0) and len(cuts) == 1:
        return [Latest()]
    if start < 0 or end > 0 or start - end > time.lead:
        raise MixesTimeError("it keeps a part of time that depends on how long the input is")
    return [Along(time.axis, time.lead - start + end)]


def pad(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """A Pad of time is a past of constants."""
    time, rank, pads = only_data(node, line), rank_of(node), data_of(node.inputs[1])
    mode = node.attributes.get("mode")
    axes = data_of(node.inputs[3]) if len(node.inputs) > 3 and node.inputs[3] else range(rank)
    if pads is None or axes is None:
        raise MixesTimeError("its pads are not constants")
    places = [int(axis) % rank for axis in axes]
    if time.axis not in places:
        return [time]
    at = places.index(time.axis)
    past, future = int(pads[at]), int(pads[at + len(places)])
    if (past, future) == (0, 0):
        return [time]
    if mode is not None and mode.as_string() != "constant":
        raise MixesTimeError("it pads time with something else than a constant")
    if future > 0:
        raise MixesTimeError(f"it pads {future} steps ahead")
    if past < 0 or time.lead + past + future < 0:
        raise MixesTimeError("it drops steps")
    if sum(abs(int(pad)) for pad in pads) != past - future:
        raise MixesTimeError("it pads time and other axes at once")
    line.pasts.append(Past(node, time.axis, 0, past, time.lead))
    return [Along(time.axis, time.lead + past + future)]


def concat(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """Constants before the first step are a past, and so is a state that becomes the last steps."""
    tracks = [line.track(value) for value in node.inputs]
    times = {track for track in tracks if isinstance(track, Along)}
    if len(times) != 1:
        raise MixesTimeError("its inputs have time on different axes")
    time = times.pop()
    if axis_of(node, 0, rank_of(node)) != time.axis:
        if any(track is None for track in tracks):
            raise MixesTimeError("it appends a different constant to each step")
        return [time]
    if len(tracks) != 2 or tracks[0] is not None or tracks[1] != time:
        raise MixesTimeError("it strings pieces of time together")
    ahead, kept = static_shape(node.inputs[0]), _kept_of(node, time)
    if ahead is None or (kept is None and data_of(node.inputs[0]) is None):
        raise MixesTimeError("what it puts in front is no constant, and no state of the last steps")
    steps = ahead[time.axis]
    if kept is None:
        line.pasts.append(Past(node, time.axis, 1, steps, time.lead))
    else:
        line.carried.add(kept)
    return [Along(time.axis, time.lead + steps)]


def _kept_of(node: ir.Node, time: Along) -> ir.Node | None:
    """The Slice of `Concat(state, x)` that is the state's next value: as many steps, the last."""
    state = node.inputs[0]
    carried = None if state is None else facts.get(state, facts.State)
    dims = static_shape(state)
    if carried is None or dims is None:
        return None
    bounds = {time.axis: (-dims[time.axis] - time.lead, -time.lead)}
    for user in node.outputs[0].consumers():
        if user.op_type == "Slice" and slices_of(user) == bounds:
            copies = [n.outputs[0] for n in user.outputs[0].consumers() if n.op_type == "Identity"]
            if any(value.name == carried.output for value in (user.outputs[0], *copies)):
                return user
    return None


def recurrence(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """Over time it carries its state; over another axis each step is computed apart."""
    layout = node.attributes.get("layout")
    batch_first = layout is not None and layout.as_int() == 1
    sequence, batch = (1, 0) if batch_first else (0, 1)
    time = line.along(node, 0)
    if time is not None and time.axis == batch:
        first = Along(0 if batch_first else 1, time.lead)
        tracks = [line.track(value) for value in node.inputs]
        if any(tracks[1:5]) or any(track not in (None, first) for track in tracks[5:]):
            raise MixesTimeError("an input other than its data changes with time")
        whole, final = (0, 0) if batch_first else (2, 1)
        return [Along(whole, time.lead), *[Along(final, time.lead)] * 2][: len(node.outputs)]
    time = only_data(node, line)
    if time.axis != sequence:
        raise MixesTimeError("its features are time")
    direction = node.attributes.get("direction")
    if direction is not None and direction.as_string() != "forward":
        raise MixesTimeError(f"it is {direction.as_string()}: it starts from the end of time")
    if time.lead:
        raise MixesTimeError("its input is longer than time")
    if len(node.inputs) > 4 and node.inputs[4] is not None:
        raise MixesTimeError("the lengths of its sequences are given")
    line.recurrences.append(node)
    found: list[Track] = [time, Latest(), Latest()]
    return found[: len(node.outputs)]


def projected(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """LSTMP over time carries its state; it has no direction axis."""
    time = only_data(node, line)
    if time.axis == 1:
        return [time, Along(0, time.lead), Along(0, time.lead)]
    if time.axis != 0 or time.lead:
        raise MixesTimeError("its features are time, or its input is longer than time")
    line.recurrences.append(node)
    return [time, Latest(), Latest()]


def scan(node: ir.Node, line: Timeline) -> Sequence[Track]:
    """Over time it carries its state, as a recurrence does."""
    scanned = node.attributes["num_scan_inputs"].as_int()
    carried = len(node.inputs) - scanned
    axes = scan_axes(node, "scan_input_axes", scanned)
    outputs = len(node.outputs) - carried
    for place, axis in enumerate(axes):
        value = node.inputs[carried + place]
        time = line.along(node, carried + place)
        rank = len(value.shape or ()) if value is not None else 0
        if time is None or time.axis != axis % max(rank, 1) or time.lead:
            raise MixesTimeError("it scans another axis than time")
    if any(line.track(value) is not None for value in node.inputs[:carried]):
        raise MixesTimeError("its initial state changes with time")
    backwards = scan_axes(node, "scan_input_directions", scanned)
    backwards += scan_axes(node, "scan_output_directions", outputs)
    if any(backwards):
        raise MixesTimeError("it starts from the end of time")
    line.recurrences.append(node)
    found = [
        Along(axis % len(output.shape or (1,)))
        for axis, output in zip(
            scan_axes(node, "scan_output_axes", outputs), node.outputs[carried:], strict=True
        )
    ]
    return [*[Latest()] * carried, *found]
