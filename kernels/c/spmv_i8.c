/*
 * The same as gemm_i8.c with only the blocks of 16 (8) outputs by 4 inputs that are not zero; it is at
 * its best for few rows. w, head, counts, index: kernels/spmv_i8.py pack().
 */
#ifndef ES_SPMV_I8_C
#define ES_SPMV_I8_C

#include "linear_i8.h"

#define ES_SPMV_I8_POINTERS                                                                        \
  const float *restrict x, const int8_t *restrict w, const float *restrict head,                   \
      const uint16_t *restrict counts, const uint16_t *restrict index, float *restrict y,          \
      float *restrict scratch

ES_FN void es_spmv_i8_any(const int width, int M, int N, int K, int ldx, int ldy, int act,
                          int x_zero, int wide, int pairs, ES_SPMV_I8_POINTERS,
                          const es_share *share) {
  const es_linear_i8 a = {M, N, K, ldx, ldy, act, x_zero, wide, width, x, head, y, share};
  const es_part part = {
      width, 1, (K + 3) / 4, x_zero, pairs, head + ES_LINEAR_HEADER, width, w, counts, index, wide,
  };
  es_linear_run(&a, &part, scratch);
}

#define ES_SPMV_I8_SIZES                                                                           \
  int M, int N, int K, int blocks, int ldx, int ldy, int act, int x_zero, int wide, int pairs
#define ES_SPMV_I8(name, width)                                                                    \
  ES_FN void es_spmv_i8_##name(ES_SPMV_I8_SIZES, ES_SPMV_I8_POINTERS) {                            \
    (void)blocks;                                                                                  \
    es_spmv_i8_any(width, M, N, K, ldx, ldy, act, x_zero, wide, pairs, x, w, head, counts, index,  \
                   y, scratch, 0);                                                                 \
  }                                                                                                \
  ES_FN void es_spmv_i8_##name##_share(ES_SPMV_I8_SIZES, ES_SPMV_I8_POINTERS,                      \
                                       const es_share *share) {                                    \
    (void)blocks;                                                                                  \
    es_spmv_i8_any(width, M, N, K, ldx, ldy, act, x_zero, wide, pairs, x, w, head, counts, index,  \
                   y, scratch, share);                                                             \
  }

ES_SPMV_I8(b16x4, ES_PANEL)
ES_SPMV_I8(b8x4, ES_PANEL / 2)

#undef ES_SPMV_I8
#undef ES_SPMV_I8_SIZES
#undef ES_SPMV_I8_POINTERS

#endif
