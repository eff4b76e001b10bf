#include "tiny.h"
#define ES_ISA_SCALAR 1
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

/* Transcendental functions without libm, for code that TVM generates.
 *
 * Everything is computed in double and rounded once, so a float result is correct to about half
 * an ulp. These are the rare functions; exp, tanh, sigmoid and log of float32 arrays are inlined
 * as polynomials by edgeseq/lower/mathlib.py (native code) or vectorised by the C compiler.
 */
#ifndef ESM_H
#define ESM_H
#include <stdint.h>

#ifndef ESM_FN
#define ESM_FN static inline __attribute__((unused))
#endif

/* sqrt is one instruction wherever it matters, once nobody asks for errno */
#if defined(__clang__)
#define ESM_SQRT(x) __builtin_elementwise_sqrt(x)
#else
#pragma GCC optimize("no-math-errno")
#define ESM_SQRT(x) (sizeof(x) == 4 ? __builtin_sqrtf((float)(x)) : __builtin_sqrt(x))
#endif

#define ESM_INF __builtin_inf()
#define ESM_NAN __builtin_nan("")

ESM_FN double esm_bits_double(uint64_t bits) {
  union {
    uint64_t u;
    double d;
  } v;
  v.u = bits;
  return v.d;
}

ESM_FN uint64_t esm_double_bits(double x) {
  union {
    double d;
    uint64_t u;
  } v;
  v.d = x;
  return v.u;
}

/* largest integer <= x for |x| < 2^52 */
ESM_FN double esm_floor64(double x) {
  double t;
  if (!(x > -4503599627370496.0 && x < 4503599627370496.0))
    return x;
  t = (double)(int64_t)x;
  return t > x ? t - 1.0 : t;
}

/* 2^n, n in [-1022, 1023] */
ESM_FN double esm_pow2i(int n) { return esm_bits_double((uint64_t)(n + 1023) << 52); }

ESM_FN double esm_exp64(double x) {
  double n, r, p;
  int i, half;
  if (x != x)
    return x;
  if (x > 709.79)
    return ESM_INF;
  if (x < -745.2)
    return 0.0;
  n = esm_floor64(x * 1.4426950408889634 + 0.5);
  r = (x - n * 6.93147180369123816490e-01) - n * 1.90821492927058770002e-10;
  p = 1.0; /* Taylor: |r| <= ln(2)/2, the 14th term is below 2^-53 */
  for (i = 14; i > 0; i--)
    p = p * r / i + 1.0;
  half = (int)n / 2;
  return p * esm_pow2i(half) * esm_pow2i((int)n - half);
}

ESM_FN double esm_log64(double x) {
  uint64_t bits;
  int e = 0, i;
  double m, s, z, p;
  if (x != x || x < 0.0)
    return ESM_NAN;
  if (x == 0.0)
    return -ESM_INF;
  if (x == ESM_INF)
    return x;
  if (x < 2.2250738585072014e-308) {
    x *= 18014398509481984.0; /* 2^54 */
    e = -54;
  }
  bits = esm_double_bits(x);
  e += (int)(bits >> 52) - 1023;
  m = esm_bits_double((bits & 0xfffffffffffffULL) | 0x3ff0000000000000ULL);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    e++;
  }
  s = (m - 1.0) / (m + 1.0); /* log m = 2 atanh s, |s| <= 0.1716 */
  z = s * s;
  p = 0.0;
  for (i = 23; i > 0; i -= 2)
    p = p * z + 1.0 / i;
  return e * 6.93147180369123816490e-01 + (2.0 * s * p + e * 1.90821492927058770002e-10);
}

ESM_FN double esm_expm1_64(double x) {
  double p;
  int i;
  if (x > 0.5 || x < -0.5 || x != x)
    return esm_exp64(x) - 1.0;
  p = 1.0;
  for (i = 18; i > 1; i--)
    p = p * x / i + 1.0;
  return p * x;
}

ESM_FN double esm_log1p64(double x) {
  double u = 1.0 + x;
  if (u == 1.0)
    return x;
  if (u == ESM_INF || !(u > 0.0))
    return esm_log64(u);
  return esm_log64(u) * (x / (u - 1.0)); /* undoes the rounding of 1 + x */
}

ESM_FN double esm_sqrt64(double x) { return ESM_SQRT(x); }

ESM_FN float esm_sqrt32(float x) { return ESM_SQRT(x); }
ESM_FN double esm_rsqrt64(double x) { return 1.0 / ESM_SQRT(x); }
ESM_FN double esm_fabs64(double x) { return __builtin_fabs(x); }
ESM_FN float esm_fabs32(float x) { return __builtin_fabsf(x); }
ESM_FN double esm_ceil64(double x) { return -esm_floor64(-x); }
ESM_FN double esm_trunc64(double x) { return x < 0.0 ? esm_ceil64(x) : esm_floor64(x); }
/* half away from zero */
ESM_FN double esm_round64(double x) { return x < 0.0 ? esm_ceil64(x - 0.5) : esm_floor64(x + 0.5); }
/* half to even: adding 2^52 rounds to an integer */
ESM_FN double esm_nearbyint64(double x) {
  volatile double big = x < 0.0 ? -4503599627370496.0 : 4503599627370496.0;
  double r;
  if (!(x > -4503599627370496.0 && x < 4503599627370496.0))
    return x;
  r = x + big;
  return r - big;
}
ESM_FN double esm_exp264(double x) { return esm_exp64(x * 0.69314718055994530942); }
ESM_FN double esm_exp1064(double x) { return esm_exp64(x * 2.30258509299404568402); }
ESM_FN double esm_log264(double x) { return esm_log64(x) * 1.44269504088896340736; }
ESM_FN double esm_log1064(double x) { return esm_log64(x) * 0.43429448190325182765; }

