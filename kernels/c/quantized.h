/*
 * Products of int8 weights and quantized inputs.
 *
 * Weights are packed in panels of 16 outputs (8 in narrow layers) of up to four gates. Four inputs of
 * all outputs of a gate are a block, 4 * 16 bytes, the inputs of an output side by side. Dense: the
 * blocks of a panel by input, then by gate; the last panel may be narrower. Sparse: by gate, then those
 * blocks that are not zero, with their positions in `index`. Each panel is one stream.
 */
#ifndef ES_QUANTIZED_H
#define ES_QUANTIZED_H

#include "es.h"
#include "exact.h"

#define ES_PANEL 16    /* outputs of a panel */
#define ES_TILE_ROWS 4 /* rows at a time */

/* Accumulators of a tile: each also wants a register for products where there is no dot product. */
#define ES_DOT_ACCS (ES_REGS == 32 ? 16 : 8)

/* The product of a panel: what is constant over the rows. */
typedef struct {
  int width;             /* outputs of a block */
  int gates;             /* in a panel */
  int quads;             /* inputs, rounded up, by four */
  int zero;              /* the zero point of the inputs */
  int pairs;             /* see es_dot */
  const float *head;     /* of each gate: scales, then sums of weights; rows of `pitch` */
  int pitch;             /* */
  const int8_t *w;       /* the first block */
  const uint16_t *count; /* of each gate: blocks; 0: all are there */
  const uint16_t *index;
  int wide; /* inputs lie in 0..255, not 0..254 */
} es_part;

/* R rows of quantized inputs, and where their products go: y[r * ldy + g * ES_PANEL]. */
typedef struct {
  const uint8_t *x;
  ptrdiff_t ldx;
  const float *scale; /* of each row */
  float *y;
  ptrdiff_t ldy;
} es_rows_i8;

ES_FN int es_part_blocks(const es_part *p, int gates) {
  int n = 0;
  if (!p->count)
    return gates * p->quads;
  ES_LOOP for (int g = 0; g < gates; g++) n += p->count[g];
  return n;
}

/* What follows the part in the streams. */
ES_FN void es_part_skip(es_part *p) {
  const int n = es_part_blocks(p, p->gates);
  p->w += (size_t)n * p->width * 4;
  p->head += p->gates * 2 * p->pitch;
  if (p->count) {
    p->count += p->gates;
    p->index += n;
  }
}

/* acc = -zero * the sum of the weights, as the inputs are stored. */
ES_FN es_i es_dot_start(const es_part *p, const int how, int gate, int lane) {
  const es_i sums = es_to_int(es_load(p->head + (gate * 2 + 1) * p->pitch + lane));
  return es_imul(sums, es_iset((es_dot_zero(p->wide) - p->zero) * ES_DOT_TIMES(how)));
}

/* rest: see es_dot_rest. */
ES_FN void es_dot_end(const es_part *p, const int how, int gate, int lane, es_i acc, es_i rest,
                      float scale, float *y) {
  const es_v row = es_product(es_set(scale), es_load(p->head + gate * 2 * p->pitch + lane));
  const es_i sum = es_iadd(ES_DOT_SUM(acc, how), rest);
  es_store(y, es_product(es_to_float(sum), row));
}

/* Few accumulators would wait for each other's latency. */
ES_FN int es_dot_phases(const int accs) { return accs >= 6 ? 1 : accs >= 3 ? 2 : 4; }

