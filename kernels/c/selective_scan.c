/*
 * The selective scan of Mamba: with d = dt + dt_bias, or softplus of that,
 *
 *   h[c, n] = exp(d[c] * a[c, n]) * h[c, n] + d[c] * x[c] * bm[n]
 *   y[c]    = (sum over n of h[c, n] * cm[n] + skip[c] * x[c]) * silu(z[c])
 *
 * (scaled: x is multiplied by d already; reverse: from the last step to the first.)
 *
 * The state is [B, C, N], h_n may be h0. Step t of stream b of x, dt, z, y starts at t * x_t + b * x_b
 * and so on, with C adjacent floats; of bm and cm with N. dt_bias, h0, skip and z are 0 where there
 * are none, h_n is 0 where nobody wants it.
 *
 * A sequence is computed for a vector of channels at a time, the states of which are transposed to
 * the scratch once: no sum runs across lanes. A few steps are computed where the state stands, with
 * vectors along n.
 */
#ifndef ES_SELECTIVE_SCAN_C
#define ES_SELECTIVE_SCAN_C

#include "es_math.h"

#define ES_LOG2_E 1.44269504f
#define ES_SELECTIVE_FLUSH 16 /* steps after which states too small are made 0 */
#define ES_SELECTIVE_AHEAD 6  /* steps: rows are further apart than hardware looks */
#define ES_SELECTIVE_FEW 12   /* steps for which transposing the state does not pay */

/*
 * log(1 + e^x) = max(x, 0) + log(1 + e^-|x|), and log(1 + u) = 2 atanh(s) for s = u / (2 + u), which
 * is at most 1/3: a fit in s^2 of relative error 4e-10. In all 4 ulp.
 */
ES_FN es_v es_softplus(es_v x) {
  const es_v zero = es_set(0.0f);
  es_v u = es_exp(es_sub(zero, es_max(x, es_sub(zero, x))));
  es_v s = es_div(u, es_add(u, es_set(2.0f)));
  es_v s2 = es_mul(s, s);
  es_v p = es_fma(s2, es_set(0.232390508f), es_set(0.217033148f));
  p = es_fma(s2, p, es_set(0.285925835f));
  p = es_fma(s2, p, es_set(0.399997026f));
  p = es_fma(s2, p, es_set(0.666666687f));
  p = es_mul(es_mul(s2, s), p);
  return es_add(es_max(x, zero), es_fma(es_set(2.0f), s, p));
}

/*
 * 2^x for the factors of the state, from 2^-126 to 2^127: what lies beyond counts as these. 2^f for
 * the rest f, which is exact, is a fit of relative error 9e-9.
 */
ES_FN es_v es_selective_factor(es_v x) {
  x = es_max(es_min(x, es_set(127.0f)), es_set(-126.0f));
  const es_v t = es_add(x, es_set(ES_ROUNDER));
  const es_v f = es_sub(x, es_sub(t, es_set(ES_ROUNDER))), f2 = es_mul(f, f);
  es_v low = es_fma(f, es_set(0.240226507f), es_set(0.693147182f));
  es_v mid = es_fma(f, es_set(0.00961805694f), es_set(0.0555035695f));
  es_v high = es_fma(f, es_set(0.000154614478f), es_set(0.00133908668f));
  low = es_fma(es_fma(high, f2, mid), f2, low);
  return es_mul(es_fma(low, f, es_set(1.0f)), es_pow2_of_bits(t));
}

ES_FN es_v es_selective_dt(int softplus, const float *dt, const float *bias, int n) {
  es_v d = es_load_n(dt, n);
  if (bias)
    d = es_add(d, es_load_n(bias, n));
  return softplus ? es_softplus(d) : d;
}

ES_FN es_v es_selective_out(es_v y, es_v x, const float *skip, const float *z, int n) {
  if (skip)
    y = es_fma(es_load_n(skip, n), x, y);
  return z ? es_mul(y, es_act(ES_SILU, es_load_n(z, n), 0.0f, 0.0f)) : y;
}

/* Rows of n (at most a vector) of a matrix [n, N] to columns of [N, ES_W], and back. */
ES_FN void es_selective_in(int n, int N, const float *from, float *to) {
  for (int j = 0; j < N; j++)
    ES_LOOP for (int c = 0; c < ES_W; c++) {
      to[j * ES_W + c] = from && c < n ? from[(ptrdiff_t)c * N + j] : 0.0f;
    }
}

ES_FN void es_selective_back(int n, int N, const float *from, float *to) {
  for (int c = 0; c < n; c++)
    ES_LOOP for (int j = 0; j < N; j++) { to[(ptrdiff_t)c * N + j] = from[j * ES_W + c]; }
}

