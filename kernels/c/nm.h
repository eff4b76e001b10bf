/*
 * The format of constant weights, and N:M weights: in every window of M neighbouring inputs, each
 * output has weights for its own few of them.
 *
 * A block of 16 outputs holds one weight of each, and a window of 8 or 16 inputs of which each picks
 * one. Four blocks share 20 words of their index: where their windows start, then for every output the
 * four codes of 4 bits that say which input of the window is meant. So a block costs 10 bytes besides
 * its weights, and there is one load and one permutation of inputs where a dense weight has a broadcast.
 * Outputs may have weights for any number of inputs in a window: those with fewer than others get zeros.
 */
#ifndef ES_NM_H
#define ES_NM_H

#include "es.h"

/* The format of weights: their numbers, and of N:M weights the window added to that. */
enum { ES_F32, ES_BF16, ES_F16, ES_NM8 = 8, ES_NM16 = 16 };

ES_FN int es_element(const int F) { return ES_HALVES ? F & 7 : ES_F32; }
ES_FN int es_window(const int F) { return ES_WINDOWS ? F & ~7 : 0; }
ES_FN int es_index_words(const int F) { return es_window(F) ? 5 : 1; } /* of a block */

/* Four indices, the first lowest: one load where the compiler can be told that it may be. */
ES_FN uint64_t es_four(const uint16_t *index) {
#if defined(__GNUC__) && __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
  typedef uint64_t any __attribute__((aligned(2), may_alias));
  return *(const any *)index;
#else
  return index[0] | (uint64_t)index[1] << 16 | (uint64_t)index[2] << 32 | (uint64_t)index[3] << 48;
#endif
}
ES_FN uint64_t es_two(const uint16_t *index) { return index[0] | (uint64_t)index[1] << 16; }

#if !defined(ES_PICKS) /* without a permutation: lane by lane; described in scalar.h */
ES_FN es_v es_pick(const int M, const float *x, int n, const uint16_t *codes, const int p) {
  const uint64_t four = ES_W == 4 ? es_four(codes) : *codes;
  float lanes[4];
  (void)M;
  (void)n;
  ES_UNROLL for (int i = 0; i < ES_W; i++) { lanes[i] = x[four >> (16 * i + 4 * p) & 15]; }
  return es_load(lanes);
}
#endif

#endif
