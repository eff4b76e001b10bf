/* What an emitted model file needs besides its kernels. */
#ifndef ES_ENTRY_H
#define ES_ENTRY_H
#include <stddef.h>
#include <stdint.h>

#define ES_NOINLINE __attribute__((noinline))
#define ES_RESTRICT __restrict

typedef uint8_t es_block64 __attribute__((vector_size(64), aligned(1), may_alias));
#define ES_COPY64(to, from) (*(es_block64 *)(void *)(to) = *(const es_block64 *)(const void *)(from))

#endif
