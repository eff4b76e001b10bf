/*
 * The k largest (or smallest) of an axis, best first, equal ones in their order; x [outer, length,
 * inner], y and indices [outer, k, inner]. A NaN counts as the largest number.
 */
#ifndef ES_TOPK_C
#define ES_TOPK_C

#include "es.h"

ES_FN int es_topk_before(int largest, float a, float b) {
  if (a != a || b != b)
    return largest ? a != a && b == b : b != b && a == a;
  return largest ? a > b : a < b;
}

/* Insertion into the sorted winners: k is small. */
ES_FN void es_topk_f32(int outer, int length, int inner, int k, int largest,
                       const float *restrict x, float *restrict y, int64_t *restrict indices) {
  for (int o = 0; o < outer; o++) {
    for (int i = 0; i < inner; i++) {
      const float *from = x + (ptrdiff_t)o * length * inner + i;
      float *to = y + (ptrdiff_t)o * k * inner + i;
      int64_t *where = indices + (ptrdiff_t)o * k * inner + i;
      int found = 0;
      for (int j = 0; j < length; j++) {
        const float value = from[(ptrdiff_t)j * inner];
        int at = found;
        while (at > 0 && es_topk_before(largest, value, to[(ptrdiff_t)(at - 1) * inner]))
          at--;
        if (at == k)
          continue;
        found = es_least(found + 1, k);
        for (int m = found - 1; m > at; m--) {
          to[(ptrdiff_t)m * inner] = to[(ptrdiff_t)(m - 1) * inner];
          where[(ptrdiff_t)m * inner] = where[(ptrdiff_t)(m - 1) * inner];
        }
        to[(ptrdiff_t)at * inner] = value;
        where[(ptrdiff_t)at * inner] = j;
      }
    }
  }
}

#endif
