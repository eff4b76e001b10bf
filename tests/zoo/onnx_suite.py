"""ONNX's own node tests. To make them takes ten seconds: nobody does while tests are collected."""

from __future__ import annotations

import functools
import warnings
from typing import Any

from onnx.backend.test.loader import load_model_tests

PARTS = 24  # so that a failure does not hide what comes after it
GROUP = "onnx suite"  # of pytest-xdist: one process makes the cases


@functools.cache
def cases() -> tuple[Any, ...]:
    """All of them: name, model, data sets and tolerance."""
    with warnings.catch_warnings():  # the suite's generators divide by zero on purpose
        warnings.simplefilter("ignore")
        return tuple(load_model_tests(kind="node"))
