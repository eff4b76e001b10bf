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
 *   es_low_bf16(pair)        the lower halves of the 32-bit lanes, bfloat16, as floats
 *   es_high_bf16(pair)       the upper halves
 *   es_load_f16(p)           ES_W halves as floats, exactly
 *   ES_PICKS                 this header has es_pick; nm.h has it for the others
 *   es_pick(M, x, n, c, p)   in lane i that of x[0] .. x[M - 1] which bits 4 p to 4 p + 3 of c[i] say;
 *                            M is 8 or 16; x[n] and what follows are not read, nor are they meant
 *   es_peak(v)               the largest lane; none is a NaN
 *   es_product(a, b)         a * b rounded on its own: no compiler makes a fused operation of it
 *
 * Integers, for int8 weights:
 *
 *   es_i                     ES_W lanes of 32 bits
 *   es_iset, es_iadd, es_imul, es_iand, es_ishr(v, n)    the shift brings zeros in
 *   es_to_float(i)           the nearest float, ties to even
 *   es_to_int(v)             the nearest integer, ties to even; |v| < 2^22
 *   es_load_s8, es_load_u8   ES_W bytes, widened
 *   es_store_u8(p, i)        the low bytes of the lanes
 *   ES_DOT_ZERO              what es_dot wants subtracted from inputs in 0..254: 0, or 127 (see
 *                            es_dot_zero)
 *   es_load_quad(q)          four such inputs, as es_dot wants them
 *   es_dot(acc, w, x, pairs) acc + the sums over i < 4 of w[4 * lane + i] * x[i], exactly, for weights
 *                            in -127..127; pairs: no sum of two neighbours exceeds 129 (128, if
 *                            inputs go up to 255)
 */
ES_FN uint32_t es_as_bits(float f) {
  const union {
    float f;
    uint32_t u;
  } both = {.f = f};
  return both.u;
}
ES_FN float es_as_float(uint32_t u) {
  const union {
    uint32_t u;
    float f;
  } both = {.u = u};
  return both.f;
}
ES_FN float es_f16(uint16_t h) {
  const uint32_t sign = (h & 0x8000u) << 16, bits = (h & 0x7fffu) << 13;
  if (bits < 0x00800000u) /* subnormal: the fraction of 2^-14, minus 2^-14 */
    return es_as_float(es_as_bits(es_as_float(bits + 0x38800000u) - 6.103515625e-5f) | sign);
  return es_as_float((bits + (bits < 0x0f800000u ? 0x38000000u : 0x70000000u)) | sign);
}

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
ES_FN es_v es_low_bf16(es_v pair) { return (es_v)((es_bits)pair << 16); }
ES_FN es_v es_high_bf16(es_v pair) { return (es_v)((es_bits)pair & 0xffff0000u); }
ES_FN es_v es_load_f16(const uint16_t *p) {
  es_v v = {es_f16(p[0]), es_f16(p[1]), es_f16(p[2]), es_f16(p[3])};
  return v;
}

typedef int32_t es_i __attribute__((vector_size(16)));
typedef int16_t es_words __attribute__((vector_size(16)));
typedef uint8_t es_bytes_any __attribute__((vector_size(16), aligned(1), may_alias));
typedef struct {
  es_words even, odd; /* inputs 0 and 2, and 1 and 3, in every lane */
} es_quad;
#define ES_DOT_ZERO 127

