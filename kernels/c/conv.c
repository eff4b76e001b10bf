#include "conv_tiles.h"

#if defined(__has_builtin)
#if __has_builtin(__builtin_shufflevector) && ES_W == 16
#define ES_CONV_EVEN 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30
#elif __has_builtin(__builtin_shufflevector) && ES_W == 8
#define ES_CONV_EVEN 0, 2, 4, 6, 8, 10, 12, 14
#elif __has_builtin(__builtin_shufflevector) && ES_W == 4
#define ES_CONV_EVEN 0, 2, 4, 6
#endif
#endif

/* Every second of 2 ES_W floats. */
ES_FN es_v es_conv_even(const float *x) {
#if defined(ES_CONV_EVEN)
  return __builtin_shufflevector(es_load(x), es_load(x + ES_W), ES_CONV_EVEN);
#else
  float even[ES_W];
  for (int k = 0; k < ES_W; k++)
    even[k] = x[2 * k];
  return es_load(even);
#endif
}

/* One row of es_conv_unpack: n floats, of which [from, end) are copies and the rest zeros. Single
 * floats at the ends: a masked store cannot be forwarded to the loads that soon follow. */
ES_FN void es_conv_unpack_row(const int S, int n, int from, int end, const float *restrict x,
                              float *restrict to) {
  int l = from;
  ES_LOOP for (int z = 0; z < from; z++) to[z] = 0.0f;
  if (S == 1)
    ES_LOOP for (; l + ES_W <= end; l += ES_W) es_store(to + l, es_load(x + l));
  if (S == 2)
    ES_LOOP for (; l + ES_W < end; l += ES_W) es_store(to + l, es_conv_even(x + 2 * l));
  ES_LOOP for (; l < end; l++) to[l] = x[l * S];
  ES_LOOP for (; l < n; l++) to[l] = 0.0f;
}

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
        const float *from_row = x + c * x_cs + h * x_hs + at;
        if (S == 1)
          es_conv_unpack_row(1, L, from, end, from_row, row);
        else if (S == 2)
          es_conv_unpack_row(2, L, from, end, from_row, row);
        else
          es_conv_unpack_row(S, L, from, end, from_row, row);
      }
    }
  }
}

/* Taps over such rows: kernel columns a, a + ks, a + 2 ks, ... read one of the S rows. */
ES_FN struct es_taps es_conv_strided_taps(int C, int KW, int S, int D, int L, int w_row, int x_cs,
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

/*
 * Wide tiles need a stride of 1, so a strided input is split into rows of every SW-th column. Deep
 * tiles need all taps if several columns are to share one reading of the weights, so a padded input
 * is copied between zeros.
 */
ES_FN void es_conv_rows(const int wide, int N, int C, int H, int W, int O, int KH, int KW, int SH,
                        int SW, int DH, int DW, int PT, int PL, int PB, int PR, int G, int act,
                        int x_ns, int x_cs, int x_hs, int y_ns, int y_cs, int y_hs, const float *x,
                        const float *w, const float *b, float *y, float *scratch) {
  const int CG = C / G, OG = O / G, full = OG / ES_CONV_PANEL * ES_CONV_PANEL;
  const int OH = (H + PT + PB - DH * (KH - 1) - 1) / SH + 1;
  const int OW = (W + PL + PR - DW * (KW - 1) - 1) / SW + 1;
  const int split = wide && SW > 1, padded = !wide && (PL > 0 || PR > 0) && OW > 2;
  const int S = split ? SW : 1, L = split ? OW + DW * (KW - 1) / SW : W + PL + PR;
  const int copied = split || padded;
  const int xu_cs = copied ? H * S * L : x_cs, xu_hs = copied ? S * L : x_hs;
  ES_LOOP for (int n = 0; n < N; n++, x += x_ns, y += y_ns) {
    if (copied)
      es_conv_unpack(C, H, W, S, PL, L, x, x_cs, x_hs, scratch);
    ES_LOOP for (int g = 0; g < G; g++) {
      const float *xg = (copied ? scratch : x) + g * CG * xu_cs;
      for (int o = 0; o < OG; o = o < full ? full : OG) {
        const struct es_block k = es_conv_block(KH * KW, CG, O, OG, g, o, w, b, act);
        float *yo = y + (g * OG + o) * y_cs;
        ES_LOOP for (int i = 0; i < OH; i++, yo += y_hs) {
          struct es_axis row = {KH, 0, 1, i * SH - PT, DH};
          const struct es_axis col = {KW, 0, 1, padded ? 0 : -PL, DW};
          if (PT > 0 || PB > 0)
            row = es_conv_clip(row, H);
          if (split) {
            const struct es_taps t =
                es_conv_strided_taps(CG, KW, SW, DW, L, k.row, xu_cs, xu_hs, row);
            es_conv_bulk(1, &t, xg, 1, OW, &k, yo, y_cs, 1);
          } else
            es_conv_line(wide, CG, padded ? L : W, KW, row, col, SW, OW, xg, xu_cs, xu_hs, &k, yo,
                         y_cs, 1);
        }
      }
    }
  }
  if (act >= ES_ACT_TANH)
    es_conv_activate(act, N, O, OH, OW, y - N * y_ns, y_ns, y_cs, y_hs);
}

/* y = act(conv(x, w) + b), vectors along the width. scratch: N > 0, SW > 1 only. */
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
                            const float *restrict b, float *restrict y, float *restrict scratch) {
  es_conv_rows(0, N, C, H, W, O, KH, KW, SH, SW, DH, DW, PT, PL, PB, PR, G, act, x_ns, x_cs, x_hs,
               y_ns, y_cs, y_hs, x, w, b, y, scratch);
}

