/*
 * Reads calls from standard input, makes them, writes the memory back.
 *
 * It is linked with a compiled model for a machine that is emulated. System calls are all it needs
 * of that machine's Linux: no libc is compiled for it. `edgeseq_call` is written for the model.
 */
#include "linux_arm.h"

#define MOST 256

/* Calls function `which`; sizes and strings are results, the others return an error code. */
int64_t edgeseq_call(int32_t which, int64_t number, void **pointers);

struct request {
  int64_t number;
  int32_t which, blocks;
};

__attribute__((used)) void edgeseq_serve(void) {
  for (;;) {
    struct request request;
    int64_t sizes[MOST], result;
    void *pointers[MOST];
    all(READ, &request, sizeof request);
    if (request.blocks > MOST)
      leave(2);
    all(READ, sizes, (size_t)request.blocks * 8);
    for (int i = 0; i < request.blocks; i++) {
      pointers[i] = (void *)system_call(MMAP, 0, (long)sizes[i] + 1, 3, 0x22, -1, 0);
      all(READ, pointers[i], (size_t)sizes[i]);
    }
    result = edgeseq_call(request.which, request.number, pointers);
    all(WRITE, &result, 8);
    for (int i = 0; i < request.blocks; i++) {
      all(WRITE, pointers[i], (size_t)sizes[i]);
      system_call(MUNMAP, (long)pointers[i], (long)sizes[i] + 1, 0, 0, 0, 0);
    }
  }
}

/* The stack pointer is as Linux leaves it: a multiple of 16 (8 on 32-bit ARM). */
__asm__(".globl _start\n_start:\n bl edgeseq_serve\n");
