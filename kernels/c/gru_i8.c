/*
 * ONNX GRU over T steps of a batch of B with int8 weights, dense or in blocks of 16 (8) units by 4
 * inputs; sizes and layouts: docs/kernels.md, numbers: docs/kernels-int8.md.
 */
#ifndef ES_GRU_I8_C
#define ES_GRU_I8_C

#include "recurrent_i8.h"

#define ES_GRU_I8_STATES                                                                           \
  const float *h0, const int32_t *lens, float *y, float *h_n, float *restrict scratch

ES_FN void es_gru_i8_any(const int width, const int sparse, ES_I8_SIZES, int reset_first,
                         ES_I8_STRIDES, ES_I8_WEIGHTS, ES_I8_BLOCKS, ES_GRU_I8_STATES,
                         const es_share *share) {
  const es_rec_i8 a = {
      .kind = ES_GRU,
      .reset_first = reset_first,
      .width = width,
      .sparse = sparse,
      .counts = counts,
      .index = index,
      ES_I8_COMMON,
  };
  es_recurrent_i8(&a, h0, 0, h_n, 0, scratch);
}

#define ES_GRU_I8_PASS(width, sparse, counts, index, share)                                        \
  es_gru_i8_any(width, sparse, T, B, I, H, groups, directions, reverse, reset_first, x_zero,       \
                pairs, x_t, x_b, x_g, y_t, y_b, y_g, y_d, x, w, head, counts, index, h0, lens, y,  \
                h_n, scratch, share)

ES_FN void es_gru_i8(ES_I8_SIZES, int reset_first, ES_I8_STRIDES, ES_I8_WEIGHTS, ES_GRU_I8_STATES) {
  ES_GRU_I8_PASS(ES_PANEL, 0, 0, 0, 0);
}

ES_FN void es_gru_i8_share(ES_I8_SIZES, int reset_first, ES_I8_STRIDES, ES_I8_WEIGHTS,
                           ES_GRU_I8_STATES, const es_share *share) {
  ES_GRU_I8_PASS(ES_PANEL, 0, 0, 0, share);
}

#define ES_GRU_I8_BLOCKS(name, width)                                                              \
  ES_FN void es_gru_i8_##name(ES_I8_SIZES, int reset_first, int blocks, ES_I8_STRIDES,             \
                              ES_I8_WEIGHTS, ES_I8_BLOCKS, ES_GRU_I8_STATES) {                     \
    (void)blocks;                                                                                  \
    ES_GRU_I8_PASS(width, 1, counts, index, 0);                                                    \
  }                                                                                                \
  ES_FN void es_gru_i8_##name##_share(ES_I8_SIZES, int reset_first, int blocks, ES_I8_STRIDES,     \
                                      ES_I8_WEIGHTS, ES_I8_BLOCKS, ES_GRU_I8_STATES,               \
                                      const es_share *share) {                                     \
    (void)blocks;                                                                                  \
    ES_GRU_I8_PASS(width, 1, counts, index, share);                                                \
  }

ES_GRU_I8_BLOCKS(b16x4, ES_PANEL)
ES_GRU_I8_BLOCKS(b8x4, ES_PANEL / 2)

#undef ES_GRU_I8_STATES
#undef ES_GRU_I8_PASS
#undef ES_GRU_I8_BLOCKS

#endif
