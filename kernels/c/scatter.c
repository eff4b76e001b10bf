/*
 * y = x with updates written at indices, in order; docs/kernels.md.
 *
 * An index below zero counts from the end; one outside its axis writes nothing. y may be x.
 */
#ifndef ES_SCATTER_C
#define ES_SCATTER_C

#include "es.h"

enum { ES_SCATTER_NONE, ES_SCATTER_ADD, ES_SCATTER_MUL, ES_SCATTER_MAX, ES_SCATTER_MIN };

ES_FN void es_scatter_row(int mode, int n, const float *from, float *to) {
  if (mode == ES_SCATTER_NONE) {
    es_copy(n, from, to);
    return;
  }
  for (int i = 0; i < n; i++) {
    const float old = to[i], new = from[i];
    if (mode == ES_SCATTER_ADD)
      to[i] = old + new;
    if (mode == ES_SCATTER_MUL)
      to[i] = old * new;
    if (mode == ES_SCATTER_MAX)
      to[i] = new > old || new != new ? new : old;
    if (mode == ES_SCATTER_MIN)
      to[i] = new < old || new != new ? new : old;
  }
}

/* The index within its axis, or -1. */
ES_FN ptrdiff_t es_scatter_index(int64_t index, int length) {
  if (index < 0)
    index += length;
  return index >= 0 && index < length ? (ptrdiff_t)index : -1;
}

/* indices [count, depth] choose rows of `row` floats in x [d0, .., d5]; the last dims are 1. */
ES_FN void es_scatter_nd_f32(int count, int depth, int row, int d0, int d1, int d2, int d3, int d4,
                             int d5, int mode, const float *x, const int64_t *indices,
                             const float *updates, float *y) {
  const int dims[6] = {d0, d1, d2, d3, d4, d5};
  if (y != x)
    es_copy(d0 * d1 * d2 * d3 * d4 * d5 * row, x, y);
  for (int i = 0; i < count; i++) {
    ptrdiff_t at = 0;
    for (int k = 0; k < depth && at >= 0; k++) {
      const ptrdiff_t index = es_scatter_index(indices[(ptrdiff_t)i * depth + k], dims[k]);
      at = index < 0 ? -1 : at * dims[k] + index;
    }
    if (at >= 0)
      es_scatter_row(mode, row, updates + (ptrdiff_t)i * row, y + at * row);
  }
}

/* indices and updates [outer, count, inner], x [outer, length, inner]. */
ES_FN void es_scatter_elements_f32(int outer, int length, int count, int inner, int mode,
                                   const float *x, const int64_t *indices, const float *updates,
                                   float *y) {
  if (y != x)
    es_copy(outer * length * inner, x, y);
  for (int o = 0; o < outer; o++) {
    for (int j = 0; j < count * inner; j++) {
      const ptrdiff_t from = (ptrdiff_t)o * count * inner + j;
      const ptrdiff_t index = es_scatter_index(indices[from], length);
      if (index >= 0)
        es_scatter_row(mode, 1, updates + from,
                       y + ((ptrdiff_t)o * length + index) * inner + j % inner);
    }
  }
}

#endif
