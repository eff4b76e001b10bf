/*
 * Tiles and lines of 2-D convolutions of float32 in NCHW order; 1-D is H = 1.
 *
 * Vectors lie along the output's width ("wide" tiles) or along its channels ("deep" tiles). Both
 * read the same packed weights, so one row can use wide tiles for its bulk and deep ones for what is
 * left: the columns beside padding, and the odd column of a width such as 2^k + 1.
 *
 * Weights: [group][panel of 16 outputs][KH][KW][C / G][16], then a narrower panel with the outputs
 * that remain in the group; in the end 16 zeros, which the loads of whole vectors may touch. Bias and
 * slope stand in one array, each [O + 16].
 *
 * The tiles are functions, shared by all convolutions of a library; what is inlined and specialised
 * around them only finds out which taps exist.
 */
#ifndef ES_CONV_TILES_H
#define ES_CONV_TILES_H

#include "es.h"
#include "es_math.h"

enum { ES_CONV_PANEL = 16, ES_CONV_PAD = 16, ES_CONV_RUNS = 8, ES_CONV_COLUMNS = 8 };
enum { ES_ACT_NONE, ES_ACT_SLOPE, ES_ACT_TANH, ES_ACT_SIGMOID };

#define ES_CONV_SHARED static __attribute__((noinline, unused))

/* The taps of one axis that feed one output: weights k0, k0 + ks, ... read inputs x0, x0 + xd, ... */
struct es_axis {
  int n, k0, ks, x0, xd;
};

/*
 * The loop nest over all taps, in offsets of floats. `run`s differ in what strided input they read.
 * width > 0: not all taps of all columns exist; tap k of column 0 reads x0 + k xs1 of that width.
 */
struct es_taps {
  int runs, rows, width, x0;
  ptrdiff_t xs2, ws2, xs1, ws1, xs0, ws0;
  struct {
    ptrdiff_t x, w;
    int n1, n0;
  } run[ES_CONV_RUNS];
};

/* What follows the sum: sum + bias, then v < 0 ? slope * v : v (ReLU has slope 0). Other
 * activations are a second pass. */
struct es_post {
  const float *bias, *slope;
  int act;
};

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
  ES_UNROLL for (int k = 0; k < ES_W; k++) even[k] = x[2 * k];
  return es_load(even);
#endif
}

/* One row of every S-th input: n floats, of which [from, end) are copies and the rest zeros. Single
 * floats at the ends: a masked store cannot be forwarded to the loads that soon follow. */
ES_FN void es_conv_unpack_row(const int S, int n, int from, int end, const float *restrict x,
                              float *restrict to) {
  int l = from;
  ES_LOOP for (int z = 0; z < from; z++) to[z] = 0.0f;
  if (S == 2)
    ES_LOOP for (; l + ES_W < end; l += ES_W) es_store(to + l, es_conv_even(x + 2 * l));
  ES_LOOP for (; l < end; l++) to[l] = x[l * S];
  ES_LOOP for (; l < n; l++) to[l] = 0.0f;
}

ES_FN int es_most(int a, int b) { return a > b ? a : b; }

ES_FN struct es_post es_conv_post_at(struct es_post p, int o) {
  struct es_post at = {p.bias + o, p.slope + o, p.act};
  return at;
}

/* Where output o of a block of panels begins. */
ES_FN int es_conv_panel(int o, int panel) { return o / ES_CONV_PANEL * panel + o % ES_CONV_PANEL; }

/* Minus infinity counts as this, since its product with the slope 0 of a ReLU would be a NaN. */
#define ES_CONV_LOWEST -3.40282347e38f

ES_FN es_v es_conv_sloped(es_v v, es_v slope) {
  const es_v zero = es_set(0.0f), negative = es_max(es_min(v, zero), es_set(ES_CONV_LOWEST));
  return es_fma(slope, negative, es_max(v, zero));
}

/*
 * ob outputs x vb vectors of columns; the last vector starts at column `last`. part > 0: one vector
 * of which only the first `part` columns exist.
 */
