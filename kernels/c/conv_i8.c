/*
 * y = act(conv(x, w) + b), w int8 and x quantized here; numbers: docs/kernels-int8.md.
 *
 * Sizes as in conv.c, and four more: x_zero: the zero point of x; wide: its levels go up to 255; pairs:
 * see es_dot; planar: below.
 * w, head: kernels/conv_i8.py pack(). scratch: the image of one batch element as bytes, zeros around it.
 *
 * An output sums over blocks of four inputs. They are four channels, which stand side by side in the
 * image, or, where there are too few channels (planar), four neighbours along the width. Vectors lie
 * along the outputs, so that a tile reads a panel's weights in one stream for several columns.
 */
#ifndef ES_CONV_I8_C
#define ES_CONV_I8_C

#include "es.h"
#include "exact.h"
#include "quantized.h"

enum { ES_I8_NONE, ES_I8_SLOPE, ES_I8_TANH, ES_I8_SIGMOID, ES_I8_RELU };
enum { ES_CONV_I8_HEADER = 16, ES_CONV_I8_HEADS = 4 }; /* rows of a panel: see pack() */

/* Columns of a tile: as many accumulators as the registers hold. */
#if ES_W == 16
#define ES_CONV_I8_MOST 8
#elif ES_W > 1 && ES_DOT_ACCS * ES_W >= 64
#define ES_CONV_I8_MOST 4
#elif ES_W > 1
#define ES_CONV_I8_MOST 2
#else
#define ES_CONV_I8_MOST 1
#endif

/* Only there does it change the instructions. */
#if defined(ES_ISA_AVX512) || defined(ES_ISA_AVX2) || defined(__wasm_relaxed_simd__)
#define ES_CONV_I8_HOW(part) ES_DOT_HOW(part)
#else
#define ES_CONV_I8_HOW(part) 0
#endif

#if defined(__GNUC__)
typedef es_i es_i_any __attribute__((aligned(4), may_alias));
#else
typedef es_i es_i_any;
#endif

/* A batch element and how it is kept: planes of H + PT + PB rows of W + PL + PR elements. */
typedef struct {
  int C, H, W, G, PT, PL, PB, PR, x_cs, x_hs, zero, wide;
  int element; /* bytes: 4 channels, or 1 */
  ptrdiff_t plane;
} es_image_i8;

/* The blocks that an output sums over, in the order of its weights. */
typedef struct {
  int n2, n1, n0;
  ptrdiff_t s2, s1, s0;
} es_taps_i8;

/* Where n bytes are written one after the other, whole vectors may be: what follows comes later. */
ES_FN uint8_t *es_image_zeros(const es_image_i8 *a, int n, uint8_t *to) {
  ES_LOOP for (int i = 0; i < n * a->element; i += ES_W)
      es_store_u8(to + i, es_iset(a->zero - es_dot_zero(a->wide)));
  return to + n * a->element;
}

/* What es_quantize_upto stores, as the low bytes of lanes. */
ES_FN es_i es_image_levels(const es_image_i8 *a, const float *x, int n, es_v by) {
  const es_v low = es_set((float)-a->zero), none = es_set(0.0f);
  const es_v high = es_set((float)(254 + a->wide - a->zero));
  const es_v t = es_div(n >= ES_W ? es_load(x) : es_load_n(x, n), by);
  const es_v above = es_min(es_max(none, t), high), below = es_max(es_min(none, t), low);
  const es_i shift = es_iset(a->zero - es_dot_zero(a->wide));
  return es_iand(es_iadd(es_to_int(es_add(above, below)), shift), es_iset(255));
}

