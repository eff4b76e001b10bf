"""ONNX's own node tests, each in the model's own types."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import numpy_helper

from edgeseq.errors import UnsupportedModelError
from edgeseq.interp import Interpreter
from tests.zoo.onnx_suite import GROUP, PARTS, cases

pytestmark = pytest.mark.xdist_group(GROUP)

# Operators that the interpreter refuses, with the reason. A refusal is tested as such.
REFUSED = {
    "values that are not tensors": (
        "OptionalGetElement OptionalHasElement RegexFullMatch SequenceInsert SequenceLength "
        "SequenceMap SplitToSequence StringConcat StringNormalizer StringSplit SequenceEmpty "
        "SequenceConstruct SequenceErase ConcatFromSequence SequenceAt TfIdfVectorizer Optional"
    ),
    "trees, labels and other operators of classical learning": (
        "ArrayFeatureExtractor Binarizer LabelEncoder TreeEnsemble"
    ),
    "random": "Bernoulli RandomUniformLike",
    "training": (
        "Adagrad Adam Momentum NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss Gradient"
    ),
    "images": (
        "AffineGrid Col2Im DeformConv Det GridSample ImageDecoder MaxUnpool NonMaxSuppression "
        "RoiAlign"
    ),
    "newer than the opset of the IR, or about bits": (
        "BitCast CausalConvWithState FlexAttention LinearAttention SwiGLU"
    ),
    "result of unknown order": "Unique",
}
_REFUSED_OPS = {op for ops in REFUSED.values() for op in ops.split()}

# Single cases, by a part of their name.
EXCLUDED = {
    "FLOAT8": "8-bit floats have no type in the interpreter",
    "e8m0": "8-bit floats have no type in the interpreter",
    "e4m3fn": "8-bit floats have no type in the interpreter",
    "e5m2": "8-bit floats have no type in the interpreter",
    "FLOAT4": "4-bit floats have no type in the interpreter",
    "float4": "4-bit floats have no type in the interpreter",
    "training_dropout": "random",
    "equal_string": "strings are not tensors",
    "tf_crop_and_resize": "images",
    "scan_sum": "Scan of opset 8; models are converted to a newer one",
}


def _operators(graph: onnx.GraphProto) -> set[str]:
    found = set()
    for node in graph.node:
        found.add(node.op_type)
        for attribute in node.attribute:
            if attribute.HasField("g"):
                found |= _operators(attribute.g)
    return found


def _reason(case: Any) -> str | None:
    return next((why for part, why in EXCLUDED.items() if part in case.name), None)


def _run() -> list[Any]:
    return [c for c in cases() if not _is_refused(c) and _reason(c) is None]


def _is_refused(case: Any) -> bool:
    return bool(_operators(case.model.graph) & _REFUSED_OPS)


def _array(x: Any) -> npt.NDArray[Any]:
    """Values of the suite as numpy types that torch reads; all conversions are exact."""
    array = numpy_helper.to_array(x) if isinstance(x, onnx.TensorProto) else np.asarray(x)
    if array.dtype.name in ("uint16", "uint32", "uint64"):
        return array.astype(np.int64)
    if array.dtype.name in ("bfloat16", "int4", "uint4", "int2", "uint2"):
        return array.astype(np.float32)
    return array


def _tolerance(case: Any) -> float:
    """The suite's own, but for the short floats: there a rounding step or two."""
    text = case.name.lower()
    if "bf16" in text or "bfloat16" in text:
        return 2**-6
    if "fp16" in text or "float16" in text:
        return 2**-9
    return float(case.rtol)


def test_the_lists_are_not_stale() -> None:
    names = set().union(*(_operators(c.model.graph) for c in cases()))
    known = {op for op in _REFUSED_OPS if op in names}
    assert all(any(part in c.name for c in cases()) for part in EXCLUDED)
    assert len(known) > 30
    assert len(_run()) > 1400


@pytest.mark.parametrize("part", range(PARTS))
def test_nodes(part: int) -> None:
    torch.set_num_threads(1)
    chosen = _run()[part::PARTS]
    assert len(chosen) > 50
    assert _problems(chosen, _check) == []


def _problems(chosen: list[Any], check: Callable[[Any], None]) -> list[str]:
    found = []
    for case in chosen:
        try:
            check(case)
        except (Exception, pytest.fail.Exception) as error:
            found.append(f"{case.name}: {error!r}")
    return found


def _check(case: Any) -> None:
    interpreter = Interpreter(ir.from_proto(case.model), dtype=None)
    graph = case.model.graph
    for inputs, outputs in case.data_sets:
        named = {v.name: _array(x) for v, x in zip(graph.input, inputs, strict=True)}
        got = interpreter(named)
        for value, expected in zip(graph.output, outputs, strict=True):
            want = _array(expected)
            have = got[value.name].detach()
            have = have.float() if have.dtype == torch.bfloat16 else have
            assert tuple(have.shape) == want.shape
            np.testing.assert_allclose(
                have.numpy().astype(want.dtype), want, rtol=_tolerance(case), atol=1e-6
            )


def test_refusals() -> None:
    chosen = [c for c in cases() if _is_refused(c)]
    assert len(chosen) > 100
    assert _problems(chosen, _check_refusal) == []


def _check_refusal(case: Any) -> None:
    with pytest.raises(UnsupportedModelError):
        Interpreter(ir.from_proto(case.model), dtype=None)


def test_a_wrong_result_is_named() -> None:
    wrong = next(c for c in cases() if c.name == "test_relu")
    ((inputs, (output,)),) = wrong.data_sets
    shifted = dataclasses.replace(wrong, data_sets=[(inputs, [output + 1])])
    (said,) = _problems([shifted], _check)
    assert said.startswith("test_relu: AssertionError")
