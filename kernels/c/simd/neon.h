/* NEON of AArch64: 4 lanes, 32 registers. The interface is described in scalar.h. */
#if !defined(__aarch64__)
#error "compile for AArch64"
#endif
#include <arm_neon.h>

#define ES_W 4
#define ES_REGS 32
typedef float32x4_t es_v;

ES_FN es_v es_load(const float *p) { return vld1q_f32(p); }
ES_FN void es_store(float *p, es_v v) { vst1q_f32(p, v); }
ES_FN es_v es_load_n(const float *p, int n) {
  if (n >= 4)
    return vld1q_f32(p);
  es_v v = vdupq_n_f32(0.0f);
  if (n > 0)
    v = vld1q_lane_f32(p, v, 0);
  if (n > 1)
    v = vld1q_lane_f32(p + 1, v, 1);
  if (n > 2)
    v = vld1q_lane_f32(p + 2, v, 2);
  return v;
}
ES_FN void es_store_n(float *p, es_v v, int n) {
  if (n >= 4) {
    vst1q_f32(p, v);
    return;
  }
  if (n > 0)
    vst1q_lane_f32(p, v, 0);
  if (n > 1)
    vst1q_lane_f32(p + 1, v, 1);
  if (n > 2)
    vst1q_lane_f32(p + 2, v, 2);
}
ES_FN es_v es_set(float a) { return vdupq_n_f32(a); }
ES_FN float es_first(es_v v) { return vgetq_lane_f32(v, 0); }
ES_FN float es_sum(es_v v) { return vaddvq_f32(v); }
ES_FN es_v es_low_bf16(es_v pair) {
  return vreinterpretq_f32_u32(vshlq_n_u32(vreinterpretq_u32_f32(pair), 16));
}
ES_FN es_v es_high_bf16(es_v pair) {
  return vreinterpretq_f32_u32(vandq_u32(vreinterpretq_u32_f32(pair), vdupq_n_u32(0xffff0000)));
}
ES_FN es_v es_load_f16(const uint16_t *p) {
  return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p)));
}

#define ES_PICKS
/* A table of bytes: float i is bytes 4 i to 4 i + 3. */
ES_FN es_v es_pick(const int M, const float *x, int n, const uint16_t *codes, const int p) {
  const uint32x4_t shifted = vshlq_u32(vmovl_u16(vld1_u16(codes)), vdupq_n_s32(-4 * p));
  const uint32x4_t at = vandq_u32(shifted, vdupq_n_u32(15));
  const uint8x16_t bytes =
      vreinterpretq_u8_u32(vmlaq_n_u32(vdupq_n_u32(0x03020100), at, 0x04040404));
  uint8x16x4_t all;
  ES_UNROLL for (int i = 0; i < M / 4; i++) {
    const int left = n - 4 * i;
    const es_v v = left >= 4  ? es_load(x + 4 * i)
                   : left > 0 ? es_load_n(x + 4 * i, left)
                              : es_set(0);
    all.val[i] = vreinterpretq_u8_f32(v);
  }
  if (M == 8) {
    const uint8x16x2_t half = {{all.val[0], all.val[1]}};
    return vreinterpretq_f32_u8(vqtbl2q_u8(half, bytes));
  }
  return vreinterpretq_f32_u8(vqtbl4q_u8(all, bytes));
}

ES_FN es_v es_add(es_v a, es_v b) { return vaddq_f32(a, b); }
ES_FN es_v es_sub(es_v a, es_v b) { return vsubq_f32(a, b); }
ES_FN es_v es_mul(es_v a, es_v b) { return vmulq_f32(a, b); }
ES_FN es_v es_div(es_v a, es_v b) { return vdivq_f32(a, b); }
ES_FN es_v es_fma(es_v a, es_v b, es_v c) { return vfmaq_f32(c, a, b); }
ES_FN es_v es_min(es_v a, es_v b) { return vminq_f32(a, b); }
ES_FN es_v es_max(es_v a, es_v b) { return vmaxq_f32(a, b); }
ES_FN es_v es_where_gt(es_v a, es_v b, es_v yes, es_v no) {
  return vbslq_f32(vcgtq_f32(a, b), yes, no);
}
ES_FN es_v es_pow2_of_bits(es_v t) {
  uint32x4_t n = vshlq_n_u32(vreinterpretq_u32_f32(t), 23);
  return vreinterpretq_f32_u32(vaddq_u32(n, vdupq_n_u32(0x3f800000)));
}

typedef int32x4_t es_i;
typedef int8x16_t es_quad;
#define ES_DOT_ZERO 127 /* products of signed bytes */

ES_FN float es_peak(es_v v) { return vmaxvq_f32(v); }
/* An empty instruction that could have changed v: gcc would merge the product with an addition. */
ES_FN es_v es_product(es_v a, es_v b) {
  es_v v = es_mul(a, b);
  __asm__("" : "+w"(v));
  return v;
}
ES_FN es_i es_iset(int a) { return vdupq_n_s32(a); }
ES_FN es_i es_iadd(es_i a, es_i b) { return vaddq_s32(a, b); }
ES_FN es_i es_imul(es_i a, es_i b) { return vmulq_s32(a, b); }
ES_FN es_i es_iand(es_i a, es_i b) { return vandq_s32(a, b); }
ES_FN es_i es_ishr(es_i a, const int n) {
  return vreinterpretq_s32_u32(vshlq_u32(vreinterpretq_u32_s32(a), vdupq_n_s32(-n)));
}
ES_FN es_v es_to_float(es_i a) { return vcvtq_f32_s32(a); }
ES_FN es_i es_to_int(es_v v) { return vcvtnq_s32_f32(v); }
ES_FN uint32_t es_quad_bits(const void *p) {
  const uint8_t *b = (const uint8_t *)p;
  return b[0] | (uint32_t)b[1] << 8 | (uint32_t)b[2] << 16 | (uint32_t)b[3] << 24;
}
ES_FN es_i es_load_s8(const int8_t *p) {
  return vmovl_s16(vget_low_s16(vmovl_s8(vcreate_s8(es_quad_bits(p)))));
}
ES_FN es_i es_load_u8(const uint8_t *p) {
  return vreinterpretq_s32_u32(vmovl_u16(vget_low_u16(vmovl_u8(vcreate_u8(es_quad_bits(p))))));
}
ES_FN void es_store_u8(uint8_t *p, es_i v) {
  p[0] = (uint8_t)vgetq_lane_s32(v, 0);
  p[1] = (uint8_t)vgetq_lane_s32(v, 1);
  p[2] = (uint8_t)vgetq_lane_s32(v, 2);
  p[3] = (uint8_t)vgetq_lane_s32(v, 3);
}
ES_FN es_quad es_load_quad(const uint8_t *q) {
  return vreinterpretq_s8_u32(vdupq_n_u32(es_quad_bits(q)));
}
ES_FN es_i es_dot(es_i acc, const int8_t *w, es_quad x, const int pairs) {
  const int8x16_t v = vld1q_s8(w);
  (void)pairs;
#if defined(__ARM_FEATURE_DOTPROD)
  return vdotq_s32(acc, v, x);
#else /* two products of at most 127 * 127 fit sixteen bits */
  const int16x8_t low = vmull_s8(vget_low_s8(v), vget_low_s8(x)), high = vmull_high_s8(v, x);
  return vpadalq_s16(acc, vpaddq_s16(low, high));
#endif
}
