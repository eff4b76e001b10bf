/*
 * ONNX GRU over T steps of a batch of B; sizes, layouts and aliasing: docs/kernels.md.
 *
 *   z = f(Wz x + Rz h + bz)    r = f(Wr x + Rr h + br)
 *   n = g(Wn x + bx + r (Rn h + bh))    or, with reset_first,    n = g(Wn x + Rn (r h) + b)
 *   h = (1 - z) n + z h
 */
#ifndef ES_GRU_C
#define ES_GRU_C

#include "recurrent.h"

#define ES_GRU_SIZES                                                                               \
  int T, int B, int I, int H, int groups, int directions, int reverse, int reset_first, int acts,  \
      int clip, int x_t, int x_b, int x_g, int y_t, int y_b, int y_g, int y_d
#define ES_GRU_POINTERS                                                                            \
  const float *h0, const int32_t *lens, const float *params, float *y, float *h_n,                 \
      float *restrict scratch

ES_FN void es_gru(const int format, const int width, int blocks, ES_GRU_SIZES, const float *x,
                  const uint16_t *restrict counts, const uint16_t *restrict index,
                  const float *restrict w, ES_GRU_POINTERS, const es_share *share) {
  const es_rec a = {
      .kind = ES_GRU,
      .T = T,
      .B = B,
      .I = I,
      .H = H,
      .groups = groups,
      .directions = directions,
      .reverse = reverse,
      .reset_first = reset_first,
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

#define ES_GRU_PASS(format, width, blocks, counts, index, share)                                   \
  es_gru(format, width, blocks, T, B, I, H, groups, directions, reverse, reset_first, acts, clip,  \
         x_t, x_b, x_g, y_t, y_b, y_g, y_d, x, counts, index, w, h0, lens, params, y, h_n,         \
         scratch, share)

#define ES_GRU_DENSE(name, format)                                                                 \
  ES_FN void es_gru_##name(ES_GRU_SIZES, const float *x, const float *restrict w,                  \
                           ES_GRU_POINTERS) {                                                      \
    ES_GRU_PASS(format, 0, 0, 0, 0, 0);                                                            \
  }                                                                                                \
  ES_FN void es_gru_##name##_share(ES_GRU_SIZES, const float *x, const float *restrict w,          \
                                   ES_GRU_POINTERS, const es_share *share) {                       \
    ES_GRU_PASS(format, 0, 0, 0, 0, share);                                                        \
  }
#define ES_GRU_BLOCKS(name, format, width)                                                         \
  ES_FN void es_gru_##name(ES_GRU_SIZES, int blocks, const float *x,                               \
                           const uint16_t *restrict counts, const uint16_t *restrict index,        \
                           const float *restrict w, ES_GRU_POINTERS) {                             \
    ES_GRU_PASS(format, width, blocks, counts, index, 0);                                          \
  }                                                                                                \
  ES_FN void es_gru_##name##_share(ES_GRU_SIZES, int blocks, const float *x,                       \
                                   const uint16_t *restrict counts,                                \
                                   const uint16_t *restrict index, const float *restrict w,        \
                                   ES_GRU_POINTERS, const es_share *share) {                       \
    ES_GRU_PASS(format, width, blocks, counts, index, share);                                      \
  }

ES_GRU_DENSE(f32, ES_F32)
ES_GRU_DENSE(bf16, ES_BF16)
ES_GRU_DENSE(f16, ES_F16)
ES_GRU_BLOCKS(f32_b16x1, ES_F32, 16)
ES_GRU_BLOCKS(f32_b8x1, ES_F32, 8)
ES_GRU_BLOCKS(bf16_b16x1, ES_BF16, 16)
ES_GRU_BLOCKS(bf16_b8x1, ES_BF16, 8)
ES_GRU_BLOCKS(f16_b16x1, ES_F16, 16)
ES_GRU_BLOCKS(f32_nm8, ES_F32 | ES_NM8, 16)
ES_GRU_BLOCKS(f32_nm16, ES_F32 | ES_NM16, 16)
ES_GRU_BLOCKS(bf16_nm8, ES_BF16 | ES_NM8, 16)
ES_GRU_BLOCKS(bf16_nm16, ES_BF16 | ES_NM16, 16)

#undef ES_GRU_SIZES
#undef ES_GRU_POINTERS
#undef ES_GRU_PASS
#undef ES_GRU_DENSE
#undef ES_GRU_BLOCKS

#endif
