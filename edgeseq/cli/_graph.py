"""What `inspect` shows of a model before it is compiled; the passes run where they are needed."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgeseq.cli import _output, _sparse_view
from edgeseq.errors import UsageError
from edgeseq.options import Dim
from edgeseq.registry import hint

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgeseq.pipeline import PassRecord


@dataclasses.dataclass(frozen=True)
class Opened:
    """A model spec, and the sizes it is to be looked at with."""

    spec: str
    shapes: Mapping[str, tuple[Dim, ...]]
    dims: Mapping[str, int | tuple[int, int]]
    consts: Mapping[str, bool | int | float]

    def show(self, *, why: bool, as_json: bool) -> None:
        """Print the model; with `why` also what the passes did and refused."""
        model = self._import()
        tensors, operators = list(_tensors(model)), dict(_operators(model))
        records = self._prepare(model, None) if why else ()
        if as_json:
            keys = ("kind", "name", "type", "shape")
            described = {
                "model": self.spec,
                "tensors": [dict(zip(keys, t, strict=True)) for t in tensors],
                "operators": operators,
                "sparsity": _sparse_view.rows(model),
                "passes": [dataclasses.asdict(r) for r in records],
            }
            _output.print_json(described)
            return
        click.echo(f"{self.spec}: {sum(operators.values())} nodes\n")
        _output.table(["", "name", "type", "shape"], tensors)
        _output.table(["operator", "nodes"], operators.items())
        _sparse_view.show(_sparse_view.rows(model))
        if why:
            _show_records(records, model)

    def show_sparsity(
        self,
        sensitivity: str | None,
        calibrate: tuple[str, ...],
        plot: Path | None,
        *,
        picture: bool,
    ) -> None:
        """Draw the blocks of a model, or prune copies of it and show what that costs."""
        model = self._import()
        _sparse_view.show(_sparse_view.rows(model))
        if picture:
            for line in _sparse_view.pictures(model):
                click.echo(line)
        if sensitivity is not None:
            self._prepare(model, None)
            _sparse_view.analyse(model, sensitivity, calibrate, plot)

    def emit(self, stage: str, output: Path | None) -> None:
        """Write the model as it is after a stage.

        Raises:
            UsageError: no such stage.
        """
        import onnx_ir as ir

        from edgeseq import pipeline

        if stage not in ("import", *pipeline.PASSES):
            raise UsageError(
                f"unknown stage '{stage}'", fix=hint(stage, ["import", *pipeline.PASSES])
            )
        model = self._import()
        if stage != "import":
            self._prepare(model, stage)
        if output is None:
            click.echo(str(model))
        elif output.suffix == ".onnx":
            ir.save(model, output)
        else:
            output.write_text(f"{model}\n", encoding="utf-8")

    def _import(self) -> ir.Model:
        from edgeseq.frontends.load import load
        from edgeseq.frontends.states import mark_states

        model = load(self.spec).model
        mark_states(model)
        return model

    def _prepare(self, model: ir.Model, stage: str | None) -> tuple[PassRecord, ...]:
        from edgeseq import pipeline
        from edgeseq.ir.settings import Settings

        settings = Settings(self.shapes, self.dims, self.consts)
        return pipeline.prepare(model, settings, stop_after=stage).records


def _tensors(model: ir.Model) -> Iterator[tuple[str, str, str, str]]:
    from edgeseq.ir import facts

    states = {
        str(value.name): state.output
        for value in model.graph.inputs
        if (state := facts.get(value, facts.State)) is not None
    }
    for value in model.graph.inputs:
        name = str(value.name)
        if name in states:
            yield "state", f"{name} <- {states[name]}", *_type(value)
        else:
            yield "input", name, *_type(value)
    for value in model.graph.outputs:
        if value.name not in states.values():
            yield "output", str(value.name), *_type(value)


def _type(value: ir.Value) -> tuple[str, str]:
    dtype = "?" if value.dtype is None else value.dtype.numpy().name
    shape = "?" if value.shape is None else f"[{', '.join(map(str, value.shape))}]"
    return dtype, shape


def _operators(model: ir.Model) -> list[tuple[str, int]]:
    from edgeseq.ir.passes import walk

    found = collections.Counter(
        f"{n.domain}.{n.op_type}" if n.domain else n.op_type for n in walk(model.graph)
    )
    return sorted(found.items(), key=lambda item: (-item[1], item[0]))


def _show_records(records: tuple[PassRecord, ...], model: ir.Model) -> None:
    _output.table(
        ["pass", "s", "nodes before", "nodes after"],
        [
            (r.name, f"{r.seconds:.2f}", r.nodes_before, r.nodes_after)
            for r in records
            if r.modified
        ],
    )
    remarks: list[tuple[str, Any]] = [
        (r.name, remark) for r in records for remark in (*r.notes, *map(_refusal, r.refusals))
    ]
    _output.table(["pass", "left alone, or decided"], remarks)
    _output.table(["operator after the passes", "nodes"], _operators(model))


def _refusal(refusal: Any) -> str:
    return f"{refusal.node}: {refusal.reason}"
