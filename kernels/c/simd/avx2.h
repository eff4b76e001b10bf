/* AVX2 with FMA and F16C: 8 lanes, 16 registers. The interface is described in scalar.h. */
#if !defined(__AVX2__) || !defined(__FMA__) || !defined(__F16C__)
#error "compile with AVX2, FMA and F16C enabled (x86-64-v3)"
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
ES_FN es_v es_low_bf16(es_v pair) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_castps_si256(pair), 16));
}
ES_FN es_v es_high_bf16(es_v pair) {
  const __m256i high = _mm256_set1_epi32((int)0xffff0000);
  return _mm256_castsi256_ps(_mm256_and_si256(_mm256_castps_si256(pair), high));
}
ES_FN es_v es_load_f16(const uint16_t *p) {
  return _mm256_cvtph_ps(_mm_loadu_si128((const __m128i *)p));
}

#define ES_PICKS
/* A permutation looks at the low three bits; for a window of 16 the fourth says which half. */
ES_FN es_v es_pick(const int M, const float *x, int n, const uint16_t *codes, const int p) {
  const es_v low = n < 8 ? es_load_n(x, n) : es_load(x);
  const __m256i four = _mm256_cvtepu16_epi32(_mm_loadu_si128((const __m128i *)codes));
  const __m256i at = _mm256_srli_epi32(four, 4 * p);
  if (M == 8)
    return _mm256_permutevar8x32_ps(low, at);
  const es_v high = n < 16 ? es_load_n(x + 8, n < 8 ? 0 : n - 8) : es_load(x + 8);
  return _mm256_blendv_ps(_mm256_permutevar8x32_ps(low, at), _mm256_permutevar8x32_ps(high, at),
                          _mm256_castsi256_ps(_mm256_slli_epi32(at, 28)));
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

typedef __m256i es_i;
typedef struct {
  es_i all, even, odd;
} es_quad;
#define ES_DOT_ZERO 0

ES_FN float es_peak(es_v v) {
  __m128 m = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  m = _mm_max_ps(m, _mm_movehl_ps(m, m));
  return _mm_cvtss_f32(_mm_max_ss(m, _mm_shuffle_ps(m, m, 1)));
}
/* An empty instruction that could have changed v: gcc would merge the product with an addition. */
ES_FN es_v es_product(es_v a, es_v b) {
  es_v v = es_mul(a, b);
  __asm__("" : "+x"(v));
  return v;
}
ES_FN es_i es_iset(int a) { return _mm256_set1_epi32(a); }
ES_FN es_i es_iadd(es_i a, es_i b) { return _mm256_add_epi32(a, b); }
ES_FN es_i es_imul(es_i a, es_i b) { return _mm256_mullo_epi32(a, b); }
ES_FN es_i es_iand(es_i a, es_i b) { return _mm256_and_si256(a, b); }
ES_FN es_i es_ishr(es_i a, const int n) { return _mm256_srli_epi32(a, n); }
ES_FN es_v es_to_float(es_i a) { return _mm256_cvtepi32_ps(a); }
ES_FN es_i es_to_int(es_v v) { return _mm256_cvtps_epi32(v); }
ES_FN es_i es_load_s8(const int8_t *p) {
  return _mm256_cvtepi8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
ES_FN es_i es_load_u8(const uint8_t *p) {
  return _mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
}
ES_FN void es_store_u8(uint8_t *p, es_i v) {
  __m128i w = _mm_packs_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  _mm_storel_epi64((__m128i *)p, _mm_packus_epi16(w, w));
}
ES_FN es_quad es_load_quad(const uint8_t *q) {
  es_quad x;
  x.all = _mm256_broadcastd_epi32(_mm_loadu_si32(q));
  x.even = _mm256_and_si256(x.all, _mm256_set1_epi16(255));
  x.odd = _mm256_srli_epi16(x.all, 8);
  return x;
}
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int pairs) {
  const es_i v = _mm256_loadu_si256((const __m256i *)w);
#if defined(__AVXVNNI__)
  (void)pairs;
  return _mm256_dpbusd_avx_epi32(acc, x.all, v);
#else
  if (pairs)
    return es_iadd(acc, _mm256_madd_epi16(_mm256_maddubs_epi16(x.all, v), _mm256_set1_epi16(1)));
  const es_i even = _mm256_srai_epi16(_mm256_slli_epi16(v, 8), 8), odd = _mm256_srai_epi16(v, 8);
  acc = es_iadd(acc, _mm256_madd_epi16(even, x.even));
  return es_iadd(acc, _mm256_madd_epi16(odd, x.odd));
#endif
}
