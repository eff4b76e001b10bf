/*
 * y[M, N] = act(x[M, K] w + bias), w int8 and x quantized here; numbers: docs/kernels-int8.md.
 *
 * ldx, ldy: distance between rows in floats. x_zero: the zero point of x. wide: its levels go up to
 * 255. pairs: see es_dot.
 * w, head: kernels/gemm_i8.py pack(). y overlaps nothing.
 */
#ifndef ES_GEMM_I8_C
#define ES_GEMM_I8_C

#include "linear_i8.h"

#define ES_GEMM_I8_SIZES                                                                           \
  int M, int N, int K, int ldx, int ldy, int act, int x_zero, int wide, int pairs
#define ES_GEMM_I8_POINTERS                                                                        \
  const float *restrict x, const int8_t *restrict w, const float *restrict head,                   \
      float *restrict y, float *restrict scratch

ES_FN void es_gemm_i8_any(ES_GEMM_I8_SIZES, ES_GEMM_I8_POINTERS, const es_share *share) {
  const es_linear_i8 a = {M, N, K, ldx, ldy, act, x_zero, wide, ES_PANEL, x, head, y, share};
  const es_part part = {
      ES_PANEL, 1, (K + 3) / 4, x_zero, pairs, head + ES_LINEAR_HEADER, ES_PANEL, w, 0, 0, wide,
  };
  es_linear_run(&a, &part, scratch);
}

ES_FN void es_gemm_i8(ES_GEMM_I8_SIZES, ES_GEMM_I8_POINTERS) {
  es_gemm_i8_any(M, N, K, ldx, ldy, act, x_zero, wide, pairs, x, w, head, y, scratch, 0);
}

ES_FN void es_gemm_i8_share(ES_GEMM_I8_SIZES, ES_GEMM_I8_POINTERS, const es_share *share) {
  es_gemm_i8_any(M, N, K, ldx, ldy, act, x_zero, wide, pairs, x, w, head, y, scratch, share);
}

#undef ES_GEMM_I8_SIZES
#undef ES_GEMM_I8_POINTERS

#endif
