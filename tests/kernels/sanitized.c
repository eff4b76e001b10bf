/*
 * Reads calls from standard input, makes them in memory of malloc, writes the memory back: what
 * driver.c does, with libc, for AddressSanitizer to watch over. Blocks end where their arrays do.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#define MOST 64

typedef void (*edgeseq_call)(const int32_t *sizes, void **pointers);
extern const edgeseq_call edgeseq_calls[];

static void words(int32_t *to, int count) {
  if (count > 2 * MOST || fread(to, 4, (size_t)count, stdin) != (size_t)count)
    exit(2);
}

int main(void) {
  int32_t head[4], sizes[2 * MOST], bytes[2 * MOST], places[2 * MOST];
  void *blocks[MOST], *pointers[MOST];
  while (fread(head, 4, 4, stdin) == 4) { /* which kernel, how many sizes, blocks, pointers */
    words(sizes, head[1]);
    words(bytes, head[2]);
    words(places, 2 * head[3]);
    for (int i = 0; i < head[2]; i++) {
      if (posix_memalign(&blocks[i], 64, (size_t)bytes[i]))
        exit(3);
      if (fread(blocks[i], 1, (size_t)bytes[i], stdin) != (size_t)bytes[i])
        exit(2);
    }
    for (int i = 0; i < head[3]; i++)
      pointers[i] = places[2 * i] < 0 ? NULL : (char *)blocks[places[2 * i]] + places[2 * i + 1];
    edgeseq_calls[head[0]](sizes, pointers);
    for (int i = 0; i < head[2]; i++) {
      fwrite(blocks[i], 1, (size_t)bytes[i], stdout);
      free(blocks[i]);
    }
    fflush(stdout);
  }
  return 0;
}
