/*
 * The cells of RNN, GRU and LSTM: one step of a few batch rows and of the units of one panel.
 *
 * A panel is up to 16 units: head rows (biases, peepholes; always float32), then the input weights,
 * then the recurrent weights. Dense: the gates of a unit side by side, the last panel narrower.
 * Blocks: one list per gate and part (blocks.h), every panel as wide as a block.
 */
#ifndef ES_CELLS_H
#define ES_CELLS_H

#include "blocks.h"
#include "es.h"
#include "es_math.h"
#include "share.h"
#include "tile.h"

#define ES_UNITS 16 /* units in a dense panel */

typedef struct {
  int kind, T, B, I, H, groups, directions;
  int reverse;            /* bit d: direction d runs backwards */
  int reset_first;        /* GRU: linear_before_reset = 0 */
  int peepholes, couple;  /* LSTM */
  int acts, clip;         /* acts: 0, or one byte per activation */
  int x_t, x_b, x_g;      /* distances in floats: of steps, batch rows, groups */
  int y_t, y_b, y_g, y_d; /* and of directions */
  int format;             /* of the weights */
  int width, blocks;      /* outputs of a block (0: dense weights), blocks of a chain */
  const int32_t *lens;    /* steps of each batch row, or 0 */
  const float *params;    /* alpha and beta of each activation, then clip */
  const float *x, *w;
  const uint16_t *counts, *index; /* of blocks */
  float *y;                       /* or 0 */
  const es_share *share;          /* of the work; 0: all of it */
} es_rec;

/* One batch row tile of one chain at one step. */
typedef struct {
  const float *x;  /* [R], rows x_b apart */
  const float *xp; /* [R], rows G * Hp apart; 0: multiply x here */
  const float *h;  /* [R], rows Hs apart, as are the following */
  float *h_next, *c, *z, *rh;
  float *y; /* [R], rows y_b apart, or 0 */
} es_rows;

/* A tile's place: units u + j on, of a panel of P units that starts at u. */
typedef struct {
  int P, u, j;
  const float *head;
  es_stream lists; /* what follows the head; dense: only w is used */
} es_panel;

/* 0 where the program has none: folded when inlined. What chooses a large function says so itself. */
ES_FN int es_resets(const es_rec *a) { return ES_RESETS && a->reset_first; }
ES_FN int es_width(const es_rec *a) { return ES_BLOCKS ? a->width : 0; }
ES_FN int es_gates(const es_rec *a) { return a->kind == ES_GRU ? 3 : a->kind == ES_LSTM ? 4 : 1; }
ES_FN int es_head(const es_rec *a) {
  return a->kind == ES_RNN ? 1 : a->kind == ES_LSTM && a->peepholes ? 7 : 4;
}
ES_FN int es_padded(const es_rec *a) { return es_round_up(a->H, es_width(a) ? es_width(a) : 4); }
ES_FN int es_row(const es_rec *a) { return es_round_up(a->H, ES_UNITS); }

/* The units to compute: all, or those of a share, which begins with a panel. */
ES_FN int es_first_unit(const es_rec *a) { return ES_SHARES && a->share ? a->share->from : 0; }
ES_FN int es_end_unit(const es_rec *a) {
  return ES_SHARES && a->share ? es_least(a->share->to, a->H) : a->H;
}

/* Where the panel stands that begins with `unit`, in the weights that begin at `at`. */
ES_FN es_stream es_at_unit(const es_rec *a, es_stream at, int unit) {
  const int F = a->format, G = es_gates(a);
  if (es_width(a))
    return es_skip_panels(F, es_width(a), es_head(a), 2 * G, unit / es_width(a), at);
  at.w += (size_t)unit * (es_head(a) + (size_t)(es_word_rows(F, a->I) + es_word_rows(F, a->H)) * G);
  return at;
}

/* Other activations than the usual ones: rare, and too long to stand at every gate. */
ES_FN_RARE es_v es_act_rare(int act, es_v v, float a, float b) { return es_act(act, v, a, b); }

