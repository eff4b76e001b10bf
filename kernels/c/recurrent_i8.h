/*
 * Recurrent cells with int8 weights and quantized inputs and states: everything RNN, GRU and LSTM share.
 * The order of the work is that of recurrent.h. The numbers are defined in docs/kernels-int8.md; each
 * operation on floats is rounded on its own, so that they are the same on every instruction set.
 *
 * A chain has a head of floats: the scales of input and state (0: a scale for each row and step); then
 * for each panel of units, for the input weights and then for the recurrent weights, for each gate, the
 * scales of its rows and the sums of their weights; then the biases. Its weights: see quantized.h.
 */
#ifndef ES_RECURRENT_I8_H
#define ES_RECURRENT_I8_H

#include "es.h"
#include "es_math.h"
#include "exact.h"
#include "quantized.h"
#include "share.h"

#define ES_I8_STEPS 64 /* steps whose input projection is one product; kernels/_quantized.py */
#define ES_I8_HEADER 16

typedef struct {
  int kind, T, B, I, H, groups, directions;
  int reverse;            /* bit d: direction d runs backwards */
  int reset_first;        /* GRU: linear_before_reset = 0 */
  int act;                /* RNN: ES_TANH or ES_RELU */
  int width;              /* units of a panel: 16 or 8 */
  int sparse;             /* only the blocks that are not zero are there */
  int x_zero, pairs;      /* zero point of x; see es_dot */
  int x_t, x_b, x_g;      /* distances in floats: of steps, batch rows, groups */
  int y_t, y_b, y_g, y_d; /* and of directions */
  const int32_t *lens;    /* steps of each batch row, or 0 */
  const float *x, *head;
  const int8_t *w;
  const uint16_t *counts, *index;
  float *y;              /* or 0 */
  const es_share *share; /* of the work; 0: all of it */
} es_rec_i8;

/* Where a chain's data lie. */
typedef struct {
  int backwards;
  float x_scale, h_scale;
  es_part part; /* the first panel's input weights */
  const float *x;
  float *y, *h, *c, *z, *rh; /* h: two copies, this step's and the next's */
  float *xp, *x_scales, *h_scales;
  uint8_t *qx, *qh;
} es_chain_i8;

/* Batch rows of one step. */
typedef struct {
  const float *x;  /* rows x_b apart */
  const float *xp; /* rows of projected inputs, or 0: multiply x here */
  const float *h;  /* rows as in scratch memory, as are the following */
  float *h_next, *c, *z, *rh;
  float *y; /* rows y_b apart, or 0 */
} es_step_i8;

ES_FN int es_i8_gates(const es_rec_i8 *a) {
  return a->kind == ES_GRU ? 3 : a->kind == ES_LSTM ? 4 : 1;
}
ES_FN int es_i8_biases(const es_rec_i8 *a) { return a->kind == ES_RNN ? 1 : 4; }
ES_FN int es_i8_panels(const es_rec_i8 *a) { return (a->H + a->width - 1) / a->width; }
ES_FN int es_i8_row(const es_rec_i8 *a) { return es_round_up(a->H, ES_PANEL); }
ES_FN int es_i8_quads(int n) { return (n + 3) / 4; }
ES_FN int es_i8_bytes(int n) { return es_round_up(n, 16); }
ES_FN int es_i8_projected(const es_rec_i8 *a) {
  return es_i8_panels(a) * es_i8_gates(a) * ES_PANEL;
}

ES_FN int es_i8_width(const es_rec_i8 *a, int u) {
  return a->sparse ? a->width : es_least(a->width, es_round_up(a->H, 4) - u);
}

/* The recurrent weights of a panel, after its input weights. */
ES_FN es_part es_i8_recurrent(const es_rec_i8 *a, const es_part *input) {
  es_part h = *input;
  es_part_skip(&h);
  h.quads = es_i8_quads(a->H);
  h.zero = 127;
  return h;
}

