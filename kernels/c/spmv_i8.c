/*
 * The same as gemm_i8.c with only the blocks of 16 (8) outputs by 4 inputs that are not zero; it is at
 * its best for few rows. w, head, counts, index: kernels/spmv_i8.py pack().
 */
#ifndef ES_SPMV_I8_C
#define ES_SPMV_I8_C

#include "linear_i8.h"

ES_FN void es_spmv_i8_any(const int width, int M, int N, int K, int ldx, int ldy, int act,
                          int x_zero, int wide, int pairs, const float *x, const int8_t *w,
                          const float *head, const uint16_t *counts, const uint16_t *index,
                          float *y, float *scratch) {
  const es_linear_i8 a = {M, N, K, ldx, ldy, act, x_zero, wide, width, x, head, y};
  const es_part part = {
      width, 1, (K + 3) / 4, x_zero, pairs, head + ES_LINEAR_HEADER, width, w, counts, index, wide,
  };
  es_linear_run(&a, &part, scratch);
}

ES_FN void es_spmv_i8_b16x4(int M, int N, int K, int blocks, int ldx, int ldy, int act, int x_zero,
                            int wide, int pairs, const float *restrict x, const int8_t *restrict w,
                            const float *restrict head, const uint16_t *restrict counts,
                            const uint16_t *restrict index, float *restrict y,
                            float *restrict scratch) {
  (void)blocks;
  es_spmv_i8_any(ES_PANEL, M, N, K, ldx, ldy, act, x_zero, wide, pairs, x, w, head, counts, index,
                 y, scratch);
}

ES_FN void es_spmv_i8_b8x4(int M, int N, int K, int blocks, int ldx, int ldy, int act, int x_zero,
                           int wide, int pairs, const float *restrict x, const int8_t *restrict w,
                           const float *restrict head, const uint16_t *restrict counts,
                           const uint16_t *restrict index, float *restrict y,
                           float *restrict scratch) {
  (void)blocks;
  es_spmv_i8_any(ES_PANEL / 2, M, N, K, ldx, ldy, act, x_zero, wide, pairs, x, w, head, counts,
                 index, y, scratch);
}

#endif
