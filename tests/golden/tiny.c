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
    es_copy_rows(to, to_stride, from, from_stride, bytes, rows);
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
