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
