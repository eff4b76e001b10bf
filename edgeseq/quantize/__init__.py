"""Quantization on the graph: fewer bits for weights and activations, and what that costs."""

from edgeseq.quantize.run import Quantized, quantize
from edgeseq.quantize.scheme import Settings

__all__ = ["Quantized", "Settings", "quantize"]