/* One row of up to four channels, `x_cs` apart. */
ES_FN void es_image_quads(const es_image_i8 *a, int channels, const float *x, float scale,
                          uint8_t *to) {
  const es_v by = es_set(scale);
  ES_LOOP for (int i = 0; i < a->W; i += ES_W) {
    const float *at = x + i;
    es_i quad = es_image_levels(a, at, a->W - i, by);
    if (channels > 1)
      quad =
          es_iadd(quad, es_imul(es_image_levels(a, at + a->x_cs, a->W - i, by), es_iset(1 << 8)));
    if (channels > 2)
      quad = es_iadd(quad,
                     es_imul(es_image_levels(a, at + 2 * a->x_cs, a->W - i, by), es_iset(1 << 16)));
    if (channels > 3)
      quad = es_iadd(quad,
                     es_imul(es_image_levels(a, at + 3 * a->x_cs, a->W - i, by), es_iset(1 << 24)));
    *(es_i_any *)(to + i * 4) = quad;
  }
}

/* Quantize a batch element, plane by plane. */
ES_FN_RARE void es_image_fill(const es_image_i8 *a, const float *x, float scale, uint8_t *image) {
  const int across = a->W + a->PL + a->PR, CG = a->C / a->G, most = a->element;
  ES_LOOP for (int g = 0; g < a->G; g++) {
    ES_LOOP for (int c = 0; c < CG; c += most, image += a->plane) {
      const float *from = x + (ptrdiff_t)(g * CG + c) * a->x_cs;
      uint8_t *to = es_image_zeros(a, a->PT * across, image);
      ES_LOOP for (int h = 0; h < a->H; h++, from += a->x_hs) {
        to = es_image_zeros(a, a->PL, to);
        if (most == 1)
          es_quantize_upto(a->W, from, scale, a->zero, a->wide, to);
        else
          es_image_quads(a, CG - c, from, scale, to);
        to = es_image_zeros(a, a->PR, to + a->W * most);
      }
      es_image_zeros(a, a->PB * across, to);
    }
  }
}

/* The scale of a batch element: the largest of its rows', or a NaN if one of them is. */
ES_FN_RARE float es_image_scale(const es_image_i8 *a, const float *x) {
  const int dense = a->x_hs == a->W && a->x_cs == a->H * a->W;
  const int channels = dense ? 1 : a->C, rows = dense ? 1 : a->H;
  float top = 0.0f, spoilt = 0.0f;
  ES_LOOP for (int c = 0; c < channels; c++) {
    ES_LOOP for (int h = 0; h < rows; h++) {
      const float *row = x + (ptrdiff_t)c * a->x_cs + (ptrdiff_t)h * a->x_hs;
      const float s = es_dynamic_scale(dense ? a->C * a->H * a->W : a->W, row);
      top = s > top ? s : top;
      spoilt += s * 0.0f;
    }
  }
  return top + spoilt;
}

/* R columns, ldx bytes apart, times V vectors of outputs from `lane` on. */
ES_FN void es_conv_i8_tile(const int R, const int V, const int how, const es_part *p,
                           const es_taps_i8 *t, int lane, const uint8_t *x, int ldx, float scale,
                           float *sums) {
  const int phases = es_dot_phases(R * V), step = p->width * 4;
  const int8_t *w = p->w + lane * 4;
  es_i acc[4][ES_DOT_ACCS], rest[ES_CONV_I8_MOST];
  ES_UNROLL for (int r = 0; r < R; r++) rest[r] = es_iset(0);
  ES_UNROLL for (int i = 0; i < R * V; i++) {
    acc[0][i] = es_dot_start(p, how, 0, lane + i % V * ES_W);
    ES_UNROLL for (int f = 1; f < phases; f++) acc[f][i] = es_iset(0);
  }
  ES_LOOP for (int i2 = 0; i2 < t->n2; i2++) {
    ES_LOOP for (int i1 = 0; i1 < t->n1; i1++) {
      const uint8_t *q = x + i2 * t->s2 + i1 * t->s1;
      const ptrdiff_t s0 = t->s0;
      int k = 0;
      ES_LOOP for (; k + phases <= t->n0; k += phases) {
        ES_UNROLL for (int f = 0; f < phases; f++, w += step, q += s0) {
          ES_UNROLL for (int r = 0; r < R; r++) {
            const es_quad four = es_load_quad(q + r * ldx);
            rest[r] = es_dot_rest(rest[r], four, how);
            ES_UNROLL for (int v = 0; v < V; v++) acc[f][r * V + v] =
                es_dot(acc[f][r * V + v], w + v * ES_W * 4, four, how);
          }
        }
      }
      if (phases > 1) {
        ES_LOOP for (; k < t->n0; k++, w += step, q += s0) {
          ES_UNROLL for (int r = 0; r < R; r++) {
            const es_quad four = es_load_quad(q + r * ldx);
            rest[r] = es_dot_rest(rest[r], four, how);
            ES_UNROLL for (int v = 0; v < V; v++) acc[0][r * V + v] =
                es_dot(acc[0][r * V + v], w + v * ES_W * 4, four, how);
          }
        }
      }
    }
  }
  ES_UNROLL for (int i = 0; i < R * V; i++) {
    const int at = lane + i % V * ES_W;
    ES_UNROLL for (int f = 1; f < phases; f++) acc[0][i] = es_iadd(acc[0][i], acc[f][i]);
    es_dot_end(p, how, 0, at, acc[0][i], rest[i / V], scale, sums + i / V * ES_PANEL + at);
  }
}