ES_FN void es_conv_wide_tile(const int ob, const int vb, int part, const struct es_taps *t,
                             const float *x, int last, const float *w, struct es_post p, float *y,
                             int y_cs) {
  es_v acc[8][4];
  ES_UNROLL for (int o = 0; o < ob; o++) {
    es_v bias = es_set(p.bias[o]);
    ES_UNROLL for (int v = 0; v < vb; v++) acc[o][v] = bias;
  }
  ES_LOOP for (int r = 0; r < t->runs; r++) {
    ES_LOOP for (int i = 0; i < t->rows; i++) {
      const float *xi = x + t->run[r].x + i * t->xs2, *wi = w + t->run[r].w + i * t->ws2;
      const int n1 = t->run[r].n1, n0 = t->run[r].n0;
      const ptrdiff_t xs0 = t->xs0, ws0 = t->ws0;
      ES_LOOP for (int j = 0; j < n1; j++, xi += t->xs1, wi += t->ws1) {
        const float *xp = xi, *wp = wi;
        ES_LOOP for (int c = 0; c < n0; c++, xp += xs0, wp += ws0) {
          es_v xv[4];
          ES_UNROLL for (int v = 0; v < vb; v++) {
            const float *q = xp + (v == vb - 1 ? last : v * ES_W);
            xv[v] = part ? es_load_n(q, part) : es_load(q);
          }
          ES_UNROLL for (int o = 0; o < ob; o++) {
            es_v k = es_set(wp[o]);
            ES_UNROLL for (int v = 0; v < vb; v++) acc[o][v] = es_fma(k, xv[v], acc[o][v]);
          }
        }
      }
    }
  }
  if (p.act == ES_ACT_SLOPE)
    ES_UNROLL for (int o = 0; o < ob; o++) {
      es_v slope = es_set(p.slope[o]);
      ES_UNROLL for (int v = 0; v < vb; v++) acc[o][v] = es_conv_sloped(acc[o][v], slope);
    }
  ES_UNROLL for (int o = 0; o < ob; o++) {
    ES_UNROLL for (int v = 0; v < vb; v++) {
      float *q = y + o * y_cs + (v == vb - 1 ? last : v * ES_W);
      if (part)
        es_store_n(q, acc[o][v], part);
      else
        es_store(q, acc[o][v]);
    }
  }
}

/*
 * One column tile x r outputs, ob at a time; where r is no multiple, some are computed twice. A
 * function for each tile: those that no size of a model needs are left out of its library.
 */
#define ES_CONV_WIDE(ob, vb)                                                                       \
  ES_CONV_SHARED void es_conv_wide_##ob##x##vb(const struct es_taps *t, const float *x, int last,  \
                                               const float *w, int panel, struct es_post p, int r, \
                                               float *y, int y_cs) {                               \
    ES_LOOP for (int o = 0; o < r; o += ob) {                                                      \
      const int at = es_least(o, r - ob);                                                          \
      es_conv_wide_tile(ob, vb, 0, t, x, last, w + es_conv_panel(at, panel),                       \
                        es_conv_post_at(p, at), y + at * y_cs, y_cs);                              \
    }                                                                                              \
  }
ES_CONV_WIDE(8, 1)
ES_CONV_WIDE(4, 1)
ES_CONV_WIDE(2, 1)
ES_CONV_WIDE(1, 1)
ES_CONV_WIDE(4, 2)
ES_CONV_WIDE(2, 2)
ES_CONV_WIDE(1, 2)
#if ES_REGS >= 32
ES_CONV_WIDE(8, 2)
ES_CONV_WIDE(4, 3)
ES_CONV_WIDE(2, 3)
ES_CONV_WIDE(1, 3)
ES_CONV_WIDE(4, 4)
ES_CONV_WIDE(2, 4)
ES_CONV_WIDE(1, 4)
#define ES_CONV_VECTORS 4
#else
#define es_conv_wide_8x2 es_conv_wide_4x2
/* One lane, one column: for two, gcc 12 at -O2 loads the input of the tap behind the last as well. */
#define ES_CONV_VECTORS (ES_W > 1 ? 2 : 1)
#endif

/* Less than one vector of columns. */
ES_CONV_SHARED void es_conv_wide_part(const struct es_taps *t, const float *x, int n,
                                      const float *w, int panel, struct es_post p, int r, float *y,
                                      int y_cs) {
  ES_LOOP for (int o = 0; o < r; o++) es_conv_wide_tile(
      1, 1, n, t, x, 0, w + es_conv_panel(o, panel), es_conv_post_at(p, o), y + o * y_cs, y_cs);
}

