/*
 * y = act(transposed conv(x, w) + b): docs/kernels-conv.md has the sizes, kernels/conv_transpose.py packs.
 */
#ifndef ES_CONV_TRANSPOSE_C
#define ES_CONV_TRANSPOSE_C

#include "conv_tiles.h"

/* y[l S + s] = from[s][l] for n floats of y. */
ES_CONV_SHARED void es_conv_interleave(int S, int L, int n, const float *restrict from,
                                       float *restrict y) {
  if (S == 2)
    for (int l = 0; l < n / 2; l++) {
      y[2 * l] = from[l];
      y[2 * l + 1] = from[L + l];
    }
  for (int s = 0; s < S; s++)
    ES_LOOP for (int l = S == 2 ? n / 2 : 0; l * S + s < n; l++) y[l * S + s] = from[s * L + l];
}

/*
 * Output column j S + s is an ordinary convolution with those weights whose index fits s, so no zero
 * is ever multiplied. Wide tiles store whole vectors: a row of every s, which are then interleaved.
 */
ES_FN void es_conv_transposed_rows(const int wide, int N, int C, int H, int W, int O, int KH,
                                   int KW, int SH, int SW, int DH, int DW, int PT, int PL, int PB,
                                   int PR, int G, int act, int x_ns, int x_cs, int x_hs, int y_ns,
                                   int y_cs, int y_hs, const float *x, const float *w,
                                   const float *b, float *y, float *scratch) {
  const int CG = C / G, OG = O / G, full = OG / ES_CONV_PANEL * ES_CONV_PANEL;
  const int OH = (H - 1) * SH - PT - PB + DH * (KH - 1) + 1;
  const int OW = (W - 1) * SW - PL - PR + DW * (KW - 1) + 1;
  const int L = (OW - 1) / SW + 1, apart = wide && SW > 1;
  const int to_cs = apart ? SW * L : y_cs, to_ws = apart ? 1 : SW;
  ES_LOOP for (int n = 0; n < N; n++) {
    ES_LOOP for (int g = 0; g < G; g++) {
      const float *xg = x + n * x_ns + g * CG * x_cs;
      for (int o = 0; o < OG; o = o < full ? full : OG) {
        const struct es_block k = es_conv_block(KH * KW, CG, O, OG, g, o, w, b, act);
        float *yo = y + n * y_ns + (g * OG + o) * y_cs;
        ES_LOOP for (int i = 0; i < OH; i++, yo += y_hs) {
          const struct es_axis row = es_conv_clip(es_conv_transposed_axis(i, KH, SH, DH, PT), H);
          ES_LOOP for (int s = 0; s < es_least(SW, OW); s++)
              es_conv_line(wide, CG, W, KW, row, es_conv_transposed_axis(s, KW, SW, DW, PL), 1,
                           (OW - 1 - s) / SW + 1, xg, x_cs, x_hs, &k,
                           apart ? scratch + s * L : yo + s, to_cs, to_ws);
          if (apart)
            ES_LOOP for (int c = 0; c < k.outputs; c++)
                es_conv_interleave(SW, L, OW, scratch + c * to_cs, yo + c * y_cs);
        }
      }
    }
  }
  if (act >= ES_ACT_TANH)
    es_conv_activate(act, N, O, OH, OW, y, y_ns, y_cs, y_hs);
}

ES_FN void es_conv_transpose_columns(int N, int C, int H, int W, int O, int KH, int KW, int SH,
                                     int SW, int DH, int DW, int PT, int PL, int PB, int PR, int G,
                                     int act, int x_ns, int x_cs, int x_hs, int y_ns, int y_cs,
                                     int y_hs, const float *restrict x, const float *restrict w,
                                     const float *restrict b, float *restrict y,
                                     float *restrict scratch) {
  es_conv_transposed_rows(1, N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns,
                          x_cs, x_hs, y_ns, y_cs, y_hs, x, w, b, y, scratch);
}

ES_FN void es_conv_transpose_channels(int N, int C, int H, int W, int O, int KH, int KW, int SH,
                                      int SW, int DH, int DW, int PT, int PL, int PB, int PR, int G,
                                      int act, int x_ns, int x_cs, int x_hs, int y_ns, int y_cs,
                                      int y_hs, const float *restrict x, const float *restrict w,
                                      const float *restrict b, float *restrict y) {
  es_conv_transposed_rows(0, N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns,
                          x_cs, x_hs, y_ns, y_cs, y_hs, x, w, b, y, (float *)0);
}

#endif