/* One output of a depthwise convolution, taps clipped. Weights of one output are ws apart. */
ES_FN float es_conv_depthwise_at(struct es_axis row, struct es_axis col, int W, int KW,
                                 const float *x, int x_hs, const float *w, int ws,
                                 struct es_post p) {
  const struct es_axis c = es_conv_clip(col, W);
  float sum = p.bias[0];
  for (int i = 0; i < row.n; i++)
    for (int j = 0; j < c.n; j++)
      sum += w[((row.k0 + i) * KW + c.k0 + j) * ws] *
             x[(row.x0 + i * row.xd) * x_hs + c.x0 + j * c.xd];
  if (p.act == ES_ACT_SLOPE && sum < 0.0f)
    return (sum < ES_CONV_LOWEST ? ES_CONV_LOWEST : sum) * p.slope[0];
  return sum;
}

/* vb vectors of columns, all of whose taps exist; `last` and `part` as in es_conv_wide_tile. */
ES_FN void es_conv_depthwise_tile(const int vb, int part, int last, struct es_axis row,
                                  struct es_axis col, int KW, const float *x, int x_hs,
                                  const float *w, int ws, struct es_post p, float *y) {
  es_v acc[2];
  ES_UNROLL for (int v = 0; v < vb; v++) acc[v] = es_set(p.bias[0]);
  for (int i = 0; i < row.n; i++)
    for (int j = 0; j < col.n; j++) {
      const es_v k = es_set(w[((row.k0 + i) * KW + j) * ws]);
      const float *q = x + (row.x0 + i * row.xd) * x_hs + j * col.xd;
      ES_UNROLL for (int v = 0; v < vb; v++) {
        const float *at = q + (v == vb - 1 ? last : v * ES_W);
        acc[v] = es_fma(k, part ? es_load_n(at, part) : es_load(at), acc[v]);
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

/*
 * y = act(conv(x, w) + b) for C = G and at most 64 outputs per input. Everything is inlined, so that
 * constant taps unroll. A stride along the width is correct but slow: conv_columns is for that.
 */
ES_FN void es_conv_depthwise(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW,
                             int DH, int DW, int PT, int PL, int PB, int PR, int act, int x_ns,
                             int x_cs, int x_hs, int y_ns, int y_cs, int y_hs,
                             const float *restrict x, const float *restrict w,
                             const float *restrict b, float *restrict y) {
  const int OG = O / C, reach = DW * (KW - 1);
  const int OH = (H + PT + PB - DH * (KH - 1) - 1) / SH + 1;
  const int OW = (W + PL + PR - reach - 1) / SW + 1;
  /* columns [from, to) have all their taps and stride 1 */
  const int from = SW > 1 ? OW : es_least(es_most(PL, 0), OW);
  const int to = es_most(from, es_least(OW, W + PL - reach)), n_inner = to - from;
  const struct es_axis col = {KW, 0, 1, -PL, DW};
  for (int n = 0; n < N; n++)
    for (int o = 0; o < O; o++)
      for (int i = 0; i < OH; i++) {
        const struct es_post p = {b + o, b + O + ES_CONV_PAD + o, act};
        const float *xo = x + n * x_ns + o / OG * x_cs;
        const float *wo = w + o / OG * (OG * KH * KW) + o % OG;
        float *yo = y + n * y_ns + o * y_cs + i * y_hs;
        struct es_axis row = {KH, 0, 1, i * SH - PT, DH};
        if (PT > 0 || PB > 0)
          row = es_conv_clip(row, H);
        for (int j = from ? 0 : to; j < OW; j = j + 1 == from ? to : j + 1) {
          struct es_axis edge = col;
          edge.x0 += j * SW;
          yo[j] = es_conv_depthwise_at(row, edge, W, KW, xo, x_hs, wo, OG, p);
        }
        const float *xi = xo + from - PL;
        float *yi = yo + from;
        if (n_inner > 0 && n_inner < ES_W)
          es_conv_depthwise_tile(1, n_inner, 0, row, col, KW, xi, x_hs, wo, OG, p, yi);
        for (int j = 0; j < n_inner && n_inner >= ES_W; j += 2 * ES_W) {
          const int left = n_inner - j, at = left < ES_W ? n_inner - ES_W : j;
          if (left > ES_W)
            es_conv_depthwise_tile(2, 0, es_least(left - ES_W, ES_W), row, col, KW, xi + at, x_hs,
                                   wo, OG, p, yi + at);
          else
            es_conv_depthwise_tile(1, 0, 0, row, col, KW, xi + at, x_hs, wo, OG, p, yi + at);
        }
      }
  if (act >= ES_ACT_TANH)
    es_conv_activate(act, N, O, OH, OW, y, y_ns, y_cs, y_hs);
}