ESM_FN double esm_tanh64(double x) {
  double e;
  if (x > 20.0)
    return 1.0;
  if (x < -20.0)
    return -1.0;
  e = esm_expm1_64(2.0 * x);
  return e / (e + 2.0);
}

ESM_FN double esm_sigmoid64(double x) { return 1.0 / (1.0 + esm_exp64(-x)); }

ESM_FN double esm_sinh64(double x) {
  double e;
  if (x > 20.0 || x < -20.0)
    return 0.5 * (esm_exp64(x) - esm_exp64(-x));
  e = esm_expm1_64(x);
  return 0.5 * (e + e / (e + 1.0));
}

ESM_FN double esm_cosh64(double x) { return 0.5 * (esm_exp64(x) + esm_exp64(-x)); }

/* Maclaurin series below 3, continued fraction of erfc above. */
ESM_FN double esm_erf64(double x) {
  double a = x < 0.0 ? -x : x, z = a * a, sum, term, f;
  int i;
  if (x != x)
    return x;
  if (a > 6.0)
    return x < 0.0 ? -1.0 : 1.0;
  if (a < 3.0) {
    sum = term = a;
    for (i = 1; i < 60; i++) {
      term *= -z / i;
      sum += term / (2 * i + 1);
    }
    sum *= 1.12837916709551257390; /* 2 / sqrt(pi) */
  } else {
    f = 0.0;
    for (i = 60; i > 0; i--)
      f = 0.5 * i / (a + f);
    sum = 1.0 - esm_exp64(-z) / ((a + f) * 1.77245385090551602730);
  }
  return x < 0.0 ? -sum : sum;
}

/* sin(x + quarter * pi/2); the argument is reduced by pi/2 in three parts */
ESM_FN double esm_sin_quarter(double x, int quarter) {
  double n, r, z, p;
  int i, q;
  if (!(x > -1e9 && x < 1e9))
    return ESM_NAN; /* reduction has lost its digits */
  n = esm_floor64(x * 0.63661977236758134308 + 0.5);
  r = ((x - n * 1.57079632673412561417e+00) - n * 6.07710050630396597660e-11) -
      n * 2.02226624879595063154e-21;
  q = (int)((int64_t)n & 3) + quarter;
  z = r * r;
  p = 1.0;
  if (q & 1) {
    for (i = 20; i > 0; i -= 2)
      p = 1.0 - p * z / (i * (i - 1));
  } else {
    for (i = 21; i > 1; i -= 2)
      p = 1.0 - p * z / (i * (i - 1));
    p *= r;
  }
  return (q & 2) ? -p : p;
}

ESM_FN double esm_sin64(double x) { return esm_sin_quarter(x, 0); }
ESM_FN double esm_cos64(double x) { return esm_sin_quarter(x, 1); }
ESM_FN double esm_tan64(double x) { return esm_sin64(x) / esm_cos64(x); }

ESM_FN double esm_atan64(double x) {
  double a = x < 0.0 ? -x : x, base = 0.0, z, p = 0.0;
  int i;
  if (x != x)
    return x;
  if (a > 2.41421356237309504880) { /* tan(3 pi / 8) */
    base = 1.57079632679489661923;
    a = -1.0 / a;
  } else if (a > 0.41421356237309504880) {
    base = 0.78539816339744830962;
    a = (a - 1.0) / (a + 1.0);
  }
  z = a * a; /* |a| <= tan(pi/8) = 0.414: the series to the 45th power is below 2^-53 */
  for (i = 45; i > 0; i -= 2)
    p = 1.0 / i - p * z;
  p = base + a * p;
  return x < 0.0 ? -p : p;
}

ESM_FN double esm_asin64(double x) {
  double c;
  if (!(x >= -1.0 && x <= 1.0))
    return ESM_NAN;
  c = esm_sqrt64((1.0 - x) * (1.0 + x));
  if (c == 0.0)
    return x * 1.57079632679489661923;
  return esm_atan64(x / c);
}

ESM_FN double esm_acos64(double x) { return 1.57079632679489661923 - esm_asin64(x); }

ESM_FN double esm_asinh64(double x) {
  double a = x < 0.0 ? -x : x;
  double r = a > 1e150 ? esm_log64(a) + 0.69314718055994530942
                       : esm_log1p64(a + a * a / (1.0 + esm_sqrt64(a * a + 1.0)));
  return x < 0.0 ? -r : r;
}

ESM_FN double esm_acosh64(double x) {
  double t = x - 1.0;
  if (!(x >= 1.0))
    return ESM_NAN;
  if (x > 1e150)
    return esm_log64(x) + 0.69314718055994530942;
  return esm_log1p64(t + esm_sqrt64(2.0 * t + t * t));
}

ESM_FN double esm_atanh64(double x) { return 0.5 * esm_log1p64(2.0 * x / (1.0 - x)); }

ESM_FN double esm_pow64(double x, double y) {
  double n = esm_floor64(y), r = 1.0, b;
  int whole = n == y, odd = whole && y > -9e15 && y < 9e15 && ((int64_t)y & 1);
  int64_t k;
  if (y == 0.0 || x == 1.0)
    return 1.0;
  if (x != x || y != y)
    return ESM_NAN;
  if (whole && y > -65.0 && y < 65.0) { /* exact for the powers that models use */
    k = (int64_t)(y < 0.0 ? -y : y);
    for (b = x; k; k >>= 1, b *= b)
      if (k & 1)
        r *= b;
    return y < 0.0 ? 1.0 / r : r;
  }
  if (x < 0.0) {
    if (!whole)
      return ESM_NAN;
    r = esm_exp64(y * esm_log64(-x));
    return odd ? -r : r;
  }
  if (x == 0.0)
    return y < 0.0 ? ESM_INF : 0.0;
  return esm_exp64(y * esm_log64(x));
}