ES_FN float es_peak(es_v v) {
  const float a = v[0] > v[1] ? v[0] : v[1], b = v[2] > v[3] ? v[2] : v[3];
  return a > b ? a : b;
}
ES_FN es_i es_iset(int a) { return (es_i){a, a, a, a}; }
ES_FN es_i es_ishr(es_i a, const int n) { return (es_i)((es_bits)a >> n); }
ES_FN es_v es_to_float(es_i a) {
  return (es_v){(float)a[0], (float)a[1], (float)a[2], (float)a[3]};
}
/* Adding 1.5 * 2^23 rounds, and leaves the integer in the low bits. */
ES_FN es_i es_to_int(es_v v) { return (es_i)(v + 12582912.0f) - 0x4b400000; }
ES_FN es_i es_load_s8(const int8_t *p) { return (es_i){p[0], p[1], p[2], p[3]}; }
ES_FN es_i es_load_u8(const uint8_t *p) { return (es_i){p[0], p[1], p[2], p[3]}; }
ES_FN void es_store_u8(uint8_t *p, es_i v) {
  p[0] = (uint8_t)v[0];
  p[1] = (uint8_t)v[1];
  p[2] = (uint8_t)v[2];
  p[3] = (uint8_t)v[3];
}
ES_FN es_quad es_load_quad(const uint8_t *q) {
  const int16_t a = (int8_t)q[0], b = (int8_t)q[1], c = (int8_t)q[2], d = (int8_t)q[3];
  const es_quad x = {{a, c, a, c, a, c, a, c}, {b, d, b, d, b, d, b, d}};
  return x;
}
/* Two products of at most 127 * 127 fit sixteen bits, and so does their sum. */
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int pairs) {
  const es_words both = (es_words) * (const es_bytes_any *)w;
  const es_words low = (both << 8) >> 8, high = both >> 8;
  const es_words sums = low * x.even + high * x.odd;
  (void)pairs;
  return acc + ((es_i)((es_bits)sums << 16) >> 16) + ((es_i)sums >> 16);
}

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
ES_FN es_v es_pow2_of_bits(es_v t) { return es_as_float((es_as_bits(t) << 23) + 0x3f800000u); }
ES_FN es_v es_low_bf16(es_v pair) { return es_as_float(es_as_bits(pair) << 16); }
ES_FN es_v es_high_bf16(es_v pair) { return es_as_float(es_as_bits(pair) & 0xffff0000u); }
ES_FN es_v es_load_f16(const uint16_t *p) { return es_f16(*p); }

typedef int32_t es_i;
typedef struct {
  int8_t at[4];
} es_quad;
#define ES_DOT_ZERO 127

ES_FN float es_peak(es_v v) { return v; }
ES_FN es_i es_iset(int a) { return a; }
ES_FN es_i es_ishr(es_i a, const int n) { return (es_i)((uint32_t)a >> n); }
ES_FN es_v es_to_float(es_i a) { return (float)a; }
ES_FN es_i es_to_int(es_v v) { return (es_i)es_as_bits(v + 12582912.0f) - 0x4b400000; }
ES_FN es_i es_load_s8(const int8_t *p) { return *p; }
ES_FN es_i es_load_u8(const uint8_t *p) { return *p; }
ES_FN void es_store_u8(uint8_t *p, es_i v) { *p = (uint8_t)v; }
ES_FN es_quad es_load_quad(const uint8_t *q) {
  const es_quad x = {{(int8_t)q[0], (int8_t)q[1], (int8_t)q[2], (int8_t)q[3]}};
  return x;
}
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int pairs) {
  (void)pairs;
  return acc + w[0] * x.at[0] + w[1] * x.at[1] + w[2] * x.at[2] + w[3] * x.at[3];
}

#endif

ES_FN es_v es_add(es_v a, es_v b) { return a + b; }
ES_FN es_v es_sub(es_v a, es_v b) { return a - b; }
ES_FN es_v es_mul(es_v a, es_v b) { return a * b; }
ES_FN es_v es_div(es_v a, es_v b) { return a / b; }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return a * b + c; }

/* An empty instruction that could have changed v, so that no multiplication is merged across it. */
#if defined(__GNUC__) && defined(__x86_64__)
#define ES_KEEP(v) __asm__("" : "+x"(v))
#elif defined(__GNUC__) && (defined(__aarch64__) || defined(__ARM_FP))
#define ES_KEEP(v) __asm__("" : "+w"(v))
#elif defined(__GNUC__) && !defined(__wasm__) /* clang there merges nothing across functions */
#define ES_KEEP(v) __asm__("" : "+m"(v))
#else
#define ES_KEEP(v) (void)0
#endif
ES_FN es_v es_product(es_v a, es_v b) {
  es_v v = a * b;
  ES_KEEP(v);
  return v;
}
ES_FN es_i es_iadd(es_i a, es_i b) { return a + b; }
ES_FN es_i es_imul(es_i a, es_i b) { return a * b; }
ES_FN es_i es_iand(es_i a, es_i b) { return a & b; }
