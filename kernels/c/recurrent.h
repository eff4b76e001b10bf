/*
 * Everything RNN, GRU and LSTM share: chains, directions, strides, and the order of the work.
 *
 * A chain is one recurrence: one direction of one group. Chains are independent, so their steps
 * alternate in the time loop and hide each other's latency. With one step, or with ragged lengths,
 * inputs and state are multiplied in one pass over the weights; otherwise the input projection of up
 * to ES_STEPS steps is one matrix product and only the recurrence is sequential.
 *
 * Packed weights of a chain are panels of up to 16 units: head rows (biases, peepholes), then the
 * input weights, then the recurrent weights, the gates of a unit side by side.
 */
#ifndef ES_RECURRENT_H
#define ES_RECURRENT_H

#include "es.h"
#include "es_math.h"
#include "tile.h"

#define ES_STEPS                                                                                   \
  64 /* of which the input projection is done at once; known to kernels/_recurrent.py */
#define ES_UNITS 16 /* units in a panel */

enum { ES_RNN, ES_GRU, ES_LSTM };

typedef struct {
  int kind, T, B, I, H, groups, directions;
  int reverse;            /* bit d: direction d runs backwards */
  int reset_first;        /* GRU: linear_before_reset = 0 */
  int peepholes, couple;  /* LSTM */
  int acts, clip;         /* acts: 0, or one byte per activation */
  int x_t, x_b, x_g;      /* distances in floats: of steps, batch rows, groups */
  int y_t, y_b, y_g, y_d; /* and of directions */
  const int32_t *lens;    /* steps of each batch row, or 0 */
  const float *params;    /* alpha and beta of each activation, then clip */
  const float *x, *w;
  float *y; /* or 0 */
} es_rec;

/* One batch row tile of one chain at one step. */
typedef struct {
  const float *x;  /* [R], rows x_b apart */
  const float *xp; /* [R], rows G * Hp apart; 0: multiply x here */
  const float *h;  /* [R], rows Hs apart, as are the following */
  float *h_next, *c, *z, *rh;
  float *y; /* [R], rows y_b apart, or 0 */
} es_rows;

ES_FN int es_gates(const es_rec *a) { return a->kind == ES_GRU ? 3 : a->kind == ES_LSTM ? 4 : 1; }
ES_FN int es_head(const es_rec *a) {
  return a->kind == ES_RNN ? 1 : a->kind == ES_LSTM && a->peepholes ? 7 : 4;
}
ES_FN int es_padded(const es_rec *a) { return es_round_up(a->H, 4); }
ES_FN int es_row(const es_rec *a) { return es_round_up(a->H, ES_UNITS); }

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

ES_FN void es_put(const es_rec *a, const es_rows *s, int r, int unit, es_v h) {
  es_store(s->h_next + r * es_row(a) + unit, h);
  if (s->y)
    es_store_upto(s->y + (ptrdiff_t)r * a->y_b + unit, h, a->H - unit);
}

/*
 * acc[r][first gate..]: the head's rows or the projected input. G gates of `all`, from gate `from`.
 */
ES_FN void es_start(const es_rec *a, const es_rows *s, const int R, const int G, const int V,
                    const int from, int P, int u, int j, const float *panel, es_v *acc,
                    const int lda) {
  const int all = es_gates(a);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int g = 0; g < G; g++) {
      ES_UNROLL for (int v = 0; v < V; v++) {
        const int at = (from + g) * P + j + v * ES_W;
        acc[r * lda + g * V + v] = es_load(
            s->xp ? s->xp + (size_t)r * all * es_padded(a) + (size_t)u * all + at : panel + at);
      }
    }
  }
  if (!s->xp)
    es_dots(R, G, V, a->I, s->x, a->x_b, panel + es_head(a) * P + from * P + j, all * P, P, acc,
            lda);
}

