/*
 * Reads calls from standard input, makes them in guarded memory, writes the memory back.
 *
 * It is linked with the kernels for a machine that is emulated, where system calls are all there
 * is: no libc is compiled for it. `edgeseq_calls` is the table of kernels that the test appends.
 */
#include <stddef.h>
#include <stdint.h>

#define PAGE 4096
#define MOST 64

typedef void (*edgeseq_call)(const int32_t *sizes, void **pointers);
extern const edgeseq_call edgeseq_calls[];

#if defined(__aarch64__)
enum { READ = 63, WRITE = 64, EXIT = 93, MMAP = 222, MUNMAP = 215, MPROTECT = 226 };
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
  register long x8 __asm__("x8") = n, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c, x3 __asm__("x3") = d, x4 __asm__("x4") = e;
  register long x5 __asm__("x5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(x0)
                   : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                   : "memory");
  return x0;
}
#elif defined(__arm__)
enum { READ = 3, WRITE = 4, EXIT = 1, MMAP = 192, MUNMAP = 91, MPROTECT = 125 };
static long system_call(long n, long a, long b, long c, long d, long e, long f) {
  register long r7 __asm__("r7") = n, r0 __asm__("r0") = a, r1 __asm__("r1") = b;
  register long r2 __asm__("r2") = c, r3 __asm__("r3") = d, r4 __asm__("r4") = e;
  register long r5 __asm__("r5") = f;
  __asm__ volatile("svc 0"
                   : "+r"(r0)
                   : "r"(r7), "r"(r1), "r"(r2), "r"(r3), "r"(r4), "r"(r5)
                   : "memory");
  return r0;
}
#endif

static void leave(int code) {
  for (;;)
    system_call(EXIT, code, 0, 0, 0, 0, 0);
}

static void all(int call, uint8_t *p, size_t bytes) {
  const int file = call == WRITE;
  while (bytes) {
    const long n = system_call(call, file, (long)p, (long)bytes, 0, 0, 0);
    if (n <= 0)
      leave(n < 0 || call == WRITE);
    p += n;
    bytes -= (size_t)n;
  }
}

static void words(int32_t *to, int count) {
  if (count > 2 * MOST)
    leave(2);
  all(READ, (uint8_t *)to, (size_t)count * 4);
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
