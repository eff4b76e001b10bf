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