/* vb vectors of columns x r outputs: enough sums to hide latency, as registers allow. */
#define ES_CONV_OF(ob, vb) es_conv_wide_##ob##x##vb(t, x, last, w, panel, p, r, y, y_cs)
ES_FN void es_conv_wide_columns(int vb, const struct es_taps *t, const float *x, int last,
                                const float *w, int panel, struct es_post p, int r, float *y,
                                int y_cs) {
  const int most = ES_REGS >= 32 ? 8 : 4;
  if (vb == 1) {
    r >= 8   ? ES_CONV_OF(8, 1)
    : r >= 4 ? ES_CONV_OF(4, 1)
    : r >= 2 ? ES_CONV_OF(2, 1)
             : ES_CONV_OF(1, 1);
  } else if (vb == 2) {
    r >= most ? ES_CONV_OF(8, 2)
    : r >= 4  ? ES_CONV_OF(4, 2)
    : r >= 2  ? ES_CONV_OF(2, 2)
              : ES_CONV_OF(1, 2);
  }
#if ES_REGS >= 32
  else if (vb == 3) {
    r >= 4 ? ES_CONV_OF(4, 3) : r >= 2 ? ES_CONV_OF(2, 3) : ES_CONV_OF(1, 3);
  } else
    r >= 4 ? ES_CONV_OF(4, 4) : r >= 2 ? ES_CONV_OF(2, 4) : ES_CONV_OF(1, 4);
#endif
}

/* n columns, all of whose taps exist, x r outputs. The last vector overlaps the one before. */
ES_FN void es_conv_wide(const struct es_taps *t, const float *x, int n, const float *w, int panel,
                        struct es_post p, int r, float *y, int y_cs) {
  const int span = ES_CONV_VECTORS * ES_W, whole = n / span * span, left = n - whole;
  if (n < ES_W) {
    es_conv_wide_part(t, x, n, w, panel, p, r, y, y_cs);
    return;
  }
  ES_LOOP for (int j = 0; j < whole; j += span)
      es_conv_wide_columns(ES_CONV_VECTORS, t, x + j, span - ES_W, w, panel, p, r, y + j, y_cs);
  if (left) {
    const int at = left < ES_W ? n - ES_W : whole;
    es_conv_wide_columns((left + ES_W - 1) / ES_W, t, x + at, n - ES_W - at, w, panel, p, r, y + at,
                         y_cs);
  }
}

/* sums[xb][vo] += the taps of vo vectors of outputs x xb columns; `single`: of one kernel column. */
ES_FN void es_conv_deep_tile(const int vo, const int xb, const struct es_taps *t, int single,
                             const float *x, ptrdiff_t x_ws, const float *w, int panel,
                             float *sums) {
  /* Few sums would wait for each other: a small tile keeps two or four of each. */
  const int split = vo * xb >= 6 ? 1 : vo * xb >= 3 ? 2 : 4;
  es_v acc[4][16];
  ES_UNROLL for (int k = 0; k < vo * xb; k++) {
    acc[0][k] = es_load(sums + k * ES_W);
    ES_UNROLL for (int s = 1; s < split; s++) acc[s][k] = es_set(0.0f);
  }
  ES_LOOP for (int q = 0; q < t->runs; q++) {
    ES_LOOP for (int i = 0; i < t->rows; i++) {
      const float *xi = x + t->run[q].x + i * t->xs2, *wi = w + t->run[q].w + i * t->ws2;
      const int n1 = single ? 1 : t->run[q].n1, n0 = t->run[q].n0;
      const ptrdiff_t xs0 = t->xs0, ws0 = t->ws0;
      ES_LOOP for (int j = 0; j < n1; j++, xi += t->xs1, wi += t->ws1) {
        const float *xp = xi, *wp = wi;
        int c = 0;
        ES_LOOP for (; c + split <= n0; c += split) {
          ES_UNROLL for (int s = 0; s < split; s++, xp += xs0, wp += ws0) {
            es_v wv[4];
            ES_UNROLL for (int v = 0; v < vo; v++) wv[v] =
                es_load(wp + es_conv_panel(v * ES_W, panel));
            ES_UNROLL for (int k = 0; k < vo * xb; k++) acc[s][k] =
                es_fma(es_set(xp[k / vo * x_ws]), wv[k % vo], acc[s][k]);
          }
        }
        if (split > 1)
          ES_LOOP for (; c < n0; c++, xp += xs0, wp += ws0) {
            ES_UNROLL for (int k = 0; k < vo * xb; k++) {
              es_v wv = es_load(wp + es_conv_panel(k % vo * ES_W, panel));
              acc[0][k] = es_fma(es_set(xp[k / vo * x_ws]), wv, acc[0][k]);
            }
          }
      }
    }
  }
  ES_UNROLL for (int k = 0; k < vo * xb; k++) {
    ES_UNROLL for (int s = 1; s < split; s++) acc[0][k] = es_add(acc[0][k], acc[s][k]);
    es_store(sums + k * ES_W, acc[0][k]);
  }
}

