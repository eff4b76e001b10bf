/* Which instruction sets this CPU (and its operating system) supports. */
#ifndef ES_CPU_H
#define ES_CPU_H
#include <stdint.h>

#define ES_CPU_FN static inline __attribute__((unused))

#if defined(__x86_64__)

ES_CPU_FN void es_cpuid(uint32_t leaf, uint32_t sub, uint32_t r[4]) {
  __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "a"(leaf), "c"(sub));
}

/* bits of XCR0: which registers the operating system saves */
ES_CPU_FN uint32_t es_cpu_saved(void) {
  uint32_t r[4], low, high;
  es_cpuid(1, 0, r);
  if (!(r[2] >> 27 & 1))
    return 0; /* OSXSAVE */
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  (void)high;
  return low;
}

ES_CPU_FN int es_cpu_has_sse2(void) { return 1; }

ES_CPU_FN int es_cpu_has_avx2(void) {
  uint32_t r[4];
  es_cpuid(0, 0, r);
  if (r[0] < 7)
    return 0;
  es_cpuid(1, 0, r);
  if (!(r[2] >> 12 & 1) || !(r[2] >> 29 & 1))
    return 0; /* FMA, F16C */
  if ((es_cpu_saved() & 6) != 6)
    return 0;
  es_cpuid(7, 0, r);
  return (r[1] >> 5 & 1) && (r[1] >> 3 & 1) && (r[1] >> 8 & 1); /* AVX2, BMI1, BMI2 */
}

ES_CPU_FN int es_cpu_has_avx512(void) {
  const uint32_t wanted = 1u << 16 | 1u << 17 | 1u << 28 | 1u << 30 | 1u << 31; /* F DQ CD BW VL */
  uint32_t r[4];
  if (!es_cpu_has_avx2() || (es_cpu_saved() & 0xe6) != 0xe6)
    return 0;
  es_cpuid(7, 0, r);
  return (r[1] & wanted) == wanted;
}

ES_CPU_FN int es_cpu_has_avx512vnni(void) {
  uint32_t r[4];
  if (!es_cpu_has_avx512())
    return 0;
  es_cpuid(7, 0, r);
  return r[2] >> 11 & 1;
}

ES_CPU_FN int es_cpu_has_avx2vnni(void) {
  uint32_t r[4];
  if (!es_cpu_has_avx2())
    return 0;
  es_cpuid(7, 0, r);
  if (r[0] < 1)
    return 0; /* no second page */
  es_cpuid(7, 1, r);
  return r[0] >> 4 & 1;
}

#endif

#if defined(__aarch64__) && defined(__linux__)

ES_CPU_FN long es_cpu_call(long number, long a, long b, long c, long d) {
  register long x8 __asm__("x8") = number, x0 __asm__("x0") = a, x1 __asm__("x1") = b;
  register long x2 __asm__("x2") = c, x3 __asm__("x3") = d;
  __asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2), "r"(x3) : "memory");
  return x0;
}

/* What the kernel told the process at its start: getauxval() would need libc, and reading the
 * processor's own registers is a fault before Linux 4.11. */
ES_CPU_FN int es_cpu_has_neondot(void) {
  enum { OPENAT = 56, CLOSE = 57, READ = 63, HERE = -100, CLOEXEC = 0x80000, HWCAP = 16 };
  static const char name[] = "/proc/self/auxv";
  uint64_t pairs[64][2];
  long n, file = es_cpu_call(OPENAT, HERE, (long)name, CLOEXEC, 0);
  if (file < 0)
    return 0;
  n = es_cpu_call(READ, file, (long)pairs, sizeof pairs, 0);
  es_cpu_call(CLOSE, file, 0, 0, 0);
  for (long i = 0; i < n / 16; i++) {
    if (pairs[i][0] == HWCAP)
      return pairs[i][1] >> 20 & 1; /* ASIMDDP */
  }
  return 0;
}

#endif

ES_CPU_FN int es_cpu_has_neon(void) { return 1; }
ES_CPU_FN int es_cpu_has_wasm(void) { return 1; }
ES_CPU_FN int es_cpu_has_scalar(void) { return 1; }

#endif
