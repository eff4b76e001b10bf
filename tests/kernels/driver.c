/*
 * Reads calls from standard input, makes them in guarded memory, writes the memory back.
 *
 * It is linked with the kernels for a machine that is emulated, where system calls are all there
 * is: no libc is compiled for it. `edgeseq_calls` is the table of kernels that the test appends.
 */
#include "linux_arm.h"

#define PAGE 4096
#define MOST 64

typedef void (*edgeseq_call)(const int32_t *sizes, void **pointers);
extern const edgeseq_call edgeseq_calls[];

static void words(int32_t *to, int count) {
  if (count > 2 * MOST)
    leave(2);
  all(READ, to, (size_t)count * 4);
}

static uint8_t *guarded(size_t bytes) {
  const size_t whole = bytes + 2 * PAGE;
  uint8_t *p = (uint8_t *)system_call(MMAP, 0, (long)whole, 3, 0x22, -1, 0);
  if (system_call(MPROTECT, (long)p, PAGE, 0, 0, 0, 0) ||
      system_call(MPROTECT, (long)(p + whole - PAGE), PAGE, 0, 0, 0, 0))
    leave(3);
  return p + PAGE;
}

__attribute__((used)) void _start(void) {
  int32_t head[4], sizes[2 * MOST], bytes[2 * MOST], places[2 * MOST];
  uint8_t *blocks[MOST];
  void *pointers[MOST];
  for (;;) {
    words(head, 4); /* which kernel, how many sizes, blocks, pointers */
    words(sizes, head[1]);
    words(bytes, head[2]);
    words(places, 2 * head[3]);
    for (int i = 0; i < head[2]; i++) {
      blocks[i] = guarded((size_t)bytes[i]);
      all(READ, blocks[i], (size_t)bytes[i]);
    }
    for (int i = 0; i < head[3]; i++)
      pointers[i] = places[2 * i] < 0 ? NULL : blocks[places[2 * i]] + places[2 * i + 1];
    edgeseq_calls[head[0]](sizes, pointers);
    for (int i = 0; i < head[2]; i++) {
      all(WRITE, blocks[i], (size_t)bytes[i]);
      system_call(MUNMAP, (long)(blocks[i] - PAGE), bytes[i] + 2 * PAGE, 0, 0, 0, 0);
    }
  }
}
