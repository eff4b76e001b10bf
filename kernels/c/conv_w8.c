/*
 * Convolutions of floats whose weights are stored as int8, expanded at each call: a weight meets many
 * columns, so that this costs little, and the library is a quarter as large. kernels/conv_w8.py packs.
 *
 * Sizes as in conv.c and conv_transpose.c; scale: of each output, [O + 16]. scratch: the weights as
 * floats, then what the kernel itself takes.
 */
#ifndef ES_CONV_W8_C
#define ES_CONV_W8_C

#include "conv.c"
#include "conv_transpose.c"

/* Floats of the weights in scratch, whole cache lines: vectors may be stored beyond the last. */
ES_FN ptrdiff_t es_conv_w8_floats(int taps, int O) { return (ptrdiff_t)taps * O / 16 * 16 + 32; }

/* Each of `taps` rows of a panel times its outputs' scales. What is stored too much is overwritten. */
ES_CONV_SHARED void es_conv_w8_expand(int taps, int G, int OG, const int8_t *w, const float *scale,
                                      float *to) {
  ES_LOOP for (int g = 0; g < G; g++) {
    ES_LOOP for (int o = 0, r; o < OG; o += r, w += taps * r, scale += r, to += taps * r) {
      r = es_least(ES_CONV_PANEL, OG - o);
      if (r == 1) {
        ES_LOOP for (int k = 0; k < taps; k += ES_W)
            es_store(to + k, es_mul(es_to_float(es_load_s8(w + k)), es_set(scale[0])));
        continue;
      }
      ES_LOOP for (int k = 0; k < taps; k++) {
        ES_LOOP for (int j = 0; j < r; j += ES_W) es_store(
            to + k * r + j, es_mul(es_to_float(es_load_s8(w + k * r + j)), es_load(scale + j)));
      }
    }
  }
}

ES_FN void es_conv_columns_w8(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,
                              int DH, int DW, int PT, int PL, int PB, int PR, int G, int act,
                              int x_ns, int x_cs, int x_hs, int y_ns, int y_cs, int y_hs,
                              const float *restrict x, const int8_t *restrict w,
                              const float *restrict scale, const float *restrict b,
                              float *restrict y, float *restrict scratch) {
  const int taps = C / G * KH * KW;
  es_conv_w8_expand(taps, G, O / G, w, scale, scratch);
  es_conv_columns(N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns, x_cs, x_hs,
                  y_ns, y_cs, y_hs, x, scratch, b, y, scratch + es_conv_w8_floats(taps, O));
}

ES_FN void es_conv_channels_w8(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,
                               int DH, int DW, int PT, int PL, int PB, int PR, int G, int act,
                               int x_ns, int x_cs, int x_hs, int y_ns, int y_cs, int y_hs,
                               const float *restrict x, const int8_t *restrict w,
                               const float *restrict scale, const float *restrict b,
                               float *restrict y, float *restrict scratch) {
  es_conv_w8_expand(C / G * KH * KW, G, O / G, w, scale, scratch);
  es_conv_channels(N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns, x_cs, x_hs,
                   y_ns, y_cs, y_hs, x, scratch, b, y);
}

ES_FN void es_conv_depthwise_w8(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,
                                int DH, int DW, int PT, int PL, int PB, int PR, int act, int x_ns,
                                int x_cs, int x_hs, int y_ns, int y_cs, int y_hs,
                                const float *restrict x, const int8_t *restrict w,
                                const float *restrict scale, const float *restrict b,
                                float *restrict y, float *restrict scratch) {
  es_conv_w8_expand(KH * KW, C, O / C, w, scale, scratch);
  es_conv_depthwise(N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, act, x_ns, x_cs, x_hs,
                    y_ns, y_cs, y_hs, x, scratch, b, y);
}

ES_FN void es_conv_transpose_columns_w8(int N, int C, int H, int W, int O, int KH, int KW, int SH,
                                        int SW, int DH, int DW, int PT, int PL, int PB, int PR,
                                        int G, int act, int x_ns, int x_cs, int x_hs, int y_ns,
                                        int y_cs, int y_hs, const float *restrict x,
                                        const int8_t *restrict w, const float *restrict scale,
                                        const float *restrict b, float *restrict y,
                                        float *restrict scratch) {
  const int taps = C / G * KH * KW;
  es_conv_w8_expand(taps, G, O / G, w, scale, scratch);
  es_conv_transpose_columns(N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns,
                            x_cs, x_hs, y_ns, y_cs, y_hs, x, scratch, b, y,
                            scratch + es_conv_w8_floats(taps, O));
}

#endif