ES_FN const float *es_i8_biases_at(const es_rec_i8 *a, const es_part *h) {
  return h->head + es_i8_gates(a) * 2 * h->pitch;
}

/* The input weights of the panel that begins at unit u, after the one before. */
ES_FN es_part es_i8_next(const es_rec_i8 *a, const es_part *h, int u) {
  es_part x = *h;
  es_part_skip(&x);
  x.head += es_i8_biases(a) * a->width;
  x.quads = es_i8_quads(a->I);
  x.zero = a->x_zero;
  x.width = es_i8_width(a, u);
  return x;
}

/* The units to compute: all, or those of a share, which begins with a panel. */
ES_FN int es_i8_first_unit(const es_rec_i8 *a) {
  return ES_SHARES && a->share ? a->share->from : 0;
}
ES_FN int es_i8_end_unit(const es_rec_i8 *a) {
  return ES_SHARES && a->share ? es_least(a->share->to, a->H) : a->H;
}

/* The input weights of the panel that begins with `unit`, after `part`, those of the first. */
ES_FN es_part es_i8_at_unit(const es_rec_i8 *a, const es_part *part, int unit) {
  es_part x = *part;
  ES_LOOP for (int u = a->width; u <= unit; u += a->width) {
    const es_part h = es_i8_recurrent(a, &x);
    x = es_i8_next(a, &h, u);
  }
  return x;
}

/* A vector of units: where it is, and where the products of its gates and its biases are. */
typedef struct {
  int row, unit, lanes;
  size_t at;          /* in scratch memory */
  const float *p, *q; /* products with input and state, the gates ES_PANEL apart */
  const float *b;
} es_units_i8;

/* Vectors of units at a time: what the registers hold. */
#define ES_I8_GROUP (ES_REGS == 32 ? 4 : 2)
#define ES_I8_VECTORS ES_EXACT_MOST

/* Lanes beyond those belong to the next panel. */
ES_FN void es_i8_keep(const int N, const es_units_i8 *at, float *to, const es_v *v) {
  ES_EACH es_store_upto(to + at[i].at, v[i], at[i].lanes);
}

ES_FN void es_i8_put(const int N, const es_rec_i8 *a, const es_step_i8 *s, const es_units_i8 *at,
                     const es_v *h) {
  es_i8_keep(N, at, s->h_next, h);
  if (s->y)
    ES_EACH es_store_upto(s->y + (ptrdiff_t)at[i].row * a->y_b + at[i].unit, h[i],
                          es_least(at[i].lanes, a->H - at[i].unit));
}

/* (p + q) + b of a gate; `bias`: the row of b. */
ES_FN void es_i8_sum(const int N, const es_units_i8 *at, int gate, int bias, es_v *to) {
  ES_EACH to[i] =
      es_add(es_add(es_load(at[i].p + gate * ES_PANEL), es_load(at[i].q + gate * ES_PANEL)),
             es_load(at[i].b + bias));
}

/* a * b + the carried part, whose product is flushed. */
ES_FN es_v es_i8_mix(es_v a, es_v b, es_v kept, es_v state) {
  return es_add(es_product(a, b), es_flush(es_product(kept, state)));
}

/* What one walk over the panels computes. */
enum { ES_I8_ALL, ES_I8_GATES, ES_I8_CANDIDATE };

ES_FN void es_i8_lstm(const int N, const es_rec_i8 *a, const es_step_i8 *s, const es_units_i8 *at) {
  const int pitch = a->width;
  es_v x[ES_I8_VECTORS], y[ES_I8_VECTORS], c[ES_I8_VECTORS];
  ES_EACH c[i] = es_load(s->c + at[i].at);
  es_i8_sum(N, at, 2, 2 * pitch, x);
  es_exact_sigmoid(N, x);
  ES_EACH c[i] = es_flush(es_product(x[i], c[i]));
  es_i8_sum(N, at, 0, 0, x);
  es_exact_sigmoid(N, x);
  es_i8_sum(N, at, 3, 3 * pitch, y);
  es_exact_tanh(N, y);
  ES_EACH c[i] = es_add(es_product(x[i], y[i]), c[i]);
  es_i8_keep(N, at, s->c, c);
  es_i8_sum(N, at, 1, pitch, x);
  es_exact_sigmoid(N, x);
  es_exact_tanh(N, c);
  ES_EACH x[i] = es_product(x[i], c[i]);
  es_i8_put(N, a, s, at, x);
}

