"""Runs any IR model in torch: differentiable, in any float type. In float64 it is the oracle."""

from edgeseq.interp.interpreter import Interpreter

__all__ = ["Interpreter"]
