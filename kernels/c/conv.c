/*
 * y = act(conv(x, w) + b): docs/kernels-conv.md has the sizes, kernels/conv.py packs w and b.
 */
#ifndef ES_CONV_C
#define ES_CONV_C

#include "conv_tiles.h"

/* Rows of every S-th input, zero-padded: to[C][H][S][L], to[..][s][l] = x[..][l S + s - P]. */
ES_CONV_SHARED void es_conv_unpack(int C, int H, int W, int S, int P, int L, const float *x,
                                   int x_cs, int x_hs, float *to) {
  ES_LOOP for (int s = 0; s < S; s++, to += L) {
    const int at = s - P, room = W - at;
    const int from = es_least(L, at < 0 ? (S - 1 - at) / S : 0);
    const int end = es_most(from, es_least(L, room > 0 ? (room - 1) / S + 1 : 0));
    float *row = to;
    ES_LOOP for (int c = 0; c < C; c++) {
      ES_LOOP for (int h = 0; h < H; h++, row += S * L) {
        const float *source = x + (ptrdiff_t)c * x_cs + h * x_hs + at;
        if (S == 2)
          es_conv_unpack_row(2, L, from, end, source, row);
        else
          es_conv_unpack_row(S, L, from, end, source, row);
      }
    }
  }
}

/* Taps over such rows: kernel columns a, a + ks, a + 2 ks, ... read one of the S rows. */
ES_FN struct es_taps es_conv_split_taps(int C, int KW, int S, int D, int L, int w_row, int x_cs,
                                        int x_hs, struct es_axis row) {
  struct es_axis first = {1, 0, 1, 0, 1};
  while (first.ks * D % S)
    first.ks++;
  first.xd = first.ks * D / S;
  struct es_taps t = es_conv_taps(C, KW, w_row, x_cs, x_hs, row, first);
  for (t.runs = 0; t.runs < es_least(first.ks, KW); t.runs++) {
    const int a = t.runs, n = (KW - 1 - a) / first.ks + 1;
    t.run[a].x = row.x0 * x_hs + a * D % S * L + a * D / S;
    t.run[a].w = (row.k0 * KW + a) * C * w_row;
    t.run[a].n1 = C == 1 ? 1 : n;
    t.run[a].n0 = C == 1 ? n : C;
  }
  return t;
}

/* Wide tiles need a stride of 1, so a strided input is split into rows of every SW-th column. */
ES_FN void es_conv_rows(const int wide, int N, int C, int H, int W, int O, int KH, int KW, int SH,
                        int SW, int DH, int DW, int PT, int PL, int PB, int PR, int G, int act,
                        int x_ns, int x_cs, int x_hs, int y_ns, int y_cs, int y_hs, const float *x,
                        const float *w, const float *b, float *y, float *scratch) {
  const int CG = C / G, OG = O / G, full = OG / ES_CONV_PANEL * ES_CONV_PANEL;
  const int OH = (H + PT + PB - DH * (KH - 1) - 1) / SH + 1;
  const int OW = (W + PL + PR - DW * (KW - 1) - 1) / SW + 1;
  const int split = wide && SW > 1, L = OW + DW * (KW - 1) / SW;
  const int s_hs = SW * L, s_cs = H * s_hs;
  const struct es_axis col = {KW, 0, 1, -PL, DW};
  ES_LOOP for (int n = 0; n < N; n++) {
    const float *xn = x + (ptrdiff_t)n * x_ns;
    if (split)
      es_conv_unpack(C, H, W, SW, PL, L, xn, x_cs, x_hs, scratch);
    ES_LOOP for (int g = 0; g < G; g++) {
      for (int o = 0; o < OG; o = o < full ? full : OG) {
        const struct es_block k = es_conv_block(KH * KW, CG, O, OG, g, o, w, b, act);
        float *yo = y + (ptrdiff_t)n * y_ns + (ptrdiff_t)(g * OG + o) * y_cs;
        ES_LOOP for (int i = 0; i < OH; i++, yo += y_hs) {
          struct es_axis row = {KH, 0, 1, i * SH - PT, DH};
          if (PT > 0 || PB > 0)
            row = es_conv_clip(row, H);
          if (split) {
            const struct es_taps t = es_conv_split_taps(CG, KW, SW, DW, L, k.row, s_cs, s_hs, row);
            es_conv_bulk(1, &t, scratch + (ptrdiff_t)g * CG * s_cs, 1, OW, &k, yo, y_cs, 1);
          } else
            es_conv_line(wide, CG, W, KW, row, col, SW, OW, xn + (ptrdiff_t)g * CG * x_cs, x_cs,
                         x_hs, &k, yo, y_cs, 1);
        }
      }
    }
  }
  if (act >= ES_ACT_TANH)
    es_conv_activate(act, N, O, OH, OW, y, y_ns, y_cs, y_hs);
}

