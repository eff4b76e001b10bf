/*
 * ONNX LSTM over T steps of a batch of B; sizes, layouts and aliasing: docs/kernels.md.
 *
 *   i = f(Wi x + Ri h + Pi c + bi)    f = f(Wf x + Rf h + Pf c + bf), or 1 - i with couple
 *   c = f c + i g(Wc x + Rc h + bc)
 *   o = f(Wo x + Ro h + Po c + bo)    h = o h(c)
 */
#ifndef ES_LSTM_C
#define ES_LSTM_C

#include "recurrent.h"

ES_FN void es_lstm_f32(int T, int B, int I, int H, int groups, int directions, int reverse,
                       int peepholes, int couple, int acts, int clip, int x_t, int x_b, int x_g,
                       int y_t, int y_b, int y_g, int y_d, const float *x, const float *restrict w,
                       const float *h0, const float *c0, const int32_t *lens, const float *params,
                       float *y, float *h_n, float *c_n, float *restrict scratch) {
  const es_rec a = {
      .kind = ES_LSTM,
      .T = T,
      .B = B,
      .I = I,
      .H = H,
      .groups = groups,
      .directions = directions,
      .reverse = reverse,
      .peepholes = peepholes,
      .couple = couple,
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
  es_recurrent(&a, h0, c0, h_n, c_n, scratch);
}

#endif
