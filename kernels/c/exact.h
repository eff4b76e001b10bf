/*
 * sigmoid, tanh and quantization whose bits are the same on every instruction set: every operation is
 * rounded on its own, in the order written. kernels/_exact.py is the same in numpy.
 */
#ifndef ES_EXACT_H
#define ES_EXACT_H

#include "es.h"
#include "es_math.h"

#define ES_SMALLEST 7.88860905e-31f /* 2^-100 */

/* a * b + c with two roundings. */
ES_FN es_v es_product_add(es_v a, es_v b, float c) { return es_add(es_product(a, b), es_set(c)); }

/* e^x for |x| <= 87, or a NaN. */
ES_FN es_v es_exact_exp(es_v x) {
  es_v t = es_product_add(x, es_set(1.44269504f), ES_ROUNDER);
  es_v n = es_sub(t, es_set(ES_ROUNDER));
  es_v r = es_sub(x, es_product(n, es_set(0.693359375f)));
  r = es_add(r, es_product(n, es_set(2.12194440e-4f)));
  es_v p = es_product_add(es_set(0.0013814541f), r, 0.0083687454f);
  p = es_product_add(p, r, 0.041668389f);
  p = es_product_add(p, r, 0.16666521f);
  p = es_product_add(p, r, 0.49999994f);
  p = es_add(es_product(es_product(p, r), r), r);
  return es_product(es_add(p, es_set(1.0f)), es_pow2_of_bits(t));
}

ES_FN es_v es_exact_sigmoid(es_v x) {
  const es_v one = es_set(1.0f);
  x = es_min(es_max(x, es_set(-87.0f)), es_set(87.0f));
  return es_div(one, es_add(one, es_exact_exp(es_sub(es_set(0.0f), x))));
}

ES_FN es_v es_exact_tanh(es_v x) {
  x = es_min(es_max(x, es_set(-9.05f)), es_set(9.05f));
  const es_v u = es_product(x, x), size = es_max(x, es_sub(es_set(0.0f), x));
  es_v p = es_product_add(es_set(1.32658442e-8f), u, 2.05451036e-5f);
  p = es_product_add(p, u, 0.00349170269f);
  p = es_product_add(p, u, 0.133777543f);
  p = es_product_add(p, u, 1.0f);
  es_v q = es_product_add(es_set(7.74024724e-7f), u, 3.27927932e-4f);
  q = es_product_add(q, u, 0.0258622014f);
  q = es_product_add(q, u, 0.46711069f);
  q = es_product_add(q, u, 1.0f);
  return es_div(es_product(x, p), es_max(q, es_product(size, p)));
}

/* The activations that need no parameters: those of es_act up to ES_SILU. */
ES_FN es_v es_exact_act(const int act, es_v x) {
  switch (act) {
  case ES_RELU:
    return es_max(x, es_set(0.0f));
  case ES_SIGMOID:
    return es_exact_sigmoid(x);
  case ES_TANH:
    return es_exact_tanh(x);
  case ES_SILU:
    return es_product(x, es_exact_sigmoid(x));
  default:
    return x;
  }
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
 * q[i] = clamp(round(x[i] / scale) + zero, 0, 254) - ES_DOT_ZERO; a NaN becomes `zero`. q has room for
 * n rounded up to whole vectors.
 */
ES_FN void es_quantize(int n, const float *x, float scale, int zero, uint8_t *q) {
  const es_v low = es_set((float)-zero), none = es_set(0.0f), high = es_set((float)(254 - zero));
  const es_v by = es_set(scale);
  ES_LOOP for (int i = 0; i < n; i += ES_W) {
    const es_v v = n - i >= ES_W ? es_load(x + i) : es_load_n(x + i, n - i);
    const es_v t = es_div(v, by);
    /* Both parts are 0 where t is a NaN, and one of them where it is not. */
    const es_v above = es_min(es_max(none, t), high), below = es_max(es_min(none, t), low);
    const es_i k = es_to_int(es_add(above, below));
    es_store_u8(q + i, es_iadd(k, es_iset(zero - ES_DOT_ZERO)));
  }
}

#endif
