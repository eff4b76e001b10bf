"""GPTQ: weights to levels, input by input, each error passed on to the inputs not yet rounded.

H = X^T X + 0.01 mean(diag) I,  U = upper Cholesky factor of H^-1
e = (w_j - q_j s_j) / U_jj,  w_k -= e U_jk for k > j
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_DAMPING = 0.01


def gptq(w: Array, scales: Array, gram: Array, top: int, missing: Array | None = None) -> Array:
    """Round a matrix against what it is multiplied by.

    Args:
        w: Weights [outputs, inputs]; a weight of exactly 0 stays 0, so that masks hold.
        scales: Broadcasts against `w`.
        gram: Sums of the products of inputs [inputs, inputs].
        top: Levels lie in -top..top.
        missing: Sums of the products of inputs and what outputs lack for other reasons, to be made
            up for [outputs, inputs].

    Returns:
        int8 levels.
    """
    inputs = w.shape[1]
    scales = np.broadcast_to(scales, w.shape).astype(np.float64)
    inverse = _inverse(gram)
    upper = np.linalg.cholesky(inverse).T
    kept = w != 0
    rest = w.astype(np.float64)
    if missing is not None:
        rest += missing @ inverse
    levels = np.zeros(w.shape, np.int8)
    for j in range(inputs):
        q = np.clip(np.rint(rest[:, j] / scales[:, j]), -top, top) * kept[:, j]
        levels[:, j] = q
        error = (rest[:, j] - q * scales[:, j]) / upper[j, j]
        rest[:, j + 1 :] -= np.outer(error, upper[j, j + 1 :])
    return levels


def _inverse(gram: Array) -> Array:
    mean = float(np.mean(np.diag(gram))) or 1.0
    inverse = np.linalg.inv(gram + _DAMPING * mean * np.eye(len(gram)))
    return np.asarray((inverse + inverse.T) / 2)
