"""The flags about quantization that `compile` and `quantize` share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, TypeVar

import click

from edgeseq import flags as texts
from edgeseq.errors import UsageError
from edgeseq.options import QuantizeOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_FLAGS = (
    click.option(
        "--quantize",
        metavar="SCHEME",
        help="int8, int8-dynamic, w8, w4g32, w4g64, bf16, fp16 or mixed.",
    ),
    click.option(
        "--scheme",
        multiple=True,
        metavar="NAME=bf16",
        help="Another scheme for some weights, or float; a name or glob.",
    ),
    click.option(
        "--activations",
        metavar="HOW",
        help="Scales of int8 activations: static, dynamic or auto (default).",
    ),
    click.option(
        "--observer",
        metavar="NAME",
        help="percentile (default), min-max, moving, mse or entropy.",
    ),
    click.option("--rounding", metavar="NAME", help="nearest (default), gptq or adaround."),
    click.option(
        "--equalize",
        is_flag=True,
        default=None,
        help="Share ranges between weights with nothing but ReLU or the like between them.",
    ),
    click.option(
        "--smooth",
        type=float,
        metavar="0.5",
        help="Move ranges from activations to weights, where a norm or a weight precedes.",
    ),
    click.option(
        "--cell-states",
        metavar="HOW",
        help="Hidden states of int8 cells: static (default), dynamic or float.",
    ),
    click.option(
        "--correct-bias/--no-correct-bias",
        default=None,
        help="Mend biases by the mean error over the samples (default).",
    ),
    click.option(
        "--saturation-free",
        is_flag=True,
        default=None,
        help="int8 weights that machines with nothing better than maddubs multiply fast.",
    ),
    click.option(
        "--keep-float", multiple=True, metavar="NAME", help="Leave a weight alone; a name or glob."
    ),
    click.option("--drift", type=int, metavar="STEPS", help="Measure the error over so long."),
    click.option(
        "--max-drop",
        metavar="0.2dB",
        help="Keep as many layers wider as it takes to lose no more than this.",
    ),
)


def flags(command: Command) -> Command:
    """Add the flags to a command."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


def take(merged: dict[str, Any]) -> QuantizeOptions:
    """Move what concerns quantization out of the merged flags.

    Raises:
        UsageError: a flag that makes no sense, or has none without `--quantize`.
    """
    names = {f.name: f.name for f in dataclasses.fields(QuantizeOptions)} | {
        "scheme": "quantize",
        "schemes": "scheme",
    }
    given = {field: merged.pop(flag) for field, flag in names.items() if flag in merged}
    if not given.get("schemes", True):
        del given["schemes"]  # an empty table is no wish
    if given and "scheme" not in given:
        flag = names[next(iter(given))].replace("_", "-")
        raise UsageError(f"--{flag} needs --quantize", fix="--quantize int8")
    if isinstance(given.get("max_drop"), str):
        try:
            given["max_drop"] = texts.decibels(given["max_drop"])
        except ValueError as error:
            raise UsageError(
                f"cannot read --max-drop '{given['max_drop']}'",
                why=str(error),
                fix="for example: --max-drop 0.2dB",
            ) from None
    return QuantizeOptions(**given)