/* The recurrent product of the panel: gate 0 of R is at this address. */
ES_FN const float *es_recurrent_weights(const es_rec *a, int P, int j, const float *panel) {
  return panel + (size_t)(es_head(a) + a->I * es_gates(a)) * P + j;
}

ES_FN void es_rnn_cell(const es_rec *a, const es_rows *s, const int R, const int V, int P, int u,
                       int j, const float *panel) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, R, 1, V, 0, P, u, j, panel, acc, V);
  es_dots(R, 1, V, a->H, s->h, es_row(a), es_recurrent_weights(a, P, j, panel), P, P, acc, V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      es_put(a, s, r, u + j + v * ES_W, es_gate(a, 0, ES_TANH, acc[r * V + v]));
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
ES_FN void es_gru_cell(const es_rec *a, const es_rows *s, const int R, const int V, int P, int u,
                       int j, const float *panel) {
  const int lda = 4 * V;
  es_v acc[ES_MAX_ROWS * 4 * 4];
  es_start(a, s, R, 3, V, 0, P, u, j, panel, acc, lda);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      acc[r * lda + 3 * V + v] = es_load(panel + 3 * P + j + v * ES_W);
    }
  }
  es_dots(R, 3, V, a->H, s->h, es_row(a), es_recurrent_weights(a, P, j, panel), 3 * P, P, acc + V,
          lda);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const es_v *at = acc + r * lda + v;
      const int unit = u + j + v * ES_W;
      es_v reset = es_gate(a, 0, ES_SIGMOID, at[2 * V]);
      es_v z = es_gate(a, 0, ES_SIGMOID, at[V]);
      es_v n = es_gate(a, 1, ES_TANH, es_fma(reset, at[3 * V], at[0]));
      es_put(a, s, r, unit, es_mix(z, n, es_load(s->h + r * es_row(a) + unit)));
    }
  }
}

/* linear_before_reset = 0: n needs r h of all units, so the panels are walked twice. */
ES_FN void es_gru_gates(const es_rec *a, const es_rows *s, const int R, const int V, int P, int u,
                        int j, const float *panel) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, R, 2, V, 1, P, u, j, panel, acc, 2 * V);
  es_dots(R, 2, V, a->H, s->h, es_row(a), es_recurrent_weights(a, P, j, panel), 3 * P, P, acc,
          2 * V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const size_t at = (size_t)r * es_row(a) + u + j + v * ES_W;
      es_v reset = es_gate(a, 0, ES_SIGMOID, acc[(r * 2 + 1) * V + v]);
      es_store(s->z + at, es_gate(a, 0, ES_SIGMOID, acc[r * 2 * V + v]));
      es_store(s->rh + at, es_mul(reset, es_load(s->h + at)));
    }
  }
}

ES_FN void es_gru_candidate(const es_rec *a, const es_rows *s, const int R, const int V, int P,
                            int u, int j, const float *panel) {
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, R, 1, V, 0, P, u, j, panel, acc, V);
  es_dots(R, 1, V, a->H, s->rh, es_row(a), es_recurrent_weights(a, P, j, panel) + 2 * P, 3 * P, P,
          acc, V);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const int unit = u + j + v * ES_W;
      const size_t at = (size_t)r * es_row(a) + unit;
      es_v n = es_gate(a, 1, ES_TANH, acc[r * V + v]);
      es_put(a, s, r, unit, es_mix(es_load(s->z + at), n, es_load(s->h + at)));
    }
  }
}