/* h = (1 - z) n + z h; n is what enters tanh. */
ES_FN void es_i8_blend(const int N, const es_rec_i8 *a, const es_step_i8 *s, const es_units_i8 *at,
                       const es_v *z, es_v *n) {
  const es_v one = es_set(1.0f);
  es_exact_tanh(N, n);
  ES_EACH n[i] = es_i8_mix(es_sub(one, z[i]), n[i], z[i], es_load(s->h + at[i].at));
  es_i8_put(N, a, s, at, n);
}

ES_FN void es_i8_gru(const int what, const int N, const es_rec_i8 *a, const es_step_i8 *s,
                     const es_units_i8 *at) {
  const int P = ES_PANEL, pitch = a->width;
  es_v z[ES_I8_VECTORS], r[ES_I8_VECTORS], n[ES_I8_VECTORS];
  if (what == ES_I8_CANDIDATE) {
    ES_EACH z[i] = es_load(s->z + at[i].at);
    es_i8_sum(N, at, 0, 2 * pitch, n);
    es_i8_blend(N, a, s, at, z, n);
    return;
  }
  es_i8_sum(N, at, 1, pitch, r);
  es_exact_sigmoid(N, r);
  es_i8_sum(N, at, 0, 0, z);
  es_exact_sigmoid(N, z);
  if (what == ES_I8_GATES) {
    ES_EACH r[i] = es_product(r[i], es_load(s->h + at[i].at));
    es_i8_keep(N, at, s->rh, r);
    es_i8_keep(N, at, s->z, z);
  } else {
    ES_EACH n[i] = es_add(es_load(at[i].q + 2 * P), es_load(at[i].b + 3 * pitch));
    ES_EACH n[i] = es_add(es_add(es_load(at[i].p + 2 * P), es_load(at[i].b + 2 * pitch)),
                          es_product(r[i], n[i]));
    es_i8_blend(N, a, s, at, z, n);
  }
}

ES_FN void es_i8_cell(const int what, const int N, const es_rec_i8 *a, const es_step_i8 *s,
                      const es_units_i8 *at) {
  es_v x[ES_I8_VECTORS];
  if (ES_HAS(ES_RNN) && a->kind == ES_RNN) {
    es_i8_sum(N, at, 0, 0, x);
    es_exact_acts(a->act, N, x);
    es_i8_put(N, a, s, at, x);
  }
  if (ES_HAS(ES_LSTM) && a->kind == ES_LSTM)
    es_i8_lstm(N, a, s, at);
  if (ES_HAS(ES_GRU) && a->kind == ES_GRU)
    es_i8_gru(what, N, a, s, at);
}

/* Gates of a walk, and the first of them. */
ES_FN int es_i8_first_gate(const int what) { return what == ES_I8_CANDIDATE ? 2 : 0; }
ES_FN int es_i8_walked(const int what, const es_rec_i8 *a) {
  return what == ES_I8_ALL ? es_i8_gates(a) : what == ES_I8_GATES ? 2 : 1;
}

