/*
 * y[M, N] = act(x[M, K] w + bias) with int8 weights and inputs quantized here, dense or in blocks.
 *
 * head: the scale of x, or 0 for one of each row, and 15 floats of nothing; then for each panel of
 * outputs the scales of its weights' rows, the sums of the rows, and the biases.
 */
#ifndef ES_LINEAR_I8_H
#define ES_LINEAR_I8_H

#include "es.h"
#include "exact.h"
#include "quantized.h"
#include "share.h"

#define ES_LINEAR_HEADER 16
#define ES_LINEAR_ROWS 64 /* rows quantized at once; known to kernels/gemm_i8.py */

typedef struct {
  int M, N, K, ldx, ldy, act, x_zero, wide;
  int width; /* outputs of a panel: 16 or 8 */
  const float *x, *head;
  float *y;
  const es_share *share; /* of the outputs; 0: all of them */
} es_linear_i8;

/* Up to ES_TILE_ROWS rows of a panel of outputs from u on. */
ES_FN void es_linear_tile(const es_linear_i8 *a, const es_part *p, int M, int u, es_rows_i8 m,
                          float *y) {
  float sums[ES_TILE_ROWS * ES_PANEL];
  const float *bias = p->head + 2 * p->pitch;
  m.y = sums;
  m.ldy = ES_PANEL;
  es_part_product(1, M, p, 0, m);
  ES_LOOP for (int r = 0; r < M; r++) {
    ES_LOOP for (int j = 0; j < es_least(p->width, a->N - u); j += ES_W) {
      const es_v v = es_add(es_load(sums + r * ES_PANEL + j), es_load(bias + j));
      es_store_upto(y + (ptrdiff_t)r * a->ldy + u + j, es_exact_act(a->act, v),
                    es_least(a->width - j, a->N - u - j));
    }
  }
}

/* The panel that begins with output `to`, after `part`, the first one. */
ES_FN es_part es_linear_panel(const es_linear_i8 *a, const es_part *part, int to) {
  es_part p = *part;
  ES_LOOP for (int u = 0; u < to; u += a->width) {
    es_part_skip(&p);
    p.head += p.pitch;
  }
  return p;
}

/*
 * `part`: the first panel. scratch: the scales of ES_LINEAR_ROWS rows, then the rows; so for each
 * share, since rows are quantized sooner than they are waited for.
 */
ES_FN void es_linear_run(const es_linear_i8 *a, const es_part *part, float *scratch) {
  const int most = es_least(a->M, ES_LINEAR_ROWS), bytes = es_round_up(a->K, 16);
  const int first = a->share ? a->share->from : 0;
  const int end = a->share ? es_least(a->share->to, a->N) : a->N;
  const es_part start = es_linear_panel(a, part, first);
  if (a->share)
    scratch += (size_t)a->share->part * es_round_up(most * (4 + bytes), 64) / 4;
  uint8_t *rows = (uint8_t *)(scratch + most);
  ES_LOOP for (int m = 0; m < a->M; m += ES_LINEAR_ROWS) {
    const int n = es_least(a->M - m, ES_LINEAR_ROWS);
    es_part p = start;
    es_quantize_rows_upto(n, a->K, a->x + (ptrdiff_t)m * a->ldx, a->ldx, a->head[0], a->x_zero,
                          a->wide, rows, bytes, scratch);
    ES_LOOP for (int u = first; u < end; u += a->width) {
      if (!p.count)
        p.width = es_least(a->width, es_round_up(a->N, 4) - u);
      ES_LOOP for (int i = 0; i < n; i += ES_TILE_ROWS) {
        const es_rows_i8 tile = {rows + (size_t)i * bytes, bytes, scratch + i, 0, 0};
        es_linear_tile(a, &p, es_least(n - i, ES_TILE_ROWS), u, tile,
                       a->y + (ptrdiff_t)(m + i) * a->ldy);
      }
      es_part_skip(&p);
      p.head += p.pitch;
    }
  }
}

#endif