/* R rows, G gates from `from` on, V vectors of outputs from `lane` on; rest: es_row_rest of each. */
ES_FN void es_dense_tile(const int R, const int G, const int V, const es_part *p, int from,
                         int lane, const es_rows_i8 *m, const es_i *rest) {
  const int phases = es_dot_phases(R * G * V), step = p->gates * p->width * 4;
  const int how = ES_DOT_HOW(p);
  const int gate = p->width * 4;
  const int8_t *w = p->w + from * gate + lane * 4;
  es_i acc[4][ES_DOT_ACCS];
  int k = 0;
  ES_UNROLL for (int i = 0; i < R * G * V; i++) {
    acc[0][i] = es_dot_start(p, how, from + i / V % G, lane + i % V * ES_W);
    ES_UNROLL for (int f = 1; f < phases; f++) acc[f][i] = es_iset(0);
  }
  ES_LOOP for (; k + phases <= p->quads; k += phases) {
    ES_UNROLL for (int f = 0; f < phases; f++, w += step) {
      ES_UNROLL for (int r = 0; r < R; r++) {
        const es_quad x = es_load_quad(m->x + r * m->ldx + (k + f) * 4);
        ES_UNROLL for (int i = 0; i < G * V; i++) {
          es_i *to = &acc[f][r * G * V + i];
          *to = es_dot(*to, w + i / V * gate + i % V * ES_W * 4, x, how);
        }
      }
    }
  }
  if (phases > 1) {
    ES_LOOP for (; k < p->quads; k++, w += step) {
      ES_UNROLL for (int r = 0; r < R; r++) {
        const es_quad x = es_load_quad(m->x + r * m->ldx + k * 4);
        ES_UNROLL for (int i = 0; i < G * V; i++) {
          es_i *to = &acc[0][r * G * V + i];
          *to = es_dot(*to, w + i / V * gate + i % V * ES_W * 4, x, how);
        }
      }
    }
  }
  ES_UNROLL for (int i = 0; i < R * G * V; i++) {
    const int r = i / (G * V), g = i / V % G, v = i % V;
    ES_UNROLL for (int f = 1; f < phases; f++) acc[0][i] = es_iadd(acc[0][i], acc[f][i]);
    es_dot_end(p, how, from + g, lane + v * ES_W, acc[0][i], rest[r], m->scale[r],
               m->y + r * m->ldy + g * ES_PANEL + lane + v * ES_W);
  }
}

/* A number that stays in its own register: clang would gather four of them in a vector. */
ES_FN int es_alone(int i) {
#if defined(__GNUC__)
  __asm__("" : "+r"(i));
#endif
  return i;
}

/* R rows and V vectors from `lane` on of one gate, whose n blocks stand at w. */
ES_FN void es_sparse_tile(const int R, const int V, const es_part *p, int gate, int lane, int n,
                          const uint16_t *index, const int8_t *w, const es_rows_i8 *m, float *y) {
  const int phases = es_dot_phases(R * V), step = p->width * 4;
  const int how = ES_DOT_HOW(p);
  es_i acc[4][ES_DOT_ACCS], rest[ES_TILE_ROWS];
  int k = 0;
  w += lane * 4;
  ES_UNROLL for (int r = 0; r < R; r++) rest[r] = es_iset(0);
  ES_UNROLL for (int i = 0; i < R * V; i++) {
    acc[0][i] = es_dot_start(p, how, gate, lane + i % V * ES_W);
    ES_UNROLL for (int f = 1; f < phases; f++) acc[f][i] = es_iset(0);
  }
  ES_LOOP for (; k + phases <= n; k += phases) {
    ES_UNROLL for (int f = 0; f < phases; f++, w += step) {
      const int at = es_alone(index[k + f]) * 4;
      ES_UNROLL for (int r = 0; r < R; r++) {
        const es_quad x = es_load_quad(m->x + r * m->ldx + at);
        rest[r] = es_dot_rest(rest[r], x, how);
        ES_UNROLL for (int v = 0; v < V; v++) acc[f][r * V + v] =
            es_dot(acc[f][r * V + v], w + v * ES_W * 4, x, how);
      }
    }
  }
  if (phases > 1) {
    ES_LOOP for (; k < n; k++, w += step) {
      ES_UNROLL for (int r = 0; r < R; r++) {
        const es_quad x = es_load_quad(m->x + r * m->ldx + index[k] * 4);
        rest[r] = es_dot_rest(rest[r], x, how);
        ES_UNROLL for (int v = 0; v < V; v++) acc[0][r * V + v] =
            es_dot(acc[0][r * V + v], w + v * ES_W * 4, x, how);
      }
    }
  }
  ES_UNROLL for (int i = 0; i < R * V; i++) {
    const int at = lane + i % V * ES_W;
    ES_UNROLL for (int f = 1; f < phases; f++) acc[0][i] = es_iadd(acc[0][i], acc[f][i]);
    es_dot_end(p, how, gate, at, acc[0][i], rest[i / V], m->scale[i / V], y + i / V * m->ldy + at);
  }
}