/* The products of M rows from `first` on with the panel whose parts are x and h. */
ES_FN void es_i8_products(const int what, const es_rec_i8 *a, const es_chain_i8 *q,
                          const es_step_i8 *s, int first, int M, const es_part *x, const es_part *h,
                          float *px, float *ph) {
  const int G = es_i8_walked(what, a), from = es_i8_first_gate(what);
  const int I = es_i8_bytes(a->I), H = es_i8_bytes(a->H);
  if (!s->xp) {
    const es_rows_i8 m = {
        q->qx + (size_t)first * I, I, q->x_scales + first, px, G * ES_PANEL,
    };
    es_part_product(G, M, x, from, m);
  }
  const es_rows_i8 m = {
      q->qh + (size_t)first * H, H, q->h_scales + first, ph, G * ES_PANEL,
  };
  es_part_product(G, M, h, from, m);
}

/* Products of a walk: of a few rows of a panel, or of as many panels of one row. */
typedef struct {
  int row, unit, rows; /* the first; rows: 1, or those of one panel */
  ES_ALIGNED float p[ES_TILE_ROWS * 4 * ES_PANEL], q[ES_TILE_ROWS * 4 * ES_PANEL];
  const float *biases[ES_TILE_ROWS];
} es_tile_i8;

/* Vector `lane` of the units of the i-th row or panel. */
ES_FN es_units_i8 es_i8_units_at(const int what, const es_rec_i8 *a, const es_step_i8 *s,
                                 const es_tile_i8 *t, int i, int lane) {
  const int size = es_i8_walked(what, a) * ES_PANEL, from = es_i8_first_gate(what);
  const int row = t->rows > 1 ? t->row + i : t->row;
  const int first = t->rows > 1 ? t->unit : t->unit + i * a->width, unit = first + lane;
  const float *p = t->p + i * size;
  if (s->xp)
    p = s->xp + (size_t)row * es_i8_projected(a) +
        (size_t)(first / a->width * es_i8_gates(a) + from) * ES_PANEL;
  const es_units_i8 u = {
      row,
      unit,
      a->width - lane,
      (size_t)row * es_i8_row(a) + unit,
      p + lane,
      t->q + i * size + lane,
      t->biases[t->rows > 1 ? 0 : i] + lane,
  };
  return u;
}

ES_FN int es_vecs(int units) { return (units + ES_W - 1) / ES_W; }

/*
 * All units of n rows or panels, some vectors at a time. Where fewer are left, the last one is computed
 * again instead: nothing is stored before all is read.
 */
ES_FN void es_i8_units(const int what, const es_rec_i8 *a, const es_step_i8 *s, const es_tile_i8 *t,
                       int n) {
  const int N = ES_I8_GROUP, whole = es_vecs(a->width), left = es_i8_end_unit(a) - t->unit;
  const int vecs = t->rows > 1 ? es_vecs(es_least(a->width, left)) : whole;
  const int all = t->rows > 1
                      ? n * vecs
                      : (n - 1) * whole + es_vecs(es_least(a->width, left - (n - 1) * a->width));
  ES_LOOP for (int v = 0; v < all; v += N) {
    es_units_i8 at[ES_I8_VECTORS];
    ES_EACH {
      const int place = es_least(v + i, all - 1);
      at[i] = es_i8_units_at(what, a, s, t, place / vecs, place % vecs * ES_W);
    }
    es_i8_cell(what, N, a, s, at);
  }
}

/*
 * All panels times M rows. Some products, then their units: ES_TILE_ROWS rows of a panel, or as many
 * panels of a single row.
 */
