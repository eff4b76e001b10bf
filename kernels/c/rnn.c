/*
 * ONNX RNN over T steps of a batch of B: h = f(W x + R h + b), f tanh unless acts says otherwise.
 * Sizes, layouts and aliasing: docs/kernels.md.
 */
#ifndef ES_RNN_C
#define ES_RNN_C

#include "recurrent.h"

ES_FN void es_rnn_f32(int T, int B, int I, int H, int groups, int directions, int reverse, int acts,
                      int clip, int x_t, int x_b, int x_g, int y_t, int y_b, int y_g, int y_d,
                      const float *x, const float *restrict w, const float *h0, const int32_t *lens,
                      const float *params, float *y, float *h_n, float *restrict scratch) {
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
      .lens = lens,
      .params = params,
      .x = x,
      .w = w,
      .y = y,
  };
  es_recurrent(&a, h0, 0, h_n, 0, scratch);
}

#endif
