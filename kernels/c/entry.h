/* What an emitted model file needs besides its kernels. */
#ifndef ES_ENTRY_H
#define ES_ENTRY_H
#include <stddef.h>
#include <stdint.h>

#define ES_NOINLINE __attribute__((noinline, unused))
#define ES_RESTRICT __restrict

/* A loop that only copies or clears stays a loop: as a call it would need libc. */
#if defined(__clang__)
#define ES_NO_CALLS __attribute__((no_builtin))
#else
#define ES_NO_CALLS
#if defined(__GNUC__)
#pragma GCC optimize("no-tree-loop-distribute-patterns")
#endif
#endif

/* Pieces of memory of any type at any alignment. */
typedef uint8_t es_block64 __attribute__((vector_size(64), aligned(1), may_alias));
typedef uint8_t es_block16 __attribute__((vector_size(16), aligned(1), may_alias));
typedef uint32_t es_block4 __attribute__((aligned(1), may_alias));
#define ES_COPY(type, to, from) (*(type *)(void *)(to) = *(const type *)(const void *)(from))

static inline
    __attribute__((always_inline, unused)) void es_copy_bytes(uint8_t *to, const uint8_t *from,
                                                              int64_t bytes) {
  int64_t i = 0;
  for (; i + 64 <= bytes; i += 64)
    ES_COPY(es_block64, to + i, from + i);
  for (; i + 16 <= bytes; i += 16)
    ES_COPY(es_block16, to + i, from + i);
  for (; i + 4 <= bytes; i += 4)
    ES_COPY(es_block4, to + i, from + i);
  for (; i < bytes; i++)
    to[i] = from[i];
}

#endif