ES_FN void es_i8_walk(const int what, const es_rec_i8 *a, const es_chain_i8 *q, const es_step_i8 *s,
                      int M) {
  const int size = es_i8_walked(what, a) * ES_PANEL, width = a->width;
  const int panels = M == 1 ? ES_TILE_ROWS : 1;
  const int first = es_i8_first_unit(a), end = es_i8_end_unit(a);
  es_tile_i8 t;
  es_part x = es_i8_at_unit(a, &q->part, first);
  ES_LOOP for (int u = first; u < end; u += panels * width) {
    t.row = 0;
    t.unit = u;
    if (panels > 1) {
      const int n = es_least(panels, (end - u + width - 1) / width);
      t.rows = 1;
      ES_LOOP for (int i = 0; i < n; i++) {
        const es_part h = es_i8_recurrent(a, &x);
        es_i8_products(what, a, q, s, 0, 1, &x, &h, t.p + i * size, t.q + i * size);
        t.biases[i] = es_i8_biases_at(a, &h);
        x = es_i8_next(a, &h, u + (i + 1) * width);
      }
      es_i8_units(what, a, s, &t, n);
    } else {
      const es_part h = es_i8_recurrent(a, &x);
      t.biases[0] = es_i8_biases_at(a, &h);
      ES_LOOP for (; t.row < M; t.row += ES_TILE_ROWS) {
        t.rows = ES_TILE_ROWS;
        es_i8_products(what, a, q, s, t.row, es_least(M - t.row, ES_TILE_ROWS), &x, &h, t.p, t.q);
        es_i8_units(what, a, s, &t, es_least(M - t.row, ES_TILE_ROWS));
      }
      x = es_i8_next(a, &h, u + width);
    }
  }
}

/* What a walk multiplies: inputs and states, or, for candidates, r h. */
ES_FN void es_i8_quantize(const int what, const es_rec_i8 *a, const es_chain_i8 *q,
                          const es_step_i8 *s, int M) {
  if (what != ES_I8_CANDIDATE && !s->xp)
    es_quantize_rows(M, a->I, s->x, a->x_b, q->x_scale, a->x_zero, q->qx, es_i8_bytes(a->I),
                     q->x_scales);
  es_quantize_rows(M, a->H, what == ES_I8_CANDIDATE ? s->rh : s->h, es_i8_row(a), q->h_scale, 127,
                   q->qh, es_i8_bytes(a->H), q->h_scales);
}

/* A walk, or what comes before it, or both. */
ES_FN void es_i8_do(const int what, const int quantize, const int walk, const es_rec_i8 *a,
                    const es_chain_i8 *q, const es_step_i8 *s, int M) {
  if (quantize)
    es_i8_quantize(what, a, q, s, M);
  if (walk)
    es_i8_walk(what, a, q, s, M);
}

/* One step of M batch rows. */
ES_FN void es_i8_step_rows(const es_rec_i8 *a, const es_chain_i8 *q, const es_step_i8 *s, int M) {
  const int all = !(ES_SHARES && a->share), pass = all ? 0 : a->share->pass;
  const int quantize = all || a->share->what == ES_PREPARE_STEP;
  const int walk = all || a->share->what == ES_STEP;
  if (!(ES_RESETS && a->reset_first)) {
    es_i8_do(ES_I8_ALL, quantize, walk, a, q, s, M);
  } else {
    if (all || pass == 0)
      es_i8_do(ES_I8_GATES, quantize, walk, a, q, s, M);
    if (all || pass == 1)
      es_i8_do(ES_I8_CANDIDATE, quantize, walk, a, q, s, M);
  }
}

/* Floats of a chain's head, and bytes of its weights when all blocks are there. */
ES_FN size_t es_i8_head(const es_rec_i8 *a) {
  return ES_I8_HEADER + (size_t)es_i8_panels(a) * a->width * (4 * es_i8_gates(a) + es_i8_biases(a));
}
ES_FN size_t es_i8_weights(const es_rec_i8 *a) {
  const size_t quads = es_i8_quads(a->I) + es_i8_quads(a->H);
  return quads * es_i8_gates(a) * es_round_up(a->H, 4) * 4;
}

