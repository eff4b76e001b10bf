/*
 * ONNX RNN over T steps of a batch of B: h = f(W x + R h + b), f tanh unless acts says otherwise.
 * Sizes, layouts and aliasing: docs/kernels.md.
 */
#ifndef ES_RNN_C
#define ES_RNN_C

#include "recurrent.h"

#define ES_RNN_SIZES                                                                               \
  int T, int B, int I, int H, int groups, int directions, int reverse, int acts, int clip,         \
      int x_t, int x_b, int x_g, int y_t, int y_b, int y_g, int y_d
#define ES_RNN_POINTERS                                                                            \
  const float *h0, const int32_t *lens, const float *params, float *y, float *h_n,                 \
      float *restrict scratch

ES_FN void es_rnn(const int format, const int width, int blocks, ES_RNN_SIZES, const float *x,
                  const uint16_t *restrict counts, const uint16_t *restrict index,
                  const float *restrict w, ES_RNN_POINTERS, const es_share *share) {
  const es_rec a = {
      .kind = ES_RNN,
      .T = T,
      .B = B,
      .I = I,
      .H = H,
      .groups = groups,
      .directions = directions,
      .reverse = reverse,
      .acts = acts,
      .clip = clip,
      .x_t = x_t,
      .x_b = x_b,
      .x_g = x_g,
      .y_t = y_t,
      .y_b = y_b,
      .y_g = y_g,
      .y_d = y_d,
      .format = format,
      .width = width,
      .blocks = blocks,
      .lens = lens,
      .params = params,
      .x = x,
      .w = w,
      .counts = counts,
      .index = index,
      .y = y,
      .share = share,
  };
  es_recurrent(&a, h0, 0, h_n, 0, scratch);
}

#define ES_RNN_PASS(format, width, blocks, counts, index, share)                                   \
  es_rnn(format, width, blocks, T, B, I, H, groups, directions, reverse, acts, clip, x_t, x_b,     \
         x_g, y_t, y_b, y_g, y_d, x, counts, index, w, h0, lens, params, y, h_n, scratch, share)

#define ES_RNN_DENSE(name, format)                                                                 \
  ES_FN void es_rnn_##name(ES_RNN_SIZES, const float *x, const float *restrict w,                  \
                           ES_RNN_POINTERS) {                                                      \
    ES_RNN_PASS(format, 0, 0, 0, 0, 0);                                                            \
  }                                                                                                \
  ES_FN void es_rnn_##name##_share(ES_RNN_SIZES, const float *x, const float *restrict w,          \
                                   ES_RNN_POINTERS, const es_share *share) {                       \
    ES_RNN_PASS(format, 0, 0, 0, 0, share);                                                        \
  }
#define ES_RNN_BLOCKS(name, format, width)                                                         \
  ES_FN void es_rnn_##name(ES_RNN_SIZES, int blocks, const float *x,                               \
                           const uint16_t *restrict counts, const uint16_t *restrict index,        \
                           const float *restrict w, ES_RNN_POINTERS) {                             \
    ES_RNN_PASS(format, width, blocks, counts, index, 0);                                          \
  }                                                                                                \
  ES_FN void es_rnn_##name##_share(ES_RNN_SIZES, int blocks, const float *x,                       \
                                   const uint16_t *restrict counts,                                \
                                   const uint16_t *restrict index, const float *restrict w,        \
                                   ES_RNN_POINTERS, const es_share *share) {                       \
    ES_RNN_PASS(format, width, blocks, counts, index, share);                                      \
  }

ES_RNN_DENSE(f32, ES_F32)
ES_RNN_DENSE(bf16, ES_BF16)
ES_RNN_DENSE(f16, ES_F16)
ES_RNN_BLOCKS(f32_b16x1, ES_F32, 16)
ES_RNN_BLOCKS(f32_b8x1, ES_F32, 8)
ES_RNN_BLOCKS(bf16_b16x1, ES_BF16, 16)
ES_RNN_BLOCKS(bf16_b8x1, ES_BF16, 8)
ES_RNN_BLOCKS(f16_b16x1, ES_F16, 16)
ES_RNN_BLOCKS(f32_nm8, ES_F32 | ES_NM8, 16)
ES_RNN_BLOCKS(f32_nm16, ES_F32 | ES_NM16, 16)
ES_RNN_BLOCKS(bf16_nm8, ES_BF16 | ES_NM8, 16)
ES_RNN_BLOCKS(bf16_nm16, ES_BF16 | ES_NM16, 16)

#undef ES_RNN_SIZES
#undef ES_RNN_POINTERS
#undef ES_RNN_PASS
#undef ES_RNN_DENSE
#undef ES_RNN_BLOCKS

#endif
