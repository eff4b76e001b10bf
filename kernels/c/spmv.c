/*
 * y[M, N] = act(bias + x[M, K] w) with block-sparse w, kernels/spmv.py pack(); otherwise as gemm.c.
 * Rows share the loads of the weights.
 */
#ifndef ES_SPMV_C
#define ES_SPMV_C

#include "blocks.h"
#include "share.h"

#define ES_SPMV(name, format, width)                                                               \
  ES_FN void es_spmv_##name(int M, int N, int K, int ldx, int ldy, int act, int blocks,            \
                            const float *restrict x, const uint16_t *restrict counts,              \
                            const uint16_t *restrict index, const float *restrict w,               \
                            float *restrict y) {                                                   \
    const es_stream weights = {w, counts, index};                                                  \
    (void)blocks;                                                                                  \
    es_project_blocks(format, width, 1, 1, M, N, K, act, 1, x, ldx, weights, y, ldy);              \
  }                                                                                                \
  ES_FN void es_spmv_##name##_share(int M, int N, int K, int ldx, int ldy, int act, int blocks,    \
                                    const float *restrict x, const uint16_t *restrict counts,      \
                                    const uint16_t *restrict index, const float *restrict w,       \
                                    float *restrict y, const es_share *share) {                    \
    const int from = share->from, n = es_least(share->to, N) - from;                               \
    const es_stream all = {w, counts, index};                                                      \
    const es_stream weights = es_skip_panels(format, width, 1, 1, from / width, all);              \
    (void)blocks;                                                                                  \
    es_project_blocks(format, width, 1, 1, M, n, K, act, 1, x, ldx, weights, y + from, ldy);       \
  }

ES_SPMV(f32_b16x1, ES_F32, 16)
ES_SPMV(f32_b8x1, ES_F32, 8)
ES_SPMV(bf16_b16x1, ES_BF16, 16)
ES_SPMV(bf16_b8x1, ES_BF16, 8)
ES_SPMV(f16_b16x1, ES_F16, 16)
ES_SPMV(f32_nm8, ES_F32 | ES_NM8, 16)
ES_SPMV(f32_nm16, ES_F32 | ES_NM16, 16)
ES_SPMV(bf16_nm8, ES_BF16 | ES_NM8, 16)
ES_SPMV(bf16_nm16, ES_BF16 | ES_NM16, 16)

#undef ES_SPMV

#endif