ES_FN es_part es_i8_first(const es_rec_i8 *a, int i) {
  es_part p = {
      es_i8_width(a, 0),
      es_i8_gates(a),
      es_i8_quads(a->I),
      a->x_zero,
      a->pairs,
      a->head + i * es_i8_head(a) + ES_I8_HEADER,
      a->width,
      a->w + i * es_i8_weights(a),
      0,
      0,
      0,
  };
  if (a->sparse) { /* a chain's counts: the number of the first block in two words, then the counts */
    const uint16_t *counts = a->counts + (size_t)i * (2 + es_i8_panels(a) * 2 * es_i8_gates(a));
    const size_t start = counts[0] | (size_t)counts[1] << 16;
    p.w = a->w + start * a->width * 4;
    p.count = counts + 2;
    p.index = a->index + start;
  }
  return p;
}

/* The i-th of the equal parts that follow each other in scratch memory. */
ES_FN es_chain_i8 es_i8_chain_at(const es_rec_i8 *a, int i, int steps, float *scratch) {
  const int g = i / a->directions, d = i % a->directions, chains = a->groups * a->directions;
  const size_t state = (size_t)a->B * es_i8_row(a), lstm = a->kind == ES_LSTM;
  const size_t rows = (size_t)es_least(steps, ES_I8_STEPS) * a->B;
  const size_t projected = steps > 1 ? rows * es_i8_projected(a) : 0;
  const float *head = a->head + i * es_i8_head(a);
  float *shared = scratch + chains * (2 + lstm) * state; /* z and r h, which live within a step */
  float *xp = shared + (ES_RESETS && a->reset_first ? 2 * state : 0);
  float *scales = xp + chains * projected;
  uint8_t *bytes = (uint8_t *)(scales + rows + a->B);
  const es_chain_i8 chain = {
      (a->reverse >> d) & 1,
      head[0],
      head[1],
      es_i8_first(a, i),
      a->x + (ptrdiff_t)g * a->x_g,
      a->y ? a->y + (ptrdiff_t)g * a->y_g + (ptrdiff_t)d * a->y_d : 0,
      scratch + i * 2 * state,
      scratch + (2 * chains + (lstm ? i : 0)) * state,
      shared,
      shared + state,
      xp + i * projected,
      scales,
      scales + rows,
      bytes,
      bytes + rows * es_i8_bytes(a->I),
  };
  return chain;
}

/* Step s of a chain; xp: the projected inputs of this step, or 0. */
ES_FN void es_i8_step(const es_rec_i8 *a, const es_chain_i8 *q, int s, int t, const float *xp) {
  const size_t state = (size_t)a->B * es_i8_row(a);
  const es_step_i8 rows = {
      q->x + (ptrdiff_t)t * a->x_t,
      xp,
      q->h + (s & 1) * state,
      q->h + (~s & 1) * state,
      q->c,
      q->z,
      q->rh,
      q->y ? q->y + (ptrdiff_t)t * a->y_t : 0,
  };
  es_i8_step_rows(a, q, &rows, a->B);
}

/* Step s where each row has its own length: a row that has ended keeps its state and puts out 0. */
ES_FN void es_i8_ragged_step(const es_rec_i8 *a, const es_chain_i8 *q, int s) {
  const size_t state = (size_t)a->B * es_i8_row(a);
  ES_LOOP for (int b = 0; b < a->B; b++) {
    const size_t row = (size_t)b * es_i8_row(a);
    const int ended = s >= a->lens[b], t = q->backwards && !ended ? a->lens[b] - 1 - s : s;
    const es_step_i8 rows = {
        q->x + (ptrdiff_t)t * a->x_t + (ptrdiff_t)b * a->x_b,
        0,
        q->h + (s & 1) * state + row,
        q->h + (~s & 1) * state + row,
        q->c + row,
        q->z + row,
        q->rh + row,
        q->y ? q->y + (ptrdiff_t)t * a->y_t + (ptrdiff_t)b * a->y_b : 0,
    };
    if (!ended) {
      es_i8_step_rows(a, q, &rows, 1);
    } else {
      es_copy(a->H, rows.h, rows.h_next);
      if (rows.y)
        es_zero(a->H, rows.y);
    }
  }
}

