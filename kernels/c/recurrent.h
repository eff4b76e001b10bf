/*
 * Everything RNN, GRU and LSTM share: chains, directions, strides, and the order of the work.
 *
 * A chain is one recurrence: one direction of one group. Chains are independent, so their steps
 * alternate in the time loop and hide each other's latency. With one step, or with ragged lengths,
 * inputs and state are multiplied in one pass over the weights; otherwise the input projection of up
 * to ES_STEPS steps is one matrix product and only the recurrence is sequential.
 */
#ifndef ES_RECURRENT_H
#define ES_RECURRENT_H

#include "cells.h"

#define ES_STEPS                                                                                   \
  64 /* of which the input projection is done at once; known to kernels/_recurrent.py */

/* Where a chain's data lie. */
typedef struct {
  int backwards;
  es_stream weights;
  const float *x;
  float *y, *h, *c, *z, *xp; /* h: two copies, this step's and the next's */
} es_chain;

/* Words of a chain's weights. */
ES_FN size_t es_chain_words(const es_rec *a) {
  const size_t heads = (size_t)es_padded(a) * es_head(a);
  if (es_width(a))
    return heads + (size_t)es_word_row(a->format, a->blocks) * es_width(a);
  return heads + (size_t)es_padded(a) * es_gates(a) *
                     (es_word_rows(a->format, a->I) + es_word_rows(a->format, a->H));
}

/* The i-th of the equal parts that follow each other in scratch memory and in the weights. */
ES_FN es_chain es_chain_at(const es_rec *a, int i, int steps, float *scratch) {
  const int g = i / a->directions, d = i % a->directions, chains = a->groups * a->directions;
  const size_t state = (size_t)a->B * es_row(a), lstm = a->kind == ES_LSTM;
  const size_t lists = es_width(a) ? (size_t)es_padded(a) / es_width(a) * es_gates(a) * 2 : 0;
  float *shared = scratch + chains * (2 + lstm) * state; /* z and r h, which live within a step */
  const es_chain chain = {
      (a->reverse >> d) & 1,
      {a->w + i * es_chain_words(a), a->counts + i * lists,
       a->index + (size_t)i * a->blocks * es_index_words(a->format)},
      a->x + (ptrdiff_t)g * a->x_g,
      a->y ? a->y + (ptrdiff_t)g * a->y_g + (ptrdiff_t)d * a->y_d : 0,
      scratch + i * 2 * state,
      scratch + (2 * chains + (lstm ? i : 0)) * state,
      shared,
      shared + (es_resets(a) ? 2 * state : 0) +
          (size_t)i * steps * a->B * es_gates(a) * es_padded(a),
  };
  return chain;
}

/* Step s of a chain: M batch rows from row b on; xp: the projected inputs of this step, or 0. */
ES_FN void es_step(const es_rec *a, const es_chain *q, int s, int t, int b, const int M,
                   const float *xp) {
  const size_t state = (size_t)a->B * es_row(a), row = (size_t)b * es_row(a);
  const es_rows rows = {
      q->x + (ptrdiff_t)t * a->x_t + (ptrdiff_t)b * a->x_b,
      xp,
      q->h + (s & 1) * state + row,
      q->h + (~s & 1) * state + row,
      q->c + row,
      q->z + row,
      q->z + state + row,
      q->y ? q->y + (ptrdiff_t)t * a->y_t + (ptrdiff_t)b * a->y_b : 0,
  };
  const int shared = ES_SHARES && a->share, first = shared ? a->share->pass : 0;
  const int end = shared ? first + 1 : es_resets(a) ? 2 : 1;
  ES_LOOP for (int pass = first; pass < end; pass++) { es_cells(a, pass, &rows, M, q->weights); }
}

/* A row that has ended before step s keeps its state and puts out 0. */
ES_FN void es_ended(const es_rec *a, const es_chain *q, int s, int b) {
  const size_t state = (size_t)a->B * es_row(a);
  float *h = q->h + (size_t)b * es_row(a);
  es_copy(a->H, h + (s & 1) * state, h + (~s & 1) * state);
  if (q->y)
    es_zero(a->H, q->y + (ptrdiff_t)s * a->y_t + (ptrdiff_t)b * a->y_b);
}

/*
 * Step s of T. Rows with lengths of their own are walked one by one, because a backward row starts
 * at its own end; otherwise all rows at once, and xp holds n projected steps of which this is one.
 */
ES_FN void es_advance(const es_rec *a, const es_chain *q, int s, int from, int n) {
  const int ragged = ES_LENGTHS && a->lens, projected = a->T != 1 && !ragged;
  const int back = q->backwards, walks = ragged ? a->B : 1;
  const size_t at = (size_t)(back ? n - 1 - (s - from) : s - from) * a->B;
  ES_LOOP for (int b = 0; b < walks; b++) {
    const int steps = ragged ? a->lens[b] : a->T;
    if (s < steps)
      es_step(a, q, s, back ? steps - 1 - s : s, b, ragged ? 1 : a->B,
              projected ? q->xp + at * es_gates(a) * es_padded(a) : 0);
    else
      es_ended(a, q, s, b);
  }
}

