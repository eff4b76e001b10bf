/*
 * A pointwise convolution with sparse weights, channels first:
 *
 *   y[n, o, p] = act(b[o] + sum over the stored c of w[o, c] * x[n, c, p])
 */
#ifndef ES_SPMM_C
#define ES_SPMM_C

#include "spmm.h"

/* Noinline: the sizes of a layer do not change its code, so all layers share it. */
#define ES_SPMM(name, R)                                                                           \
  ES_FN_RARE void es_spmm_rows_##R(const es_spmm *m, int P, const float *x, float *y) {            \
    es_spmm_row(0, R, m, P, x, y);                                                                 \
  }                                                                                                \
  ES_FN void es_spmm_##name(int N, int O, int C, int P, int act, int x_ns, int x_cs, int y_ns,     \
                            int y_cs, int blocks, const float *x, const uint16_t *counts,          \
                            const uint16_t *index, const float *w, const float *b, float *y) {     \
    const es_spmm m = {O, act, x_cs, y_cs, counts, index, w, b, b + O + ES_CONV_PAD, 0};           \
    (void)C;                                                                                       \
    (void)blocks;                                                                                  \
    for (ptrdiff_t n = 0; n < N; n++)                                                              \
      es_spmm_rows_##R(&m, P, x + n * x_ns, y + n * y_ns);                                         \
  }

ES_SPMM(f32, 1)
ES_SPMM(f32_b4x1, 4)
ES_SPMM(f32_b16x1, 16)

#undef ES_SPMM

#endif