/* The same for up to ES_CONV_COLUMNS columns. */
ES_FN void es_conv_deep_columns(const int vo, const struct es_taps *t, int single, const float *x,
                                ptrdiff_t x_ws, int n, const float *w, int panel, float *sums) {
  const int most = vo == 1 ? 8 : vo == 2 || ES_REGS >= 32 ? 4 : 2;
  while (n > 0) {
    int done = 1;
    if (most == 8 && n >= 8) {
      es_conv_deep_tile(vo, most, t, single, x, x_ws, w, panel, sums);
      done = most;
    } else if (most >= 4 && n >= 4) {
      es_conv_deep_tile(vo, 4, t, single, x, x_ws, w, panel, sums);
      done = 4;
    } else if (most == 4 && n == 3) {
      es_conv_deep_tile(vo, 3, t, single, x, x_ws, w, panel, sums);
      done = 3;
    } else if (n >= 2) {
      es_conv_deep_tile(vo, 2, t, single, x, x_ws, w, panel, sums);
      done = 2;
    } else
      es_conv_deep_tile(vo, 1, t, single, x, x_ws, w, panel, sums);
    n -= done;
    x += done * x_ws;
    sums += done * vo * ES_W;
  }
}

#define ES_CONV_DEEP_ADD(vo)                                                                       \
  ES_CONV_SHARED void es_conv_deep_add##vo(const struct es_taps *t, int single, const float *x,    \
                                           ptrdiff_t x_ws, int n, const float *w, int panel,       \
                                           float *sums) {                                          \
    es_conv_deep_columns(vo, t, single, x, x_ws, n, w, panel, sums);                               \
  }
ES_CONV_DEEP_ADD(1)
ES_CONV_DEEP_ADD(2)
ES_CONV_DEEP_ADD(4)

ES_FN void es_conv_deep_add(int vo, const struct es_taps *t, int single, const float *x,
                            ptrdiff_t x_ws, int n, const float *w, int panel, float *sums) {
  if (vo == 4)
    es_conv_deep_add4(t, single, x, x_ws, n, w, panel, sums);
  else if (vo == 2)
    es_conv_deep_add2(t, single, x, x_ws, n, w, panel, sums);
  else
    es_conv_deep_add1(t, single, x, x_ws, n, w, panel, sums);
}

/* Activate n columns of sums and store the outputs of each, `sums_cs` floats apart. */
ES_FN void es_conv_deep_store(float *sums, int sums_cs, int n, struct es_post p, int outputs,
                              float *y, int y_cs, int y_ws) {
  ES_LOOP for (int j = 0; j < n; j++, sums += sums_cs, y += y_ws) {
    if (p.act == ES_ACT_SLOPE)
      ES_LOOP for (int k = 0; k < outputs; k += ES_W)
          es_store(sums + k, es_conv_sloped(es_load(sums + k), es_load(p.slope + k)));
    if (y_cs == 1)
      es_copy(outputs, sums, y);
    else
      ES_LOOP for (int o = 0; o < outputs; o++) y[o * y_cs] = sums[o];
  }
}

/* n columns x r outputs. The weights are read once for every ES_CONV_COLUMNS columns. */
ES_FN void es_conv_deep_any(const int most, const struct es_taps *t, const float *x, int x_ws,
                            int n, const float *w, int panel, struct es_post p, int r, float *y,
                            int y_cs, int y_ws) {
  float sums[ES_CONV_COLUMNS * 4 * ES_W];
  ES_LOOP for (int o = 0, vo = 1; o < r; o += vo * ES_W) {
    const struct es_post q = es_conv_post_at(p, o);
    const float *wo = w + es_conv_panel(o, panel);
    vo = most == 4 && r - o > 3 * ES_W && (ES_REGS >= 32 || n <= 2) ? 4 : 2;
    if (most == 1 || r - o <= ES_W)
      vo = 1;
    ES_LOOP for (int j = 0; j < n; j += ES_CONV_COLUMNS) {
      const int columns = es_least(n - j, ES_CONV_COLUMNS);
      const float *xj = x + (ptrdiff_t)j * x_ws;
      ES_LOOP for (int k = 0; k < columns * vo; k++)
          es_store(sums + k * ES_W, es_load(q.bias + k % vo * ES_W));
      if (!t->width)
        es_conv_deep_add(vo, t, 0, xj, x_ws, columns, wo, panel, sums);
      else
        ES_LOOP for (int k = 0; k < t->run[0].n1; k++) {
          const int x0 = t->x0 + k * (int)t->xs1 + j * x_ws;
          int a = 0, b = columns;
          while (a < b && x0 + a * x_ws < 0)
            a++;
          while (a < b && x0 + (b - 1) * x_ws >= t->width)
            b--;
          if (a < b)
            es_conv_deep_add(vo, t, 1, xj + k * t->xs1 + a * x_ws, x_ws, b - a, wo + k * t->ws1,
                             panel, sums + a * vo * ES_W);
        }
      es_conv_deep_store(sums, vo * ES_W, columns, q, es_least(r - o, vo * ES_W),
                         y + o * y_cs + j * y_ws, y_cs, y_ws);
    }
  }
}