ES_FN void es_conv_i8_lanes(const int R, const int how, const es_part *p, const es_taps_i8 *t,
                            const uint8_t *x, int ldx, float scale, float *sums) {
  const int V = es_dot_vecs(ES_PANEL, R);
  if (p->width == ES_PANEL)
    ES_LOOP for (int j = 0; j < ES_PANEL; j += V * ES_W)
        es_conv_i8_tile(R, V, how, p, t, j, x, ldx, scale, sums);
  else
    ES_LOOP for (int j = 0; j < p->width; j += ES_W)
        es_conv_i8_tile(R, 1, how, p, t, j, x, ldx, scale, sums);
}

/* Functions that all convolutions of a library share; those of no use are left out. */
#define ES_CONV_I8_COLUMNS(R)                                                                      \
  ES_FN_RARE void es_conv_i8_columns##R(const es_part *p, const es_taps_i8 *t, const uint8_t *x,   \
                                        int ldx, float scale, float *sums) {                       \
    if (ES_CONV_I8_HOW(p))                                                                         \
      es_conv_i8_lanes(R, 1, p, t, x, ldx, scale, sums);                                           \
    else                                                                                           \
      es_conv_i8_lanes(R, 0, p, t, x, ldx, scale, sums);                                           \
  }
#if ES_CONV_I8_MOST == 8
ES_CONV_I8_COLUMNS(8)
#endif
#if ES_CONV_I8_MOST >= 4
ES_CONV_I8_COLUMNS(4)
#endif
#if ES_CONV_I8_MOST >= 2
ES_CONV_I8_COLUMNS(2)
#endif
ES_CONV_I8_COLUMNS(1)

/* Columns that are computed at once where n are left. */
ES_FN int es_conv_i8_count(int n) {
  return n >= ES_CONV_I8_MOST ? ES_CONV_I8_MOST : n >= 4 ? 4 : n >= 2 ? 2 : 1;
}

ES_FN void es_conv_i8_some(int count, const es_part *p, const es_taps_i8 *t, const uint8_t *x,
                           int ldx, float scale, float *sums) {
#if ES_CONV_I8_MOST == 8
  if (count == 8)
    es_conv_i8_columns8(p, t, x, ldx, scale, sums);
#endif
#if ES_CONV_I8_MOST >= 4
  if (count == 4)
    es_conv_i8_columns4(p, t, x, ldx, scale, sums);
#endif
#if ES_CONV_I8_MOST >= 2
  if (count == 2)
    es_conv_i8_columns2(p, t, x, ldx, scale, sums);
#endif
  if (count == 1)
    es_conv_i8_columns1(p, t, x, ldx, scale, sums);
}

