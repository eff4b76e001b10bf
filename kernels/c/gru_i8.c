/*
 * ONNX GRU over T steps of a batch of B with int8 weights, dense or in blocks of 16 (8) units by 4
 * inputs; sizes and layouts: docs/kernels.md, numbers: docs/kernels-int8.md.
 */
#ifndef ES_GRU_I8_C
#define ES_GRU_I8_C

#include "recurrent_i8.h"

ES_FN void es_gru_i8(ES_I8_SIZES, int reset_first, ES_I8_STRIDES, ES_I8_WEIGHTS, const float *h0,
                     const int32_t *lens, float *y, float *h_n, float *restrict scratch) {
  const es_rec_i8 a = {
      .kind = ES_I8_GRU, .reset_first = reset_first, .width = ES_PANEL, ES_I8_COMMON};
  es_recurrent_i8(&a, h0, 0, h_n, 0, scratch);
}

ES_FN void es_gru_i8_b16x4(ES_I8_SIZES, int reset_first, int blocks, ES_I8_STRIDES, ES_I8_WEIGHTS,
                           ES_I8_BLOCKS, const float *h0, const int32_t *lens, float *y, float *h_n,
                           float *restrict scratch) {
  const es_rec_i8 a = {.kind = ES_I8_GRU,
                       .reset_first = reset_first,
                       .width = ES_PANEL,
                       .sparse = 1,
                       .counts = counts,
                       .index = index,
                       ES_I8_COMMON};
  (void)blocks;
  es_recurrent_i8(&a, h0, 0, h_n, 0, scratch);
}

ES_FN void es_gru_i8_b8x4(ES_I8_SIZES, int reset_first, int blocks, ES_I8_STRIDES, ES_I8_WEIGHTS,
                          ES_I8_BLOCKS, const float *h0, const int32_t *lens, float *y, float *h_n,
                          float *restrict scratch) {
  const es_rec_i8 a = {.kind = ES_I8_GRU,
                       .reset_first = reset_first,
                       .width = ES_PANEL / 2,
                       .sparse = 1,
                       .counts = counts,
                       .index = index,
                       ES_I8_COMMON};
  (void)blocks;
  es_recurrent_i8(&a, h0, 0, h_n, 0, scratch);
}

#endif
