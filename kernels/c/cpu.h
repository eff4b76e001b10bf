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

ES_CPU_FN int es_cpu_has_neon(void) { return 1; }
ES_CPU_FN int es_cpu_has_wasm(void) { return 1; }
ES_CPU_FN int es_cpu_has_scalar(void) { return 1; }

#endif