ES_FN es_v es_conv_i8_act(int act, es_v v, es_v slope) {
  switch (act) {
  case ES_I8_SLOPE:
    return es_where_gt(es_set(0.0f), v, es_product(v, slope), v);
  case ES_I8_TANH:
    return es_exact_act(ES_TANH, v);
  case ES_I8_SIGMOID:
    return es_exact_act(ES_SIGMOID, v);
  case ES_I8_RELU:
    return es_exact_act(ES_RELU, v);
  default:
    return v;
  }
}

/* Add biases to `count` columns of sums, activate, and put them where they belong. */
ES_FN_RARE void es_conv_i8_finish(int act, int count, int outputs, const es_part *p, float *sums,
                                  float *y, int y_cs) {
  const float *bias = p->head + 2 * p->width, *slope = bias + p->width;
  ES_LOOP for (int r = 0; r < count; r++) {
    float *row = sums + r * ES_PANEL;
    ES_LOOP for (int j = 0; j < outputs; j += ES_W) {
      const es_v v = es_add(es_load(row + j), es_load(bias + j));
      es_store(row + j, es_conv_i8_act(act, v, es_load(slope + j)));
    }
    if (y_cs == 1)
      es_copy(outputs, row, y + r);
  }
  if (y_cs == 1)
    return;
  ES_LOOP for (int o = 0; o < outputs; o++) {
    ES_LOOP for (int r = 0; r < count; r++) y[(ptrdiff_t)o * y_cs + r] = sums[r * ES_PANEL + o];
  }
}

/* One row of n columns of a panel. */
ES_FN void es_conv_i8_row(int act, int n, int outputs, const es_part *p, const es_taps_i8 *t,
                          const uint8_t *x, int ldx, float scale, float *y, int y_cs) {
  float sums[ES_CONV_I8_MOST * ES_PANEL] ES_ALIGNED;
  ES_LOOP for (int j = 0, count; j < n; j += count) {
    count = es_conv_i8_count(n - j);
    es_conv_i8_some(count, p, t, x + (ptrdiff_t)j * ldx, ldx, scale, sums);
    es_conv_i8_finish(act, count, outputs, p, sums, y + j, y_cs);
  }
}

ES_FN void es_conv_i8(int N, int C, int H, int W, int O, int KH, int KW, int SH, int SW, int DH,
                      int DW, int PT, int PL, int PB, int PR, int G, int act, int x_ns, int x_cs,
                      int x_hs, int y_ns, int y_cs, int y_hs, int x_zero, int wide, int pairs,
                      int planar, const float *restrict x, const int8_t *restrict w,
                      const float *restrict head, float *restrict y, float *restrict scratch) {
  const int CG = C / G, OG = O / G, across = W + PL + PR, down = H + PT + PB;
  const int element = planar ? 1 : 4, planes = planar ? CG : (CG + 3) / 4;
  const int OH = (down - DH * (KH - 1) - 1) / SH + 1, OW = (across - DW * (KW - 1) - 1) / SW + 1;
  /* An odd number of cache lines: planes must not fall on top of each other in the cache. */
  const ptrdiff_t line = (ptrdiff_t)across * element, plane = ((line * down + 63) & ~63) | 64;
  const es_image_i8 a = {C, H, W, G, PT, PL, PB, PR, x_cs, x_hs, x_zero, wide, element, plane};
  const es_taps_i8 over_width = {planes, KH, (KW + 3) / 4, plane, DH * line, 4};
  const es_taps_i8 over_channels = {KH, KW, planes, DH * line, DW * 4, plane};
  const es_taps_i8 taps = planar ? over_width : over_channels;
  const int blocks = taps.n2 * taps.n1 * taps.n0;
  uint8_t *image = (uint8_t *)scratch;
  ES_LOOP for (int n = 0; n < N; n++) {
    const float *xn = x + (ptrdiff_t)n * x_ns;
    const float scale = head[0] == 0.0f ? es_image_scale(&a, xn) : head[0];
    es_part p = {0};
    p.gates = 1;
    p.quads = blocks;
    p.zero = x_zero;
    p.pairs = pairs;
    p.wide = wide;
    p.head = head + ES_CONV_I8_HEADER;
    p.w = w;
    es_image_fill(&a, xn, scale, image);
    ES_LOOP for (int g = 0; g < G; g++) {
      ES_LOOP for (int o = 0; o < OG; o += ES_PANEL) {
        float *yo = y + (ptrdiff_t)n * y_ns + (ptrdiff_t)(g * OG + o) * y_cs;
        p.width = es_least(ES_PANEL, es_round_up(OG, 4) - o);
        p.pitch = p.width;
        ES_LOOP for (int i = 0; i < OH; i++) {
          const uint8_t *xi = image + g * planes * plane + i * SH * line;
          es_conv_i8_row(act, OW, es_least(ES_PANEL, OG - o), &p, &taps, xi, SW * element, scale,
                         yo + (ptrdiff_t)i * y_hs, y_cs);
        }
        p.w += (size_t)blocks * p.width * 4;
        p.head += ES_CONV_I8_HEADS * p.width;
      }
    }
  }
}

