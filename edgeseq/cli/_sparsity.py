"""The flags about sparsity that `compile` and `prune` share."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from edgeseq.options import SparsityOptions

Command = TypeVar("Command", bound=Callable[..., Any])

_RECOVERY = (
    click.option(
        "--recover",
        type=int,
        metavar="STEPS",
        help="Train what is pruned or quantized against the model as it was, without labels.",
    ),
    click.option(
        "--checkpoint",
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="An interrupted recovery goes on from here.",
    ),
)
_FLAGS = (
    click.option(
        "--sparsity", type=float, metavar="0.9", help="Share of the weights to set to zero."
    ),
    click.option(
        "--pattern",
        metavar="16x1",
        help="unstructured, RxC, N:M, kernel, rows, columns; units, channels: shapes shrink.",
    ),
    click.option(
        "--criterion",
        metavar="NAME",
        help="magnitude, random, wanda, second-order, dsnot, gradient or, for units, trajectory; "
        "default: second-order with --calibrate, else magnitude.",
    ),
    click.option(
        "--allocation",
        metavar="NAME",
        help="uniform[-plus], er, erk[-plus], global, snip or sensitivity; default: erk.",
    ),
    click.option(
        "--budget",
        metavar="0.2ms",
        help="Instead of --sparsity: time per step, by the cost table; compile measures the rest "
        "of the model, prune counts the pruned layers alone.",
    ),
    click.option(
        "--calibrate",
        multiple=True,
        metavar="PATH",
        help="Samples: .npz, .npy or .wav, a folder or a quoted glob; repeatable.",
    ),
    click.option(
        "--hold-out",
        is_flag=True,
        default=None,
        help="Learn nothing from the last sample, or the last third of a single one.",
    ),
    click.option(
        "--keep-dense", multiple=True, metavar="NAME", help="Leave a weight alone; a name or glob."
    ),
    click.option(
        "--density", multiple=True, metavar="NAME=0.2", help="Share that stays of some weights."
    ),
    click.option(
        "--keep-diagonal",
        is_flag=True,
        default=None,
        help="Never prune the diagonal of recurrent matrices.",
    ),
    click.option(
        "--rearrange",
        is_flag=True,
        default=None,
        help="First order channels so that what a group of the pattern holds matters little "
        "together; the model computes the same.",
    ),
    *_RECOVERY[:1],
    click.option(
        "--recover-schedule",
        metavar="NAME",
        help="cubic: prune while recovering, by effect on the outputs (default without "
        "--criterion); one-shot: before it.",
    ),
    *_RECOVERY[1:],
)


def flags(command: Command) -> Command:
    """Add the flags to a command."""
    for flag in reversed(_FLAGS):
        command = flag(command)
    return command


def recovery(command: Command) -> Command:
    """Add the flags of recovery alone."""
    for flag in reversed(_RECOVERY):
        command = flag(command)
    return command


def take(merged: dict[str, Any]) -> SparsityOptions:
    """Move what concerns sparsity out of the merged flags."""
    names = {f.name: f.name for f in dataclasses.fields(SparsityOptions)} | {"densities": "density"}
    given = {field: merged.pop(flag) for field, flag in names.items() if flag in merged}
    return SparsityOptions(**given)
