/* AVX-512: 16 lanes, 32 registers. The interface is described in scalar.h. */
#if !defined(__AVX512F__) || !defined(__AVX512BW__)
#error "compile with AVX-512F and AVX-512BW enabled (x86-64-v4)"
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
ES_FN es_v es_low_bf16(es_v pair) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_castps_si512(pair), 16));
}
ES_FN es_v es_high_bf16(es_v pair) {
  const __m512i high = _mm512_set1_epi32((int)0xffff0000);
  return _mm512_castsi512_ps(_mm512_and_epi32(_mm512_castps_si512(pair), high));
}
/* For blocks of 8: one value in each half of the lanes; both halves, the sum of the halves. */
ES_FN es_v es_set_halves(float low, float high) {
  return _mm512_mask_broadcastss_ps(_mm512_set1_ps(low), 0xff00, _mm_set_ss(high));
}
ES_FN es_v es_sum_halves(es_v v) {
  return _mm512_add_ps(v, _mm512_shuffle_f32x4(v, v, _MM_SHUFFLE(1, 0, 3, 2)));
}
ES_FN es_v es_load_f16(const uint16_t *p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256((const __m256i *)p));
}

#define ES_PICKS
/* The permutation looks at the low four bits of an index, so that nothing need be masked. */
ES_FN es_v es_pick(const int M, const float *x, int n, const uint16_t *codes, const int p) {
  const es_v all = n < M     ? es_load_n(x, n)
                   : M == 16 ? es_load(x)
                             : _mm512_zextps256_ps512(_mm256_loadu_ps(x));
  const __m512i four = _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i *)codes));
  return _mm512_permutexvar_ps(_mm512_srli_epi32(four, (unsigned)(4 * p)), all);
}

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

typedef __m512i es_i;
typedef struct {
  es_i all, even, odd;
} es_quad;
#define ES_DOT_ZERO 0

ES_FN float es_peak(es_v v) { return _mm512_reduce_max_ps(v); }
/* An empty instruction that could have changed v: gcc would merge the product with an addition. */
ES_FN es_v es_product(es_v a, es_v b) {
  es_v v = es_mul(a, b);
  __asm__("" : "+v"(v));
  return v;
}
ES_FN es_i es_iset(int a) { return _mm512_set1_epi32(a); }
ES_FN es_i es_iadd(es_i a, es_i b) { return _mm512_add_epi32(a, b); }
ES_FN es_i es_imul(es_i a, es_i b) { return _mm512_mullo_epi32(a, b); }
ES_FN es_i es_iand(es_i a, es_i b) { return _mm512_and_epi32(a, b); }
ES_FN es_i es_ishr(es_i a, const int n) { return _mm512_srli_epi32(a, (unsigned)n); }
ES_FN es_v es_to_float(es_i a) { return _mm512_cvtepi32_ps(a); }
ES_FN es_i es_to_int(es_v v) { return _mm512_cvtps_epi32(v); }
ES_FN es_i es_load_s8(const int8_t *p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)p));
}
ES_FN es_i es_load_u8(const uint8_t *p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
}
ES_FN void es_store_u8(uint8_t *p, es_i v) {
  _mm_storeu_si128((__m128i *)p, _mm512_cvtepi32_epi8(v));
}
ES_FN es_quad es_load_quad(const uint8_t *q) {
  es_quad x;
  x.all = _mm512_broadcastd_epi32(_mm_loadu_si32(q));
  x.even = _mm512_and_si512(x.all, _mm512_set1_epi16(255));
  x.odd = _mm512_srli_epi16(x.all, 8);
  return x;
}
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int pairs) {
  const es_i v = _mm512_loadu_si512(w);
#if defined(__AVX512VNNI__)
  (void)pairs;
  return _mm512_dpbusd_epi32(acc, x.all, v);
#else
  if (pairs)
    return es_iadd(acc, _mm512_madd_epi16(_mm512_maddubs_epi16(x.all, v), _mm512_set1_epi16(1)));
  const es_i even = _mm512_srai_epi16(_mm512_slli_epi16(v, 8), 8), odd = _mm512_srai_epi16(v, 8);
  acc = es_iadd(acc, _mm512_madd_epi16(even, x.even));
  return es_iadd(acc, _mm512_madd_epi16(odd, x.odd));
#endif
}
