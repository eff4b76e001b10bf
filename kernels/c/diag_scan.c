/*
 * h = a * h + x, element by element, for T steps: every h is a row of y, the last one is h_n.
 *
 * B streams of N elements; step t of stream b of a, x and y starts at t * a_t + b * a_b and so on, in
 * reverse from the last step on. Where a is 0, its constant `factors` are read in the same way. h0
 * is 0 for zeros, y and h_n are 0 where nobody wants them, h_n may be h0. The row before is read back
 * from y, so that memory is walked in order however wide a row is; it is still in the first-level
 * cache.
 */
#ifndef ES_DIAG_SCAN_C
#define ES_DIAG_SCAN_C

#include "es_math.h"

/* One step; h is 0 for zeros, and y may be h. */
ES_FN void es_diag_row(int N, const float *a, const float *x, const float *h, float *y) {
  int i = 0;
  if (!h) {
    es_copy(N, x, y);
    return;
  }
  for (; i + ES_W <= N; i += ES_W)
    es_store(y + i, es_fma(es_load(a + i), es_flush(es_load(h + i)), es_load(x + i)));
  if (i < N) {
    const int n = N - i;
    es_v kept = es_flush(es_load_n(h + i, n));
    es_store_n(y + i, es_fma(es_load_n(a + i, n), kept, es_load_n(x + i, n)), n);
  }
}

/* One stream. */
ES_FN void es_diag_stream(int T, int N, int a_t, int x_t, int y_t, int reverse, const float *a,
                          const float *x, const float *h0, float *y, float *h_n) {
  const float *h = h0;
  for (int i = 0; i < T; i++) {
    const ptrdiff_t t = reverse ? T - 1 - i : i;
    float *row = y ? y + t * y_t : h_n;
    if (!row)
      return;
    es_diag_row(N, a + t * a_t, x + t * x_t, h, row);
    h = row;
  }
  if (!h_n || h == h_n)
    return;
  if (h)
    es_copy(N, h, h_n);
  else
    es_zero(N, h_n);
}

ES_FN void es_diag_scan_f32(int T, int B, int N, int a_t, int a_b, int x_t, int x_b, int y_t,
                            int y_b, int reverse, const float *a, const float *x, const float *h0,
                            const float *factors, float *y, float *h_n) {
  for (ptrdiff_t b = 0; b < B; b++)
    es_diag_stream(T, N, a_t, x_t, y_t, reverse, (a ? a : factors) + b * a_b, x + b * x_b,
                   h0 ? h0 + b * N : h0, y ? y + b * y_b : y, h_n ? h_n + b * N : h_n);
}

#endif
