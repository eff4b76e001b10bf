/*
 * What every kernel stands on: no libc, no allocation, no globals.
 *
 * Define one of ES_ISA_AVX512VNNI, ES_ISA_AVX512, ES_ISA_AVX2VNNI, ES_ISA_AVX2, ES_ISA_SSE2,
 * ES_ISA_NEONDOT, ES_ISA_NEON, ES_ISA_WASM before including a kernel, and compile for that
 * instruction set; none of them means plain C. One translation unit has one instruction set.
 */
#ifndef ES_H
#define ES_H

#include <stddef.h>
#include <stdint.h>

/*
 * Kernels are inlined into wrappers that know their sizes, so that the sizes fold away. ES_ANY_SIZE:
 * the wrappers do not know them (tests), so this would only cost time.
 */
#if defined(__OPTIMIZE__) && !defined(ES_ANY_SIZE)
#define ES_FN static inline __attribute__((always_inline, unused))
#define ES_FN_RARE static __attribute__((noinline, unused)) /* for what would be large everywhere */
#elif defined(__GNUC__) /* nothing folds at -O0: every tile, inlined into every other, explodes */
#define ES_FN static inline __attribute__((unused))
#define ES_FN_RARE static __attribute__((unused))
#else
#define ES_FN static inline
#define ES_FN_RARE static
#endif

/* Recurrent cells. */
enum { ES_RNN, ES_GRU, ES_LSTM };

/*
 * What of the kernels a program calls; it may say so before it includes them. The rest is then gone
 * before anything is inlined, which is what takes compilers most of their time.
 */
#ifndef ES_CELLS
#define ES_CELLS 7   /* a bit for each cell */
#define ES_RESETS 1  /* GRUs that reset first */
#define ES_LENGTHS 1 /* cells whose rows have lengths of their own */
#define ES_SHARES 1  /* cells whose work is shared by threads */
#define ES_BLOCKS 1  /* float cells with sparse weights */
#define ES_WINDOWS 1 /* N:M weights */
#define ES_HALVES 1  /* weights of 16 bits */
#endif
#define ES_HAS(cell) (ES_CELLS >> (cell) & 1)

/* ES_UNROLL: a loop over the registers of a tile. ES_LOOP: keep this loop as small as it is. */
#if defined(ES_ANY_SIZE)
#define ES_UNROLL
#define ES_LOOP
#elif defined(__clang__)
#define ES_UNROLL _Pragma("clang loop unroll(full)")
#define ES_LOOP _Pragma("clang loop unroll(disable) vectorize(disable)")
#elif defined(__GNUC__)
#define ES_UNROLL _Pragma("GCC unroll 32")
#define ES_LOOP _Pragma("GCC unroll 1")
#else
#define ES_UNROLL
#define ES_LOOP
#endif

/* A local array whose vectors cross no line of the cache. */
#if defined(__GNUC__)
#define ES_ALIGNED __attribute__((aligned(64)))
#else
#define ES_ALIGNED
#endif

/* Have the line of p in the cache soon, to be read or (1) written: for strides of more than lines. */
#if defined(__GNUC__)
#define ES_PREFETCH(p, write) __builtin_prefetch(p, write)
#else
#define ES_PREFETCH(p, write) ((void)(p))
#endif

#if defined(ES_ISA_AVX512VNNI)
#include "simd/avx512vnni.h"
#elif defined(ES_ISA_AVX512)
#include "simd/avx512.h"
#elif defined(ES_ISA_AVX2VNNI)
#include "simd/avx2vnni.h"
#elif defined(ES_ISA_AVX2)
#include "simd/avx2.h"
#elif defined(ES_ISA_SSE2)
#include "simd/sse2.h"
#elif defined(ES_ISA_NEONDOT)
#include "simd/neondot.h"
#elif defined(ES_ISA_NEON)
#include "simd/neon.h"
#elif defined(ES_ISA_WASM)
#include "simd/wasm.h"
#else
#include "simd/scalar.h"
#endif

/*
 * What es_dot is told of its operands, where it is not `pairs`; how many times the products it sums,
 * and what undoes that; and what it leaves out, because an input adds it to every output.
 */
#ifndef ES_DOT_HOW
#define ES_DOT_HOW(part) ((part)->pairs)
#endif
#ifndef ES_DOT_TIMES
#define ES_DOT_TIMES(how) ((void)(how), 1)
#define ES_DOT_SUM(acc, how) ((void)(how), (acc))
#endif
#ifndef ES_DOT_REST
ES_FN es_i es_dot_rest(es_i rest, es_quad x, const int how) {
  (void)x, (void)how;
  return rest;
}
/* The same for all quads of a row. */
ES_FN es_i es_row_rest(const uint8_t *q, int quads, const int how) {
  (void)q, (void)quads, (void)how;
  return es_iset(0);
}
#endif

/* The accumulators a tile may have, so that they, the weights and the inputs stay in registers. */
#ifndef ES_ACCS
#define ES_ACCS (ES_REGS == 32 ? 24 : 12)
#endif
/* So many are enough to hide latency: a smaller tile sums several inputs apart, but no more than fit. */
#ifndef ES_SUMS
#define ES_SUMS 11
#endif

ES_FN int es_least(int a, int b) { return a < b ? a : b; }
ES_FN int es_round_up(int n, int to) { return (n + to - 1) / to * to; }

/* Store the first n lanes, where n may exceed a vector, or be negative: nothing. */
ES_FN void es_store_upto(float *p, es_v v, int n) {
  if (n >= ES_W)
    es_store(p, v);
  else if (n > 0)
    es_store_n(p, v, n);
}

ES_FN void es_copy(int n, const float *from, float *to) {
  int i = 0;
  ES_LOOP for (; i + ES_W <= n; i += ES_W) { es_store(to + i, es_load(from + i)); }
  if (i < n)
    es_store_n(to + i, es_load_n(from + i, n - i), n - i);
}

ES_FN void es_zero(int n, float *to) {
  int i = 0;
  ES_LOOP for (; i + ES_W <= n; i += ES_W) { es_store(to + i, es_set(0.0f)); }
  if (i < n)
    es_store_n(to + i, es_set(0.0f), n - i);
}

#endif