ESM_FN double esm_atan264(double y, double x) {
  double a;
  if (x != x || y != y)
    return ESM_NAN;
  if (x == 0.0 && y == 0.0)
    return 0.0;
  if (x == 0.0)
    return y > 0.0 ? 1.57079632679489661923 : -1.57079632679489661923;
  a = esm_atan64(y / x);
  if (x > 0.0)
    return a;
  return y >= 0.0 ? a + 3.14159265358979323846 : a - 3.14159265358979323846;
}

/* remainder with the sign of x; exact, by subtracting y scaled by powers of two */
ESM_FN double esm_fmod64(double x, double y) {
  double a = x < 0.0 ? -x : x, b = y < 0.0 ? -y : y, s;
  if (!(b > 0.0) || !(a < ESM_INF) || x != x)
    return ESM_NAN;
  while (a >= b) {
    s = b;
    while (s <= a * 0.5)
      s *= 2.0;
    a -= s;
  }
  return x < 0.0 ? -a : a;
}

ESM_FN double esm_hypot64(double x, double y) { return esm_sqrt64(x * x + y * y); }

#define ESM_UNARY(name)                                                                            \
  ESM_FN float esm_##name##32(float x) { return (float)esm_##name##64((double)x); }
#define ESM_BINARY(name)                                                                           \
  ESM_FN float esm_##name##32(float x, float y) {                                                  \
    return (float)esm_##name##64((double)x, (double)y);                                            \
  }

ESM_UNARY(rsqrt)
ESM_UNARY(floor)
ESM_UNARY(ceil)
ESM_UNARY(trunc)
ESM_UNARY(round)
ESM_UNARY(nearbyint)
ESM_UNARY(exp2)
ESM_UNARY(exp10)
ESM_UNARY(log2)
ESM_UNARY(log10)
ESM_UNARY(log1p)
ESM_UNARY(erf)
ESM_UNARY(sin)
ESM_UNARY(cos)
ESM_UNARY(tan)
ESM_UNARY(sinh)
ESM_UNARY(cosh)
ESM_UNARY(asin)
ESM_UNARY(acos)
ESM_UNARY(atan)
ESM_UNARY(asinh)
ESM_UNARY(acosh)
ESM_UNARY(atanh)
ESM_UNARY(log)
ESM_BINARY(pow)
ESM_BINARY(atan2)
ESM_BINARY(fmod)
ESM_BINARY(hypot)

/* float32 exp, tanh and sigmoid are hot: polynomials (coefficients: Cephes expf, tanhf) */
ESM_FN float esm_exp32(float x) {
  float n, r, p;
  int k, half;
  union {
    int32_t i;
    float f;
  } a, b;
  x = x > 88.72f ? 88.72f : x;
  x = x < -87.33f ? -87.33f : x;
  n = x * 1.44269504f;
  k = (int)(n + (n < 0.0f ? -0.5f : 0.5f));
  n = (float)k;
  r = x - n * 0.693359375f - n * -2.12194440e-4f;
  p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 0.5f;
  p = p * r * r + r + 1.0f;
  half = k >> 1;
  a.i = (int32_t)((uint32_t)(half + 127) << 23);
  b.i = (int32_t)((uint32_t)(k - half + 127) << 23);
  return p * a.f * b.f;
}

ESM_FN float esm_sigmoid32(float x) { return 1.0f / (1.0f + esm_exp32(-x)); }

ESM_FN float esm_tanh32(float x) {
  float z = x * x, p = -5.70498872745e-3f, far;
  p = p * z + 2.06390887954e-2f;
  p = p * z + -5.37397155531e-2f;
  p = p * z + 1.33314422036e-1f;
  p = p * z + -3.33332819422e-1f;
  far = 1.0f - 2.0f / (1.0f + esm_exp32(2.0f * x));
  return z < 0.390625f ? x + x * z * p : far;
}

#endif

/*
 * What every kernel stands on: no libc, no allocation, no globals.
 *
 * Define one of ES_ISA_AVX512, ES_ISA_AVX2, ES_ISA_SSE2, ES_ISA_NEON, ES_ISA_WASM before including
 * a kernel, and compile for that instruction set; none of them means plain C. One translation unit
 * has one instruction set.
 */
#ifndef ES_H
#define ES_H

#include <stddef.h>
#include <stdint.h>

/* Kernels are inlined into wrappers that know their sizes, so that the sizes fold away. */
#if defined(__OPTIMIZE__)
#define ES_FN static inline __attribute__((always_inline, unused))
#define ES_FN_RARE static __attribute__((noinline, unused)) /* for what would be large everywhere */
#elif defined(__GNUC__) /* nothing folds at -O0: every tile, inlined into every other, explodes */
#define ES_FN static inline __attribute__((unused))
#define ES_FN_RARE static __attribute__((unused))
#else
#define ES_FN static inline
#define ES_FN_RARE static
#endif

/* ES_UNROLL: a loop over the registers of a tile. ES_LOOP: keep this loop as small as it is. */
#if defined(__clang__)
#define ES_UNROLL _Pragma("clang loop unroll(full)")
#define ES_LOOP _Pragma("clang loop unroll(disable) vectorize(disable)")
#elif defined(__GNUC__)
#define ES_UNROLL _Pragma("GCC unroll 32")
#define ES_LOOP _Pragma("GCC unroll 1")
#else
#define ES_UNROLL
#define ES_LOOP
#endif