#define ES_CONV_DEEP(most)                                                                         \
  ES_CONV_SHARED void es_conv_deep##most(const struct es_taps *t, const float *x, int x_ws, int n, \
                                         const float *w, int panel, struct es_post p, int r,       \
                                         float *y, int y_cs, int y_ws) {                           \
    es_conv_deep_any(most, t, x, x_ws, n, w, panel, p, r, y, y_cs, y_ws);                          \
  }
ES_CONV_DEEP(1)
ES_CONV_DEEP(2)
ES_CONV_DEEP(4)

ES_FN void es_conv_deep(const struct es_taps *t, const float *x, int x_ws, int n, const float *w,
                        int panel, struct es_post p, int r, float *y, int y_cs, int y_ws) {
  if (r <= ES_W)
    es_conv_deep1(t, x, x_ws, n, w, panel, p, r, y, y_cs, y_ws);
  else if (r <= 2 * ES_W)
    es_conv_deep2(t, x, x_ws, n, w, panel, p, r, y, y_cs, y_ws);
  else
    es_conv_deep4(t, x, x_ws, n, w, panel, p, r, y, y_cs, y_ws);
}

/* Keep the taps that read inputs in [0, size). */
ES_FN struct es_axis es_conv_clip(struct es_axis a, int size) {
  while (a.n > 0 && (a.x0 < 0 || a.x0 >= size)) {
    a.k0 += a.ks;
    a.x0 += a.xd;
    a.n--;
  }
  while (a.n > 0 && (a.x0 + (a.n - 1) * a.xd < 0 || a.x0 + (a.n - 1) * a.xd >= size))
    a.n--;
  return a;
}

/* Taps of a transposed convolution at output o: those k with o + P - k D divisible by S. */
ES_FN struct es_axis es_conv_transposed_axis(int o, int K, int S, int D, int P) {
  struct es_axis a = {0, 0, 1, 0, 0};
  while (a.ks * D % S)
    a.ks++;
  while (a.k0 < a.ks && (o + P - a.k0 * D) % S)
    a.k0++;
  if (a.k0 < a.ks && a.k0 < K) {
    a.n = (K - 1 - a.k0) / a.ks + 1;
    a.x0 = (o + P - a.k0 * D) / S;
    a.xd = -(a.ks * D / S);
  }
  return a;
}

/* All outputs of a group that stand in panels of the same width, and where they go. */
struct es_block {
  const float *w;
  int row, panel, outputs; /* floats from one input's weights to the next; between panels */
  struct es_post post;
};

/* The full panels of a group (from = 0), or what remains (from = OG rounded down). */
ES_FN struct es_block es_conv_block(int taps, int C, int O, int OG, int g, int from, const float *w,
                                    const float *b, int act) {
  const int full = OG / ES_CONV_PANEL * ES_CONV_PANEL, o = g * OG + from;
  struct es_block k;
  k.w = w + (ptrdiff_t)taps * C * o;
  k.outputs = from < full ? full : OG - full;
  k.row = from < full ? ES_CONV_PANEL : OG - full;
  k.panel = taps * C * ES_CONV_PANEL;
  k.post.bias = b + o;
  k.post.slope = b + O + ES_CONV_PAD + o;
  k.post.act = act;
  return k;
}

