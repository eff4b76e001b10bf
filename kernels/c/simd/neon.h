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