#if defined(ES_ISA_AVX512)
/* AVX-512F: 16 lanes, 32 registers. The interface is described in scalar.h. */
#if !defined(__AVX512F__)
#error "compile with AVX-512F enabled (x86-64-v4)"
#endif
#include <immintrin.h>

#define ES_W 16
#define ES_REGS 32
typedef __m512 es_v;

#define ES_LANES(n) ((__mmask16)((1u << (n)) - 1u))

ES_FN es_v es_load(const float *p) { return _mm512_loadu_ps(p); }
ES_FN void es_store(float *p, es_v v) { _mm512_storeu_ps(p, v); }
ES_FN es_v es_load_n(const float *p, int n) { return _mm512_maskz_loadu_ps(ES_LANES(n), p); }
ES_FN void es_store_n(float *p, es_v v, int n) { _mm512_mask_storeu_ps(p, ES_LANES(n), v); }
ES_FN es_v es_set(float a) { return _mm512_set1_ps(a); }
ES_FN float es_first(es_v v) { return _mm_cvtss_f32(_mm512_castps512_ps128(v)); }
ES_FN float es_sum(es_v v) { return _mm512_reduce_add_ps(v); }

ES_FN es_v es_add(es_v a, es_v b) { return _mm512_add_ps(a, b); }
ES_FN es_v es_sub(es_v a, es_v b) { return _mm512_sub_ps(a, b); }
ES_FN es_v es_mul(es_v a, es_v b) { return _mm512_mul_ps(a, b); }
ES_FN es_v es_div(es_v a, es_v b) { return _mm512_div_ps(a, b); }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return _mm512_fmadd_ps(a, b, c); }
ES_FN es_v es_min(es_v a, es_v b) { return _mm512_min_ps(b, a); }
ES_FN es_v es_max(es_v a, es_v b) { return _mm512_max_ps(b, a); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(a, b, _CMP_GT_OQ), no, yes);
}
ES_FN es_v es_pow2_of_bits(es_v t) {
  __m512i n = _mm512_slli_epi32(_mm512_castps_si512(t), 23);
  return _mm512_castsi512_ps(_mm512_add_epi32(n, _mm512_set1_epi32(0x3f800000)));
}

#elif defined(ES_ISA_AVX2)
/* AVX2 with FMA: 8 lanes, 16 registers. The interface is described in scalar.h. */
#if !defined(__AVX2__) || !defined(__FMA__)
#error "compile with AVX2 and FMA enabled (x86-64-v3)"
#endif
#include <immintrin.h>

#define ES_W 8
#define ES_REGS 16
typedef __m256 es_v;

ES_FN es_v es_load(const float *p) { return _mm256_loadu_ps(p); }
ES_FN void es_store(float *p, es_v v) { _mm256_storeu_ps(p, v); }
ES_FN es_v es_load_n(const float *p, int n) {
  const __m256i lane = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
  return _mm256_maskload_ps(p, _mm256_cmpgt_epi32(_mm256_set1_epi32(n), lane));
}
/* No maskstore: it takes tens of micro-operations on some CPUs and forwards to no later load. */
ES_FN void es_store_n(float *p, es_v v, int n) {
  __m128 part = _mm256_castps256_ps128(v);
  if (n >= 8) {
    _mm256_storeu_ps(p, v);
    return;
  }
  if (n & 4) {
    _mm_storeu_ps(p, part);
    part = _mm256_extractf128_ps(v, 1);
    p += 4;
  }
  if (n & 2) {
    _mm_storel_pi((__m64 *)p, part);
    part = _mm_movehl_ps(part, part);
    p += 2;
  }
  if (n & 1)
    _mm_store_ss(p, part);
}
ES_FN es_v es_set(float a) { return _mm256_set1_ps(a); }
ES_FN float es_first(es_v v) { return _mm256_cvtss_f32(v); }
ES_FN float es_sum(es_v v) {
  __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_add_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_add_ss(s, _mm_shuffle_ps(s, s, 1)));
}

ES_FN es_v es_add(es_v a, es_v b) { return _mm256_add_ps(a, b); }
ES_FN es_v es_sub(es_v a, es_v b) { return _mm256_sub_ps(a, b); }
ES_FN es_v es_mul(es_v a, es_v b) { return _mm256_mul_ps(a, b); }
ES_FN es_v es_div(es_v a, es_v b) { return _mm256_div_ps(a, b); }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return _mm256_fmadd_ps(a, b, c); }
ES_FN es_v es_min(es_v a, es_v b) { return _mm256_min_ps(b, a); }
ES_FN es_v es_max(es_v a, es_v b) { return _mm256_max_ps(b, a); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  return _mm256_blendv_ps(no, yes, _mm256_cmp_ps(a, b, _CMP_GT_OQ));
}
ES_FN es_v es_pow2_of_bits(es_v t) {
  __m256i n = _mm256_slli_epi32(_mm256_castps_si256(t), 23);
  return _mm256_castsi256_ps(_mm256_add_epi32(n, _mm256_set1_epi32(0x3f800000)));
}

#elif defined(ES_ISA_SSE2)
/* SSE2, which every x86-64 has: 4 lanes, 16 registers. The interface is described in scalar.h. */
#if !defined(__SSE2__)
#error "compile with SSE2 enabled"
#endif
#include <emmintrin.h>

#define ES_W 4
#define ES_REGS 16
typedef __m128 es_v;

