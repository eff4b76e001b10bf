/*
 * Causal depthwise convolution that carries its past:
 *
 *   y[c, t] = act(bias[c] + sum over k of w[c, k] * seen[c, t + k * D]),   seen = past ++ x
 *
 * for kernels of K taps D apart; `past` holds the last L = (K - 1) * D inputs of each channel, and
 * `present`, which may be `past`, those after this call. Element (b, c, t) of x is at
 * b * x_b + c * x_c + t * x_t, the same for y, and element (b, c, l) of past and present for s; so
 * channels-first and channels-last tensors are read as they stand. w is [K, C], bias [C] or 0, past
 * is 0 for zeros, present is 0 where nobody wants it. act is one without parameters of es_math.h.
 */
#ifndef ES_CONV1D_STEP_C
#define ES_CONV1D_STEP_C

#include "es_math.h"

/* Input number i of a channel, the past being negative. */
ES_FN float es_seen(ptrdiff_t i, int L, int x_t, int s_l, const float *x, const float *past) {
  return i >= 0 ? x[i * x_t] : past ? past[(i + L) * s_l] : 0.0f;
}

/* Outputs [from, T) of one channel. */
ES_FN void es_conv1d_one(int from, int T, int C, int K, int D, int act, int x_t, int y_t, int s_l,
                         const float *x, const float *w, float bias, const float *past, float *y) {
  const int L = (K - 1) * D;
  for (ptrdiff_t t = from; t < T; t++) {
    float sum = bias;
    for (ptrdiff_t k = 0; k < K; k++)
      sum += w[k * C] * es_seen(t - L + k * D, L, x_t, s_l, x, past);
    y[t * y_t] = es_first(es_act(act, es_set(sum), 0.0f, 0.0f));
  }
}

/* One channel whose steps are adjacent: vectors along time where all taps are in x. */
ES_FN void es_conv1d_along(int T, int C, int K, int D, int act, int s_l, const float *x,
                           const float *w, float bias, const float *past, float *y) {
  const int L = (K - 1) * D, head = es_least(L, T);
  es_conv1d_one(0, head, C, K, D, act, 1, 1, s_l, x, w, bias, past, y);
  for (ptrdiff_t t = head; t < T; t += ES_W) {
    const int n = es_least(T - (int)t, ES_W);
    es_v sum = es_set(bias);
    for (ptrdiff_t k = 0; k < K; k++) {
      const float *at = x + t - L + k * D;
      sum = es_fma(es_set(w[k * C]), n < ES_W ? es_load_n(at, n) : es_load(at), sum);
    }
    es_store_upto(y + t, es_act(act, sum, 0.0f, 0.0f), n);
  }
}

/* All steps of n adjacent channels, at most a vector. */
ES_FN void es_conv1d_across(int T, int C, int K, int D, int n, int act, int x_t, int y_t, int s_l,
                            const float *x, const float *w, const float *bias, const float *past,
                            float *y) {
  const ptrdiff_t L = (ptrdiff_t)(K - 1) * D;
  const es_v start = bias ? es_load_n(bias, n) : es_set(0.0f);
  for (ptrdiff_t t = 0; t < T; t++) {
    es_v sum = start;
    for (ptrdiff_t k = 0; k < K; k++) {
      const ptrdiff_t i = t - L + k * D;
      if (i < 0 && !past)
        continue;
      const float *at = i >= 0 ? x + i * x_t : past + (i + L) * s_l;
      sum = es_fma(es_load_n(w + k * C, n), es_load_n(at, n), sum);
    }
    es_store_upto(y + t * y_t, es_act(act, sum, 0.0f, 0.0f), n);
  }
}

/* The last L inputs of one channel; from the oldest on, so that present may be past. */
ES_FN void es_conv1d_shift(int T, int L, int x_t, int s_l, const float *x, const float *past,
                           float *present) {
  for (ptrdiff_t l = 0; l < L; l++)
    present[l * s_l] = es_seen(l + T - L, L, x_t, s_l, x, past);
}

ES_FN void es_conv1d_step_f32(int B, int C, int T, int K, int D, int act, int x_b, int x_c, int x_t,
                              int y_b, int y_c, int y_t, int s_b, int s_c, int s_l, const float *x,
                              const float *w, const float *bias, const float *past, float *y,
                              float *present) {
  for (ptrdiff_t b = 0; b < B; b++) {
    const float *in = x + b * x_b, *before = past ? past + b * s_b : past;
    float *out = y + b * y_b, *after = present ? present + b * s_b : present;
    if (x_c == 1 && y_c == 1 && s_c == 1)
      for (int c = 0; c < C; c += ES_W)
        es_conv1d_across(T, C, K, D, es_least(C - c, ES_W), act, x_t, y_t, s_l, in + c, w + c,
                         bias ? bias + c : bias, before ? before + c : before, out + c);
    else
      for (ptrdiff_t c = 0; c < C; c++) {
        const float *one = in + c * x_c, *old = before ? before + c * s_c : before;
        const float start = bias ? bias[c] : 0.0f;
        if (x_t == 1 && y_t == 1)
          es_conv1d_along(T, C, K, D, act, s_l, one, w + c, start, old, out + c * y_c);
        else
          es_conv1d_one(0, T, C, K, D, act, x_t, y_t, s_l, one, w + c, start, old, out + c * y_c);
      }
    if (after)
      for (ptrdiff_t c = 0; c < C; c++)
        es_conv1d_shift(T, (K - 1) * D, x_t, s_l, in + c * x_c, before ? before + c * s_c : before,
                        after + c * s_c);
  }
}

#endif
