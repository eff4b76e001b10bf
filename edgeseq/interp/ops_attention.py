"""Attention and rotary positions."""

# Every operator takes its call, used or not; the ONNX specification is its docstring.
# ruff: noqa: D103

from __future__ import annotations

import math

import torch

from edgeseq.interp.call import Call, Op, Tensor


def attention(
    call: Call,
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None = None,
    past_k: Tensor | None = None,
    past_v: Tensor | None = None,
    lengths: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    packed = q.dim() == 3
    if packed:
        q = _heads(q, call.int("q_num_heads"))
        k = _heads(k, call.int("kv_num_heads"))
        v = _heads(v, call.int("kv_num_heads"))
    if past_k is not None and past_v is not None:
        k, v = torch.cat([past_k, k], 2), torch.cat([past_v, v], 2)
    repeat = q.shape[1] // k.shape[1]
    keys, values = k.repeat_interleave(repeat, 1), v.repeat_interleave(repeat, 1)
    scale = math.sqrt(call.float("scale", 1 / math.sqrt(q.shape[-1])))
    scores = (q * scale) @ (keys * scale).transpose(-1, -2)
    past = 0 if past_k is None else past_k.shape[2]
    bias = _bias(call, scores, mask, past, lengths)
    capped = _softcap(scores, call.float("softcap", 0.0))
    weights = torch.softmax(capped + bias, -1)
    # A row that may see nothing gives zeros, not the mean of everything.
    weights = torch.where(torch.isneginf(bias).all(-1, keepdim=True), 0.0, weights).to(q.dtype)
    y = weights @ values
    stages = (scores, capped, capped + bias, weights)
    if packed:
        y = y.transpose(1, 2).flatten(2)
    return y, k, v, stages[call.int("qk_matmul_output_mode")]


def _heads(x: Tensor, count: int) -> Tensor:
    return x.reshape(*x.shape[:2], count, -1).transpose(1, 2)


def _softcap(x: Tensor, cap: float) -> Tensor:
    return cap * torch.tanh(x / cap) if cap > 0 else x


def _bias(
    call: Call, scores: Tensor, mask: Tensor | None, past: int, lengths: Tensor | None
) -> Tensor:
    rows, columns = scores.shape[-2:]
    bias = torch.zeros_like(scores)
    if mask is not None:
        if mask.shape[-1] < columns:  # keys beyond the mask are not seen
            fill = False if mask.dtype == torch.bool else -math.inf
            mask = torch.nn.functional.pad(mask, [0, columns - mask.shape[-1]], value=fill)
        bias = bias.masked_fill(~mask, -math.inf) if mask.dtype == torch.bool else bias + mask
    at = torch.arange(columns)
    # Place of each query among the keys: after the cached ones, wherever the cache is kept.
    row = torch.arange(rows).reshape(-1, 1) + past
    if lengths is not None:
        valid = lengths.reshape(-1, 1, 1, 1)
        bias = bias.masked_fill(at >= valid, -math.inf)
        row = row + valid - rows
    left, right = call.int("left_window_size", -1), call.int("right_window_size", -1)
    right = 0 if call.int("is_causal") else right
    if right >= 0:
        bias = bias.masked_fill(at > row + right, -math.inf)
    return bias.masked_fill(at < row - left, -math.inf) if left >= 0 else bias


def rotary(
    call: Call, x: Tensor, cos: Tensor, sin: Tensor, positions: Tensor | None = None
) -> Tensor:
    packed = x.dim() == 3
    if packed:
        x = _heads(x, call.int("num_heads"))
    width = call.int("rotary_embedding_dim") or x.shape[-1]
    turned, rest = x[..., :width], x[..., width:]
    if positions is not None:
        cos, sin = cos[positions], sin[positions]
    cos, sin = cos[..., : width // 2].unsqueeze(1), sin[..., : width // 2].unsqueeze(1)
    if call.int("interleaved"):
        a, b = turned[..., 0::2], turned[..., 1::2]
        turned = torch.stack([cos * a - sin * b, sin * a + cos * b], -1).flatten(-2)
    else:
        a, b = turned.chunk(2, -1)
        turned = torch.cat([cos * a - sin * b, sin * a + cos * b], -1)
    y = torch.cat([turned, rest], -1)
    return y.transpose(1, 2).flatten(2) if packed else y


OPS: dict[str, Op] = {"Attention": attention, "RotaryEmbedding": rotary}
