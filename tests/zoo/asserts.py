"""Vocos' overlap-add, Demucs' padding: assertions on values.

Not in a test module: pytest rewrites the assertions of those.
"""

from __future__ import annotations

from torch import Tensor, nn


class Asserts(nn.Module):
    """Doubles what it asserts to lie within bounds."""

    def forward(self, x: Tensor) -> Tensor:
        """Assert plainly, negated, with a message, and of several conditions."""
        assert (x > -100).all()
        assert not (x > 100).any(), "too large"
        assert x.shape[0] == 1 and (x > -50).all() and (x < 50).all()  # noqa: PT018
        return 2 * x
