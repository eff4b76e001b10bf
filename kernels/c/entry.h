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
typedef uint64_t es_block8 __attribute__((aligned(1), may_alias));
typedef uint32_t es_block4 __attribute__((aligned(1), may_alias));
#define ES_LOAD(type, from) (*(const type *)(const void *)(from))
#define ES_COPY(type, to, from) (*(type *)(void *)(to) = ES_LOAD(type, from))

#define ES_INLINE static inline __attribute__((always_inline, unused))

/* The two ends of a piece of memory, which overlap where it is short; both are read first. */
#define ES_COPY_ENDS(type, to, from, bytes)                                                        \
  do {                                                                                             \
    const type first = ES_LOAD(type, from), last = ES_LOAD(type, (from) + (bytes) - sizeof(type)); \
    *(type *)(void *)(to) = first;                                                                 \
    *(type *)(void *)((to) + (bytes) - sizeof(type)) = last;                                       \
  } while (0)

/* Memory may overlap if `to` is before `from`. */
ES_INLINE void es_copy_bytes(uint8_t *to, const uint8_t *from, int64_t bytes) {
  int64_t i = 0;
  if (bytes < 16) {
    for (; i + 4 <= bytes; i += 4)
      ES_COPY(es_block4, to + i, from + i);
    for (; i < bytes; i++)
      to[i] = from[i];
    return;
  }
  const es_block16 last = ES_LOAD(es_block16, from + bytes - 16);
  for (; i + 64 <= bytes; i += 64)
    ES_COPY(es_block64, to + i, from + i);
  for (; i + 16 < bytes; i += 16)
    ES_COPY(es_block16, to + i, from + i);
  *(es_block16 *)(void *)(to + bytes - 16) = last;
}

/* Pieces of `bytes`: most are a few floats of each channel. */
ES_INLINE void es_copy_rows(uint8_t *to, int64_t to_stride, const uint8_t *from,
                            int64_t from_stride, int64_t bytes, int64_t rows) {
#define ES_EACH_ROW for (; rows > 0; rows--, to += to_stride, from += from_stride)
  if (bytes == 4)
    ES_EACH_ROW ES_COPY(es_block4, to, from);
  else if (bytes > 4 && bytes <= 8)
    ES_EACH_ROW ES_COPY_ENDS(es_block4, to, from, bytes);
  else if (bytes > 8 && bytes <= 16)
    ES_EACH_ROW ES_COPY_ENDS(es_block8, to, from, bytes);
  else if (bytes > 16 && bytes <= 32)
    ES_EACH_ROW ES_COPY_ENDS(es_block16, to, from, bytes);
  else
    ES_EACH_ROW es_copy_bytes(to, from, bytes);
#undef ES_EACH_ROW
}

#endif