/* The i-th activation of the cell, on a clipped input. */
ES_FN es_v es_gate(const es_rec *a, const int i, const int usual, es_v v) {
  if (a->clip)
    v = es_max(es_min(v, es_set(a->params[6])), es_set(-a->params[6]));
  if (!a->acts)
    return es_act(usual, v, 0.0f, 0.0f);
  return es_act_rare((a->acts >> (8 * i)) & 255, v, a->params[2 * i], a->params[2 * i + 1]);
}

/* Store to a state: a vector wider than a block would overwrite other units. */
ES_FN void es_keep(const es_rec *a, float *p, es_v v) {
  if (es_width(a) && es_width(a) < ES_W)
    es_store_n(p, v, es_width(a));
  else
    es_store(p, v);
}

ES_FN void es_put(const es_rec *a, const es_rows *s, int r, int unit, es_v h) {
  const int left = a->H - unit;
  es_keep(a, s->h_next + r * es_row(a) + unit, h);
  if (s->y)
    es_store_upto(s->y + (ptrdiff_t)r * a->y_b + unit, h,
                  es_width(a) ? es_least(es_width(a), left) : left);
}

/* acc[r][gate..] += a part's product (0: input, 1: state), for G of its gates, the first `from`. */
ES_FN void es_multiply(const es_rec *a, const es_panel *p, const int part, const int R, const int G,
                       const int V, const int from, const float *x, ptrdiff_t ldx, es_v *acc,
                       const int lda) {
  const int F = a->format, all = es_gates(a), lists = es_width(a) ? G : 1;
  const size_t before = (size_t)(part ? es_word_rows(F, a->I) : 0) * all + from;
  es_stream list = p->lists;
  if (es_width(a))
    list = es_skip_lists(F, es_width(a), part * all + from, list);
  else
    list.w += before * p->P;
  ES_UNROLL for (int g = 0; g < lists; g++) {
    const int K = es_width(a) ? *list.counts : part ? a->H : a->I;
    const es_operands o = {x,          ldx,    part ? es_row(a) : a->I,
                           list.index, list.w, es_width(a) ? p->P : all * p->P,
                           p->P,       p->j};
    es_dots(F, es_width(a), R, G / lists, V, K, &o, acc + g * V, lda);
    if (es_width(a))
      list = es_skip_lists(F, es_width(a), 1, list);
  }
}

/*
 * acc[r][first gate..]: the head's rows plus the input's product, or the projected input. G gates of
 * `all`, from gate `from`.
 */
ES_FN void es_start(const es_rec *a, const es_rows *s, const es_panel *p, const int R, const int G,
                    const int V, const int from, es_v *acc, const int lda) {
  const int all = es_gates(a);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int g = 0; g < G; g++) {
      ES_UNROLL for (int v = 0; v < V; v++) {
        const int at = (from + g) * p->P + p->j + v * ES_W;
        acc[r * lda + g * V + v] =
            es_load(s->xp ? s->xp + (size_t)r * all * es_padded(a) + (size_t)p->u * all + at
                          : p->head + at);
      }
    }
  }
  if (!s->xp)
    es_multiply(a, p, 0, R, G, V, from, s->x, a->x_b, acc, lda);
}

ES_FN void es_rnn_cell(const es_rec *a, const es_rows *s, const es_panel *p, const int R,
                       const int V) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, p, R, 1, V, 0, acc, V);
  es_multiply(a, p, 1, R, 1, V, 0, s->h, es_row(a), acc, V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      es_put(a, s, r, p->u + p->j + v * ES_W, es_gate(a, 0, ES_TANH, acc[r * V + v]));
    }
  }
}

/* (1 - z) n + z h, with the state's part off the path that waits for n. */
ES_FN es_v es_mix(es_v z, es_v n, es_v h) {
  return es_fma(es_sub(es_set(1.0f), z), n, es_flush(es_mul(z, h)));
}

