/* WebAssembly simd128: 4 lanes; 16 registers, because most hosts are x86. Interface: scalar.h. */
#if !defined(__wasm_simd128__)
#error "compile with -msimd128"
#endif
#include <wasm_simd128.h>

#define ES_W 4
#define ES_REGS 16
/* V8 loads all operands of an iteration before it multiplies: tiles are small, so that both fit. */
#define ES_ACCS 8
#define ES_SUMS 6
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
ES_FN es_v es_low_bf16(es_v pair) { return wasm_i32x4_shl(pair, 16); }
ES_FN es_v es_high_bf16(es_v pair) {
  return wasm_v128_and(pair, wasm_u32x4_const_splat(0xffff0000));
}
ES_FN es_v es_load_f16(const uint16_t *p) { /* as in sse2.h */
  v128_t h = wasm_u32x4_load16x4(p);
  v128_t sign = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x8000)), 16);
  v128_t bits = wasm_i32x4_shl(wasm_v128_and(h, wasm_i32x4_const_splat(0x7fff)), 13);
  v128_t infinite = wasm_i32x4_gt(bits, wasm_i32x4_const_splat(0x0f7fffff));
  v128_t small = wasm_i32x4_lt(bits, wasm_i32x4_const_splat(0x00800000));
  v128_t one = wasm_v128_and(small, wasm_i32x4_const_splat(0x38800000));
  bits = wasm_i32x4_add(bits, wasm_i32x4_const_splat(0x38000000));
  bits = wasm_i32x4_add(bits, wasm_v128_and(infinite, wasm_i32x4_const_splat(0x38000000)));
  bits = wasm_i32x4_add(bits, wasm_v128_and(small, wasm_i32x4_const_splat(0x00800000)));
  return wasm_v128_or(wasm_f32x4_sub(bits, one), sign);
}

ES_FN es_v es_add(es_v a, es_v b) { return wasm_f32x4_add(a, b); }
ES_FN es_v es_sub(es_v a, es_v b) { return wasm_f32x4_sub(a, b); }
ES_FN es_v es_mul(es_v a, es_v b) { return wasm_f32x4_mul(a, b); }
ES_FN es_v es_div(es_v a, es_v b) { return wasm_f32x4_div(a, b); }
#if defined(__wasm_relaxed_simd__)
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return wasm_f32x4_relaxed_madd(a, b, c); }
#else
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return wasm_f32x4_add(wasm_f32x4_mul(a, b), c); }
#endif
ES_FN es_v es_min(es_v a, es_v b) { return wasm_f32x4_pmin(a, b); }
ES_FN es_v es_max(es_v a, es_v b) { return wasm_f32x4_pmax(a, b); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  return wasm_v128_bitselect(yes, no, wasm_f32x4_gt(a, b));
}
ES_FN es_v es_pow2_of_bits(es_v t) {
  return wasm_i32x4_add(wasm_i32x4_shl(t, 23), wasm_i32x4_const_splat(0x3f800000));
}

typedef v128_t es_i;
#if defined(__wasm_relaxed_simd__)
typedef es_i es_quad;
#define ES_DOT_ZERO 127 /* products of signed bytes */
#else
typedef struct {
  es_i even, odd;
} es_quad;
#define ES_DOT_ZERO 0
#endif

ES_FN float es_peak(es_v v) {
  v = wasm_f32x4_pmax(v, wasm_i32x4_shuffle(v, v, 2, 3, 2, 3));
  v = wasm_f32x4_pmax(v, wasm_i32x4_shuffle(v, v, 1, 1, 1, 1));
  return wasm_f32x4_extract_lane(v, 0);
}
ES_FN es_v es_product(es_v a, es_v b) { return es_mul(a, b); } /* fused only where it says so */
ES_FN es_i es_iset(int a) { return wasm_i32x4_splat(a); }
ES_FN es_i es_iadd(es_i a, es_i b) { return wasm_i32x4_add(a, b); }
ES_FN es_i es_imul(es_i a, es_i b) { return wasm_i32x4_mul(a, b); }
ES_FN es_i es_iand(es_i a, es_i b) { return wasm_v128_and(a, b); }
ES_FN es_i es_ishr(es_i a, const int n) { return wasm_u32x4_shr(a, (uint32_t)n); }
ES_FN es_v es_to_float(es_i a) { return wasm_f32x4_convert_i32x4(a); }
/* Rounding, then a conversion that saturates, would be ten instructions on x86. */
ES_FN es_i es_to_int(es_v v) {
  const es_v t = wasm_f32x4_add(v, wasm_f32x4_const_splat(12582912.0f)); /* 1.5 * 2^23 */
  return wasm_i32x4_sub(t, wasm_i32x4_const_splat(0x4b400000));
}
ES_FN es_i es_load_s8(const int8_t *p) {
  return wasm_i32x4_extend_low_i16x8(wasm_i16x8_extend_low_i8x16(wasm_v128_load32_zero(p)));
}
ES_FN es_i es_load_u8(const uint8_t *p) {
  return wasm_u32x4_extend_low_u16x8(wasm_u16x8_extend_low_u8x16(wasm_v128_load32_zero(p)));
}
ES_FN void es_store_u8(uint8_t *p, es_i v) {
  v = wasm_v128_and(v, wasm_i32x4_const_splat(255)); /* narrowing saturates */
  v = wasm_i16x8_narrow_i32x4(v, v);
  wasm_v128_store32_lane(p, wasm_u8x16_narrow_i16x8(v, v), 0);
}
ES_FN es_i es_low_bytes(es_i v) { return wasm_i16x8_shr(wasm_i16x8_shl(v, 8), 8); }
ES_FN es_i es_high_bytes(es_i v) { return wasm_i16x8_shr(v, 8); }
#if defined(__wasm_relaxed_simd__)
ES_FN es_quad es_load_quad(const uint8_t *q) { return wasm_v128_load32_splat(q); }
/*
 * Hosts differ where the second factor is beyond 127: it is the magnitude of x, and -128 takes another
 * way. Where x is negative, w is turned into ~w = -w - 1, which fits; the magnitude that is missing then
 * is the same for all outputs.
 */
