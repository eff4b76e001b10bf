/*
 * Linear attention: a matrix S [K, V] of state per head, each row of which decays, takes up
 * key x value and is read by the query. What outer_scan.c and delta_scan.c share.
 *
 * A step walks through S in columns of a few vectors, which no step before or after it interrupts:
 * their new values and their outputs stay in registers.
 */
#ifndef ES_MATRIX_SCAN_H
#define ES_MATRIX_SCAN_H

#include "es_math.h"

#define ES_MATRIX_VECTORS 4

/* One head in one step. Rows of S are V apart; q is [G, K], o is [G, V]. */
typedef struct {
  int K, V, G;
  const float *q, *k, *v, *decay, *bonus; /* decay [K], or 0: none; bonus [K], or 0 */
  float scale, beta;                      /* beta: of the delta rule */
  float *S, *o;
} es_matrix_step;

ES_FN es_v es_matrix_load(const float *p, int n) { return n < ES_W ? es_load_n(p, n) : es_load(p); }

/* q S for `vectors` vectors of columns, the last of which has n lanes. */
ES_FN void es_matrix_read(const int vectors, int n, const es_matrix_step *m, const float *q,
                          const float *S, float *o) {
  es_v sum[ES_MATRIX_VECTORS];
  ES_UNROLL for (int i = 0; i < vectors; i++) sum[i] = es_set(0.0f);
  ES_LOOP for (int j = 0; j < m->K; j++, S += m->V) {
    ES_UNROLL for (int i = 0; i < vectors; i++) {
      es_v s = es_matrix_load(S + i * ES_W, i + 1 < vectors ? ES_W : n);
      sum[i] = es_fma(es_set(q[j]), s, sum[i]);
    }
  }
  ES_UNROLL for (int i = 0; i < vectors; i++) {
    es_store_upto(o + i * ES_W, es_mul(sum[i], es_set(m->scale)), i + 1 < vectors ? ES_W : n);
  }
}

/* What the delta rule writes in place of v: beta (v - S^T k), after S has decayed. */
ES_FN void es_matrix_error(const int vectors, int n, const es_matrix_step *m, const float *S,
                           es_v *v) {
  es_v known[ES_MATRIX_VECTORS];
  ES_UNROLL for (int i = 0; i < vectors; i++) known[i] = es_set(0.0f);
  ES_LOOP for (int j = 0; j < m->K; j++, S += m->V) {
    const es_v k = es_set(m->decay ? m->decay[j] * m->k[j] : m->k[j]);
    ES_UNROLL for (int i = 0; i < vectors; i++) {
      es_v s = es_matrix_load(S + i * ES_W, i + 1 < vectors ? ES_W : n);
      known[i] = es_fma(k, s, known[i]);
    }
  }
  ES_UNROLL for (int i = 0; i < vectors; i++) {
    v[i] = es_mul(es_set(m->beta), es_sub(v[i], known[i]));
  }
}

/* Columns [at, at + vectors * ES_W) of S: decay, write, read for the first query. */
ES_FN void es_matrix_tile(const int vectors, int n, int delta, const es_matrix_step *m, int at) {
  es_v v[ES_MATRIX_VECTORS], sum[ES_MATRIX_VECTORS];
  float *S = m->S + at;
  ES_UNROLL for (int i = 0; i < vectors; i++) {
    v[i] = es_matrix_load(m->v + at + i * ES_W, i + 1 < vectors ? ES_W : n);
    sum[i] = es_set(0.0f);
  }
  if (delta)
    es_matrix_error(vectors, n, m, S, v);
  ES_LOOP for (int j = 0; j < m->K; j++, S += m->V) {
    const es_v k = es_set(m->k[j]), q = es_set(m->q[j]);
    const es_v now = m->bonus ? es_set(m->bonus[j] * m->k[j]) : k;
    ES_UNROLL for (int i = 0; i < vectors; i++) {
      const int lanes = i + 1 < vectors ? ES_W : n;
      es_v s = es_matrix_load(S + i * ES_W, lanes);
      if (m->bonus)
        sum[i] = es_fma(q, es_fma(now, v[i], s), sum[i]);
      if (m->decay)
        s = es_mul(es_set(m->decay[j]), es_flush(s));
      s = es_fma(k, v[i], s);
      es_store_upto(S + i * ES_W, s, lanes);
      if (!m->bonus)
        sum[i] = es_fma(q, s, sum[i]);
    }
  }
  ES_UNROLL for (int i = 0; i < vectors; i++) {
    const int lanes = i + 1 < vectors ? ES_W : n;
    es_store_upto(m->o + at + i * ES_W, es_mul(sum[i], es_set(m->scale)), lanes);
  }
  for (int g = 1; g < m->G; g++) /* the other queries of this key and value */
    es_matrix_read(vectors, n, m, m->q + g * m->K, m->S + at, m->o + g * m->V + at);
}

ES_FN void es_matrix_head(int delta, const es_matrix_step *m) {
  const int wide = ES_MATRIX_VECTORS * ES_W;
  int at = 0;
  ES_LOOP for (; at + wide <= m->V; at += wide) {
    es_matrix_tile(ES_MATRIX_VECTORS, ES_W, delta, m, at);
  }
  ES_LOOP for (; at < m->V; at += ES_W) {
    es_matrix_tile(1, es_least(m->V - at, ES_W), delta, m, at);
  }
}

enum { ES_DECAY_NONE, ES_DECAY_HEAD, ES_DECAY_KEY }; /* none; one factor a head; one a row of S */

/* The factors of the rows of S, if need be in `to`; decay + at is one number, or [K]. */
ES_FN const float *es_matrix_decay(int kind, int log, int K, const float *decay, ptrdiff_t at,
                                   float *to) {
  if (kind == ES_DECAY_NONE)
    return 0;
  decay += at;
  if (kind == ES_DECAY_KEY && !log)
    return decay;
  for (int j = 0; j < K; j += ES_W) {
    const int n = es_least(K - j, ES_W);
    es_v d = kind == ES_DECAY_KEY ? es_load_n(decay + j, n) : es_set(*decay);
    es_store_upto(to + j, log ? es_exp(d) : d, n);
  }
  return to;
}

/* Where the states of all streams begin: in h_n, or in the scratch. */
ES_FN float *es_matrix_start(int count, const float *h0, float *h_n, float *scratch) {
  float *S = h_n ? h_n : scratch;
  if (!h0)
    es_zero(count, S);
  else if (h0 != S)
    es_copy(count, h0, S);
  return S;
}

#endif
