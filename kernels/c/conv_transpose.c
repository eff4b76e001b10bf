#include "conv_tiles.h"

/* y[l S + s] = from[s][l]: the phases of a transposed convolution side by side. */
ES_CONV_SHARED void es_conv_interleave(int S, int L, int n, const float *from, float *y) {
  if (S == 2)
    for (int l = 0; l < n / 2; l++) {
      y[2 * l] = from[l];
      y[2 * l + 1] = from[L + l];
    }
  for (int j = S == 2 ? n / 2 * 2 : 0; j < n; j++)
    y[j] = from[j % S * L + j / S];
}

/* Transposed convolution: output column j S + s is an ordinary convolution with the weights whose
 * index fits s, so no zero is ever multiplied. */
ES_FN void es_conv_transposed_rows(const int wide, int N, int C, int H, int W, int O, int KH,
                                   int KW, int SH, int SW, int DH, int DW, int PT, int PL, int PB,
                                   int PR, int G, int act, int x_ns, int x_cs, int x_hs, int y_ns,
                                   int y_cs, int y_hs, const float *x, const float *w,
                                   const float *b, float *y, float *scratch) {
  const int CG = C / G, OG = O / G, packed = wide && SW > 1;
  const int OH = (H - 1) * SH - PT - PB + DH * (KH - 1) + 1;
  const int OW = (W - 1) * SW - PL - PR + DW * (KW - 1) + 1;
  const int L = (OW - 1) / SW + 1;
  for (int n = 0; n < N; n++, x += x_ns)
    for (int g = 0; g < G; g++)
      for (int og = 0; og < OG; og += ES_CONV_BLOCK) {
        const int o = g * OG + og, r = es_least(OG - og, ES_CONV_BLOCK);
        const struct es_post p = {b + o, b + O + ES_CONV_PAD + o, act};
        const float *wb = w + KH * KW * CG * o, *xg = x + g * CG * x_cs;
        float *yo = y + n * y_ns + o * y_cs;
        for (int i = 0; i < OH; i++, yo += y_hs) {
          struct es_axis row = es_conv_transposed_axis(i, KH, SH, DH, PT);
          row = es_conv_clip(row, H);
          for (int s = 0; s < es_least(SW, OW); s++) {
            const struct es_axis col = es_conv_transposed_axis(s, KW, SW, DW, PL);
            const int columns = (OW - 1 - s) / SW + 1;
            float *to = packed ? scratch + s * L : yo + s;
            const int to_cs = packed ? SW * L : y_cs, to_ws = packed ? 1 : SW;
            es_conv_line(wide, CG, W, KW, row, col, 1, columns, xg, x_cs, x_hs, wb, p, r, to, to_cs,
                         to_ws);
          }
          if (packed)
            for (int k = 0; k < r; k++)
              es_conv_interleave(SW, L, OW, scratch + k * SW * L, yo + k * y_cs);
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