/* The input projection of n steps from time t on, as few matrix products as the strides allow. */
ES_FN void es_project_steps(const es_rec *a, const es_chain *q, int t, int n) {
  const int F = a->format, G = es_gates(a), row = G * es_padded(a);
  const int flat = a->B == 1 || a->x_t == a->B * a->x_b;
  const int times = flat ? 1 : n, rows = flat ? n * a->B : a->B;
  const ptrdiff_t ldx = a->B == 1 ? a->x_t : a->x_b;
  const int first = es_first_unit(a), units = es_end_unit(a) - first;
  const es_stream weights = es_at_unit(a, q->weights, first);
  ES_LOOP for (int i = 0; i < times; i++) {
    const float *x = q->x + (ptrdiff_t)(t + i) * a->x_t;
    float *xp = q->xp + (size_t)i * a->B * row + (size_t)first * G;
    if (ES_BLOCKS && a->width)
      es_project_blocks(F, es_width(a), G, 2 * G, rows, units, a->I, ES_IDENTITY, es_head(a), x,
                        ldx, weights, xp, row);
    else
      es_project(F, G, ES_UNITS, rows, units, a->I, ES_IDENTITY, es_head(a),
                 es_word_rows(F, a->H) * G, x, ldx, weights.w, xp, row);
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

/* The states of all chains: into scratch memory, and out of it. */
ES_FN void es_begin(const es_rec *a, const float *h0, const float *c0, float *scratch) {
  const int chains = a->groups * a->directions, most = es_least(a->T, ES_STEPS);
  const size_t rows = (size_t)a->B * a->H, state = (size_t)a->B * es_row(a);
  ES_LOOP for (int i = 0; i < chains; i++) {
    const es_chain q = es_chain_at(a, i, most, scratch);
    es_load_state(a, h0 ? h0 + i * rows : 0, q.h);
    es_zero((int)state, q.h + state);
    if (a->kind == ES_LSTM)
      es_load_state(a, c0 ? c0 + i * rows : 0, q.c);
  }
}
ES_FN void es_end(const es_rec *a, float *hn, float *cn, float *scratch) {
  const int chains = a->groups * a->directions, most = es_least(a->T, ES_STEPS);
  const size_t rows = (size_t)a->B * a->H, state = (size_t)a->B * es_row(a);
  ES_LOOP for (int i = 0; i < chains; i++) {
    const es_chain q = es_chain_at(a, i, most, scratch);
    es_save_state(a, q.h + (a->T & 1) * state, hn ? hn + i * rows : 0);
    if (a->kind == ES_LSTM)
      es_save_state(a, q.c, cn ? cn + i * rows : 0);
  }
}

/* One share of the work; lens = 0. */
ES_FN void es_recurrent_share(const es_rec *a, const float *h0, const float *c0, float *hn,
                              float *cn, float *scratch) {
  const es_share *s = a->share;
  const int n = es_least(a->T - s->first, ES_STEPS);
  const es_chain q = es_chain_at(a, s->chain, es_least(a->T, ES_STEPS), scratch);
  if (s->what == ES_BEGIN)
    es_begin(a, h0, c0, scratch);
  if (s->what == ES_PROJECT && a->T != 1)
    es_project_steps(a, &q, q.backwards ? a->T - s->first - n : s->first, n);
  if (s->what == ES_STEP)
    es_advance(a, &q, s->step, s->first, n);
  if (s->what == ES_END)
    es_end(a, hn, cn, scratch);
}

/* h0, c0, hn, cn: [groups][directions][B][H] or 0; hn may be h0 and cn may be c0. */
ES_FN void es_recurrent(const es_rec *a, const float *h0, const float *c0, float *hn, float *cn,
                        float *scratch) {
  const int chains = a->groups * a->directions, most = es_least(a->T, ES_STEPS);
  if (ES_SHARES && a->share) {
    es_recurrent_share(a, h0, c0, hn, cn, scratch);
    return;
  }
  es_begin(a, h0, c0, scratch);
  ES_LOOP for (int from = 0; from < a->T; from += ES_STEPS) {
    const int n = es_least(a->T - from, ES_STEPS);
    if (a->T != 1 && !(ES_LENGTHS && a->lens))
      ES_LOOP for (int i = 0; i < chains; i++) {
        const es_chain q = es_chain_at(a, i, most, scratch);
        es_project_steps(a, &q, q.backwards ? a->T - from - n : from, n);
      }
    ES_LOOP for (int s = from; s < from + n; s++) {
      ES_LOOP for (int i = 0; i < chains; i++) {
        const es_chain q = es_chain_at(a, i, most, scratch);
        es_advance(a, &q, s, from, n);
      }
    }
  }
  es_end(a, hn, cn, scratch);
}

#endif
