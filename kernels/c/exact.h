/*
 * sigmoid, tanh and quantization whose bits are the same on every instruction set: every operation is
 * rounded on its own, in the order written. kernels/_exact.py is the same in numpy.
 */
#ifndef ES_EXACT_H
#define ES_EXACT_H

#include "es.h"
#include "es_math.h"

#define ES_SMALLEST 7.88860905e-31f /* 2^-100 */

/* What es_dot wants subtracted from inputs in 0..254 (wide: in 0..255). */
ES_FN int es_dot_zero(const int wide) { return ES_DOT_ZERO ? ES_DOT_ZERO + wide : 0; }

/* a * b + c with two roundings. */
ES_FN es_v es_product_add(es_v a, es_v b, float c) { return es_add(es_product(a, b), es_set(c)); }

/*
 * The activations work on N vectors at a time, one operation after the other: a single one would wait
 * for itself at each.
 */
#define ES_EACH ES_UNROLL for (int i = 0; i < N; i++)
#define ES_EXACT_MOST 4

/* x = x * by + c */
ES_FN void es_exact_horner(const int N, es_v *x, const es_v *by, float c) {
  ES_EACH x[i] = es_product_add(x[i], by[i], c);
}

/* e^x for |x| <= 87, or a NaN. */
ES_FN void es_exact_exp(const int N, es_v *x) {
  es_v t[ES_EXACT_MOST], n[ES_EXACT_MOST], p[ES_EXACT_MOST];
  ES_EACH t[i] = es_product_add(x[i], es_set(1.44269504f), ES_ROUNDER);
  ES_EACH n[i] = es_sub(t[i], es_set(ES_ROUNDER));
  ES_EACH x[i] = es_sub(x[i], es_product(n[i], es_set(0.693359375f)));
  ES_EACH x[i] = es_add(x[i], es_product(n[i], es_set(2.12194440e-4f)));
  ES_EACH p[i] = es_set(0.0013814541f);
  es_exact_horner(N, p, x, 0.0083687454f);
  es_exact_horner(N, p, x, 0.041668389f);
  es_exact_horner(N, p, x, 0.16666521f);
  es_exact_horner(N, p, x, 0.49999994f);
  ES_EACH p[i] = es_add(es_product(es_product(p[i], x[i]), x[i]), x[i]);
  ES_EACH x[i] = es_product(es_add(p[i], es_set(1.0f)), es_pow2_of_bits(t[i]));
}

ES_FN void es_exact_sigmoid(const int N, es_v *x) {
  const es_v one = es_set(1.0f), zero = es_set(0.0f);
  ES_EACH x[i] = es_min(es_max(x[i], es_set(-87.0f)), es_set(87.0f));
  ES_EACH x[i] = es_sub(zero, x[i]);
  es_exact_exp(N, x);
  ES_EACH x[i] = es_div(one, es_add(one, x[i]));
}

ES_FN void es_exact_tanh(const int N, es_v *x) {
  es_v u[ES_EXACT_MOST], p[ES_EXACT_MOST], q[ES_EXACT_MOST];
  ES_EACH x[i] = es_min(es_max(x[i], es_set(-9.05f)), es_set(9.05f));
  ES_EACH u[i] = es_product(x[i], x[i]);
  ES_EACH p[i] = es_set(1.32658442e-8f);
  ES_EACH q[i] = es_set(7.74024724e-7f);
  es_exact_horner(N, p, u, 2.05451036e-5f);
  es_exact_horner(N, q, u, 3.27927932e-4f);
  es_exact_horner(N, p, u, 0.00349170269f);
  es_exact_horner(N, q, u, 0.0258622014f);
  es_exact_horner(N, p, u, 0.133777543f);
  es_exact_horner(N, q, u, 0.46711069f);
  es_exact_horner(N, p, u, 1.0f);
  es_exact_horner(N, q, u, 1.0f);
  /* max(q, |x| p), since rounding must not carry the quotient beyond 1 */
  ES_EACH p[i] = es_product(x[i], p[i]);
  ES_EACH q[i] = es_max(q[i], es_max(p[i], es_sub(es_set(0.0f), p[i])));
  ES_EACH x[i] = es_div(p[i], q[i]);
}

/* The activations that need no parameters: those of es_act up to ES_SILU. */
ES_FN void es_exact_acts(const int act, const int N, es_v *x) {
  es_v y[ES_EXACT_MOST];
  switch (act) {
  case ES_RELU:
    ES_EACH x[i] = es_max(x[i], es_set(0.0f));
    break;
  case ES_SIGMOID:
    es_exact_sigmoid(N, x);
    break;
  case ES_TANH:
    es_exact_tanh(N, x);
    break;
  case ES_SILU:
    ES_EACH y[i] = x[i];
    es_exact_sigmoid(N, y);
    ES_EACH x[i] = es_product(x[i], y[i]);
    break;
  default:
    break;
  }
}

ES_FN es_v es_exact_act(const int act, es_v x) {
  es_exact_acts(act, 1, &x);
  return x;
}

/* max(max |x|, 2^-100) / 127, or a NaN if an x is none or infinite. */
ES_FN float es_dynamic_scale(int n, const float *x) {
  const es_v zero = es_set(0.0f);
  es_v top = es_set(ES_SMALLEST), spoilt = zero;
  ES_LOOP for (int i = 0; i < n; i += ES_W) {
    const es_v v = n - i >= ES_W ? es_load(x + i) : es_load_n(x + i, n - i);
    top = es_max(top, es_max(v, es_sub(zero, v)));
    spoilt = es_add(spoilt, es_product(v, zero));
  }
  return (es_peak(top) + es_sum(spoilt)) / 127.0f;
}

/*
 * q[i] = clamp(round(x[i] / scale) + zero, 0, 254 + wide) - es_dot_zero(wide); a NaN becomes `zero`.
 * q has room for n rounded up to whole vectors.
 */
ES_FN void es_quantize_upto(int n, const float *x, float scale, int zero, int wide, uint8_t *q) {
  const es_v low = es_set((float)-zero), none = es_set(0.0f);
  const es_v high = es_set((float)(254 + wide - zero));
  const es_v by = es_set(scale);
  ES_LOOP for (int i = 0; i < n; i += ES_W) {
    const es_v v = n - i >= ES_W ? es_load(x + i) : es_load_n(x + i, n - i);
    const es_v t = es_div(v, by);
    /* Both parts are 0 where t is a NaN, and one of them where it is not. */
    const es_v above = es_min(es_max(none, t), high), below = es_max(es_min(none, t), low);
    const es_i k = es_to_int(es_add(above, below));
    es_store_u8(q + i, es_iadd(k, es_iset(zero - es_dot_zero(wide))));
  }
}

#endif