/* y = act(conv(x, w) + b), vectors along the width. scratch is for SW > 1 only. */
ES_FN void es_conv_columns(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,
                           int DH, int DW, int PT, int PL, int PB, int PR, int G, int act, int x_ns,
                           int x_cs, int x_hs, int y_ns, int y_cs, int y_hs,
                           const float *restrict x, const float *restrict w,
                           const float *restrict b, float *restrict y, float *restrict scratch) {
  es_conv_rows(1, N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns, x_cs, x_hs,
               y_ns, y_cs, y_hs, x, w, b, y, scratch);
}

/* The same with vectors along the output channels, for few columns or large strides. */
ES_FN void es_conv_channels(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,
                            int DH, int DW, int PT, int PL, int PB, int PR, int G, int act,
                            int x_ns, int x_cs, int x_hs, int y_ns, int y_cs, int y_hs,
                            const float *restrict x, const float *restrict w,
                            const float *restrict b, float *restrict y) {
  es_conv_rows(0, N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns, x_cs, x_hs,
               y_ns, y_cs, y_hs, x, w, b, y, (float *)0);
}

/* One output of a depthwise convolution, taps clipped. Weights of one output are ws apart. */
ES_FN float es_conv_depthwise_at(struct es_axis row, struct es_axis col, int at, int W, int KW,
                                 const float *x, int x_hs, const float *w, int ws,
                                 struct es_post p) {
  struct es_axis c = col;
  c.x0 += at;
  c = es_conv_clip(c, W);
  float sum = p.bias[0];
  for (int i = 0; i < row.n; i++)
    for (int j = 0; j < c.n; j++)
      sum += w[((row.k0 + i) * KW + c.k0 + j) * ws] *
             x[(row.x0 + i * row.xd) * x_hs + c.x0 + j * c.xd];
  /* no branch on the sign: it would be mispredicted half of the time */
  const float slope = p.act == ES_ACT_SLOPE ? p.slope[0] : 1.0f;
  const float low = p.act == ES_ACT_SLOPE && sum < ES_CONV_LOWEST ? ES_CONV_LOWEST : sum;
  return low * (sum < 0.0f ? slope : 1.0f);
}

/* vb vectors of columns, all of whose taps exist; `last` and `part` as in es_conv_wide_tile. */
ES_FN void es_conv_depthwise_tile(const int vb, const int S, int part, int last, struct es_axis row,
                                  struct es_axis col, int KW, const float *x, int x_hs,
                                  const float *w, int ws, struct es_post p, float *y) {
  es_v acc[2];
  ES_UNROLL for (int v = 0; v < vb; v++) acc[v] = es_set(p.bias[0]);
  for (int i = 0; i < row.n; i++)
    for (int j = 0; j < col.n; j++) {
      const es_v k = es_set(w[((row.k0 + i) * KW + j) * ws]);
      const float *q = x + (row.x0 + i * row.xd) * x_hs + j * col.xd;
      ES_UNROLL for (int v = 0; v < vb; v++) {
        const float *at = q + S * (v == vb - 1 ? last : v * ES_W);
        const es_v xv = part ? es_load_n(at, part) : S == 2 ? es_conv_even(at) : es_load(at);
        acc[v] = es_fma(k, xv, acc[v]);
      }
    }
  const es_v slope = es_set(p.slope[0]);
  ES_UNROLL for (int v = 0; v < vb; v++) {
    float *at = y + (v == vb - 1 ? last : v * ES_W);
    const es_v a = p.act == ES_ACT_SLOPE ? es_conv_sloped(acc[v], slope) : acc[v];
    if (part)
      es_store_n(at, a, part);
    else
      es_store(at, a);
  }
}

