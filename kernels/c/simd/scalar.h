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

#endif

ES_FN es_v es_add(es_v a, es_v b) { return a + b; }
ES_FN es_v es_sub(es_v a, es_v b) { return a - b; }
ES_FN es_v es_mul(es_v a, es_v b) { return a * b; }
ES_FN es_v es_div(es_v a, es_v b) { return a / b; }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return a * b + c; }
