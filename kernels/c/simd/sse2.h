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
ES_FN es_v es_low_bf16(es_v pair) {
  return _mm_castsi128_ps(_mm_slli_epi32(_mm_castps_si128(pair), 16));
}
ES_FN es_v es_high_bf16(es_v pair) {
  return _mm_and_ps(pair, _mm_castsi128_ps(_mm_set1_epi32((int)0xffff0000)));
}
ES_FN es_v es_load_f16(const uint16_t *p) {
  const __m128i zero = _mm_setzero_si128();
  __m128i h = _mm_unpacklo_epi16(_mm_loadl_epi64((const __m128i *)p), zero);
  __m128i sign = _mm_slli_epi32(_mm_and_si128(h, _mm_set1_epi32(0x8000)), 16);
  __m128i bits = _mm_slli_epi32(_mm_and_si128(h, _mm_set1_epi32(0x7fff)), 13);
  __m128i infinite = _mm_cmpgt_epi32(bits, _mm_set1_epi32(0x0f7fffff));
  __m128i small = _mm_cmpgt_epi32(_mm_set1_epi32(0x00800000), bits);
  bits = _mm_add_epi32(bits, _mm_set1_epi32(0x38000000));
  bits = _mm_add_epi32(bits, _mm_and_si128(infinite, _mm_set1_epi32(0x38000000)));
  /* a subnormal half: its bits as the fraction of 2^-14, minus 2^-14 */
  __m128 one = _mm_castsi128_ps(_mm_and_si128(small, _mm_set1_epi32(0x38800000)));
  bits = _mm_add_epi32(bits, _mm_and_si128(small, _mm_set1_epi32(0x00800000)));
  return _mm_or_ps(_mm_sub_ps(_mm_castsi128_ps(bits), one), _mm_castsi128_ps(sign));
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

typedef __m128i es_i;
typedef struct {
  es_i even, odd;
} es_quad;
#define ES_DOT_ZERO 0

ES_FN float es_peak(es_v v) {
  v = _mm_max_ps(v, _mm_movehl_ps(v, v));
  return _mm_cvtss_f32(_mm_max_ss(v, _mm_shuffle_ps(v, v, 1)));
}
/* An empty instruction that could have changed v: gcc would merge the product with an addition. */
ES_FN es_v es_product(es_v a, es_v b) {
  es_v v = es_mul(a, b);
  __asm__("" : "+x"(v));
  return v;
}
ES_FN es_i es_iset(int a) { return _mm_set1_epi32(a); }
ES_FN es_i es_iadd(es_i a, es_i b) { return _mm_add_epi32(a, b); }
ES_FN es_i es_imul(es_i a, es_i b) { /* the low halves of even and odd lanes, interleaved */
  es_i even = _mm_shuffle_epi32(_mm_mul_epu32(a, b), 0x08);
  es_i odd = _mm_mul_epu32(_mm_srli_si128(a, 4), _mm_srli_si128(b, 4));
  return _mm_unpacklo_epi32(even, _mm_shuffle_epi32(odd, 0x08));
}
ES_FN es_i es_iand(es_i a, es_i b) { return _mm_and_si128(a, b); }
ES_FN es_i es_ishr(es_i a, const int n) { return _mm_srli_epi32(a, n); }
ES_FN es_v es_to_float(es_i a) { return _mm_cvtepi32_ps(a); }
ES_FN es_i es_to_int(es_v v) { return _mm_cvtps_epi32(v); }
ES_FN es_i es_load_s8(const int8_t *p) {
  es_i v = _mm_loadu_si32(p);
  v = _mm_unpacklo_epi8(v, v);
  return _mm_srai_epi32(_mm_unpacklo_epi16(v, v), 24);
}
ES_FN es_i es_load_u8(const uint8_t *p) {
  const es_i zero = _mm_setzero_si128();
  return _mm_unpacklo_epi16(_mm_unpacklo_epi8(_mm_loadu_si32(p), zero), zero);
}
ES_FN void es_store_u8(uint8_t *p, es_i v) {
  v = _mm_packs_epi32(v, v);
  _mm_storeu_si32(p, _mm_packus_epi16(v, v));
}
ES_FN es_quad es_load_quad(const uint8_t *q) {
  const es_i all = _mm_shuffle_epi32(_mm_loadu_si32(q), 0);
  const es_quad x = {_mm_and_si128(all, _mm_set1_epi16(255)), _mm_srli_epi16(all, 8)};
  return x;
}
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int pairs) {
  const es_i v = _mm_loadu_si128((const __m128i *)w);
  const es_i even = _mm_srai_epi16(_mm_slli_epi16(v, 8), 8), odd = _mm_srai_epi16(v, 8);
  (void)pairs;
  acc = es_iadd(acc, _mm_madd_epi16(even, x.even));
  return es_iadd(acc, _mm_madd_epi16(odd, x.odd));
}