/* n columns, all of whose taps exist, from x and y on. */
ES_FN void es_conv_depthwise_bulk(const int S, int n, struct es_axis row, struct es_axis col,
                                  int KW, const float *x, int x_hs, const float *w, int ws,
                                  struct es_post p, float *y) {
  if (n < ES_W)
    es_conv_depthwise_tile(1, S, n, 0, row, col, KW, x, x_hs, w, ws, p, y);
  ES_LOOP for (int j = 0; j < n && n >= ES_W; j += 2 * ES_W) {
    const int left = n - j, at = left < ES_W ? n - ES_W : j;
    if (left > ES_W)
      es_conv_depthwise_tile(2, S, 0, es_least(left - ES_W, ES_W), row, col, KW, x + S * at, x_hs,
                             w, ws, p, y + at);
    else
      es_conv_depthwise_tile(1, S, 0, 0, row, col, KW, x + S * at, x_hs, w, ws, p, y + at);
  }
}

/*
 * y = act(conv(x, w) + b) for C = G and at most 15 outputs per input. Everything is inlined, so that
 * constant taps unroll. SW > 2 is correct but slow: conv_columns is for that.
 */
ES_FN void es_conv_depthwise(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,
                             int DH, int DW, int PT, int PL, int PB, int PR, int act, int x_ns,
                             int x_cs, int x_hs, int y_ns, int y_cs, int y_hs,
                             const float *restrict x, const float *restrict w,
                             const float *restrict b, float *restrict y) {
  const int OG = O / C, reach = DW * (KW - 1);
  const int OH = (H + PT + PB - DH * (KH - 1) - 1) / SH + 1;
  const int OW = (W + PL + PR - reach - 1) / SW + 1;
  /* Columns [from, to) have all their taps; with SW = 2, so has the float after the last tap. */
  const int room = W + PL - reach - (SW - 1);
  const int from = es_least(PL > 0 ? (PL + SW - 1) / SW : 0, OW);
  const int to = es_most(from, room > 0 ? es_least(OW, (room - 1) / SW + 1) : 0);
  const int bulk = SW == 1 || (SW == 2 && to - from >= ES_W) ? to - from : 0;
  const int left = bulk ? from : OW, right = bulk ? to : OW; /* edges: [0, left), [right, OW) */
  const struct es_axis col = {KW, 0, 1, -PL, DW};
  ES_LOOP for (int n = 0; n < N; n++) {
    ES_LOOP for (int o = 0; o < O; o++) {
      const struct es_post p = {b + o, b + O + ES_CONV_PAD + o, act};
      const float *xo = x + (ptrdiff_t)n * x_ns + (ptrdiff_t)(o / OG) * x_cs;
      const float *wo = w + o / OG * (OG * KH * KW) + o % OG;
      float *yo = y + (ptrdiff_t)n * y_ns + (ptrdiff_t)o * y_cs;
      ES_LOOP for (int i = 0; i < OH; i++, yo += y_hs) {
        struct es_axis row = {KH, 0, 1, i * SH - PT, DH};
        if (PT > 0 || PB > 0)
          row = es_conv_clip(row, H);
        /* two loops: with one column each, all of its taps are known to the compiler */
        for (int j = 0; j < left; j++)
          yo[j] = es_conv_depthwise_at(row, col, j * SW, W, KW, xo, x_hs, wo, OG, p);
        for (int j = right; j < OW; j++)
          yo[j] = es_conv_depthwise_at(row, col, j * SW, W, KW, xo, x_hs, wo, OG, p);
        const float *xi = xo + from * SW - PL;
        if (bulk && SW == 2)
          es_conv_depthwise_bulk(2, bulk, row, col, KW, xi, x_hs, wo, OG, p, yo + from);
        else if (bulk)
          es_conv_depthwise_bulk(1, bulk, row, col, KW, xi, x_hs, wo, OG, p, yo + from);
      }
    }
  }
  if (act >= ES_ACT_TANH)
    es_conv_activate(act, N, O, OH, OW, y, y_ns, y_cs, y_hs);
}

#endif