/* Columns [j, j + ES_W) of one output of a depthwise convolution with stride 1 along the width. */
ES_FN es_i es_conv_i8_depthwise_at(int KH, int KW, int DW, ptrdiff_t row, const uint8_t *x,
                                   const int8_t *w, es_i acc) {
  ES_LOOP for (int i = 0; i < KH; i++, x += row) {
    for (int k = 0; k < KW; k++) {
      const uint8_t *q = x + k * DW;
      const es_i levels = ES_DOT_ZERO ? es_load_s8((const int8_t *)q) : es_load_u8(q);
      acc = es_iadd(acc, es_imul(levels, es_iset(*w++)));
    }
  }
  return acc;
}

/* C = G = O and SW = 1; head: after its 16 floats scales, sums of weights, biases, slopes, [C] each. */
ES_FN void es_conv_i8_depthwise(int N, int C, int H, int W, int KH, int KW, int SH, int DH, int DW,
                                int PT, int PL, int PB, int PR, int act, int x_ns, int x_cs,
                                int x_hs, int y_ns, int y_cs, int y_hs, int x_zero, int wide,
                                const float *restrict x, const int8_t *restrict w,
                                const float *restrict head, float *restrict y,
                                float *restrict scratch) {
  const int across = W + PL + PR, down = H + PT + PB;
  const int OH = (down - DH * (KH - 1) - 1) / SH + 1, OW = across - DW * (KW - 1);
  const ptrdiff_t plane = ((ptrdiff_t)across * down + 63) & ~63;
  const es_image_i8 a = {C, H, W, C, PT, PL, PB, PR, x_cs, x_hs, x_zero, wide, 1, plane};
  const float *of = head + ES_CONV_I8_HEADER;
  uint8_t *image = (uint8_t *)scratch;
  ES_LOOP for (int n = 0; n < N; n++) {
    const float *xn = x + (ptrdiff_t)n * x_ns;
    const float scale = head[0] == 0.0f ? es_image_scale(&a, xn) : head[0];
    es_image_fill(&a, xn, scale, image);
    ES_LOOP for (int c = 0; c < C; c++) {
      const es_i start = es_iset((es_dot_zero(wide) - x_zero) * (int)of[C + c]);
      const es_v by = es_product(es_set(scale), es_set(of[c]));
      ES_LOOP for (int i = 0; i < OH; i++) {
        const uint8_t *xi = image + c * plane + (ptrdiff_t)i * SH * across;
        float *yi = y + (ptrdiff_t)n * y_ns + (ptrdiff_t)c * y_cs + (ptrdiff_t)i * y_hs;
        ES_LOOP for (int j = 0; j < OW; j += ES_W) {
          const es_i acc = es_conv_i8_depthwise_at(KH, KW, DW, (ptrdiff_t)DH * across, xi + j,
                                                   w + c * KH * KW, start);
          const es_v v = es_add(es_product(es_to_float(acc), by), es_set(of[2 * C + c]));
          es_store_upto(yi + j, es_conv_i8_act(act, v, es_set(of[3 * C + c])), OW - j);
        }
      }
    }
  }
}

#endif
