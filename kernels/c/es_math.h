/*
 * exp, tanh, sigmoid and the activations built on them, on vectors; and the same numbers on one
 * float. The error bounds are swept over all binades in tests/kernels/test_math.py.
 */
#ifndef ES_MATH_H
#define ES_MATH_H

#include "es.h"

/* Adding and subtracting 1.5 * 2^23 rounds to an integer, which is then in the low bits. */
#define ES_ROUNDER 12582912.0f

ES_FN es_v es_pow2(es_v n) { return es_pow2_of_bits(es_add(n, es_set(ES_ROUNDER))); }

/* x = n ln 2 + r with integer n; returns e^r to 0.6 ulp. */
ES_FN es_v es_exp_reduced(es_v x, es_v *n) {
  es_v t = es_fma(x, es_set(1.44269504f), es_set(ES_ROUNDER));
  *n = es_sub(t, es_set(ES_ROUNDER));
  /* ln 2 in two parts, the first short enough that its product with n is exact. */
  es_v r = es_fma(*n, es_set(-0.693359375f), x);
  r = es_fma(*n, es_set(2.12194440e-4f), r);
  es_v r2 = es_mul(r, r);
  es_v low = es_fma(r, es_set(0.16666521f), es_set(0.49999994f));
  es_v high = es_fma(r, es_set(0.0083687454f), es_set(0.041668389f));
  high = es_fma(r2, es_set(0.0013814541f), high);
  es_v p = es_fma(r2, high, low);
  return es_add(es_fma(r2, p, r), es_set(1.0f));
}

/* e^x: 2 ulp; above 88.73 infinity, below -87.34 gradual underflow to 0; a NaN stays. */
ES_FN es_v es_exp(es_v x) {
  es_v n;
  x = es_max(es_min(x, es_set(89.0f)), es_set(-104.0f));
  es_v p = es_exp_reduced(x, &n);
  /* 2^n in two steps, since n reaches beyond the exponents of a float at both ends. */
  es_v half = es_sub(es_fma(n, es_set(0.5f), es_set(ES_ROUNDER)), es_set(ES_ROUNDER));
  return es_mul(es_mul(p, es_pow2(half)), es_pow2(es_sub(n, half)));
}

/* 1 / (1 + e^-x), in [0, 1]: 4 ulp for x > -87, below that less than 2e-38. */
ES_FN es_v es_sigmoid(es_v x) {
  es_v n, one = es_set(1.0f);
  x = es_sub(es_set(0.0f), es_max(es_min(x, es_set(87.0f)), es_set(-87.0f)));
  es_v p = es_exp_reduced(x, &n);
  return es_div(one, es_fma(p, es_pow2(n), one));
}

/*
 * tanh x, in [-1, 1]: 5 ulp, also near 0. x P(x^2) / Q(x^2), a minimax fit of relative error 2.2e-8
 * on [-9.05, 9.05]; beyond, tanh is 1 in float. All coefficients are positive: nothing cancels.
 */
ES_FN es_v es_tanh(es_v x) {
  x = es_max(es_min(x, es_set(9.05f)), es_set(-9.05f));
  es_v u = es_mul(x, x), u2 = es_mul(u, u);
  es_v p = es_fma(u, es_set(2.05451036e-5f), es_set(0.00349170269f));
  p = es_fma(u2, es_set(1.32658442e-8f), p);
  p = es_fma(u2, p, es_fma(u, es_set(0.133777543f), es_set(1.0f)));
  es_v q = es_fma(u, es_set(3.27927932e-4f), es_set(0.0258622014f));
  q = es_fma(u2, es_set(7.74024724e-7f), q);
  q = es_fma(u2, q, es_fma(u, es_set(0.46711069f), es_set(1.0f)));
  /* Rounding must not carry it above 1. */
  q = es_max(q, es_mul(es_max(x, es_sub(es_set(0.0f), x)), p));
  return es_div(es_mul(x, p), q);
}

ES_FN float es_expf(float x) { return es_first(es_exp(es_set(x))); }
ES_FN float es_tanhf(float x) { return es_first(es_tanh(es_set(x))); }
ES_FN float es_sigmoidf(float x) { return es_first(es_sigmoid(es_set(x))); }

/*
 * A carried state that decays towards 0 would end in denormals, which cost a hundred cycles each on
 * most x86. This makes them 0: what it rounds off is below 2^-123.
 */
ES_FN es_v es_flush(es_v x) {
  const es_v tiny = es_set(7.88860905e-31f); /* 2^-100 */
  return es_sub(es_add(x, tiny), tiny);
}

/* Activations, named as in ONNX; a and b are its alpha and beta. */
enum {
  ES_IDENTITY,
  ES_RELU,
  ES_SIGMOID,
  ES_TANH,
  ES_SILU,
  ES_AFFINE,
  ES_LEAKY_RELU,
  ES_THRESHOLDED_RELU,
  ES_SCALED_TANH,
  ES_HARD_SIGMOID,
  ES_ELU,
  ES_SOFTSIGN
};

ES_FN es_v es_act(const int act, es_v x, float a, float b) {
  const es_v zero = es_set(0.0f), one = es_set(1.0f), va = es_set(a);
  es_v low;
  switch (act) {
  case ES_RELU:
    return es_max(x, zero);
  case ES_SIGMOID:
    return es_sigmoid(x);
  case ES_TANH:
    return es_tanh(x);
  case ES_SILU:
    return es_mul(x, es_sigmoid(x));
  case ES_AFFINE:
    return es_fma(va, x, es_set(b));
  case ES_LEAKY_RELU:
    return es_where_gt(zero, x, es_mul(va, x), x);
  case ES_THRESHOLDED_RELU:
    return es_where_gt(x, va, x, es_min(es_max(x, zero), zero));
  case ES_SCALED_TANH:
    return es_mul(va, es_tanh(es_mul(es_set(b), x)));
  case ES_HARD_SIGMOID:
    return es_min(es_max(es_fma(va, x, es_set(b)), zero), one);
  case ES_ELU:
    low = es_min(x, zero);
    return es_where_gt(x, zero, x, es_mul(va, es_sub(es_exp(low), one)));
  case ES_SOFTSIGN:
    return es_div(x, es_add(one, es_max(x, es_sub(zero, x))));
  default:
    return x;
  }
}

#endif