ES_FN es_v es_load(const float *p) { return _mm_loadu_ps(p); }
ES_FN void es_store(float *p, es_v v) { _mm_storeu_ps(p, v); }
ES_FN es_v es_load_n(const float *p, int n) {
  if (n >= 4)
    return _mm_loadu_ps(p);
  __m128 low = n & 2 ? _mm_loadl_pi(_mm_setzero_ps(), (const __m64 *)p) : _mm_setzero_ps();
  if (!(n & 1))
    return low;
  return n & 2 ? _mm_movelh_ps(low, _mm_load_ss(p + 2)) : _mm_load_ss(p);
}
ES_FN void es_store_n(float *p, es_v v, int n) {
  if (n >= 4) {
    _mm_storeu_ps(p, v);
    return;
  }
  if (n & 2) {
    _mm_storel_pi((__m64 *)p, v);
    v = _mm_movehl_ps(v, v);
    p += 2;
  }
  if (n & 1)
    _mm_store_ss(p, v);
}
ES_FN es_v es_set(float a) { return _mm_set1_ps(a); }
ES_FN float es_first(es_v v) { return _mm_cvtss_f32(v); }
ES_FN float es_sum(es_v v) {
  v = _mm_add_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_add_ss(v, _mm_shuffle_ps(v, v, 1)));
}

ES_FN es_v es_add(es_v a, es_v b) { return _mm_add_ps(a, b); }
ES_FN es_v es_sub(es_v a, es_v b) { return _mm_sub_ps(a, b); }
ES_FN es_v es_mul(es_v a, es_v b) { return _mm_mul_ps(a, b); }
ES_FN es_v es_div(es_v a, es_v b) { return _mm_div_ps(a, b); }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return _mm_add_ps(_mm_mul_ps(a, b), c); }
ES_FN es_v es_min(es_v a, es_v b) { return _mm_min_ps(b, a); }
ES_FN es_v es_max(es_v a, es_v b) { return _mm_max_ps(b, a); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  __m128 m = _mm_cmpgt_ps(a, b);
  return _mm_or_ps(_mm_and_ps(m, yes), _mm_andnot_ps(m, no));
}
ES_FN es_v es_pow2_of_bits(es_v t) {
  __m128i n = _mm_slli_epi32(_mm_castps_si128(t), 23);
  return _mm_castsi128_ps(_mm_add_epi32(n, _mm_set1_epi32(0x3f800000)));
}

#elif defined(ES_ISA_NEON)
/* NEON of AArch64: 4 lanes, 32 registers. The interface is described in scalar.h. */
#if !defined(__aarch64__)
#error "compile for AArch64"
#endif
#include <arm_neon.h>

#define ES_W 4
#define ES_REGS 32
typedef float32x4_t es_v;

ES_FN es_v es_load(const float *p) { return vld1q_f32(p); }
ES_FN void es_store(float *p, es_v v) { vst1q_f32(p, v); }
ES_FN es_v es_load_n(const float *p, int n) {
  if (n >= 4)
    return vld1q_f32(p);
  es_v v = vdupq_n_f32(0.0f);
  if (n > 0)
    v = vld1q_lane_f32(p, v, 0);
  if (n > 1)
    v = vld1q_lane_f32(p + 1, v, 1);
  if (n > 2)
    v = vld1q_lane_f32(p + 2, v, 2);
  return v;
}
ES_FN void es_store_n(float *p, es_v v, int n) {
  if (n >= 4) {
    vst1q_f32(p, v);
    return;
  }
  if (n > 0)
    vst1q_lane_f32(p, v, 0);
  if (n > 1)
    vst1q_lane_f32(p + 1, v, 1);
  if (n > 2)
    vst1q_lane_f32(p + 2, v, 2);
}
ES_FN es_v es_set(float a) { return vdupq_n_f32(a); }
ES_FN float es_first(es_v v) { return vgetq_lane_f32(v, 0); }
ES_FN float es_sum(es_v v) { return vaddvq_f32(v); }

ES_FN es_v es_add(es_v a, es_v b) { return vaddq_f32(a, b); }
ES_FN es_v es_sub(es_v a, es_v b) { return vsubq_f32(a, b); }
ES_FN es_v es_mul(es_v a, es_v b) { return vmulq_f32(a, b); }
ES_FN es_v es_div(es_v a, es_v b) { return vdivq_f32(a, b); }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return vfmaq_f32(c, a, b); }
ES_FN es_v es_min(es_v a, es_v b) { return vminq_f32(a, b); }
ES_FN es_v es_max(es_v a, es_v b) { return vmaxq_f32(a, b); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  return vbslq_f32(vcgtq_f32(a, b), yes, no);
}
ES_FN es_v es_pow2_of_bits(es_v t) {
  uint32x4_t n = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
  return vreinterpretq_f32_u32(vaddq_u32(n, vdupq_n_u32(0x3f800000)));
}

#elif defined(ES_ISA_WASM)
/* WebAssembly simd128: 4 lanes; 16 registers, because most hosts are x86. Interface: scalar.h. */
#if !defined(__wasm_simd128__)
#error "compile with -msimd128"
#endif
#include <wasm_simd128.h>

#define ES_W 4
#define ES_REGS 16
typedef v128_t es_v;

ES_FN es_v es_load(const float *p) { return wasm_v128_load(p); }
ES_FN void es_store(float *p, es_v v) { wasm_v128_store(p, v); }
ES_FN es_v es_load_n(const float *p, int n) {
  if (n >= 4)
    return wasm_v128_load(p);
  es_v v = wasm_f32x4_const_splat(0.0f);
  if (n > 0)
    v = wasm_v128_load32_lane(p, v, 0);
  if (n > 1)
    v = wasm_v128_load32_lane(p + 1, v, 1);
  if (n > 2)
    v = wasm_v128_load32_lane(p + 2, v, 2);
  return v;
}
ES_FN void es_store_n(float *p, es_v v, int n) {
  if (n >= 4) {
    wasm_v128_store(p, v);
    return;
  }
  if (n > 0)
    wasm_v128_store32_lane(p, v, 0);
  if (n > 1)
    wasm_v128_store32_lane(p + 1, v, 1);
  if (n > 2)
    wasm_v128_store32_lane(p + 2, v, 2);
}
ES_FN es_v es_set(float a) { return wasm_f32x4_splat(a); }
ES_FN float es_first(es_v v) { return wasm_f32x4_extract_lane(v, 0); }
ES_FN float es_sum(es_v v) {
  v = wasm_f32x4_add(v, wasm_i32x4_shuffle(v, v, 2, 3, 2, 3));
  return wasm_f32x4_extract_lane(v, 0) + wasm_f32x4_extract_lane(v, 1);
}