/* All steps of n channels of one stream; h and a are [N, ES_W]. */
ES_FN void es_selective_channels(int T, int N, int n, int softplus, int scaled, int reverse,
                                 int x_t, int d_t, int b_t, int c_t, int z_t, int y_t,
                                 const float *x, const float *dt, const float *a, const float *bm,
                                 const float *cm, const float *bias, const float *skip,
                                 const float *z, float *y, float *h) {
  for (int i = 0; i < T; i++) {
    const ptrdiff_t t = reverse ? T - 1 - i : i;
    const es_v d = es_selective_dt(softplus, dt + t * d_t, bias, n);
    const es_v now = es_load_n(x + t * x_t, n), added = scaled ? now : es_mul(d, now);
    const es_v exponent = es_mul(d, es_set(ES_LOG2_E));
    if (i % ES_SELECTIVE_FLUSH == 0)
      for (int j = 0; j < N; j++)
        es_store(h + j * ES_W, es_flush(es_load(h + j * ES_W)));
    const float *b = bm + t * b_t, *c = cm + t * c_t;
    if (i + ES_SELECTIVE_AHEAD < T) {
      const ptrdiff_t next = reverse ? t - ES_SELECTIVE_AHEAD : t + ES_SELECTIVE_AHEAD;
      ES_PREFETCH(x + next * x_t, 0);
      ES_PREFETCH(dt + next * d_t, 0);
      ES_PREFETCH(y + next * y_t, 1);
    }
    es_v sum = es_set(0.0f);
    for (int j = 0; j < N; j++) {
      es_v kept = es_load(h + j * ES_W);
      kept = es_mul(es_selective_factor(es_mul(exponent, es_load(a + j * ES_W))), kept);
      kept = es_fma(added, es_set(b[j]), kept);
      es_store(h + j * ES_W, kept);
      sum = es_fma(kept, es_set(c[j]), sum);
    }
    es_store_upto(y + t * y_t, es_selective_out(sum, now, skip, z ? z + t * z_t : z, n), n);
  }
}

/* One channel of one step, vectors along n; returns the sum. */
ES_FN float es_selective_channel(int N, float exponent, float added, const float *a, const float *b,
                                 const float *c, const float *before, float *h) {
  es_v sum = es_set(0.0f);
  for (int j = 0; j < N; j += ES_W) {
    const int n = es_least(N - j, ES_W);
    es_v kept = before ? es_flush(es_load_n(before + j, n)) : es_set(0.0f);
    kept = es_mul(es_selective_factor(es_mul(es_set(exponent), es_load_n(a + j, n))), kept);
    kept = es_fma(es_set(added), es_load_n(b + j, n), kept);
    es_store_upto(h + j, kept, n);
    sum = es_fma(kept, es_load_n(c + j, n), sum);
  }
  return es_sum(sum);
}

/* One step of all channels of one stream; exponent and added are rows of scratch. */
ES_FN void es_selective_step(int C, int N, int softplus, int scaled, const float *x,
                             const float *dt, const float *a, const float *b, const float *c,
                             const float *bias, const float *skip, const float *z,
                             const float *before, float *y, float *h, float *exponent,
                             float *added) {
  for (int i = 0; i < C; i += ES_W) {
    const int n = es_least(C - i, ES_W);
    es_v step = es_selective_dt(softplus, dt + i, bias ? bias + i : bias, n);
    es_store_upto(exponent + i, es_mul(step, es_set(ES_LOG2_E)), n);
    es_v now = es_load_n(x + i, n);
    es_store_upto(added + i, scaled ? now : es_mul(step, now), n);
  }
  for (int i = 0; i < C; i++) {
    const ptrdiff_t at = (ptrdiff_t)i * N;
    y[i] = es_selective_channel(N, exponent[i], added[i], a + at, b, c,
                                before ? before + at : before, h + at);
  }
  for (int i = 0; i < C; i += ES_W) {
    const int n = es_least(C - i, ES_W);
    const es_v now = es_load_n(x + i, n);
    const float *s = skip ? skip + i : skip, *gate = z ? z + i : z;
    es_store_upto(y + i, es_selective_out(es_load_n(y + i, n), now, s, gate, n), n);
  }
}

ES_FN void es_selective_scan_f32(int T, int B, int C, int N, int softplus, int scaled, int reverse,
                                 int x_t, int x_b, int d_t, int d_b, int b_t, int b_b, int c_t,
                                 int c_b, int z_t, int z_b, int y_t, int y_b, const float *x,
                                 const float *dt, const float *bm, const float *cm, const float *z,
                                 const float *h0, const float *a, const float *dt_bias,
                                 const float *skip, float *y, float *h_n, float *scratch) {
  const ptrdiff_t state = (ptrdiff_t)C * N;
  for (ptrdiff_t s = 0; s < B; s++) {
    const float *xs = x + s * x_b, *ds = dt + s * d_b, *zs = z ? z + s * z_b : z;
    const float *bs = bm + s * b_b, *cs = cm + s * c_b, *before = h0 ? h0 + s * state : h0;
    float *ys = y + s * y_b, *after = h_n ? h_n + s * state : h_n;
    if (T <= ES_SELECTIVE_FEW) {
      float *exponent = scratch, *added = exponent + es_round_up(C, 16),
            *h = added + es_round_up(C, 16);
      h = after ? after : h;
      for (int i = 0; i < T; i++) {
        const ptrdiff_t t = reverse ? T - 1 - i : i;
        es_selective_step(C, N, softplus, scaled, xs + t * x_t, ds + t * d_t, a, bs + t * b_t,
                          cs + t * c_t, dt_bias, skip, zs ? zs + t * z_t : zs, before, ys + t * y_t,
                          h, exponent, added);
        before = h;
      }
      if (!T && after && before)
        es_copy((int)state, before, after);
      else if (!T && after)
        es_zero((int)state, after);
      continue;
    }
    float *h = scratch, *at = h + N * ES_W;
    for (ptrdiff_t i = 0; i < C; i += ES_W) {
      const int n = es_least(C - (int)i, ES_W);
      es_selective_in(n, N, before ? before + i * N : before, h);
      es_selective_in(n, N, a + i * N, at);
      es_selective_channels(T, N, n, softplus, scaled, reverse, x_t, d_t, b_t, c_t, z_t, y_t,
                            xs + i, ds + i, at, bs, cs, dt_bias ? dt_bias + i : dt_bias,
                            skip ? skip + i : skip, zs ? zs + i : zs, ys + i, h);
      if (after)
        es_selective_back(n, N, h, after + i * N);
    }
  }
}

#endif
