/*
 * y[o, k, i] = sum of x[o, j, i] over j <= k (exclusive: j < k; reverse: from the other end).
 * x and y are dense [outer, length, inner] and do not overlap.
 */
#ifndef ES_CUMSUM_C
#define ES_CUMSUM_C

#include "es.h"

ES_FN void es_cumsum_f32(int outer, int length, int inner, int exclusive, int reverse,
                         const float *restrict x, float *restrict y) {
  const ptrdiff_t step = reverse ? -(ptrdiff_t)inner : inner;
  for (int o = 0; o < outer; o++) {
    const ptrdiff_t first = ((ptrdiff_t)o * length + (reverse ? length - 1 : 0)) * inner;
    for (int i = 0; i < inner; i++) {
      const float *from = x + first + i;
      float *to = y + first + i;
      float sum = 0.0f;
      ES_LOOP for (int k = 0; k < length; k++, from += step, to += step) {
        const float before = sum;
        sum += *from;
        *to = exclusive ? before : sum;
      }
    }
  }
}

#endif