ES_FN es_v es_add(es_v a, es_v b) { return wasm_f32x4_add(a, b); }
ES_FN es_v es_sub(es_v a, es_v b) { return wasm_f32x4_sub(a, b); }
ES_FN es_v es_mul(es_v a, es_v b) { return wasm_f32x4_mul(a, b); }
ES_FN es_v es_div(es_v a, es_v b) { return wasm_f32x4_div(a, b); }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
ES_FN es_v es_min(es_v a, es_v b) { return wasm_f32x4_pmin(a, b); }
ES_FN es_v es_max(es_v a, es_v b) { return wasm_f32x4_pmax(a, b); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  return wasm_v128_bitselect(yes, no, wasm_f32x4_gt(a, b));
}
ES_FN es_v es_pow2_of_bits(es_v t) {
  return wasm_i32x4_add(wasm_i32x4_shl(t, 23), wasm_i32x4_const_splat(0x3f800000));
}

#else
/*
 * Plain C, and the description of the interface that every header of this folder implements.
 *
 * Where the compiler has vector extensions (gcc, clang) a vector is four floats, which it maps to
 * whatever the machine has; elsewhere, or with ES_NO_VECTORS, it is one float.
 *
 *   ES_W, ES_REGS            lanes of a vector; vector registers to plan tiles for
 *   es_load, es_store        any alignment
 *   es_load_n, es_store_n    the first n lanes only, 0 <= n <= ES_W; the others load as zero, and memory
 *                            beyond them is not touched
 *   es_set, es_first         the same value in all lanes; lane 0
 *   es_sum                   sum of the lanes
 *   es_fma(a, b, c)          a * b + c, rounded once where the machine can
 *   es_min, es_max(a, b)     b if it is smaller (greater), else a: a NaN in a stays
 *   es_where_gt(a, b, y, n)  a > b ? y : n
 *   es_pow2_of_bits(t)       2^n for t = n + 1.5 * 2^23, -127 < n < 128
 */
#if defined(__GNUC__) && !defined(ES_NO_VECTORS)

#define ES_W 4
#define ES_REGS 16
typedef float es_v __attribute__((vector_size(16)));
typedef float es_v_any __attribute__((vector_size(16), aligned(4), may_alias));
typedef uint32_t es_bits __attribute__((vector_size(16)));

ES_FN es_v es_load(const float *p) { return *(const es_v_any *)p; }
ES_FN void es_store(float *p, es_v v) { *(es_v_any *)p = v; }
ES_FN es_v es_load_n(const float *p, int n) {
  if (n >= 4)
    return es_load(p);
  es_v v = {n > 0 ? p[0] : 0.0f, n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, 0.0f};
  return v;
}
ES_FN void es_store_n(float *p, es_v v, int n) {
  if (n >= 4) {
    es_store(p, v);
    return;
  }
  if (n > 0)
    p[0] = v[0];
  if (n > 1)
    p[1] = v[1];
  if (n > 2)
    p[2] = v[2];
}
ES_FN es_v es_set(float a) { return (es_v){a, a, a, a}; }
ES_FN float es_first(es_v v) { return v[0]; }
ES_FN float es_sum(es_v v) { return (v[0] + v[2]) + (v[1] + v[3]); }
ES_FN es_v es_where(es_bits m, es_v yes, es_v no) {
  return (es_v)((m & (es_bits)yes) | (~m & (es_bits)no));
}
ES_FN es_v es_min(es_v a, es_v b) { return es_where((es_bits)(b < a), b, a); }
ES_FN es_v es_max(es_v a, es_v b) { return es_where((es_bits)(b > a), b, a); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  return es_where((es_bits)(a > b), yes, no);
}
ES_FN es_v es_pow2_of_bits(es_v t) { return (es_v)(((es_bits)t << 23) + 0x3f800000u); }

#else

#define ES_W 1
#define ES_REGS 16
typedef float es_v;

ES_FN es_v es_load(const float *p) { return *p; }
ES_FN void es_store(float *p, es_v v) { *p = v; }
ES_FN es_v es_load_n(const float *p, int n) { return n > 0 ? *p : 0.0f; }
ES_FN void es_store_n(float *p, es_v v, int n) {
  if (n > 0)
    *p = v;
}
ES_FN es_v es_set(float a) { return a; }
ES_FN float es_first(es_v v) { return v; }
ES_FN float es_sum(es_v v) { return v; }
ES_FN es_v es_min(es_v a, es_v b) { return b < a ? b : a; }
ES_FN es_v es_max(es_v a, es_v b) { return b > a ? b : a; }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) { return a > b ? yes : no; }
ES_FN es_v es_pow2_of_bits(es_v t) {
  union {
    float f;
    uint32_t u;
  } bits = {t};
  bits.u = (bits.u << 23) + 0x3f800000u;
  return bits.f;
}

#endif

ES_FN es_v es_add(es_v a, es_v b) { return a + b; }
ES_FN es_v es_sub(es_v a, es_v b) { return a - b; }
ES_FN es_v es_mul(es_v a, es_v b) { return a * b; }
ES_FN es_v es_div(es_v a, es_v b) { return a / b; }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return a * b + c; }