/* Gates i, o, f, c as in ONNX; peepholes of i, o, f in the head, after the biases. */
ES_FN void es_lstm_cell(const es_rec *a, const es_rows *s, const int R, const int V, int P, int u,
                        int j, const float *panel) {
  const int lda = 4 * V;
  const float *peep = panel + 4 * P + j;
  es_v acc[ES_MAX_ROWS * ES_ACCS];
  es_start(a, s, R, 4, V, 0, P, u, j, panel, acc, lda);
  es_dots(R, 4, V, a->H, s->h, es_row(a), es_recurrent_weights(a, P, j, panel), 4 * P, P, acc, lda);
  ES_UNROLL for (int r = 0; r < R; r++) {
    ES_UNROLL for (int v = 0; v < V; v++) {
      const int unit = u + j + v * ES_W;
      float *cell = s->c + (size_t)r * es_row(a) + unit;
      es_v i = acc[r * lda + v], o = acc[r * lda + V + v];
      es_v f = acc[r * lda + 2 * V + v], c = es_load(cell);
      if (a->peepholes) {
        i = es_fma(es_load(peep + v * ES_W), c, i);
        f = es_fma(es_load(peep + 2 * P + v * ES_W), c, f);
      }
      i = es_gate(a, 0, ES_SIGMOID, i);
      f = a->couple ? es_sub(es_set(1.0f), i) : es_gate(a, 0, ES_SIGMOID, f);
      c = es_fma(i, es_gate(a, 1, ES_TANH, acc[r * lda + 3 * V + v]), es_flush(es_mul(f, c)));
      es_store(cell, c);
      if (a->peepholes)
        o = es_fma(es_load(peep + P + v * ES_W), c, o);
      o = es_gate(a, 0, ES_SIGMOID, o);
      es_put(a, s, r, unit, es_mul(o, es_gate(a, 2, ES_TANH, c)));
    }
  }
}

/* What one walk over the panels computes. */
enum { ES_CELL_RNN, ES_CELL_GRU, ES_CELL_LSTM, ES_CELL_GRU_GATES, ES_CELL_GRU_CANDIDATE };

ES_FN void es_cell(const int what, const es_rec *a, const es_rows *s, int first, const int R,
                   const int V, int P, int u, int j, const float *panel) {
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
  if (what == ES_CELL_RNN)
    es_rnn_cell(a, &tile, R, V, P, u, j, panel);
  if (what == ES_CELL_GRU)
    es_gru_cell(a, &tile, R, V, P, u, j, panel);
  if (what == ES_CELL_LSTM)
    es_lstm_cell(a, &tile, R, V, P, u, j, panel);
  if (what == ES_CELL_GRU_GATES)
    es_gru_gates(a, &tile, R, V, P, u, j, panel);
  if (what == ES_CELL_GRU_CANDIDATE)
    es_gru_candidate(a, &tile, R, V, P, u, j, panel);
}

ES_FN void es_cell_rows(const int what, const es_rec *a, const es_rows *s, const int M, const int V,
                        int P, int u, int j, const float *panel) {
  const int rows = es_tile_rows(es_gates(a) * V), rest = M % rows;
  int m = 0;
  ES_LOOP for (; m + rows <= M; m += rows) { es_cell(what, a, s, m, rows, V, P, u, j, panel); }
  if (rest == 3)
    es_cell(what, a, s, m, 3, V, P, u, j, panel);
  if (rest == 2)
    es_cell(what, a, s, m, 2, V, P, u, j, panel);
  if (rest == 1)
    es_cell(what, a, s, m, 1, V, P, u, j, panel);
}

/* One step of M batch rows of a chain: panel by panel, all rows of a panel. */
ES_FN void es_cells(const int what, const es_rec *a, const es_rows *s, const int M,
                    const float *w) {
  const int G = es_gates(a), V = es_tile_vecs(G, ES_UNITS), padded = es_padded(a);
  const size_t per_unit = es_head(a) + (size_t)(a->I + a->H) * G;
  int u = 0;
  ES_LOOP for (; u + ES_UNITS <= padded; u += ES_UNITS) {
    ES_LOOP for (int j = 0; j < ES_UNITS; j += V * ES_W) {
      es_cell_rows(what, a, s, M, V, ES_UNITS, u, j, w + u * per_unit);
    }
  }
  if (u < padded)
    ES_LOOP for (int j = 0; j < padded - u; j += ES_W) {
      es_cell_rows(what, a, s, M, 1, padded - u, u, j, w + u * per_unit);
    }
}

