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
