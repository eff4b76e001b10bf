/*
 * y[M, N] = act(bias + x[M, K] w): a constant matrix applied to M rows.
 *
 * ldx, ldy: distance between rows in floats (K, N when dense), so that slices are views.
 * w: kernels/gemm.py pack(). act: ES_IDENTITY, ES_RELU, ES_SIGMOID, ES_TANH or ES_SILU.
 * y overlaps nothing.
 */
#ifndef ES_GEMM_C
#define ES_GEMM_C

#include "tile.h"

ES_FN void es_gemm_f32(int M, int N, int K, int ldx, int ldy, int act, const float *restrict x,
                       const float *restrict w, float *restrict y) {
  es_project(ES_F32, 1, 32, M, N, K, act, 1, 0, x, ldx, w, y, ldy);
}

ES_FN void es_gemm_bf16(int M, int N, int K, int ldx, int ldy, int act, const float *restrict x,
                        const float *restrict w, float *restrict y) {
  es_project(ES_BF16, 1, 32, M, N, K, act, 1, 0, x, ldx, w, y, ldy);
}

ES_FN void es_gemm_f16(int M, int N, int K, int ldx, int ldy, int act, const float *restrict x,
                       const float *restrict w, float *restrict y) {
  es_project(ES_F16, 1, 32, M, N, K, act, 1, 0, x, ldx, w, y, ldy);
}

#endif