ES_FN void es_step_rows(const es_rec *a, const es_rows *s, const int M, const float *w) {
  if (a->kind == ES_RNN)
    es_cells(ES_CELL_RNN, a, s, M, w);
  if (a->kind == ES_LSTM)
    es_cells(ES_CELL_LSTM, a, s, M, w);
  if (a->kind == ES_GRU && !a->reset_first)
    es_cells(ES_CELL_GRU, a, s, M, w);
  if (a->kind == ES_GRU && a->reset_first) {
    es_cells(ES_CELL_GRU_GATES, a, s, M, w);
    es_cells(ES_CELL_GRU_CANDIDATE, a, s, M, w);
  }
}

/* Where a chain's data lie. */
typedef struct {
  int backwards;
  const float *x, *w;
  float *y, *h, *c, *z, *xp; /* h: two copies, this step's and the next's */
} es_chain;

/* The i-th of the equal parts that follow each other in scratch memory. */
ES_FN es_chain es_chain_at(const es_rec *a, int i, int steps, float *scratch) {
  const int g = i / a->directions, d = i % a->directions, chains = a->groups * a->directions;
  const size_t state = (size_t)a->B * es_row(a), lstm = a->kind == ES_LSTM;
  const size_t weights = (size_t)es_padded(a) * (es_head(a) + (size_t)(a->I + a->H) * es_gates(a));
  float *shared = scratch + chains * (2 + lstm) * state; /* z and r h, which live within a step */
  const es_chain chain = {
      (a->reverse >> d) & 1,
      a->x + (ptrdiff_t)g * a->x_g,
      a->w + i * weights,
      a->y ? a->y + (ptrdiff_t)g * a->y_g + (ptrdiff_t)d * a->y_d : 0,
      scratch + i * 2 * state,
      scratch + (2 * chains + (lstm ? i : 0)) * state,
      shared,
      shared + (a->reset_first ? 2 * state : 0) +
          (size_t)i * steps * a->B * es_gates(a) * es_padded(a),
  };
  return chain;
}

/* Step s of a chain; xp: the projected inputs of this step, or 0. */
ES_FN void es_step(const es_rec *a, const es_chain *q, int s, int t, const float *xp) {
  const size_t state = (size_t)a->B * es_row(a);
  const es_rows rows = {
      q->x + (ptrdiff_t)t * a->x_t,
      xp,
      q->h + (s & 1) * state,
      q->h + (~s & 1) * state,
      q->c,
      q->z,
      q->z + state,
      q->y ? q->y + (ptrdiff_t)t * a->y_t : 0,
  };
  es_step_rows(a, &rows, a->B, q->w);
}

/* Step s where each row has its own length: a row that has ended keeps its state and puts out 0. */
ES_FN void es_ragged_step(const es_rec *a, const es_chain *q, int s) {
  const size_t state = (size_t)a->B * es_row(a);
  ES_LOOP for (int b = 0; b < a->B; b++) {
    const size_t row = (size_t)b * es_row(a);
    const int ended = s >= a->lens[b], t = q->backwards && !ended ? a->lens[b] - 1 - s : s;
    const es_rows rows = {
        q->x + (ptrdiff_t)t * a->x_t + (ptrdiff_t)b * a->x_b,
        0,
        q->h + (s & 1) * state + row,
        q->h + (~s & 1) * state + row,
        q->c + row,
        q->z + row,
        q->z + state + row,
        q->y ? q->y + (ptrdiff_t)t * a->y_t + (ptrdiff_t)b * a->y_b : 0,
    };
    if (!ended) {
      es_step_rows(a, &rows, 1, q->w);
    } else {
      es_copy(a->H, rows.h, rows.h_next);
      if (rows.y)
        es_zero(a->H, rows.y);
    }
  }
}