#endif

/* The accumulators a tile may have, so that they, the weights and the inputs stay in registers. */
#define ES_ACCS (ES_REGS == 32 ? 24 : 12)

ES_FN int es_least(int a, int b) { return a < b ? a : b; }
ES_FN int es_round_up(int n, int to) { return (n + to - 1) / to * to; }

/* Store the first n lanes, where n may exceed a vector. */
ES_FN void es_store_upto(float *p, es_v v, int n) {
  if (n >= ES_W)
    es_store(p, v);
  else
    es_store_n(p, v, n);
}

ES_FN void es_copy(int n, const float *from, float *to) {
  int i = 0;
  ES_LOOP for (; i + ES_W <= n; i += ES_W) { es_store(to + i, es_load(from + i)); }
  if (i < n)
    es_store_n(to + i, es_load_n(from + i, n - i), n - i);
}

ES_FN void es_zero(int n, float *to) {
  int i = 0;
  ES_LOOP for (; i + ES_W <= n; i += ES_W) { es_store(to + i, es_set(0.0f)); }
  if (i < n)
    es_store_n(to + i, es_set(0.0f), n - i);
}

#endif

#define ES_MAX(x, y) ((x) > (y) ? (x) : (y))
#define ES_ALIGN(n) (((n) + 63) / 64 * 64)

static const float tiny_w0[] __attribute__((aligned(64))) = {
    0.899999976f
};
static const float tiny_w1[] __attribute__((aligned(64))) = {
    0.5f, -1.25f, 2.0f
};
static const int64_t tiny_w2[] __attribute__((aligned(64))) = {
    1
};
#if defined(__GNUC__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wunused-variable"
#endif

// tvm target: {"kind":"c","tag":"","keys":["cpu"]}
static ES_NOINLINE ES_NO_CALLS void tiny_t_step_0_add(int64_t* ES_RESTRICT count_p, int64_t* ES_RESTRICT B_p, int64_t* ES_RESTRICT T_add_p) {
  T_add_p[0] = (count_p[0] + B_p[0]);
}

static ES_NOINLINE ES_NO_CALLS void tiny_t_step_2_multiply_add(float* ES_RESTRICT level_p, float* ES_RESTRICT param_0_p, float* ES_RESTRICT x_p, float* ES_RESTRICT T_add_intermediate_p) {
  for (int32_t ax1 = 0; ax1 < 3; ++ax1) {
    T_add_intermediate_p[ax1] = ((level_p[ax1] * param_0_p[0]) + x_p[ax1]);
  }
}

static ES_NOINLINE ES_NO_CALLS void tiny_t_step_3_multiply(float* ES_RESTRICT lv5_p, float* ES_RESTRICT B_p, float* ES_RESTRICT T_multiply_p) {
  for (int32_t ax1 = 0; ax1 < 3; ++ax1) {
    T_multiply_p[ax1] = (lv5_p[ax1] * B_p[ax1]);
  }
}

static ES_NOINLINE ES_NO_CALLS void tiny_t_step_4_sum(float* ES_RESTRICT lv2_p, float* ES_RESTRICT lv2_red_p) {
  for (int32_t ax1_init = 0; ax1_init < 3; ++ax1_init) {
    lv2_red_p[ax1_init] = 0.000000e+00f;
  }
  for (int32_t k0 = 0; k0 < 3; ++k0) {
    for (int32_t ax1 = 0; ax1 < 3; ++ax1) {
      lv2_red_p[ax1] = (lv2_red_p[ax1] + lv2_p[((k0 * 3) + ax1)]);
    }
  }
}

static ES_NOINLINE ES_NO_CALLS void tiny_t_step_5_tanh(float* ES_RESTRICT lv1_p, float* ES_RESTRICT compute_p) {
  for (int32_t i1 = 0; i1 < 3; ++i1) {
    compute_p[i1] = esm_tanh32(lv1_p[i1]);
  }
}

#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif

/* State memory: a header of 64 bytes, then the states. */
#define HEADER 64
static const uint8_t tiny_magic[8] = {'E', 'D', 'G', 'E', 'S', 'E', 'Q', 0};
static const uint8_t tiny_hash[8] = { 0xc7, 0xe3, 0x06, 0x4c, 0xc5, 0xe4, 0x78, 0x22 };

struct tiny_header {
    uint8_t magic[8];
    uint32_t abi;
    uint32_t isa;
    uint8_t hash[8];
};

static ES_NOINLINE void tiny_copy(uint8_t *to, const uint8_t *from, int64_t bytes) {
    if (to != from) es_copy_bytes(to, from, bytes);
}

static ES_NOINLINE void tiny_copy_rows(uint8_t *to, int64_t to_stride, const uint8_t *from,
                                          int64_t from_stride, int64_t bytes, int64_t rows) {
    if (bytes == 4) { /* one column of a float matrix */
        for (int64_t r = 0; r < rows; r++, to += to_stride, from += from_stride) {
            ES_COPY(es_block4, to, from);
        }
        return;
    }
    for (int64_t r = 0; r < rows; r++, to += to_stride, from += from_stride) {
        es_copy_bytes(to, from, bytes);
    }
}

static int tiny_differs(const uint8_t *a, const uint8_t *b) {
    int d = 0;
    for (int i = 0; i < 8; i++) d |= a[i] ^ b[i];
    return d;
}