/* The inputs of n steps from time t on, quantized. */
ES_FN void es_i8_quantize_steps(const es_rec_i8 *a, const es_chain_i8 *q, int t, int n) {
  const int bytes = es_i8_bytes(a->I);
  ES_LOOP for (int i = 0; i < n; i++) {
    es_quantize_rows(a->B, a->I, q->x + (ptrdiff_t)(t + i) * a->x_t, a->x_b, q->x_scale, a->x_zero,
                     q->qx + (size_t)i * a->B * bytes, bytes, q->x_scales + (size_t)i * a->B);
  }
}

/* The input projection of those steps: all rows of a panel at once. */
ES_FN void es_i8_project_steps(const es_rec_i8 *a, const es_chain_i8 *q, int n) {
  const int bytes = es_i8_bytes(a->I), G = es_i8_gates(a), row = es_i8_projected(a);
  const int first = es_i8_first_unit(a), end = es_i8_end_unit(a);
  es_part x = es_i8_at_unit(a, &q->part, first);
  ES_LOOP for (int u = first; u < end; u += a->width) {
    const es_part h = es_i8_recurrent(a, &x);
    const es_rows_i8 m = {
        q->qx, bytes, q->x_scales, q->xp + (size_t)(u / a->width) * G * ES_PANEL, row,
    };
    es_part_product(G, n * a->B, &x, 0, m);
    x = es_i8_next(a, &h, u + a->width);
  }
}

/* Rows of H floats into rows of scratch memory (from = 0: zeros), and back. */
ES_FN void es_i8_load_state(const es_rec_i8 *a, const float *from, float *to) {
  es_zero(a->B * es_i8_row(a), to);
  if (from)
    ES_LOOP for (int b = 0; b < a->B; b++) {
      es_copy(a->H, from + (size_t)b * a->H, to + (size_t)b * es_i8_row(a));
    }
}
ES_FN void es_i8_save_state(const es_rec_i8 *a, const float *from, float *to) {
  if (to)
    ES_LOOP for (int b = 0; b < a->B; b++) {
      es_copy(a->H, from + (size_t)b * es_i8_row(a), to + (size_t)b * a->H);
    }
}

/* The states of all chains: into scratch memory, and out of it. */
ES_FN void es_i8_begin(const es_rec_i8 *a, const float *h0, const float *c0, float *scratch) {
  const int chains = a->groups * a->directions;
  const size_t rows = (size_t)a->B * a->H, state = (size_t)a->B * es_i8_row(a);
  ES_LOOP for (int i = 0; i < chains; i++) {
    const es_chain_i8 q = es_i8_chain_at(a, i, a->T, scratch);
    es_i8_load_state(a, h0 ? h0 + i * rows : 0, q.h);
    es_zero((int)state, q.h + state);
    if (a->kind == ES_LSTM)
      es_i8_load_state(a, c0 ? c0 + i * rows : 0, q.c);
  }
}
ES_FN void es_i8_end(const es_rec_i8 *a, float *hn, float *cn, float *scratch) {
  const int chains = a->groups * a->directions;
  const size_t rows = (size_t)a->B * a->H, state = (size_t)a->B * es_i8_row(a);
  ES_LOOP for (int i = 0; i < chains; i++) {
    const es_chain_i8 q = es_i8_chain_at(a, i, a->T, scratch);
    es_i8_save_state(a, q.h + (a->T & 1) * state, hn ? hn + i * rows : 0);
    if (a->kind == ES_LSTM)
      es_i8_save_state(a, q.c, cn ? cn + i * rows : 0);
  }
}

/* Step s of T, of those from s0 on that were projected together, n of them. */
ES_FN void es_i8_advance(const es_rec_i8 *a, const es_chain_i8 *q, int s0, int s, int n) {
  const int at = q->backwards ? n - 1 - (s - s0) : s - s0, t = q->backwards ? a->T - 1 - s : s;
  es_i8_step(a, q, s, t, a->T != 1 ? q->xp + (size_t)at * a->B * es_i8_projected(a) : 0);
}

