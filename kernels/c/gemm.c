/*
 * y[M, N] = act(bias + x[M, K] w): a constant matrix applied to M rows.
 *
 * ldx, ldy: distance between rows in floats (K, N when dense), so that slices are views.
 * w: kernels/gemm.py pack(). act: ES_IDENTITY, ES_RELU, ES_SIGMOID, ES_TANH or ES_SILU.
 * y overlaps nothing.
 */
#ifndef ES_GEMM_C
#define ES_GEMM_C

#include "share.h"
#include "tile.h"

#define ES_GEMM(name, format)                                                                      \
  ES_FN void es_gemm_##name(int M, int N, int K, int ldx, int ldy, int act,                        \
                            const float *restrict x, const float *restrict w, float *restrict y) { \
    es_project(format, 1, 32, M, N, K, act, 1, 0, x, ldx, w, y, ldy);                              \
  }                                                                                                \
  ES_FN void es_gemm_##name##_share(int M, int N, int K, int ldx, int ldy, int act,                \
                                    const float *restrict x, const float *restrict w,              \
                                    float *restrict y, const es_share *share) {                    \
    const int from = share->from, n = es_least(share->to, N) - from;                               \
    es_project(format, 1, 32, M, n, K, act, 1, 0, x, ldx,                                          \
               w + (size_t)from * (1 + es_word_rows(format, K)), y + from, ldy);                   \
  }

ES_GEMM(f32, ES_F32)
ES_GEMM(bf16, ES_BF16)
ES_GEMM(f16, ES_F16)

#undef ES_GEMM

#endif