static int tiny_check(const void *state, const void *arena) {
    if (!state || !arena) return TINY_ERROR_NULL;
    if (((uintptr_t)state | (uintptr_t)arena) & 63) return TINY_ERROR_ALIGNMENT;
    if (tiny_differs(((const struct tiny_header *)state)->magic, tiny_magic)) {
        return TINY_ERROR_STATE;
    }
    if (tiny_differs(((const struct tiny_header *)state)->hash, tiny_hash)) {
        return TINY_ERROR_MODEL;
    }
    return TINY_OK;
}

static void tiny_compute_step(void *state, void *arena, const float *x, float *y, int64_t *seen) {
    uint8_t *const s = (uint8_t *)state;
    uint8_t *const a = (uint8_t *)arena;

    tiny_t_step_2_multiply_add((void *)(s + 64), (void *)((const uint8_t *)tiny_w0), (void *)((const uint8_t *)x), (void *)(a + 64));
    tiny_copy((uint8_t *)(a), (const uint8_t *)(s + 128), 24);
    tiny_copy((uint8_t *)(a + 24), (const uint8_t *)((const uint8_t *)x), 12);
    tiny_t_step_4_sum((void *)(a), (void *)(a + 128));
    tiny_t_step_3_multiply((void *)(a + 128), (void *)((const uint8_t *)tiny_w1), (void *)((uint8_t *)y));
    tiny_t_step_5_tanh((void *)(a + 64), (void *)((uint8_t *)y + 12));
    tiny_t_step_0_add((void *)(s + 192), (void *)((const uint8_t *)tiny_w2), (void *)((uint8_t *)seen));
    tiny_copy((uint8_t *)(s + 64), (const uint8_t *)(a + 64), 12);
    tiny_copy((uint8_t *)(s + 128), (const uint8_t *)(a + 12), 24);
    tiny_copy((uint8_t *)(s + 192), (const uint8_t *)((uint8_t *)seen), 8);
}

size_t tiny_state_size(void) { return TINY_STATE_SIZE; }

size_t tiny_arena_size(int64_t T) {
    (void)T;
    return 192;
}

int tiny_init(void *state) {
    struct tiny_header *const h = (struct tiny_header *)state;
    int level = 0;
    if (!state) return TINY_ERROR_NULL;
    if ((uintptr_t)state & 63) return TINY_ERROR_ALIGNMENT;
    (void)level;
    tiny_copy(h->magic, tiny_magic, 8);
    tiny_copy(h->hash, tiny_hash, 8);
    h->abi = TINY_ABI;
    h->isa = (uint32_t)level;
    for (int i = 24; i < HEADER; i++) ((uint8_t *)state)[i] = 0;
    return tiny_reset(state);
}

int tiny_reset(void *state) {
    uint8_t *const s = (uint8_t *)state;
    const int error = tiny_check(state, state);
    if (error) return error;
    for (size_t i = HEADER; i < TINY_STATE_SIZE; i++) s[i] = 0;
    return TINY_OK;
}
int tiny_step(void *state, void *arena, const float *x, float *y, int64_t *seen) {
    const int error = tiny_check(state, arena);
    if (error) return error;
    if (!x || !y || !seen) return TINY_ERROR_NULL;
    tiny_compute_step(state, arena, x, y, seen);
    return TINY_OK;
}

int tiny_run(void *state, void *arena, int64_t T, const float *x, float *y, int64_t *seen) {
    const int error = tiny_check(state, arena);
    if (error) return error;
    if (!x || !y || !seen) return TINY_ERROR_NULL;
    if (T < 1 || T > TINY_MAX_T) return TINY_ERROR_LENGTH;
    for (int64_t t = 0; t < T; t++) {
        tiny_compute_step(state, arena, x + t * 3, y + t * 6, seen + t * 1);
    }
    return TINY_OK;
}

int tiny_save(const void *state, void *bytes) {
    const int error = tiny_check(state, state);
    if (error) return error;
    if (!bytes) return TINY_ERROR_NULL;
    tiny_copy((uint8_t *)bytes, (const uint8_t *)state, TINY_STATE_SIZE);
    for (int i = 12; i < 16; i++) ((uint8_t *)bytes)[i] = 0; /* isa: the same from every CPU */
    return TINY_OK;
}

int tiny_load(void *state, const void *bytes) {
    struct tiny_header from; /* a copy: bytes may lie anywhere */
    struct tiny_header *const h = (struct tiny_header *)state;
    const int error = tiny_check(state, state);
    uint32_t isa;
    if (error) return error;
    if (!bytes) return TINY_ERROR_NULL;
    tiny_copy((uint8_t *)&from, (const uint8_t *)bytes, sizeof from);
    if (tiny_differs(from.magic, tiny_magic)) return TINY_ERROR_STATE;
    if (tiny_differs(from.hash, tiny_hash)) return TINY_ERROR_MODEL;
    if (from.abi != TINY_ABI) return TINY_ERROR_ABI;
    isa = h->isa;
    tiny_copy((uint8_t *)state, (const uint8_t *)bytes, TINY_STATE_SIZE);
    h->isa = isa;
    return TINY_OK;
}

const char *tiny_version(void) { return "edgeseq 0.1.0, model c7e3064cc5e47822"; }

const char *tiny_strerror(int error) {
    switch (error) {
        case TINY_OK: return "ok";
        case TINY_ERROR_NULL: return "a pointer is NULL";
        case TINY_ERROR_ALIGNMENT: return "state or arena is not aligned to 64 bytes";
        case TINY_ERROR_STATE: return "state was not initialised: call tiny_init first";
        case TINY_ERROR_LENGTH: return "T is outside 1..1048576";
        case TINY_ERROR_CPU: return "this CPU lacks instructions the library was built for";
        case TINY_ERROR_MODEL: return "state belongs to another model";
        case TINY_ERROR_ABI: return "saved state was written by another edgeseq ABI";
        default: return "unknown error";
    }
}