/* One share of the work; lens = 0. */
ES_FN void es_recurrent_i8_share(const es_rec_i8 *a, const float *h0, const float *c0, float *hn,
                                 float *cn, float *scratch) {
  const es_share *s = a->share;
  const int n = es_least(a->T - s->first, ES_I8_STEPS);
  const es_chain_i8 q = es_i8_chain_at(a, s->chain, a->T, scratch);
  if (s->what == ES_BEGIN)
    es_i8_begin(a, h0, c0, scratch);
  if (s->what == ES_PREPARE_RUN && a->T != 1)
    es_i8_quantize_steps(a, &q, q.backwards ? a->T - s->first - n : s->first, n);
  if (s->what == ES_PROJECT && a->T != 1)
    es_i8_project_steps(a, &q, n);
  if (s->what == ES_PREPARE_STEP || s->what == ES_STEP)
    es_i8_advance(a, &q, s->first, s->step, n);
  if (s->what == ES_END)
    es_i8_end(a, hn, cn, scratch);
}

/* h0, c0, hn, cn: [groups][directions][B][H] or 0; hn may be h0 and cn may be c0. */
ES_FN void es_recurrent_i8(const es_rec_i8 *a, const float *h0, const float *c0, float *hn,
                           float *cn, float *scratch) {
  const int chains = a->groups * a->directions;
  if (ES_SHARES && a->share) {
    es_recurrent_i8_share(a, h0, c0, hn, cn, scratch);
    return;
  }
  es_i8_begin(a, h0, c0, scratch);
  if (ES_LENGTHS && a->lens) {
    ES_LOOP for (int s = 0; s < a->T; s++) {
      ES_LOOP for (int i = 0; i < chains; i++) {
        const es_chain_i8 q = es_i8_chain_at(a, i, a->T, scratch);
        es_i8_ragged_step(a, &q, s);
      }
    }
  } else {
    ES_LOOP for (int s0 = 0; s0 < a->T; s0 += ES_I8_STEPS) {
      const int n = es_least(a->T - s0, ES_I8_STEPS);
      if (a->T != 1)
        ES_LOOP for (int i = 0; i < chains; i++) {
          const es_chain_i8 q = es_i8_chain_at(a, i, a->T, scratch);
          es_i8_quantize_steps(a, &q, q.backwards ? a->T - s0 - n : s0, n);
          es_i8_project_steps(a, &q, n);
        }
      ES_LOOP for (int s = s0; s < s0 + n; s++) {
        ES_LOOP for (int i = 0; i < chains; i++) {
          const es_chain_i8 q = es_i8_chain_at(a, i, a->T, scratch);
          es_i8_advance(a, &q, s0, s, n);
        }
      }
    }
  }
  es_i8_end(a, hn, cn, scratch);
}

/* The parameters of every recurrent int8 kernel, and how they are passed on. */
#define ES_I8_SIZES int T, int B, int I, int H, int groups, int directions, int reverse
#define ES_I8_STRIDES                                                                              \
  int x_zero, int pairs, int x_t, int x_b, int x_g, int y_t, int y_b, int y_g, int y_d
#define ES_I8_WEIGHTS const float *x, const int8_t *restrict w, const float *restrict head
#define ES_I8_BLOCKS const uint16_t *restrict counts, const uint16_t *restrict index
#define ES_I8_COMMON                                                                               \
  .T = T, .B = B, .I = I, .H = H, .groups = groups, .directions = directions, .reverse = reverse,  \
  .x_zero = x_zero, .pairs = pairs, .x_t = x_t, .x_b = x_b, .x_g = x_g, .y_t = y_t, .y_b = y_b,    \
  .y_g = y_g, .y_d = y_d, .lens = lens, .x = x, .w = w, .head = head, .y = y, .share = share

#endif