/* Vectors per gate that let a tile of so many rows and gates fit the registers. */
ES_FN int es_dot_vecs(const int width, const int accs) {
  const int all = ES_W < width ? width / ES_W : 1, most = ES_DOT_ACCS / accs;
  return all <= most ? all : all / 2 <= most ? all / 2 : all / 4 <= most ? all / 4 : 1;
}

ES_FN void es_dense_rows(const int R, const int G, const es_part *p, int from,
                         const es_rows_i8 *m) {
  const int V = es_dot_vecs(ES_PANEL, R * G);
  es_i rest[ES_TILE_ROWS];
  ES_UNROLL for (int r = 0; r < R; r++) rest[r] =
      es_row_rest(m->x + r * m->ldx, p->quads, ES_DOT_HOW(p));
  if (p->width == ES_PANEL)
    ES_LOOP for (int j = 0; j < ES_PANEL; j += V * ES_W)
        es_dense_tile(R, G, V, p, from, j, m, rest);
  else
    ES_LOOP for (int j = 0; j < p->width; j += ES_W) es_dense_tile(R, G, 1, p, from, j, m, rest);
}

ES_FN void es_sparse_rows(const int R, const int G, const int width, const es_part *p, int from,
                          const es_rows_i8 *m) {
  const int V = es_dot_vecs(width, R), skipped = es_part_blocks(p, from);
  const uint16_t *index = p->index + skipped;
  const int8_t *w = p->w + (size_t)skipped * width * 4;
  ES_LOOP for (int g = from; g < from + G; g++) {
    const int n = p->count[g];
    ES_LOOP for (int j = 0; j < width; j += V * ES_W)
        es_sparse_tile(R, V, p, g, j, n, index, w, m, m->y + (g - from) * ES_PANEL);
    index += n;
    w += (size_t)n * width * 4;
  }
}

/* R rows times G gates of a panel. */
ES_FN void es_part_rows(const int R, const int G, const es_part *p, int from, const es_rows_i8 *m) {
  if (!p->count)
    es_dense_rows(R, G, p, from, m);
  else if (p->width == ES_PANEL)
    es_sparse_rows(R, G, ES_PANEL, p, from, m);
  else
    es_sparse_rows(R, G, ES_PANEL / 2, p, from, m);
}

/* M rows times G gates of a panel, from gate `from` on. */
ES_FN void es_part_product(const int G, int M, const es_part *p, int from, es_rows_i8 m) {
  const int rows = es_least(ES_TILE_ROWS, ES_DOT_ACCS / G);
  int i = 0;
  ES_LOOP for (; i + rows <= M; i += rows) {
    es_part_rows(rows, G, p, from, &m);
    m.x += rows * m.ldx;
    m.y += rows * m.ldy;
    m.scale += rows;
  }
  ES_LOOP for (; i < M; i++) {
    es_part_rows(1, G, p, from, &m);
    m.x += m.ldx;
    m.y += m.ldy;
    m.scale++;
  }
}

/* Quantize M rows of K floats: with `scale`, or each with its own where it is 0. */
ES_FN void es_quantize_rows_upto(int M, int K, const float *x, ptrdiff_t ldx, float scale, int zero,
                                 int wide, uint8_t *q, int ldq, float *scales) {
  ES_LOOP for (int m = 0; m < M; m++) {
    const float s = scale == 0.0f ? es_dynamic_scale(K, x + m * ldx) : scale;
    es_quantize_upto(K, x + m * ldx, s, zero, wide, q + (size_t)m * ldq);
    scales[m] = s;
  }
}

ES_FN void es_quantize_rows(int M, int K, const float *x, ptrdiff_t ldx, float scale, int zero,
                            uint8_t *q, int ldq, float *scales) {
  es_quantize_rows_upto(M, K, x, ldx, scale, zero, 0, q, ldq, scales);
}

#endif
