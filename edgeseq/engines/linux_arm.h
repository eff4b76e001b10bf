/* The system calls of Linux on ARM, all that a program without libc needs. */
#ifndef EDGESEQ_LINUX_ARM_H
#define EDGESEQ_LINUX_ARM_H

#include <stddef.h>
#include <stdint.h>

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

/* Reads or writes all of the bytes, or ends: well where the input does, else with an error. */
static void all(int call, void *memory, size_t bytes) {
  uint8_t *p = memory;
  while (bytes) {
    const long n = system_call(call, call == WRITE, (long)p, (long)bytes, 0, 0, 0);
    if (n <= 0)
      leave(n < 0 || call == WRITE);
    p += n;
    bytes -= (size_t)n;
  }
}

#endif
