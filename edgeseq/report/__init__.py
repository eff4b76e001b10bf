"""`report.html`: what was built, how it came about and how well its numbers hold."""

from edgeseq.report.render import render

__all__ = ["render"]