ES_FN struct es_taps es_conv_taps(int C, int KW, int w_row, int x_cs, int x_hs, struct es_axis row,
                                  struct es_axis col) {
  const int w_col = C * w_row;
  struct es_taps t;
  t.runs = 1;
  t.rows = row.n;
  t.width = 0;
  t.x0 = col.x0;
  t.xs2 = row.xd * x_hs;
  t.ws2 = row.ks * KW * w_col;
  t.run[0].x = row.x0 * x_hs + col.x0;
  t.run[0].w = (row.k0 * KW + col.k0) * w_col;
  /* the innermost loop should be the long one */
  t.run[0].n1 = C == 1 ? 1 : col.n;
  t.run[0].n0 = C == 1 ? col.n : C;
  t.xs1 = col.xd;
  t.ws1 = col.ks * w_col;
  t.xs0 = C == 1 ? col.xd : x_cs;
  t.ws0 = C == 1 ? col.ks * w_col : w_row;
  return t;
}

/* n columns that have all their taps. Deep tiles serve a few columns beyond whole vectors if that
 * costs less than one more vector, and rows shorter than a vector unless there are few outputs. */
ES_FN void es_conv_bulk(const int wide, const struct es_taps *t, const float *x, int step, int n,
                        const struct es_block *k, float *y, int y_cs, int y_ws) {
  const int odd = n % ES_W, vectors = (k->outputs + ES_W - 1) / ES_W;
  const int cheaper = n < ES_W ? n <= 6 * k->outputs : 2 * odd * vectors <= k->outputs;
  const int deep = !wide ? n : cheaper ? odd : 0, j = n - deep;
  if (j)
    es_conv_wide(t, x, j, k->w, k->panel, k->post, k->outputs, y, y_cs);
  if (deep)
    es_conv_deep(t, x + j * step, step, deep, k->w, k->panel, k->post, k->outputs, y + j * y_ws,
                 y_cs, y_ws);
}

/* One row of n columns. Column j reads inputs from col.x0 + j * step on. */
ES_FN void es_conv_line(const int wide, int C, int W, int KW, struct es_axis row,
                        struct es_axis col, int step, int n, const float *x, int x_cs, int x_hs,
                        const struct es_block *k, float *y, int y_cs, int y_ws) {
  const int reach = (col.n - 1) * col.xd;
  const int low = col.x0 + es_least(reach, 0), high = col.x0 + es_most(reach, 0);
  int from = 0, to = n;
  if (col.n > 0) {
    from = low < 0 ? es_least(n, (step - 1 - low) / step) : 0;
    to = high < W ? es_least(n, (W - 1 - high) / step + 1) : 0;
    to = es_most(from, to);
  }
  if (!wide && C > 1 && n <= ES_CONV_COLUMNS && (from > 0 || to < n)) {
    struct es_taps t = es_conv_taps(C, KW, k->row, x_cs, x_hs, row, col);
    t.width = W;
    es_conv_deep(&t, x, step, n, k->w, k->panel, k->post, k->outputs, y, y_cs, y_ws);
    return;
  }
  ES_LOOP for (int j = from ? 0 : to; j < n; j = j + 1 == from ? to : j + 1) {
    struct es_axis edge = col;
    edge.x0 += j * step;
    edge = es_conv_clip(edge, W);
    const struct es_taps t = es_conv_taps(C, KW, k->row, x_cs, x_hs, row, edge);
    es_conv_deep(&t, x, 0, 1, k->w, k->panel, k->post, k->outputs, y + j * y_ws, y_cs, y_ws);
  }
  if (from < to) {
    const struct es_taps t = es_conv_taps(C, KW, k->row, x_cs, x_hs, row, col);
    es_conv_bulk(wide, &t, x + from * step, step, to - from, k, y + from * y_ws, y_cs, y_ws);
  }
}

/* Activations that are too large for every tile: a second pass. */
ES_CONV_SHARED void es_conv_activate(int act, int N, int O, int OH, int OW, float *y, int y_ns,
                                     int y_cs, int y_hs) {
  ES_LOOP for (int n = 0; n < N; n++) ES_LOOP for (int o = 0; o < O; o++)
      ES_LOOP for (int h = 0; h < OH; h++) {
    float *row = y + n * y_ns + o * y_cs + h * y_hs;
    ES_LOOP for (int j = 0; j < OW; j += ES_W) {
      const int left = es_least(OW - j, ES_W);
      es_v v = es_load_n(row + j, left);
      es_store_n(row + j, act == ES_ACT_TANH ? es_tanh(v) : es_sigmoid(v), left);
    }
  }
}

#endif
