"""Operators of the `edgeseq` domain that a quantized model is made of."""

from edgeseq.ir.dialect.quantized import DOMAIN, H_SCALE, OPS, define, infer, node, variant
from edgeseq.ir.dialect.text import TOP

__all__ = ["DOMAIN", "H_SCALE", "OPS", "TOP", "define", "infer", "node", "variant"]