/*
 * Head: bias of n (input part), z, r, n (recurrent part). Input weights: n, z, r. Recurrent weights:
 * z, r, n. So both products run over neighbouring accumulators: 0..2 and 1..3.
 */
ES_FN void es_gru_cell(const es_rec *a, const es_rows *s, const es_panel *p, const int R,
                       const int V) {
  const int lda = 4 * V;
  es_v acc[ES_MAX_ROWS * 4 * 4];
  es_start(a, s, p, R, 3, V, 0, acc, lda);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      acc[r * lda + 3 * V + v] = es_load(p->head + 3 * p->P + p->j + v * ES_W);
    }
  }
  es_multiply(a, p, 1, R, 3, V, 0, s->h, es_row(a), acc + V, lda);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const es_v *at = acc + r * lda + v;
      const int unit = p->u + p->j + v * ES_W;
      es_v reset = es_gate(a, 0, ES_SIGMOID, at[2 * V]);
      es_v z = es_gate(a, 0, ES_SIGMOID, at[V]);
      es_v n = es_gate(a, 1, ES_TANH, es_fma(reset, at[3 * V], at[0]));
      es_put(a, s, r, unit, es_mix(z, n, es_load(s->h + r * es_row(a) + unit)));
    }
  }
}

/* linear_before_reset = 0: n needs r h of all units, so the panels are walked twice. */
ES_FN void es_gru_gates(const es_rec *a, const es_rows *s, const es_panel *p, const int R,
                        const int V) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, p, R, 2, V, 1, acc, 2 * V);
  es_multiply(a, p, 1, R, 2, V, 0, s->h, es_row(a), acc, 2 * V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const size_t at = (size_t)r * es_row(a) + p->u + p->j + v * ES_W;
      es_v reset = es_gate(a, 0, ES_SIGMOID, acc[(r * 2 + 1) * V + v]);
      es_keep(a, s->z + at, es_gate(a, 0, ES_SIGMOID, acc[r * 2 * V + v]));
      es_keep(a, s->rh + at, es_mul(reset, es_load(s->h + at)));
    }
  }
}

ES_FN void es_gru_candidate(const es_rec *a, const es_rows *s, const es_panel *p, const int R,
                            const int V) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, p, R, 1, V, 0, acc, V);
  es_multiply(a, p, 1, R, 1, V, 2, s->rh, es_row(a), acc, V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const int unit = p->u + p->j + v * ES_W;
      const size_t at = (size_t)r * es_row(a) + unit;
      es_v n = es_gate(a, 1, ES_TANH, acc[r * V + v]);
      es_put(a, s, r, unit, es_mix(es_load(s->z + at), n, es_load(s->h + at)));
    }
  }
}

/* Gates i, o, f, c as in ONNX; peepholes of i, o, f in the head, after the biases. */
ES_FN void es_lstm_cell(const es_rec *a, const es_rows *s, const es_panel *p, const int R,
                        const int V) {
  const int lda = 4 * V;
  const float *peep = p->head + 4 * p->P + p->j;
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, p, R, 4, V, 0, acc, lda);
  es_multiply(a, p, 1, R, 4, V, 0, s->h, es_row(a), acc, lda);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const int unit = p->u + p->j + v * ES_W;
      float *cell = s->c + (size_t)r * es_row(a) + unit;
      es_v i = acc[r * lda + v], o = acc[r * lda + V + v];
      es_v f = acc[r * lda + 2 * V + v], c = es_load(cell);
      if (a->peepholes) {
        i = es_fma(es_load(peep + v * ES_W), c, i);
        f = es_fma(es_load(peep + 2 * p->P + v * ES_W), c, f);
      }
      i = es_gate(a, 0, ES_SIGMOID, i);
      f = a->couple ? es_sub(es_set(1.0f), i) : es_gate(a, 0, ES_SIGMOID, f);
      c = es_fma(i, es_gate(a, 1, ES_TANH, acc[r * lda + 3 * V + v]), es_flush(es_mul(f, c)));
      es_keep(a, cell, c);
      if (a->peepholes)
        o = es_fma(es_load(peep + p->P + v * ES_W), c, o);
      o = es_gate(a, 0, ES_SIGMOID, o);
      es_put(a, s, r, unit, es_mul(o, es_gate(a, 2, ES_TANH, c)));
    }
  }
}