/* The input projection of n steps from time t on, as few matrix products as the strides allow. */
ES_FN void es_project_steps(const es_rec *a, const es_chain *q, int t, int n) {
  const int G = es_gates(a), row = G * es_padded(a);
  const int flat = a->B == 1 || a->x_t == a->B * a->x_b;
  const int times = flat ? 1 : n, rows = flat ? n * a->B : a->B;
  const ptrdiff_t ldx = a->B == 1 ? a->x_t : a->x_b;
  ES_LOOP for (int i = 0; i < times; i++) {
    es_project(G, ES_UNITS, rows, a->H, a->I, ES_IDENTITY, es_head(a), a->H * G,
               q->x + (ptrdiff_t)(t + i) * a->x_t, ldx, q->w, q->xp + (size_t)i * a->B * row, row);
  }
}

/* Rows of H floats into rows padded with zeros (from = 0: all zeros), and back. */
ES_FN void es_load_state(const es_rec *a, const float *from, float *to) {
  es_zero(a->B * es_row(a), to);
  if (from)
    ES_LOOP for (int b = 0; b < a->B; b++) {
      es_copy(a->H, from + (size_t)b * a->H, to + (size_t)b * es_row(a));
    }
}
ES_FN void es_save_state(const es_rec *a, const float *from, float *to) {
  if (to)
    ES_LOOP for (int b = 0; b < a->B; b++) {
      es_copy(a->H, from + (size_t)b * es_row(a), to + (size_t)b * a->H);
    }
}

/* h0, c0, hn, cn: [groups][directions][B][H] or 0; hn may be h0 and cn may be c0. */
ES_FN void es_recurrent(const es_rec *a, const float *h0, const float *c0, float *hn, float *cn,
                        float *scratch) {
  const int chains = a->groups * a->directions, ragged = a->lens != 0;
  const int most = es_least(a->T, ES_STEPS);
  const size_t rows = (size_t)a->B * a->H, state = (size_t)a->B * es_row(a);
  ES_LOOP for (int i = 0; i < chains; i++) {
    const es_chain q = es_chain_at(a, i, most, scratch);
    es_load_state(a, h0 ? h0 + i * rows : 0, q.h);
    es_zero((int)state, q.h + state);
    if (a->kind == ES_LSTM)
      es_load_state(a, c0 ? c0 + i * rows : 0, q.c);
  }
  if (ragged) {
    ES_LOOP for (int s = 0; s < a->T; s++) {
      ES_LOOP for (int i = 0; i < chains; i++) {
        const es_chain q = es_chain_at(a, i, most, scratch);
        es_ragged_step(a, &q, s);
      }
    }
  } else {
    const int project = a->T != 1;
    const size_t row = (size_t)es_gates(a) * es_padded(a);
    ES_LOOP for (int s0 = 0; s0 < a->T; s0 += ES_STEPS) {
      const int n = es_least(a->T - s0, ES_STEPS);
      if (project)
        ES_LOOP for (int i = 0; i < chains; i++) {
          const es_chain q = es_chain_at(a, i, most, scratch);
          es_project_steps(a, &q, q.backwards ? a->T - s0 - n : s0, n);
        }
      ES_LOOP for (int s = 0; s < n; s++) {
        ES_LOOP for (int i = 0; i < chains; i++) {
          const es_chain q = es_chain_at(a, i, most, scratch);
          const int at = q.backwards ? n - 1 - s : s;
          const int t = q.backwards ? a->T - 1 - s0 - s : s0 + s;
          es_step(a, &q, s0 + s, t, project ? q.xp + (size_t)at * a->B * row : 0);
        }
      }
    }
  }
  ES_LOOP for (int i = 0; i < chains; i++) {
    const es_chain q = es_chain_at(a, i, most, scratch);
    es_save_state(a, q.h + (a->T & 1) * state, hn ? hn + i * rows : 0);
    if (a->kind == ES_LSTM)
      es_save_state(a, q.c, cn ? cn + i * rows : 0);
  }
}

#endif
