"""Proof of the numbers: vectors recorded at compile time, and compiled code checked against them.

`record` runs the imported model in float64 (the oracle) and in float32 (the reference, whose error
sets the tolerance). `check` runs a compiled target over the same inputs, whole and in pieces.
"""

from edgeseq.validate.against import Against, against
from edgeseq.validate.check import check
from edgeseq.validate.finding import Finding, Verdict, require
from edgeseq.validate.oracle import Interpreted, Oracle, PyTorch
from edgeseq.validate.record import record
from edgeseq.validate.render import to_json, to_junit, to_text
from edgeseq.validate.vectors import Vectors

__all__ = [
    "Against",
    "Finding",
    "Interpreted",
    "Oracle",
    "PyTorch",
    "Vectors",
    "Verdict",
    "against",
    "check",
    "record",
    "require",
    "to_json",
    "to_junit",
    "to_text",
]