/* Which cell; a GRU that resets first walks the panels twice: pass 0 gates, pass 1 candidates. */
ES_FN void es_cell(const es_rec *a, int pass, const es_rows *s, int first, const int R, const int V,
                   const es_panel *p) {
  const size_t state = (size_t)first * es_row(a);
  const es_rows tile = {
      s->x + (ptrdiff_t)first * a->x_b,
      s->xp ? s->xp + (size_t)first * es_gates(a) * es_padded(a) : 0,
      s->h + state,
      s->h_next + state,
      s->c + state,
      s->z + state,
      s->rh + state,
      s->y ? s->y + (ptrdiff_t)first * a->y_b : 0,
  };
  if (ES_HAS(ES_RNN) && a->kind == ES_RNN)
    es_rnn_cell(a, &tile, p, R, V);
  else if (ES_HAS(ES_LSTM) && a->kind == ES_LSTM)
    es_lstm_cell(a, &tile, p, R, V);
  else if (ES_HAS(ES_GRU) && !(ES_RESETS && a->reset_first))
    es_gru_cell(a, &tile, p, R, V);
  else if (ES_RESETS && ES_HAS(ES_GRU) && pass == 0)
    es_gru_gates(a, &tile, p, R, V);
  else if (ES_RESETS && ES_HAS(ES_GRU))
    es_gru_candidate(a, &tile, p, R, V);
}

ES_FN void es_cell_rows(const es_rec *a, int pass, const es_rows *s, const int M, const int V,
                        const es_panel *p) {
  const int rows = es_tile_rows(es_width(a) ? V : es_gates(a) * V), rest = M % rows;
  int m = 0;
  ES_LOOP for (; m + rows <= M; m += rows) { es_cell(a, pass, s, m, rows, V, p); }
  if (rest) /* a literal, as M is */
    es_cell(a, pass, s, m, rest, V, p);
}

/* Vectors of a gate in a tile: what fits the registers and ends where the last panel ends. */
ES_FN int es_cell_vecs(const es_rec *a) {
  const int most =
      es_tile_vecs(es_width(a) ? 1 : es_gates(a), es_width(a) ? es_width(a) : ES_UNITS);
  const int last = es_width(a) ? 0 : es_padded(a) % ES_UNITS;
  return last == 0 ? most : last == 8 && ES_W <= 4 ? es_least(most, 8 / ES_W) : 1;
}

/* One step of M batch rows of a chain: panel by panel, all rows of a panel. */
ES_FN void es_cells(const es_rec *a, int pass, const es_rows *s, const int M, es_stream at) {
  const int F = a->format, G = es_gates(a), padded = es_padded(a), V = es_cell_vecs(a);
  const int wide = es_width(a) ? es_width(a) : ES_UNITS, whole = padded % wide == 0;
  const size_t rows = (size_t)(es_word_rows(F, a->I) + es_word_rows(F, a->H)) * G;
  const int first = es_first_unit(a), end = es_end_unit(a);
  at = es_at_unit(a, at, first);
  ES_LOOP for (int u = first; u < end; u += wide) {
    es_panel p = {whole ? wide : es_least(wide, padded - u), u, 0, at.w, at};
    p.lists.w += es_head(a) * p.P;
    ES_LOOP for (; p.j < p.P; p.j += V * ES_W) { es_cell_rows(a, pass, s, M, V, &p); }
    at = p.lists;
    if (es_width(a))
      at = es_skip_lists(F, wide, 2 * G, at);
    else
      at.w += rows * p.P;
  }
}

#endif