#define ES_DOT_HOW(part) ((part)->wide)
#define ES_DOT_REST
ES_FN es_i es_below(es_quad x) {
  es_i zero = wasm_i8x16_const_splat(0);
  __asm__("" : "+r"(zero)); /* a shift would take its place, which is five instructions on x86 */
  return wasm_i8x16_lt(x, zero);
}
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int wide) {
  const es_i v = wasm_v128_load(w);
  if (wide) {
    acc = es_iadd(acc, wasm_i32x4_dot_i16x8(es_low_bytes(v), es_low_bytes(x)));
    return es_iadd(acc, wasm_i32x4_dot_i16x8(es_high_bytes(v), es_high_bytes(x)));
  }
  const es_i sums =
      wasm_i16x8_relaxed_dot_i8x16_i7x16(wasm_v128_xor(v, es_below(x)), wasm_i8x16_abs(x));
  return es_iadd(acc, wasm_i32x4_dot_i16x8(sums, wasm_i16x8_const_splat(1)));
}
ES_FN es_i es_dot_rest(es_i rest, es_quad x, const int wide) {
  const es_i sums = wasm_i16x8_relaxed_dot_i8x16_i7x16(es_below(x), wasm_i8x16_abs(x));
  return wide ? rest : wasm_i32x4_sub(rest, wasm_i32x4_dot_i16x8(sums, wasm_i16x8_const_splat(1)));
}
ES_FN es_i es_row_rest(const uint8_t *q, int quads, const int wide) {
  es_i rest = es_iset(0);
  int k = 0;
  ES_LOOP for (; k + 4 <= quads; k += 4) rest = es_dot_rest(rest, wasm_v128_load(q + k * 4), wide);
  ES_LOOP for (; k < quads; k++) rest = es_dot_rest(rest, wasm_v128_load32_zero(q + k * 4), wide);
  rest = wasm_i32x4_add(rest, wasm_i32x4_shuffle(rest, rest, 2, 3, 0, 1));
  return wasm_i32x4_add(rest, wasm_i32x4_shuffle(rest, rest, 1, 0, 3, 2));
}
#else
/*
 * Sign-extending sixteen weights takes three operations. The even ones shifted up, and the odd ones as
 * they lie, without their neighbours, take two, and are 256 times as large: so are the sums, which fit
 * while they stay below 2^23.
 */
#define ES_DOT_HOW(part) ((part)->quads <= ((part)->zero == 127 && !(part)->wide ? 128 : 64))
#define ES_DOT_TIMES(large) ((large) ? 256 : 1)
#define ES_DOT_SUM(acc, large) ((large) ? wasm_i32x4_shr(acc, 8) : (acc))
ES_FN es_quad es_load_quad(const uint8_t *q) {
  const es_i all = wasm_v128_load32_splat(q), high = wasm_i16x8_const_splat((int16_t)0xff00);
  const es_quad x = {wasm_v128_andnot(all, high), wasm_u16x8_shr(all, 8)};
  return x;
}
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int large) {
  const es_i v = wasm_v128_load(w);
  const es_i even = large ? wasm_i16x8_shl(v, 8) : es_low_bytes(v);
  const es_i odd =
      large ? wasm_v128_and(v, wasm_i16x8_const_splat((int16_t)0xff00)) : es_high_bytes(v);
  acc = es_iadd(acc, wasm_i32x4_dot_i16x8(even, x.even));
  return es_iadd(acc, wasm_i32x4_dot_i16x8(odd, x.odd));
}
#endif
